#include "cpu/float_kernels.h"
#include "cpu/rows.h"

static void rows(const struct op_call *call, const struct cpu_op *op, int64_t begin, int64_t end)
{
    struct layer_norm_row row = {
        .w = call->op->in[1] ? call->in[1].data : NULL,
        .bias = call->op->in[2] ? call->in[2].data : NULL,
        .eps = call->op->p.layer_norm.eps,
        .n = call->in[0].ne[0],
    };
    for (int64_t i = begin; i < end; i++) {
        row.x = view_row_flat(&call->in[0], i);
        row.y = view_row_flat(&call->out[0], i);
        op->floats->layer_norm(&row);
    }
}

void layer_norm_run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    cpu_rows(call, scratch, batch_rows_flat(call->batch, call->op->out[0]), call->in[0].ne[0],
             rows);
}
