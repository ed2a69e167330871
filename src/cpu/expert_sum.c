#include "cpu/rows.h"

static void rows(const struct op_call *call, const struct cpu_op *op, int64_t begin, int64_t end)
{
    (void)op;
    const struct view *x = &call->in[0];
    for (int64_t t = begin; t < end; t++) {
        const float *weights = view_row(&call->in[1], t, 0);
        float *restrict y = view_row(&call->out[0], t, 0);
        for (int64_t i = 0; i < x->ne[0]; i++)
            y[i] = 0;
        for (int64_t u = 0; u < x->ne[1]; u++) {
            const float *restrict row = view_row(x, u, t);
            float weight = weights[u];
            for (int64_t i = 0; i < x->ne[0]; i++)
                y[i] += weight * row[i];
        }
    }
}

static void run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    cpu_rows(call, scratch, batch_rows(call->batch, call->op->out[0]),
             call->in[0].ne[0] * call->in[0].ne[1] / 2 + 1, rows);
}

const struct cpu_op cpu_op_expert_sum_scalar = {
    .name = "expert_sum_scalar", .kind = OP_EXPERT_SUM, .level = CPU_SCALAR, .run = run};
