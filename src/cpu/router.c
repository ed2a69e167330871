#include <math.h>

#include "cpu/rows.h"

/* The same as what an expert is ordered by in the definition: probabilities, biased, in double only
 * where a bias makes the order depend on them. A token's experts are few; nothing here is worth
 * threads. */

static double sum_exp(const float *x, int64_t n, float *max)
{
    double sum = 0;
    *max = -INFINITY;
    for (int64_t i = 0; i < n; i++)
        *max = x[i] > *max ? x[i] : *max;
    for (int64_t i = 0; i < n; i++)
        sum += exp((double)x[i] - *max);
    return sum;
}

struct token {
    const struct router_params *params;
    const float *logits, *bias;
    float max;
    double sum;
};

/* Probability of expert e; for ROUTER_SOFTMAX_CHOSEN what its softmax is of. */
static double rating(const struct token *token, int64_t e)
{
    switch (token->params->kind) {
    case ROUTER_SIGMOID: return 1 / (1 + exp(-(double)token->logits[e]));
    case ROUTER_SOFTMAX: return exp((double)token->logits[e] - token->max) / token->sum;
    case ROUTER_SOFTMAX_CHOSEN: break;
    }
    return token->bias ? token->logits[e] + token->bias[e] : token->logits[e];
}

static double order(const struct token *token, int64_t e)
{
    if (!token->bias)
        return token->logits[e];
    double biased = token->params->kind == ROUTER_SOFTMAX_CHOSEN ? 0 : token->bias[e];
    return rating(token, e) + biased;
}

/* Inserts each expert where it belongs among the best so far; the first of equals stays in front.
 */
static void choose(const struct token *token, int64_t n, int32_t *ids)
{
    int kept = 0;
    for (int64_t e = 0; e < n; e++) {
        double own = order(token, e);
        int at = kept;
        while (at > 0 && own > order(token, ids[at - 1]))
            at--;
        if (at == token->params->n_used)
            continue;
        if (kept < token->params->n_used)
            kept++;
        for (int i = kept - 1; i > at; i--)
            ids[i] = ids[i - 1];
        ids[at] = (int32_t)e;
    }
}

static void weigh(const struct token *token, const int32_t *ids, float *weights)
{
    const struct router_params *params = token->params;
    bool chosen = params->kind == ROUTER_SOFTMAX_CHOSEN;
    double max = -INFINITY, sum = 0;
    for (int i = 0; i < params->n_used; i++)
        max = fmax(max, rating(token, ids[i]));
    for (int i = 0; i < params->n_used; i++) {
        double weight = rating(token, ids[i]);
        weight = chosen ? exp(weight - max) : weight;
        sum += weight;
        weights[i] = (float)weight;
    }
    double divisor = chosen ? sum : params->normalize ? fmax(sum, 6.1e-5) : 1;
    for (int i = 0; i < params->n_used; i++)
        weights[i] = (float)(weights[i] / divisor * params->scale);
}

static void rows(const struct op_call *call, const struct cpu_op *op, int64_t begin, int64_t end)
{
    (void)op;
    for (int64_t t = begin; t < end; t++) {
        struct token token = {.params = &call->op->p.router,
                              .logits = view_row(&call->in[0], t, 0),
                              .bias = call->op->in[1] ? call->in[1].data : NULL};
        token.sum = sum_exp(token.logits, call->in[0].ne[0], &token.max);
        int32_t *ids = view_row(&call->out[1], t, 0);
        choose(&token, call->in[0].ne[0], ids);
        weigh(&token, ids, view_row(&call->out[0], t, 0));
    }
}

static void run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    cpu_rows(call, scratch, batch_rows(call->batch, call->op->out[0]), call->in[0].ne[0] * 20,
             rows);
}

const struct cpu_op cpu_op_router_scalar = {
    .name = "router_scalar", .kind = OP_ROUTER, .level = CPU_SCALAR, .run = run};
