#include "model/blocks.h"

struct tensor *block_embed(const struct model *model, struct graph *g)
{
    return op_get_rows(g, "embed", graph_weight(g, model->token_embd), INDEX_TOKENS);
}

struct tensor *block_norm(const struct model *model, struct graph *g, const char *label,
                          struct tensor *x, const struct weight *weight)
{
    return op_rms_norm(g, label, x, graph_weight(g, weight), model->hp.norm_eps);
}

struct tensor *block_linear(struct graph *g, const char *label, const struct weight *weight,
                            struct tensor *x, const struct weight *bias)
{
    return op_matmul(g, label, graph_weight(g, weight), x, graph_weight(g, bias));
}

/* x [dim, n, T]: a norm per head where the file has one, and turned by position but where `rope` is
 * NULL. */
static struct tensor *heads(const struct model *model, struct graph *g, const char *const labels[2],
                            struct tensor *x, const struct weight *norm,
                            const struct rope_params *rope)
{
    if (norm)
        x = block_norm(model, g, labels[0], x, norm);
    if (rope)
        x = op_rope(g, labels[1], x, graph_weight(g, model->rope_freqs), rope);
    return x;
}

struct tensor *block_attention(const struct model *model, struct graph *g,
                               const struct layer *layer, const struct kv_geom *kv,
                               struct tensor *x, const struct attention_options *options)
{
    static const char *const q_labels[2] = {"q_norm", "q_rope"};
    static const char *const k_labels[2] = {"k_norm", "k_rope"};
    const struct hparams *hp = &model->hp;
    const struct rope_params *rope = options && options->no_rope ? NULL : &hp->rope;
    const struct attention_params attention = {.n_head = hp->n_head,
                                               .scale = hp->attention_scale,
                                               .window = options ? options->window : 0};
    struct tensor *cache = graph_kv(g, "kv", kv);
    struct tensor *q = block_linear(g, "attn_q", layer->attn_q, x, layer->attn_q_bias);
    struct tensor *k = block_linear(g, "attn_k", layer->attn_k, x, layer->attn_k_bias);
    struct tensor *v = block_linear(g, "attn_v", layer->attn_v, x, layer->attn_v_bias);
    q = graph_reshape(g, q, hp->head_dim_k, hp->n_head, g->n_tokens);
    k = graph_reshape(g, k, hp->head_dim_k, hp->n_head_kv, g->n_tokens);
    v = graph_reshape(g, v, hp->head_dim_v, hp->n_head_kv, g->n_tokens);
    q = heads(model, g, q_labels, q, layer->attn_q_norm, rope);
    k = heads(model, g, k_labels, k, layer->attn_k_norm, rope);
    if (hp->temperature_scale != 0.0f) {
        const struct scale_params scale = {1.0f, hp->temperature_scale, hp->temperature_length};
        q = op_scale(g, "q_temperature", q, &scale);
    }
    op_kv_write(g, "kv_write", k, v, cache);
    x = op_attention(g, "attn", q, cache, NULL, &attention); /* [n_head × head_dim_v, T] */
    return block_linear(g, "attn_output", layer->attn_output, x, layer->attn_output_bias);
}

struct tensor *block_ffn(const struct model *model, struct graph *g, const struct layer *layer,
                         struct tensor *x)
{
    struct tensor *gate = block_linear(g, "ffn_gate", layer->ffn_gate, x, layer->ffn_gate_bias);
    struct tensor *up = block_linear(g, "ffn_up", layer->ffn_up, x, layer->ffn_up_bias);
    (void)model;
    x = op_glu(g, "ffn_glu", gate, up, GLU_SILU); /* [n_ff, T] */
    return block_linear(g, "ffn_down", layer->ffn_down, x, layer->ffn_down_bias);
}

struct tensor *block_moe(const struct model *model, struct graph *g, const struct layer *layer,
                         struct tensor *x)
{
    struct tensor *ids;
    struct tensor *logits = block_linear(g, "ffn_router", layer->ffn_gate_inp, x, NULL);
    struct tensor *share = op_router(g, "ffn_share", logits, NULL, &model->hp.router, &ids);
    struct tensor *gate_w = graph_weight(g, layer->ffn_gate_exps);
    struct tensor *up_w = graph_weight(g, layer->ffn_up_exps);
    struct tensor *down_w = graph_weight(g, layer->ffn_down_exps);
    struct tensor *gate = op_matmul_experts(g, "ffn_gate", gate_w, x, ids); /* [n_ff, n_used, T] */
    struct tensor *up = op_matmul_experts(g, "ffn_up", up_w, x, ids);
    struct tensor *h = op_glu(g, "ffn_glu", gate, up, GLU_SILU);
    h = op_matmul_experts(g, "ffn_down", down_w, h, ids); /* [n_embd, n_used, T] */
    return op_expert_sum(g, "ffn_sum", h, share);
}

struct tensor *block_layer(const struct model *model, struct graph *g, int index,
                           const struct kv_geom *kv, struct tensor *x,
                           const struct attention_options *options)
{
    const struct layer *layer = &model->layers[index];
    struct tensor *h;
    g->layer = index;
    h = block_norm(model, g, "attn_norm", x, layer->attn_norm);
    h = block_attention(model, g, layer, &kv[index], h, options);
    x = op_add(g, "attn_residual", x, h);
    h = block_norm(model, g, "ffn_norm", x, layer->ffn_norm);
    h = layer->ffn_gate_exps ? block_moe(model, g, layer, h) : block_ffn(model, g, layer, h);
    x = op_add(g, "ffn_residual", x, h);
    g->layer = -1;
    return x;
}

void block_head(const struct model *model, struct graph *g, struct tensor *x)
{
    x = op_get_rows(g, "wanted", x, INDEX_OUTPUTS); /* [n_embd, n_outputs] */
    x = block_norm(model, g, "output_norm", x, model->output_norm);
    g->logits = block_linear(g, "output", model->output, x, model->output_bias);
}
