#include <limits.h>

#include "model/blocks.h"

/* Qwen 3 with experts (30B-A3B, Coder, 235B). */
static const struct weight_spec weights[] = {
    /* clang-format off */
    WEIGHTS_EMBED,
    WEIGHTS_ATTENTION,
    WEIGHTS_QK_NORM,
    WEIGHTS_FFN,
    WEIGHTS_EXPERTS,
    WEIGHTS_HEAD,
    /* clang-format on */
};

static void read_keys(struct key_reader *keys, struct hparams *hp)
{
    hp->rope.kind = ROPE_NEOX;
    /* Files without the key divide the dense width among the experts in use. */
    if (hp->n_expert > 0 && key_int(keys, "expert_feed_forward_length", 0, INT_MAX, 0) == 0)
        hp->n_ff_expert = hp->n_ff / hp->n_expert_used;
}

static void build(const struct model *model, struct graph *g, const struct kv_geom *kv)
{
    struct tensor *x = block_embed(model, g);
    for (int i = 0; i < model->hp.n_layer; i++)
        x = block_layer(model, g, i, kv, x, NULL);
    block_head(model, g, x);
}

const struct arch arch_qwen3moe = {
    .name = "qwen3moe",
    .weights = weights,
    .n_weights = ARRAY_LEN(weights),
    .read_keys = read_keys,
    .build = build,
};
