#include "op/op_impl.h"

/* Keys and values of the batch's tokens go to their positions in the cache. */

static const char *check(const struct op *op)
{
    const struct tensor *k = op->in[0], *v = op->in[1], *kv = op->out[0];
    if (!k || !v || !kv || kv->kind != TENSOR_KV)
        return "it takes keys and values and fills a cache";
    const struct kv_geom *geom = &kv->kv;
    if (!tensor_is_f32(k) || k->ne[0] != geom->k_dim || k->ne[1] != geom->n_head_kv ||
        k->rows != ROWS_TOKENS || !tensor_batch_dim(k, 2))
        return "the keys are not F32 [k_dim, n_head_kv, T] of the cache";
    if (!tensor_is_f32(v) || v->ne[0] != geom->v_dim || v->ne[1] != geom->n_head_kv ||
        v->rows != ROWS_TOKENS || !tensor_batch_dim(v, 2))
        return "the values are not F32 [v_dim, n_head_kv, T] of the cache";
    if (!geom->k_type->encode || !geom->v_type->encode || !geom->k_type->decode ||
        !geom->v_type->decode)
        return "the cache's type cannot be written";
    if (geom->k_dim % (int)geom->k_type->block_elems ||
        geom->v_dim % (int)geom->v_type->block_elems)
        return "the cache's rows are no whole number of blocks";
    return NULL;
}

static enum hth_status reference(const struct op_call *call)
{
    const struct kv_geom *kv = &call->op->out[0]->kv;
    const struct batch *batch = call->batch;
    for (int t = 0; t < batch->n_tokens; t++)
        for (int h = 0; h < kv->n_head_kv; h++) {
            int64_t pos = batch->pos[t];
            dtype_encode_quick(kv->k_type, view_row(&call->in[0], h, t),
                               call_k_row(call, kv, pos, batch->seq[t], h), (size_t)kv->k_dim);
            dtype_encode_quick(kv->v_type, view_row(&call->in[1], h, t),
                               call_v_row(call, kv, pos, batch->seq[t], h), (size_t)kv->v_dim);
        }
    return HTH_OK;
}

static struct op_cost cost(const struct op *op, int64_t kv_len)
{
    (void)kv_len;
    const struct kv_geom *kv = &op->out[0]->kv;
    uint64_t rows = (uint64_t)tensor_rows(op->in[0]);
    struct op_cost cost = {.act_bytes = op_act_bytes(op)};
    cost.kv_bytes = rows * (dtype_row_bytes(kv->k_type, (uint64_t)kv->k_dim) +
                            dtype_row_bytes(kv->v_type, (uint64_t)kv->v_dim));
    return cost;
}

/* What is compared is what the cache decodes to. F32 and F16 are exact; where a block's scale
 * rounds the other way, its values may move by one step of 1/127 of the peak. */
const struct op_def op_def_kv_write = {
    .kind = OP_KV_WRITE,
    .name = "kv_write",
    .check = check,
    .reference = reference,
    .cost = cost,
    .tolerance_f32 = 1e-5,
    .tolerance_f16 = 1e-5,
    .tolerance_int = 1e-5,
};

void op_kv_write(struct graph *g, const char *label, struct tensor *k, struct tensor *v,
                 struct tensor *kv)
{
    if (!graph_can(g, label, k) || !graph_can(g, label, v) || !graph_can(g, label, kv))
        return;
    struct op op = {.kind = OP_KV_WRITE, .in = {k, v}, .out = {kv}};
    graph_finish(g, label, &op);
}
