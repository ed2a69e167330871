#include <math.h>

#include "cpu/rows.h"

/* One loop per kind, so that the choice stays out of it. */
static void silu(const float *restrict gate, const float *restrict up, float *restrict y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = gate[i] / (1 + expf(-gate[i])) * up[i];
}

/* 1 + tanh(u) = 2 / (1 + exp(−2u)), which keeps its precision where tanh nears −1. */
static void gelu_tanh(const float *restrict gate, const float *restrict up, float *restrict y,
                      int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        float x = gate[i];
        float u = 0.79788456080286535588f * (x + 0.044715f * x * x * x);
        y[i] = x / (1 + expf(-2 * u)) * up[i];
    }
}

static void gelu_erf(const float *restrict gate, const float *restrict up, float *restrict y,
                     int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = 0.5f * gate[i] * erfcf(-0.70710678118654752440f * gate[i]) * up[i];
}

static void rows(const struct op_call *call, int64_t begin, int64_t end)
{
    int64_t n = call->in[0].ne[0];
    for (int64_t row = begin; row < end; row++) {
        const float *gate = view_row_flat(&call->in[0], row);
        const float *up = view_row_flat(&call->in[1], row);
        float *y = view_row_flat(&call->out[0], row);
        switch (call->op->p.glu.kind) {
        case GLU_SILU: silu(gate, up, y, n); break;
        case GLU_GELU_TANH: gelu_tanh(gate, up, y, n); break;
        case GLU_GELU_ERF: gelu_erf(gate, up, y, n); break;
        }
    }
}

static void run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    cpu_rows(call, scratch, batch_rows_flat(call->batch, call->op->out[0]), call->in[0].ne[0] * 8,
             rows);
}

const struct cpu_op cpu_op_glu_scalar = {
    .name = "glu_scalar", .kind = OP_GLU, .level = CPU_SCALAR, .run = run};
