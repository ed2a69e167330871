#include "cpu/float_kernels.h"
#include "cpu/rows.h"

static void rows(const struct op_call *call, const struct cpu_op *op, int64_t begin, int64_t end)
{
    const float *w = call->op->in[1] ? call->in[1].data : NULL;
    for (int64_t row = begin; row < end; row++)
        op->floats->rms_norm(view_row_flat(&call->in[0], row), w, call->op->p.rms_norm.eps,
                             view_row_flat(&call->out[0], row), call->in[0].ne[0]);
}

void rms_norm_run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    cpu_rows(call, scratch, batch_rows_flat(call->batch, call->op->out[0]), call->in[0].ne[0] / 2,
             rows);
}
