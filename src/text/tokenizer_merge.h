/*
 * tokenizer_merge.h — joining neighbouring symbols, the best pair first, in n log n.
 *
 * What BPE and SPM share: a word is a chain of symbols; the pair of neighbours with the lowest rank
 * (the leftmost of equals) is joined until no pair has one. Which pairs have a rank is the caller's
 * rule. Owns scratch memory that is reused from word to word; one thread at a time.
 */
#ifndef TEXT_TOKENIZER_MERGE_H
#define TEXT_TOKENIZER_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define MERGE_END UINT32_MAX

struct merge_symbol {
    uint32_t start, len; /* bytes of the word; len 0: joined to the one before */
    uint32_t prev, next; /* neighbours; MERGE_END: none */
    uint32_t id;         /* the caller's name for it */
};

struct merge_pair {
    uint32_t rank, left, right, len;
};

/* Zero is an empty scratch. */
struct merge_work {
    struct str word;
    struct merge_symbol *symbols;
    size_t n_symbols, symbols_capacity;
    struct merge_pair *heap;
    size_t n_pairs, heap_capacity;
};

/* Does this pair join? If so gives its rank (lower joins first) and the id of what comes out. */
typedef bool merge_rule_fn(const void *user, const struct merge_work *work,
                           const struct merge_symbol *left, const struct merge_symbol *right,
                           uint32_t *rank, uint32_t *id);

/* Begins a word of at most 2^31 bytes, with no symbols. */
void merge_begin(struct merge_work *work, struct str word);

/* Adds the next `len` bytes as a symbol; false when memory runs out. */
ATTR_WARN_UNUSED bool merge_add(struct merge_work *work, size_t len, uint32_t id);

/* Joins all that can be; false when memory runs out. Afterwards the chain from symbol 0 along
 * `next` is the result. */
ATTR_WARN_UNUSED bool merge_run(struct merge_work *work, merge_rule_fn *rule, const void *user);

void merge_free(struct merge_work *work);

#endif
