#include "op/op_impl.h"

#include <math.h>

/* y = (x − mean) / √(mean((x − mean)²) + eps) × w + bias over each row (Ba, Kiros & Hinton 2016,
 * arXiv:1607.06450). */

static const char *check(const struct op *op)
{
    const struct tensor *x = op->in[0], *w = op->in[1], *bias = op->in[2], *out = op->out[0];
    if (!x || !out || !tensor_is_f32(x) || !tensor_is_f32(out))
        return "it takes and gives F32 rows";
    if (!tensor_same_shape(x, out) || x->rows != out->rows)
        return "what comes out has not the shape of what goes in";
    if ((w && !tensor_is_vector(w, x->ne[0])) || (bias && !tensor_is_vector(bias, x->ne[0])))
        return "the weight or the bias is not an F32 vector as long as a row";
    if (!(op->p.layer_norm.eps >= 0) || isinf(op->p.layer_norm.eps))
        return "eps is negative or no number";
    return NULL;
}

static enum hth_status reference(const struct op_call *call)
{
    const float *w = call->op->in[1] ? call->in[1].data : NULL;
    const float *bias = call->op->in[2] ? call->in[2].data : NULL;
    int64_t rows = batch_rows_flat(call->batch, call->op->out[0]), n = call->in[0].ne[0];
    for (int64_t row = 0; row < rows; row++) {
        const float *x = view_row_flat(&call->in[0], row);
        float *y = view_row_flat(&call->out[0], row);
        double sum = 0, squares = 0;
        for (int64_t i = 0; i < n; i++)
            sum += x[i];
        double mean = sum / (double)n;
        for (int64_t i = 0; i < n; i++)
            squares += (x[i] - mean) * (x[i] - mean);
        double scale = 1 / sqrt(squares / (double)n + call->op->p.layer_norm.eps);
        for (int64_t i = 0; i < n; i++)
            y[i] = (float)((x[i] - mean) * scale * (w ? w[i] : 1) + (bias ? bias[i] : 0));
    }
    return HTH_OK;
}

static struct op_cost cost(const struct op *op, int64_t kv_len)
{
    (void)kv_len;
    return op_cost_elementwise(op, 7);
}

const struct op_def op_def_layer_norm = {
    .kind = OP_LAYER_NORM,
    .name = "layer_norm",
    .check = check,
    .reference = reference,
    .cost = cost,
    .tolerance_f32 = 1e-11,
    .tolerance_f16 = 1e-6,
    .tolerance_int = 1e-11,
    .with_reader = true,
};

struct tensor *op_layer_norm(struct graph *g, const char *label, struct tensor *x, struct tensor *w,
                             struct tensor *bias, float eps)
{
    if (!graph_can(g, label, x))
        return &g->broken;
    struct op op = {.kind = OP_LAYER_NORM, .in = {x, w, bias}, .p.layer_norm = {eps}};
    op.out[0] = graph_activation(g, label, &dtype_f32, x->ne, x->rows);
    return graph_finish(g, label, &op);
}
