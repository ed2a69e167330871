#include "op/op_impl.h"

#include <math.h>

/* y_i = exp(x_i) / Σ exp(x_j) over each row. */

static const char *check(const struct op *op)
{
    const struct tensor *x = op->in[0], *out = op->out[0];
    if (!x || !out || !tensor_is_f32(x) || !tensor_is_f32(out))
        return "it takes and gives F32 rows";
    if (!tensor_same_shape(x, out) || x->rows != out->rows)
        return "what comes out has not the shape of what goes in";
    return NULL;
}

static enum hth_status reference(const struct op_call *call)
{
    int64_t rows = batch_rows_flat(call->batch, call->op->out[0]), n = call->in[0].ne[0];
    for (int64_t row = 0; row < rows; row++) {
        const float *x = view_row_flat(&call->in[0], row);
        float *y = view_row_flat(&call->out[0], row);
        double max = -INFINITY, sum = 0;
        for (int64_t i = 0; i < n; i++)
            max = fmax(max, x[i]);
        for (int64_t i = 0; i < n; i++)
            sum += exp(x[i] - max);
        for (int64_t i = 0; i < n; i++)
            y[i] = (float)(exp(x[i] - max) / sum);
    }
    return HTH_OK;
}

static struct op_cost cost(const struct op *op, int64_t kv_len)
{
    (void)kv_len;
    return op_cost_elementwise(op, 4);
}

/* The argument of exp is exact to half an ulp of the distance to the maximum; what is far below it
 * weighs nothing. */
const struct op_def op_def_softmax = {
    .kind = OP_SOFTMAX,
    .name = "softmax",
    .check = check,
    .reference = reference,
    .cost = cost,
    .tolerance_f32 = 1e-10,
    .tolerance_f16 = 1e-5,
    .tolerance_int = 1e-10,
};

struct tensor *op_softmax(struct graph *g, const char *label, struct tensor *x)
{
    if (!graph_can(g, label, x))
        return &g->broken;
    struct op op = {.kind = OP_SOFTMAX, .in = {x}};
    op.out[0] = graph_activation(g, label, &dtype_f32, x->ne, x->rows);
    return graph_finish(g, label, &op);
}
