/*
 * blocks.h — building blocks that architectures share, as plain functions over ops.
 *
 * Own nothing; an odd model ignores them and calls ops. One thread per graph.
 */
#ifndef MODEL_BLOCKS_H
#define MODEL_BLOCKS_H

#include "model/arch.h"

/* Token embeddings, [n_embd, T]. */
struct tensor *block_embed(const struct model *model, struct graph *g);

/* What a layer's attention may have beyond the plain form. */
struct attention_options {
    bool no_rope;
};

/* Grouped-query attention of a normed input: q, k, v (with biases where the file has them), per-head
 * norms where the file has them, rope, cache, attention, output. [n_embd, T] → [n_embd, T]. */
struct tensor *block_attention(const struct model *model, struct graph *g, const struct layer *layer,
                               const struct kv_geom *kv, struct tensor *x,
                               const struct attention_options *options);

/* SwiGLU: down(silu(gate(x)) × up(x)). */
struct tensor *block_ffn(const struct model *model, struct graph *g, const struct layer *layer,
                         struct tensor *x);

/* Mixture of experts: router, experts' SwiGLU, weighted sum. */
struct tensor *block_moe(const struct model *model, struct graph *g, const struct layer *layer,
                         struct tensor *x);

/* Wanted rows, output norm, head: sets g->logits. */
void block_head(const struct model *model, struct graph *g, struct tensor *x);

#endif
