/*
 * batch.h — what changes with every token: which tokens, where they stand, where their cache is.
 *
 * Owns nothing; filled by the engine for one step, read by every executor. Plain values: any
 * thread.
 */
#ifndef OP_BATCH_H
#define OP_BATCH_H

#include <stdint.h>

/* What a graph for batches is built for, and what is asked of one. */
struct batch_size {
    int n_tokens, n_outputs;
    int n_best; /* of each output only so many of the likeliest are wanted; 0: all logits */
};

struct batch {
    int n_tokens;
    const int32_t *ids; /* token of each row */
    const int32_t *pos; /* its position in its sequence */
    const int32_t *seq; /* its row of the page table; those of a sequence together, ascending */
    int n_outputs;
    const int32_t *outputs; /* rows whose logits are wanted, ascending */
    /* page_table[seq × table_stride + pos / KV_PAGE] is the number of a page of the cache. */
    const uint32_t *page_table;
    int table_stride, n_seqs;
    int n_best; /* what is wanted of each output: so many of the likeliest; 0: all logits */
};

static inline struct batch_size batch_size(const struct batch *batch)
{
    return (struct batch_size){batch->n_tokens, batch->n_outputs, batch->n_best};
}

#endif
