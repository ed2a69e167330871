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
    int window; /* positions looked back, its own included; 0: all */
};

/* Grouped-query attention of a normed input: q, k, v (with biases where the file has them),
 * per-head norms where the file has them, rope, cache, attention, output.
 * [n_embd, T] → [n_embd, T]. */
struct tensor *block_attention(const struct model *model, struct graph *g,
                               const struct layer *layer, const struct kv_geom *kv,
                               struct tensor *x, const struct attention_options *options);

/* SwiGLU: down(silu(gate(x)) × up(x)). */
struct tensor *block_ffn(const struct model *model, struct graph *g, const struct layer *layer,
                         struct tensor *x);

/* Mixture of experts: router, experts' SwiGLU, weighted sum. */
struct tensor *block_moe(const struct model *model, struct graph *g, const struct layer *layer,
                         struct tensor *x);

/* RMS norm over rows; x [weight's length, …]. */
struct tensor *block_norm(const struct model *model, struct graph *g, const char *label,
                          struct tensor *x, const struct weight *weight);

/* W·x, + bias where there is one. */
struct tensor *block_linear(struct graph *g, const char *label, const struct weight *weight,
                            struct tensor *x, const struct weight *bias);

/* A whole layer of the common kind: x + attention(norm(x)), then that + ffn(norm(that)), where the
 * FFN is a mixture if the layer has experts. [n_embd, T] → [n_embd, T]. `kv` has all layers. */
struct tensor *block_layer(const struct model *model, struct graph *g, int index,
                           const struct kv_geom *kv, struct tensor *x,
                           const struct attention_options *options);

/* Wanted rows, output norm, head: sets g->logits. */
void block_head(const struct model *model, struct graph *g, struct tensor *x);

/* --- rows of weight tables, in groups that go together ---------------------------------------- */

/* clang-format off */
#define MODEL_WEIGHT(name, field, ne0, ne1, flags) \
    {name, offsetof(struct model, field), {ne0, ne1, DIM_NONE}, flags}
#define LAYER_WEIGHT(name, field, ne0, ne1, flags) \
    {"blk.%d." name, offsetof(struct layer, field), {ne0, ne1, DIM_NONE}, flags}
#define LAYER_VECTOR(name, field, ne0, flags) \
    LAYER_WEIGHT(name, field, ne0, DIM_NONE, WEIGHT_VECTOR | (flags))
#define LAYER_EXPERTS(name, field, ne0, ne1) \
    {"blk.%d." name, offsetof(struct layer, field), {ne0, ne1, DIM_EXPERT}, \
     WEIGHT_EXPERTS_APART | WEIGHT_IF_MOE}

/* Before the layers. */
#define WEIGHTS_EMBED \
    MODEL_WEIGHT("token_embd.weight", token_embd, DIM_EMBD, DIM_VOCAB, 0), \
    MODEL_WEIGHT("rope_freqs.weight", rope_freqs, DIM_ROT_HALF, DIM_NONE, \
                 WEIGHT_VECTOR | WEIGHT_OPTIONAL)

/* Grouped-query attention with optional biases, and the norm before it. */
#define WEIGHTS_ATTENTION \
    LAYER_VECTOR("attn_norm.weight", attn_norm, DIM_EMBD, 0), \
    LAYER_WEIGHT("attn_q.weight", attn_q, DIM_EMBD, DIM_Q, 0), \
    LAYER_WEIGHT("attn_k.weight", attn_k, DIM_EMBD, DIM_K, 0), \
    LAYER_WEIGHT("attn_v.weight", attn_v, DIM_EMBD, DIM_V, 0), \
    LAYER_VECTOR("attn_q.bias", attn_q_bias, DIM_Q, WEIGHT_OPTIONAL), \
    LAYER_VECTOR("attn_k.bias", attn_k_bias, DIM_K, WEIGHT_OPTIONAL), \
    LAYER_VECTOR("attn_v.bias", attn_v_bias, DIM_V, WEIGHT_OPTIONAL), \
    LAYER_WEIGHT("attn_output.weight", attn_output, DIM_O, DIM_EMBD, 0), \
    LAYER_VECTOR("attn_output.bias", attn_output_bias, DIM_EMBD, WEIGHT_OPTIONAL)

/* A norm of each head of q and k. */
#define WEIGHTS_QK_NORM \
    LAYER_VECTOR("attn_q_norm.weight", attn_q_norm, DIM_HEAD_K, 0), \
    LAYER_VECTOR("attn_k_norm.weight", attn_k_norm, DIM_HEAD_K, 0)

/* The FFN's norm, and a gated FFN with optional biases where there are no experts. */
#define WEIGHTS_FFN \
    LAYER_VECTOR("ffn_norm.weight", ffn_norm, DIM_EMBD, 0), \
    LAYER_WEIGHT("ffn_gate.weight", ffn_gate, DIM_EMBD, DIM_FF, WEIGHT_IF_DENSE), \
    LAYER_WEIGHT("ffn_up.weight", ffn_up, DIM_EMBD, DIM_FF, WEIGHT_IF_DENSE), \
    LAYER_WEIGHT("ffn_down.weight", ffn_down, DIM_FF, DIM_EMBD, WEIGHT_IF_DENSE), \
    LAYER_VECTOR("ffn_gate.bias", ffn_gate_bias, DIM_FF, WEIGHT_OPTIONAL | WEIGHT_IF_DENSE), \
    LAYER_VECTOR("ffn_up.bias", ffn_up_bias, DIM_FF, WEIGHT_OPTIONAL | WEIGHT_IF_DENSE), \
    LAYER_VECTOR("ffn_down.bias", ffn_down_bias, DIM_EMBD, WEIGHT_OPTIONAL | WEIGHT_IF_DENSE)

/* A mixture of experts, where there are any. */
#define WEIGHTS_EXPERTS \
    LAYER_WEIGHT("ffn_gate_inp.weight", ffn_gate_inp, DIM_EMBD, DIM_EXPERT, WEIGHT_IF_MOE), \
    LAYER_EXPERTS("ffn_gate_exps.weight", ffn_gate_exps, DIM_EMBD, DIM_FF_EXPERT), \
    LAYER_EXPERTS("ffn_up_exps.weight", ffn_up_exps, DIM_EMBD, DIM_FF_EXPERT), \
    LAYER_EXPERTS("ffn_down_exps.weight", ffn_down_exps, DIM_FF_EXPERT, DIM_EMBD)

/* After the layers; without an output matrix the embeddings serve. */
#define WEIGHTS_HEAD \
    MODEL_WEIGHT("output_norm.weight", output_norm, DIM_EMBD, DIM_NONE, WEIGHT_VECTOR), \
    MODEL_WEIGHT("output.weight", output, DIM_EMBD, DIM_VOCAB, WEIGHT_OPTIONAL), \
    MODEL_WEIGHT("output.bias", output_bias, DIM_VOCAB, DIM_NONE, WEIGHT_VECTOR | WEIGHT_OPTIONAL)
/* clang-format on */

#endif
