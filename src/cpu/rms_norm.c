#include <math.h>

#include "cpu/rows.h"

static void rows(const struct op_call *call, int64_t begin, int64_t end)
{
    const float *restrict w = call->op->in[1] ? call->in[1].data : NULL;
    int64_t n = call->in[0].ne[0];
    for (int64_t row = begin; row < end; row++) {
        const float *restrict x = view_row_flat(&call->in[0], row);
        float *restrict y = view_row_flat(&call->out[0], row);
        /* In double: squares of large finite floats must not overflow. */
        double lanes[4] = {0};
        int64_t i = 0;
        for (; i + 4 <= n; i += 4)
            for (int j = 0; j < 4; j++)
                lanes[j] += (double)x[i + j] * x[i + j];
        for (; i < n; i++)
            lanes[0] += (double)x[i] * x[i];
        double mean = (lanes[0] + lanes[1] + lanes[2] + lanes[3]) / (double)n;
        float scale = (float)(1 / sqrt(mean + call->op->p.rms_norm.eps));
        for (i = 0; i < n; i++)
            y[i] = w ? x[i] * scale * w[i] : x[i] * scale;
    }
}

static void run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    cpu_rows(call, scratch, batch_rows_flat(call->batch, call->op->out[0]), call->in[0].ne[0],
             rows);
}

const struct cpu_op cpu_op_rms_norm_scalar = {
    .name = "rms_norm_scalar", .kind = OP_RMS_NORM, .level = CPU_SCALAR, .run = run};
