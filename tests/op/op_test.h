/*
 * op_test.h — one op with invented inputs, run by every row of every device and compared with the
 * reference.
 *
 *   struct op_test t;
 *   op_test_begin(&t, &(struct op_batch){.bucket = 8, .n_seqs = 1, .seqs = {{0, 5}}});
 *   struct tensor *w = op_test_weight(&t, "w", type, 64, 33, 1);
 *   struct tensor *x = op_test_input(&t, "x", 64, 8, 1, ROWS_TOKENS);
 *   op_matmul(&t.graph, "y", w, x, NULL);
 *   op_test_run(&t);
 *
 * The last op of the graph is the one under test (fuse_graph may have made it). It runs once for
 * each kind of input and each row that fits. A case of which no row of any device ran fails, unless
 * its op is a fused one or the run is narrowed: then that case is left out, the test says at its
 * end how many ran, and if none did it is skipped (a fused one fails where a device has rows for
 * such ops). What is checked besides the values: nothing outside the rows that the batch fills is
 * written, inputs stay as they are, and memory that the op has no business with (rows beyond the
 * batch, other experts, cache beyond the positions seen) is NaN.
 *
 * Environment: HEARTH_SEED (a number), HEARTH_OP_DEVICE and HEARTH_OP_ROW (names) narrow a run;
 * HEARTH_TEST_WHOLE widens it to what the everyday tier has no time for.
 */
#ifndef TESTS_OP_OP_TEST_H
#define TESTS_OP_OP_TEST_H

#include "base/rng.h"
#include "harness/test.h"
#include "op_device.h"

enum input_kind {
    INPUT_UNIFORM,
    INPUT_TINY,
    INPUT_HUGE,
    INPUT_DENORMAL,
    INPUT_CONSTANT,
    INPUT_ALTERNATING,
    INPUT_SPIKY,
    INPUT_ZERO,
    INPUT_KINDS,
};

enum { OP_TEST_SEQS = 4, OP_TEST_TENSORS = 24 };

/* Which tokens a batch has: `n` of each sequence, from position `first` on. */
struct op_batch {
    int bucket; /* 0: exactly the tokens */
    int n_outputs;
    int n_seqs;
    struct {
        int first, n;
    } seqs[OP_TEST_SEQS];
};

struct op_memory; /* buffers of a case */

/* Called for each row of an input that was filled; changes what makes it special. */
typedef void op_test_change_fn(struct rng *rng, float *row, int64_t n);

/* Called for each row of a weight in blocks, which it fills. */
typedef void op_test_blocks_fn(struct rng *rng, const struct tensor *tensor, void *row);

struct op_test {
    struct graph graph;
    struct batch batch;
    uint64_t seed;
    struct rng rng;
    unsigned skip_kinds;       /* bits of input kinds that make no sense here */
    float scale;               /* of inputs that are not tiny or huge; 0: 1 */
    op_test_change_fn *change; /* NULL: nothing is special */
    op_test_blocks_fn *blocks; /* NULL: op_test_encode */
    bool no_halves;            /* rows that multiply in 16 bits do not run */
    bool exact;                /* integer rows round no more than those in floats do */
    bool scatter;              /* experts lie apart; some of those not used are not there */
    bool elsewhere;            /* besides, every third expert is not, used or not */
    int32_t *ids, *pos, *seq, *outputs;
    uint32_t *page_table;
    bool encoded_only; /* no blocks but the encoder's, where there is one */
    uint64_t series;   /* of the next block that no encoder makes (quant/random.h) */
    struct op_memory *memory;
    enum input_kind kind; /* at hand */
    int n_ran;
};

void op_test_begin(struct op_test *t, const struct op_batch *batch);

/* A matrix (n_expert matrices) of `type`; values are normal, or those of blocks that no encoder
 * makes (op_test_encode). */
struct tensor *op_test_weight(struct op_test *t, const char *name, const struct dtype *type,
                              int64_t ne0, int64_t ne1, int64_t ne2);
/* An activation, filled by kind. ne2 may be 1. */
struct tensor *op_test_input(struct op_test *t, const char *name, int64_t ne0, int64_t ne1,
                             int64_t ne2, enum row_count rows);
/* Numbers of experts, I32 [n_used, T]; below the number of matrices of the op's weight. */
struct tensor *op_test_expert_ids(struct op_test *t, int64_t n_used);
/* A layer's cache; the layer is not the only one of its pages. */
struct tensor *op_test_kv(struct op_test *t, int n_head_kv, int k_dim, int v_dim,
                          const struct dtype *type);

/* Runs and compares; fails the test or returns. Frees everything. */
void op_test_run(struct op_test *t);

/* Is a test to leave nothing out? */
bool op_test_whole(void);

/* Unless it is a whole run: until the test ends, rows whose names begin so do not run, for which
 * only a whole run has time; their blobs of `format` ("": of none) need not have run at all
 * (op.every_row.ran). NULL: other tests run them. */
void op_test_leave_out(const char *rows, const char *format);

/* The same, but true where op_test_run would have failed the test by a wrong value or a wrong
 * write: for tests of the tests. */
bool op_test_finds_fault(struct op_test *t, const struct op_device *device);

/* Fills floats by kind; `limited`: they must fit fp16. */
void op_test_fill(struct rng *rng, enum input_kind kind, bool limited, float *out, int64_t n);

/* Encodes one row of a weight. About every second block (of formats without an encoder each) is
 * instead one of the series that has every value of every byte (quant/random.h). */
void op_test_encode(struct op_test *t, const struct tensor *tensor, const float *values, void *row);

#endif
