#include "op/op_impl.h"

#include <math.h>

#include "base/mem.h"

/* y = Σ_j softmax_j(cap(scale × q·k_j)) v_j over the positions j of the token's sequence up to its
 * own; a sink is one more score, without a value. Query head h reads key head h / (n_head /
 * n_head_kv). */

static const char *check_params(const struct attention_params *params, const struct tensor *q,
                                const struct kv_geom *kv)
{
    if (params->n_head < 1 || params->n_head != q->ne[1] || params->n_head % kv->n_head_kv != 0)
        return "the heads are not a multiple of the cache's heads";
    if (!isfinite(params->scale) || !(params->softcap >= 0) || isinf(params->softcap) ||
        params->window < 0)
        return "scale, softcap or window are out of range";
    return NULL;
}

static const char *check(const struct op *op)
{
    const struct tensor *q = op->in[0], *kv = op->in[1], *sinks = op->in[2], *out = op->out[0];
    if (!q || !kv || !out || kv->kind != TENSOR_KV)
        return "it takes queries and a cache";
    const struct kv_geom *geom = &kv->kv;
    if (!tensor_is_f32(q) || q->ne[0] != geom->k_dim || q->rows != ROWS_TOKENS ||
        !tensor_batch_dim(q, 2))
        return "the queries are not F32 [k_dim, n_head, T] of the cache";
    if (!geom->k_type->decode || !geom->v_type->decode ||
        geom->k_dim % (int)geom->k_type->block_elems ||
        geom->v_dim % (int)geom->v_type->block_elems || geom->n_head_kv < 1)
        return "the cache's rows are no whole number of blocks";
    const char *wrong = check_params(&op->p.attention, q, geom);
    if (wrong)
        return wrong;
    if (!tensor_is_f32(out) || out->ne[0] != geom->v_dim * q->ne[1] || out->ne[1] != q->ne[2] ||
        out->rows != ROWS_TOKENS || !tensor_batch_dim(out, 1))
        return "what comes out is not F32 [v_dim × n_head, T]";
    if (sinks && !tensor_is_vector(sinks, q->ne[1]))
        return "the sinks are not an F32 vector with a number for each head";
    return NULL;
}

struct scratch {
    double *scores, *sum; /* of each position; of the output */
    float *row;           /* a key or a value */
};

static double score_of(const struct attention_params *params, const float *q, const float *k, int n)
{
    double dot = 0;
    for (int i = 0; i < n; i++)
        dot += (double)q[i] * k[i];
    dot *= params->scale;
    return params->softcap > 0 ? params->softcap * tanh(dot / params->softcap) : dot;
}

static void attend(const struct op_call *call, int t, int head, const struct scratch *scratch)
{
    const struct attention_params *params = &call->op->p.attention;
    const struct kv_geom *kv = &call->op->in[1]->kv;
    const float *q = view_row(&call->in[0], head, t);
    const float *sinks = call->op->in[2] ? call->in[2].data : NULL;
    float *out = (float *)view_row(&call->out[0], t, 0) + (int64_t)head * kv->v_dim;
    int head_kv = head / (params->n_head / kv->n_head_kv), seq = call->batch->seq[t];
    int64_t end = call->batch->pos[t] + (int64_t)1;
    int64_t begin = params->window > 0 && end > params->window ? end - params->window : 0;
    double max = sinks ? sinks[head] : -INFINITY;
    for (int64_t pos = begin; pos < end; pos++) {
        kv->k_type->decode(call_k_row(call, kv, pos, seq, head_kv), scratch->row,
                           (size_t)kv->k_dim);
        double score = score_of(params, q, scratch->row, kv->k_dim);
        scratch->scores[pos - begin] = score;
        max = fmax(max, score);
    }
    double total = sinks ? exp(sinks[head] - max) : 0;
    for (int i = 0; i < kv->v_dim; i++)
        scratch->sum[i] = 0;
    for (int64_t pos = begin; pos < end; pos++) {
        double weight = exp(scratch->scores[pos - begin] - max);
        total += weight;
        kv->v_type->decode(call_v_row(call, kv, pos, seq, head_kv), scratch->row,
                           (size_t)kv->v_dim);
        for (int i = 0; i < kv->v_dim; i++)
            scratch->sum[i] += weight * scratch->row[i];
    }
    for (int i = 0; i < kv->v_dim; i++)
        out[i] = (float)(scratch->sum[i] / total);
}

static enum hth_status reference(const struct op_call *call)
{
    const struct kv_geom *kv = &call->op->in[1]->kv;
    int64_t longest = 0;
    for (int t = 0; t < call->batch->n_tokens; t++)
        if (call->batch->pos[t] >= longest)
            longest = call->batch->pos[t] + (int64_t)1;
    int widest = kv->k_dim > kv->v_dim ? kv->k_dim : kv->v_dim;
    struct scratch scratch = {
        .scores = mem_calloc((size_t)longest + 1, sizeof *scratch.scores),
        .sum = mem_calloc((size_t)kv->v_dim, sizeof *scratch.sum),
        .row = mem_calloc((size_t)widest, sizeof *scratch.row),
    };
    enum hth_status status = HTH_ERROR_MEMORY;
    if (scratch.scores && scratch.sum && scratch.row) {
        for (int t = 0; t < call->batch->n_tokens; t++)
            for (int head = 0; head < call->op->p.attention.n_head; head++)
                attend(call, t, head, &scratch);
        status = HTH_OK;
    }
    mem_free(scratch.scores);
    mem_free(scratch.sum);
    mem_free(scratch.row);
    return status;
}

static struct op_cost cost(const struct op *op, int64_t kv_len)
{
    const struct kv_geom *kv = &op->in[1]->kv;
    const struct attention_params *params = &op->p.attention;
    uint64_t seen =
        (uint64_t)(params->window > 0 && kv_len > params->window ? params->window : kv_len);
    uint64_t k_dim = (uint64_t)kv->k_dim, v_dim = (uint64_t)kv->v_dim;
    struct op_cost cost = {.act_bytes = op_act_bytes(op)};
    cost.kv_bytes = seen * (uint64_t)kv->n_head_kv *
                    (dtype_row_bytes(kv->k_type, k_dim) + dtype_row_bytes(kv->v_type, v_dim));
    cost.flops = 2 * seen * (k_dim + v_dim) * (uint64_t)tensor_rows(op->in[0]);
    return cost;
}

/* A weight's relative error is the absolute error of its score: scores near 100 are known to 6e-6
 * in float, and to 0.06 in fp16, which is why fp16 rows sum in float and only round their inputs:
 * queries, and keys of a quantized cache. Where one query is far larger than the rest that still is
 * 5e-5.
 */
const struct op_def op_def_attention = {
    .kind = OP_ATTENTION,
    .name = "attention",
    .check = check,
    .reference = reference,
    .cost = cost,
    .tolerance_f32 = 1e-9,
    .tolerance_f16 = 1e-4,
    .tolerance_int = 1e-9,
};

struct tensor *op_attention(struct graph *g, const char *label, struct tensor *q, struct tensor *kv,
                            struct tensor *sinks, const struct attention_params *params)
{
    if (!graph_can(g, label, q) || !graph_can(g, label, kv))
        return &g->broken;
    struct op op = {.kind = OP_ATTENTION, .in = {q, kv, sinks}, .p.attention = *params};
    const int64_t ne[OP_MAX_DIMS] = {kv->kv.v_dim * q->ne[1], q->ne[2], 1, 1};
    op.out[0] = graph_activation(g, label, &dtype_f32, ne, q->rows);
    return graph_finish(g, label, &op);
}
