#include "op/op_impl.h"

#include <math.h>

#include "base/mem.h"

/* Chooses experts. The order is that of the probabilities, which without a bias is that of the
 * logits: so it is exact, whatever precision the probabilities have. */

static const char *check(const struct op *op)
{
    const struct tensor *logits = op->in[0], *bias = op->in[1];
    const struct tensor *weights = op->out[0], *ids = op->out[1];
    const struct router_params *params = &op->p.router;
    if (!logits || !weights || !ids)
        return "it takes logits and gives weights and numbers of experts";
    if (!tensor_is_f32(logits) || logits->rows != ROWS_TOKENS || !tensor_batch_dim(logits, 1))
        return "the logits are not F32 [n_expert, T]";
    if (params->n_used < 1 || params->n_used > logits->ne[0])
        return "more experts are used than there are, or none";
    if (!isfinite(params->scale))
        return "the scale is no number";
    if (bias && !tensor_is_vector(bias, logits->ne[0]))
        return "the bias is not an F32 vector with a number for each expert";
    if (!tensor_is_f32(weights) || ids->dtype != &dtype_i32 || !tensor_same_shape(weights, ids) ||
        weights->ne[0] != params->n_used || weights->ne[1] != logits->ne[1] ||
        weights->ne[2] != 1 || weights->rows != ROWS_TOKENS || ids->rows != ROWS_TOKENS)
        return "what comes out is not F32 and I32 [n_used, T]";
    return NULL;
}

/* Probabilities, and what the experts are ordered by. */
static void rate(const struct op_call *call, const float *logits, double *probs, double *order)
{
    enum router_kind kind = call->op->p.router.kind;
    const float *bias = call->op->in[1] ? call->in[1].data : NULL;
    int64_t n = call->in[0].ne[0];
    double max = -INFINITY, sum = 0;
    for (int64_t i = 0; i < n; i++)
        max = fmax(max, logits[i]);
    for (int64_t i = 0; i < n; i++)
        sum += exp(logits[i] - max);
    for (int64_t i = 0; i < n; i++) {
        probs[i] =
            kind == ROUTER_SIGMOID ? 1 / (1 + exp(-(double)logits[i])) : exp(logits[i] - max) / sum;
        if (kind == ROUTER_SOFTMAX_CHOSEN)
            probs[i] = bias ? logits[i] + bias[i] : logits[i];
        order[i] = !bias                           ? logits[i]
                   : kind == ROUTER_SOFTMAX_CHOSEN ? probs[i]
                                                   : probs[i] + bias[i];
    }
}

static void weigh(const struct router_params *params, const double *probs, const int32_t *ids,
                  float *weights)
{
    double max = -INFINITY, sum = 0;
    for (int i = 0; i < params->n_used; i++)
        max = fmax(max, probs[ids[i]]);
    bool chosen = params->kind == ROUTER_SOFTMAX_CHOSEN;
    for (int i = 0; i < params->n_used; i++)
        sum += chosen ? exp(probs[ids[i]] - max) : probs[ids[i]];
    double divisor = chosen ? sum : params->normalize ? fmax(sum, 6.1e-5) : 1;
    for (int i = 0; i < params->n_used; i++) {
        double weight = chosen ? exp(probs[ids[i]] - max) : probs[ids[i]];
        weights[i] = (float)(weight / divisor * params->scale);
    }
}

static enum hth_status reference(const struct op_call *call)
{
    const struct router_params *params = &call->op->p.router;
    int64_t n = call->in[0].ne[0], rows = batch_rows(call->batch, call->op->out[0]);
    double *probs = mem_alloc((size_t)n * 2 * sizeof *probs), *order = probs + n;
    if (!probs)
        return HTH_ERROR_MEMORY;
    for (int64_t t = 0; t < rows; t++) {
        int32_t *ids = view_row(&call->out[1], t, 0);
        rate(call, view_row(&call->in[0], t, 0), probs, order);
        for (int i = 0; i < params->n_used; i++) {
            int64_t best = -1;
            for (int64_t e = 0; e < n; e++) {
                bool taken = false;
                for (int j = 0; j < i; j++)
                    taken |= ids[j] == e;
                if (!taken && (best < 0 || order[e] > order[best]))
                    best = e;
            }
            ids[i] = (int32_t)best;
        }
        weigh(params, probs, ids, view_row(&call->out[0], t, 0));
    }
    mem_free(probs);
    return HTH_OK;
}

static struct op_cost cost(const struct op *op, int64_t kv_len)
{
    (void)kv_len;
    struct op_cost cost = {.act_bytes = op_act_bytes(op)};
    cost.flops = (uint64_t)tensor_elems(op->in[0]) * (uint64_t)(4 + op->p.router.n_used);
    return cost;
}

/* Numbers of experts must be equal; this is for the weights. */
const struct op_def op_def_router = {
    .kind = OP_ROUTER,
    .name = "router",
    .check = check,
    .reference = reference,
    .cost = cost,
    .tolerance_f32 = 1e-10,
    .tolerance_f16 = 1e-5,
    .tolerance_int = 1e-10,
};

struct tensor *op_router(struct graph *g, const char *label, struct tensor *logits,
                         struct tensor *bias, const struct router_params *params,
                         struct tensor **ids)
{
    *ids = &g->broken;
    if (!graph_can(g, label, logits))
        return &g->broken;
    struct op op = {.kind = OP_ROUTER, .in = {logits, bias}, .p.router = *params};
    const int64_t ne[OP_MAX_DIMS] = {params->n_used, logits->ne[1], 1, 1};
    op.out[0] = graph_activation(g, label, &dtype_f32, ne, logits->rows);
    char *ids_label = arena_printf(&g->arena, "%s.ids", label);
    if (!ids_label) {
        graph_fail(g, HTH_ERROR_MEMORY, "out of memory: a label");
        return &g->broken;
    }
    op.out[1] = graph_activation(g, ids_label, &dtype_i32, ne, logits->rows);
    struct tensor *weights = graph_finish(g, label, &op);
    if (weights != &g->broken)
        *ids = op.out[1];
    return weights;
}
