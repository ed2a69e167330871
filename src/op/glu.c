#include "op/op_impl.h"

#include <math.h>

/* y = act(gate) × up (Shazeer 2020, arXiv:2002.05202). */

static const char *check(const struct op *op)
{
    const struct tensor *gate = op->in[0], *up = op->in[1], *out = op->out[0];
    if (!gate || !up || !out || !tensor_is_f32(gate) || !tensor_is_f32(up) || !tensor_is_f32(out))
        return "it takes and gives F32 rows";
    if (!tensor_same_shape(gate, up) || !tensor_same_shape(gate, out) || gate->rows != out->rows ||
        up->rows != out->rows)
        return "gate, up and what comes out have not one shape";
    return NULL;
}

static double activate(enum glu_kind kind, double x)
{
    switch (kind) {
    case GLU_SILU: return x / (1 + exp(-x));
    case GLU_GELU_TANH: /* √(2/π) (Hendrycks & Gimpel 2016, arXiv:1606.08415) */
        return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case GLU_GELU_ERF: return 0.5 * x * (1 + erf(x * 0.70710678118654752440));
    }
    return x;
}

static enum hth_status reference(const struct op_call *call)
{
    int64_t rows = batch_rows_flat(call->batch, call->op->out[0]), n = call->in[0].ne[0];
    for (int64_t row = 0; row < rows; row++) {
        const float *gate = view_row_flat(&call->in[0], row);
        const float *up = view_row_flat(&call->in[1], row);
        float *y = view_row_flat(&call->out[0], row);
        for (int64_t i = 0; i < n; i++)
            y[i] = (float)(activate(call->op->p.glu.kind, gate[i]) * up[i]);
    }
    return HTH_OK;
}

static struct op_cost cost(const struct op *op, int64_t kv_len)
{
    (void)kv_len;
    return op_cost_elementwise(op, 5);
}

const struct op_def op_def_glu = {
    .kind = OP_GLU,
    .name = "glu",
    .check = check,
    .reference = reference,
    .cost = cost,
    .tolerance_f32 = 1e-11,
    .tolerance_f16 = 1e-6,
    .tolerance_int = 1e-11,
    .by_expert = true,
};

struct tensor *op_glu(struct graph *g, const char *label, struct tensor *gate, struct tensor *up,
                      enum glu_kind kind)
{
    if (!graph_can(g, label, gate) || !graph_can(g, label, up))
        return &g->broken;
    struct op op = {.kind = OP_GLU, .in = {gate, up}, .p.glu = {kind}};
    op.out[0] = graph_activation(g, label, &dtype_f32, gate->ne, gate->rows);
    return graph_finish(g, label, &op);
}
