#include "model/blocks.h"

/* Cohere 2 (Command R7B, Command A): layer norms without bias; attention and FFN side by side, both
 * of one normed input; layers look back over a window and know positions, but each fourth, which
 * looks at all and knows none; logits are scaled. */
static const struct weight_spec weights[] = {
    /* clang-format off */
    WEIGHTS_EMBED,
    WEIGHTS_ATTENTION,
    LAYER_WEIGHT("ffn_gate.weight", ffn_gate, DIM_EMBD, DIM_FF, 0),
    LAYER_WEIGHT("ffn_up.weight", ffn_up, DIM_EMBD, DIM_FF, 0),
    LAYER_WEIGHT("ffn_down.weight", ffn_down, DIM_FF, DIM_EMBD, 0),
    WEIGHTS_HEAD,
    /* clang-format on */
};

static void read_keys(struct key_reader *keys, struct hparams *hp)
{
    hp->no_rope_every = 4; /* no key says so; the reference model's sliding_window_pattern */
    hp->n_window = key_int(keys, "attention.sliding_window", 1, 1 << 30, 4096);
    hp->logit_scale = key_float(keys, "logit_scale", 1.0f);
}

static struct tensor *norm(const struct model *model, struct graph *g, const char *label,
                           struct tensor *x, const struct weight *weight)
{
    return op_layer_norm(g, label, x, graph_weight(g, weight), NULL, model->hp.norm_eps);
}

static void build(const struct model *model, struct graph *g, const struct kv_geom *kv)
{
    const struct hparams *hp = &model->hp;
    struct tensor *x = block_embed(model, g);
    for (int i = 0; i < hp->n_layer; i++) {
        const struct layer *layer = &model->layers[i];
        bool whole = (i + 1) % hp->no_rope_every == 0;
        struct attention_options options = {.no_rope = whole, .window = whole ? 0 : hp->n_window};
        g->layer = i;
        struct tensor *h = norm(model, g, "attn_norm", x, layer->attn_norm); /* [n_embd, T] */
        struct tensor *attention = block_attention(model, g, layer, &kv[i], h, &options);
        struct tensor *ffn = block_ffn(model, g, layer, h);
        x = op_add(g, "attn_residual", x, attention);
        x = op_add(g, "ffn_residual", x, ffn);
        g->layer = -1;
    }
    x = op_get_rows(g, "wanted", x, INDEX_OUTPUTS);
    x = norm(model, g, "output_norm", x, model->output_norm);
    /* the logits' scale, of fewer numbers */
    x = op_scale(g, "logit_scale", x, &(struct scale_params){.scale = hp->logit_scale});
    g->logits = block_linear(g, "output", model->output, x, NULL);
}

const struct arch arch_cohere2 = {
    .name = "cohere2",
    .weights = weights,
    .n_weights = ARRAY_LEN(weights),
    .read_keys = read_keys,
    .build = build,
};
