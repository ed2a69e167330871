#include "model/blocks.h"

/* Llama 2 and 3, Mistral 7B, Nemo, SmolLM2 and many fine-tunes; with experts: Mixtral. */
static const struct weight_spec weights[] = {
    /* clang-format off */
    WEIGHTS_EMBED,
    WEIGHTS_ATTENTION,
    WEIGHTS_FFN,
    WEIGHTS_EXPERTS,
    WEIGHTS_HEAD,
    /* clang-format on */
};

static void build(const struct model *model, struct graph *g, const struct kv_geom *kv)
{
    struct tensor *x = block_embed(model, g);
    for (int i = 0; i < model->hp.n_layer; i++)
        x = block_layer(model, g, i, kv, x, NULL);
    block_head(model, g, x);
}

const struct arch arch_llama = {
    .name = "llama",
    .weights = weights,
    .n_weights = ARRAY_LEN(weights),
    .build = build,
};
