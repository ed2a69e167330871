#include "op/top_k.h"

#include <math.h>
#include <string.h>

#include "op/op_impl.h"

/* The k largest of each row, in order (top_k.h). */

static const char *check(const struct op *op)
{
    const struct tensor *x = op->in[0], *out = op->out[0];
    int k = op->p.top_k.k;
    if (!x || !out || !tensor_is_f32(x) || !tensor_is_contiguous(x) || x->n_dims != 2)
        return "it takes contiguous F32 rows";
    if (k < 1 || k > TOP_K_MOST || k > x->ne[0])
        return "it gives one of a row at least, and neither more than there are nor than 64";
    if (out->dtype != &dtype_i32 || out->ne[0] != top_k_words(k) || out->ne[1] != x->ne[1] ||
        out->ne[2] != 1 || out->ne[3] != 1 || x->rows != out->rows)
        return "what comes out is not I32, k ids or k pairs for each row";
    return NULL;
}

void top_k_row(const float *x, int64_t n, int k, int32_t *out)
{
    bool finite = true, zero = true;
    for (int64_t i = 0, kept = 0; i < n; i++) {
        finite &= isfinite(x[i]) != 0;
        zero &= x[i] == 0;
        int64_t at = kept;
        while (at > 0 && x[i] > x[out[at - 1]])
            at--;
        kept += kept < k;
        for (int64_t j = kept - 1; j > at; j--)
            out[j] = out[j - 1];
        if (at < k)
            out[at] = (int32_t)i;
    }
    for (int j = 0; j < k; j++) {
        if (!finite || zero)
            out[j] = -1;
        float logit = out[j] < 0 ? 0 : x[out[j]] + 0.0f;
        if (k > 1)
            memcpy(&out[k + j], &logit, sizeof logit);
    }
}

static enum hth_status reference(const struct op_call *call)
{
    int64_t rows = batch_rows(call->batch, call->op->out[0]);
    for (int64_t row = 0; row < rows; row++)
        top_k_row(view_row(&call->in[0], row, 0), call->in[0].ne[0], call->op->p.top_k.k,
                  view_row(&call->out[0], row, 0));
    return HTH_OK;
}

static struct op_cost cost(const struct op *op, int64_t kv_len)
{
    (void)kv_len;
    return (struct op_cost){.act_bytes = op_act_bytes(op),
                            .flops = (uint64_t)tensor_elems(op->in[0])};
}

/* Nothing is computed, and so nothing may differ. */
const struct op_def op_def_top_k = {
    .kind = OP_TOP_K,
    .name = "top_k",
    .check = check,
    .reference = reference,
    .cost = cost,
};

struct tensor *op_top_k(struct graph *g, const char *label, struct tensor *x, int k)
{
    if (!graph_can(g, label, x))
        return &g->broken;
    struct op op = {.kind = OP_TOP_K, .in = {x}, .p.top_k.k = k};
    const int64_t ne[OP_MAX_DIMS] = {top_k_words(k), x->ne[1], 1, 1};
    op.out[0] = graph_activation(g, label, &dtype_i32, ne, x->rows);
    return graph_finish(g, label, &op);
}
