#include "model/blocks.h"

/* Seed-OSS (36B): Qwen 2's layers with heads wider than n_embd / n_head; files name the FFN's norm
 * after what stands before it. */
static const struct weight_spec weights[] = {
    /* clang-format off */
    WEIGHTS_EMBED,
    WEIGHTS_ATTENTION,
    LAYER_VECTOR("post_attention_norm.weight", ffn_norm, DIM_EMBD, 0),
    LAYER_WEIGHT("ffn_gate.weight", ffn_gate, DIM_EMBD, DIM_FF, 0),
    LAYER_WEIGHT("ffn_up.weight", ffn_up, DIM_EMBD, DIM_FF, 0),
    LAYER_WEIGHT("ffn_down.weight", ffn_down, DIM_FF, DIM_EMBD, 0),
    WEIGHTS_HEAD,
    /* clang-format on */
};

static void read_keys(struct key_reader *keys, struct hparams *hp)
{
    (void)keys;
    hp->rope.kind = ROPE_NEOX;
}

static void build(const struct model *model, struct graph *g, const struct kv_geom *kv)
{
    struct tensor *x = block_embed(model, g);
    for (int i = 0; i < model->hp.n_layer; i++)
        x = block_layer(model, g, i, kv, x, NULL);
    block_head(model, g, x);
}

const struct arch arch_seed_oss = {
    .name = "seed_oss",
    .weights = weights,
    .n_weights = ARRAY_LEN(weights),
    .read_keys = read_keys,
    .build = build,
};
