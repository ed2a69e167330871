#include "model/blocks.h"

/* SmolLM3 (3B): every fourth layer knows no positions. */
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
    hp->no_rope_every = 4; /* no key says so; the reference model's no_rope_layer_interval */
}

static void build(const struct model *model, struct graph *g, const struct kv_geom *kv)
{
    struct tensor *x = block_embed(model, g);
    for (int i = 0; i < model->hp.n_layer; i++) {
        struct attention_options options = {.no_rope = (i + 1) % model->hp.no_rope_every == 0};
        x = block_layer(model, g, i, kv, x, &options);
    }
    block_head(model, g, x);
}

const struct arch arch_smollm3 = {
    .name = "smollm3",
    .weights = weights,
    .n_weights = ARRAY_LEN(weights),
    .read_keys = read_keys,
    .build = build,
};
