#include "model/blocks.h"

/* Qwen 2 and 2.5: biases on q, k and v. */
static const struct weight_spec weights[] = {
    /* clang-format off */
    WEIGHTS_EMBED,
    WEIGHTS_ATTENTION,
    WEIGHTS_FFN,
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

const struct arch arch_qwen2 = {
    .name = "qwen2",
    .weights = weights,
    .n_weights = ARRAY_LEN(weights),
    .read_keys = read_keys,
    .build = build,
};
