#include "op/op_impl.h"

#include <math.h>

/* y = a + b, y = a × b (b of a's shape or one row for all), y = x × scale (and by position). */

static const char *check_pair(const struct op *op)
{
    const struct tensor *a = op->in[0], *b = op->in[1], *out = op->out[0];
    if (!a || !b || !out || !tensor_is_f32(a) || !tensor_is_f32(b) || !tensor_is_f32(out))
        return "it takes and gives F32 rows";
    if (!tensor_same_shape(a, out) || a->rows != out->rows)
        return "what comes out has not the shape of what goes in";
    bool same = tensor_same_shape(a, b) && a->rows == b->rows;
    if (!same && !(b->rows == ROWS_FIXED && tensor_is_vector(b, a->ne[0])))
        return "the second has neither the shape of the first nor that of one of its rows";
    return NULL;
}

static const char *check_scale(const struct op *op)
{
    const struct tensor *x = op->in[0], *out = op->out[0];
    const struct scale_params *params = &op->p.scale;
    if (!x || !out || !tensor_is_f32(x) || !tensor_is_f32(out))
        return "it takes and gives F32 rows";
    if (!tensor_same_shape(x, out) || x->rows != out->rows)
        return "what comes out has not the shape of what goes in";
    if (!isfinite(params->scale) || !isfinite(params->log_scale))
        return "a scale is no number";
    if (params->log_length < 0 || (params->log_length > 0 && x->rows != ROWS_TOKENS))
        return "scaling by position needs a row for each token";
    return NULL;
}

/* b's row for a's row: its own, or the only one. */
static const float *second_row(const struct op_call *call, int64_t row)
{
    bool one = call->op->in[1]->rows == ROWS_FIXED && tensor_rows(call->op->in[1]) == 1;
    return one ? call->in[1].data : view_row_flat(&call->in[1], row);
}

static enum hth_status reference_add(const struct op_call *call)
{
    int64_t rows = batch_rows_flat(call->batch, call->op->out[0]), n = call->in[0].ne[0];
    for (int64_t row = 0; row < rows; row++) {
        const float *a = view_row_flat(&call->in[0], row), *b = second_row(call, row);
        float *y = view_row_flat(&call->out[0], row);
        for (int64_t i = 0; i < n; i++)
            y[i] = (float)((double)a[i] + b[i]);
    }
    return HTH_OK;
}

static enum hth_status reference_mul(const struct op_call *call)
{
    int64_t rows = batch_rows_flat(call->batch, call->op->out[0]), n = call->in[0].ne[0];
    for (int64_t row = 0; row < rows; row++) {
        const float *a = view_row_flat(&call->in[0], row), *b = second_row(call, row);
        float *y = view_row_flat(&call->out[0], row);
        for (int64_t i = 0; i < n; i++)
            y[i] = (float)((double)a[i] * b[i]);
    }
    return HTH_OK;
}

static enum hth_status reference_scale(const struct op_call *call)
{
    const struct scale_params *params = &call->op->p.scale;
    int64_t rows = batch_rows_flat(call->batch, call->op->out[0]), n = call->in[0].ne[0];
    int64_t tokens = batch_rows(call->batch, call->op->out[0]);
    for (int64_t row = 0; row < rows; row++) {
        const float *x = view_row_flat(&call->in[0], row);
        float *y = view_row_flat(&call->out[0], row);
        double scale = params->scale;
        if (params->log_length > 0) {
            int32_t steps = call->batch->pos[row / (rows / tokens)] / params->log_length;
            scale *= 1 + params->log_scale * log(1.0 + steps);
        }
        for (int64_t i = 0; i < n; i++)
            y[i] = (float)(x[i] * scale);
    }
    return HTH_OK;
}

static struct op_cost cost(const struct op *op, int64_t kv_len)
{
    (void)kv_len;
    return op_cost_elementwise(op, 1);
}

/* One rounding, which float does the same way; fp16 rounds both inputs and the result. */
const struct op_def op_def_add = {
    .kind = OP_ADD,
    .name = "add",
    .check = check_pair,
    .reference = reference_add,
    .cost = cost,
    .tolerance_f32 = 1e-13,
    .tolerance_f16 = 1e-6,
    .tolerance_int = 1e-13,
};

const struct op_def op_def_mul = {
    .kind = OP_MUL,
    .name = "mul",
    .check = check_pair,
    .reference = reference_mul,
    .cost = cost,
    .tolerance_f32 = 1e-13,
    .tolerance_f16 = 1e-6,
    .tolerance_int = 1e-13,
};

const struct op_def op_def_scale = {
    .kind = OP_SCALE,
    .name = "scale",
    .check = check_scale,
    .reference = reference_scale,
    .cost = cost,
    .tolerance_f32 = 1e-12,
    .tolerance_f16 = 1e-6,
    .tolerance_int = 1e-12,
};

static struct tensor *pair(struct graph *g, const char *label, struct op *op)
{
    if (!graph_can(g, label, op->in[0]) || !graph_can(g, label, op->in[1]))
        return &g->broken;
    op->out[0] = graph_activation(g, label, &dtype_f32, op->in[0]->ne, op->in[0]->rows);
    return graph_finish(g, label, op);
}

struct tensor *op_add(struct graph *g, const char *label, struct tensor *a, struct tensor *b)
{
    return pair(g, label, &(struct op){.kind = OP_ADD, .in = {a, b}});
}

struct tensor *op_mul(struct graph *g, const char *label, struct tensor *a, struct tensor *b)
{
    return pair(g, label, &(struct op){.kind = OP_MUL, .in = {a, b}});
}

struct tensor *op_scale(struct graph *g, const char *label, struct tensor *x,
                        const struct scale_params *params)
{
    if (!graph_can(g, label, x))
        return &g->broken;
    struct op op = {.kind = OP_SCALE, .in = {x}, .p.scale = *params};
    op.out[0] = graph_activation(g, label, &dtype_f32, x->ne, x->rows);
    return graph_finish(g, label, &op);
}
