#include "op/op_impl.h"

/* y = Σ_u weight[u] × x[:, u] for each token. */

static const char *check(const struct op *op)
{
    const struct tensor *x = op->in[0], *weights = op->in[1], *out = op->out[0];
    if (!x || !weights || !out || !tensor_is_f32(x) || !tensor_is_f32(weights) ||
        !tensor_is_f32(out))
        return "it takes F32 rows and weights and gives F32 rows";
    if (x->rows != ROWS_TOKENS || !tensor_batch_dim(x, 2))
        return "x is not [n, n_used, T]";
    if (weights->ne[0] != x->ne[1] || weights->ne[1] != x->ne[2] || weights->ne[2] != 1 ||
        weights->rows != ROWS_TOKENS)
        return "the weights are not [n_used, T]";
    if (out->ne[0] != x->ne[0] || out->ne[1] != x->ne[2] || out->ne[2] != 1 ||
        out->rows != ROWS_TOKENS)
        return "what comes out is not [n, T]";
    return NULL;
}

static enum hth_status reference(const struct op_call *call)
{
    const struct view *x = &call->in[0];
    int64_t rows = batch_rows(call->batch, call->op->out[0]);
    for (int64_t t = 0; t < rows; t++) {
        const float *weights = view_row(&call->in[1], t, 0);
        float *y = view_row(&call->out[0], t, 0);
        for (int64_t i = 0; i < x->ne[0]; i++) {
            double sum = 0;
            for (int64_t u = 0; u < x->ne[1]; u++)
                sum += (double)weights[u] * ((const float *)view_row(x, u, t))[i];
            y[i] = (float)sum;
        }
    }
    return HTH_OK;
}

static struct op_cost cost(const struct op *op, int64_t kv_len)
{
    (void)kv_len;
    return op_cost_elementwise(op, 2 * (int)op->in[0]->ne[1]);
}

const struct op_def op_def_expert_sum = {
    .kind = OP_EXPERT_SUM,
    .name = "expert_sum",
    .check = check,
    .reference = reference,
    .cost = cost,
    .tolerance_f32 = 1e-11,
    .tolerance_f16 = 1e-6,
    .tolerance_int = 1e-11,
    .by_expert = true,
};

struct tensor *op_expert_sum(struct graph *g, const char *label, struct tensor *x,
                             struct tensor *weights)
{
    if (!graph_can(g, label, x) || !graph_can(g, label, weights))
        return &g->broken;
    struct op op = {.kind = OP_EXPERT_SUM, .in = {x, weights}};
    const int64_t ne[OP_MAX_DIMS] = {x->ne[0], x->ne[2], 1, 1};
    op.out[0] = graph_activation(g, label, &dtype_f32, ne, x->rows);
    return graph_finish(g, label, &op);
}
