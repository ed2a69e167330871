#include <math.h>

#include "cpu/rows.h"

static void rows(const struct op_call *call, const struct cpu_op *op, int64_t begin, int64_t end)
{
    (void)op;
    int64_t n = call->in[0].ne[0];
    for (int64_t row = begin; row < end; row++) {
        const float *restrict x = view_row_flat(&call->in[0], row);
        float *restrict y = view_row_flat(&call->out[0], row);
        float max = -INFINITY;
        for (int64_t i = 0; i < n; i++)
            max = x[i] > max ? x[i] : max;
        double sum = 0;
        for (int64_t i = 0; i < n; i++) {
            y[i] = expf(x[i] - max);
            sum += y[i];
        }
        float scale = (float)(1 / sum);
        for (int64_t i = 0; i < n; i++)
            y[i] *= scale;
    }
}

static void run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    cpu_rows(call, scratch, batch_rows_flat(call->batch, call->op->out[0]), call->in[0].ne[0] * 8,
             rows);
}

const struct cpu_op cpu_op_softmax_scalar = {
    .name = "softmax_scalar", .kind = OP_SOFTMAX, .level = CPU_SCALAR, .run = run};
