/*
 * selftest_part.h — an op of a model with invented weights and inputs, cut to a size: what the
 * self-test compares, and what is timed (stopwatch.h).
 *
 * Owns the case's graph, weights and host memory. One thread.
 */
#ifndef GPU_SELFTEST_PART_H
#define GPU_SELFTEST_PART_H

#include "gpu/selftest.h"

enum {
    CASE_MAX_TENSORS = 24,
    CASE_ROWS = 144,  /* of a matrix, at least */
    CASE_TOKENS = 36, /* more than few ones; at least */
    CASE_EXPERTS = 8,
    CASE_POS = 6,         /* of the first token in its page */
    CASE_SPLITS = 4,      /* workgroups that share pages, at most: each has one, the last two */
    CASE_MOST_PAGES = 64, /* of the cache */
};

/* What a case is cut to. */
struct selftest_size {
    int64_t rows; /* of matrices */
    int tokens;
    int64_t experts; /* but as many as a token uses */
    int pos;         /* of the first token: what a cache holds before */
    bool given_only; /* nothing is compared */
};

/* For a check of a row in this shape: more rows and columns than a workgroup of its has, and no
 * multiple of a tile's; pages for several that share them. */
struct selftest_size selftest_size_for(const struct row_choice *choice);

struct selftest_case {
    struct selftest_size size;
    struct graph graph;
    const struct op *op; /* the graph's only one */
    struct weight *weights[CASE_MAX_TENSORS];
    size_t n_weights;
    struct batch batch;
    int32_t *ids, *pos, *seq; /* of each token */
    int32_t *outputs;         /* the last tokens */
    uint32_t page_table[CASE_MOST_PAGES];
    int n_pages;         /* 0: the op has no cache */
    uint64_t page_bytes; /* of each */
    /* Host memory: activations as memmap says, as given, as they should become, and as the device
     * made them; pages of the cache likewise. */
    struct memmap map;
    unsigned char *given, *expected, *got; /* the last two only where they are compared */
    unsigned char *pages, *expected_pages, *got_pages;
};

/* The op, of a graph for so many tokens, for fewer rows, tokens and experts. Errors:
 * HTH_ERROR_MEMORY; HTH_ERROR_UNSUPPORTED for an op that cannot be cut so (none of a model's), or
 * more than CASE_MOST_PAGES pages. Free it after an error, too. */
HTH_MUST_CHECK selftest_case_create(struct selftest_case *out, const struct op *op, int n_tokens,
                                    const struct selftest_size *size, const struct log *log);
void selftest_case_free(struct selftest_case *c);

/* Fills its inputs, and unless they are all that is wanted computes what its outputs should be. */
HTH_MUST_CHECK selftest_case_fill(struct selftest_case *c, const struct log *log);

/* Compares what the device made with what should be. */
void selftest_case_judge(const struct selftest_case *c, const struct row *row,
                         struct selftest_result *out);

#endif
