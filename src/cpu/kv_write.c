#include "cpu/float_kernels.h"
#include "cpu/rows.h"

static void rows(const struct op_call *call, const struct cpu_op *op, int64_t begin, int64_t end)
{
    const struct kv_geom *kv = &call->op->out[0]->kv;
    const struct batch *batch = call->batch;
    for (int64_t t = begin; t < end; t++)
        for (int h = 0; h < kv->n_head_kv; h++) {
            void *k = call_k_row(call, kv, batch->pos[t], batch->seq[t], h);
            void *v = call_v_row(call, kv, batch->pos[t], batch->seq[t], h);
            float_encode(op->floats, kv->k_type, view_row(&call->in[0], h, t), k,
                         (size_t)kv->k_dim);
            float_encode(op->floats, kv->v_type, view_row(&call->in[1], h, t), v,
                         (size_t)kv->v_dim);
        }
}

void kv_write_run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    const struct kv_geom *kv = &call->op->out[0]->kv;
    cpu_rows(call, scratch, call->batch->n_tokens,
             (int64_t)kv->n_head_kv * (kv->k_dim + kv->v_dim) / 4, rows);
}
