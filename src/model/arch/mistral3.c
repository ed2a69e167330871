#include "model/blocks.h"

/* Ministral 3 (3B, 8B, 14B): llama with queries that grow with their position. The steps come from
 * the original context length; files also carry attention.temperature_length, which the field's
 * reference ignores. */
static const struct weight_spec weights[] = {
    /* clang-format off */
    WEIGHTS_EMBED,
    WEIGHTS_ATTENTION,
    WEIGHTS_FFN,
    WEIGHTS_EXPERTS,
    WEIGHTS_HEAD,
    /* clang-format on */
};

static void read_keys(struct key_reader *keys, struct hparams *hp)
{
    hp->temperature_scale = key_float(keys, "attention.temperature_scale", 0.0f);
    hp->temperature_length = hp->rope.n_ctx_orig;
}

static void build(const struct model *model, struct graph *g, const struct kv_geom *kv)
{
    struct tensor *x = block_embed(model, g);
    for (int i = 0; i < model->hp.n_layer; i++)
        x = block_layer(model, g, i, kv, x, NULL);
    block_head(model, g, x);
}

const struct arch arch_mistral3 = {
    .name = "mistral3",
    .weights = weights,
    .n_weights = ARRAY_LEN(weights),
    .read_keys = read_keys,
    .build = build,
};
