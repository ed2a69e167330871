#include "op/op_impl.h"

#include "base/mem.h"

/* y[j] = Σ_i W[i, j] x[i] (+ bias[j]) (+ residual[j]); by expert W is W[:, :, ids[u, t]]. */

enum { W, X, BIAS, RESIDUAL, IDS };

static const char *check_experts(const struct op *op)
{
    const struct tensor *w = op->in[W], *x = op->in[X], *ids = op->in[IDS], *out = op->out[0];
    if (ids->dtype != &dtype_i32 || !tensor_batch_dim(ids, 1))
        return "the experts' numbers are not I32 [n_used, T]";
    int64_t n_used = ids->ne[0], n_tokens = ids->ne[1];
    if (!(x->ne[1] == n_used && x->ne[2] == n_tokens) && !(x->ne[1] == n_tokens && x->ne[2] == 1))
        return "x is neither [k, T] nor [k, n_used, T]";
    if (out->ne[1] != n_used || out->ne[2] != n_tokens)
        return "what comes out is not [n, n_used, T]";
    if (op->in[BIAS] && (!tensor_is_f32(op->in[BIAS]) || op->in[BIAS]->ne[0] != out->ne[0] ||
                         op->in[BIAS]->ne[1] != w->ne[2] || op->in[BIAS]->ne[2] != 1))
        return "the bias is not F32 [n, n_expert]";
    return NULL;
}

static const char *check(const struct op *op)
{
    const struct tensor *w = op->in[W], *x = op->in[X], *out = op->out[0];
    if (!w || !x || !out)
        return "it takes a matrix and vectors and gives vectors";
    if (!w->dtype->decode || w->kind == TENSOR_KV || w->ne[3] != 1 || w->rows != ROWS_FIXED)
        return "the matrix is not made of numbers";
    if (w->ne[0] % w->dtype->block_elems != 0)
        return "the matrix's rows are no whole number of blocks";
    if (!tensor_is_f32(x) || x->ne[0] != w->ne[0])
        return "x is not F32 with rows as long as the matrix's";
    if (!tensor_is_f32(out) || out->ne[0] != w->ne[1] || out->rows != x->rows)
        return "what comes out is not F32 with a number for each row of the matrix";
    if (op->in[RESIDUAL] &&
        (!tensor_is_f32(op->in[RESIDUAL]) || !tensor_same_shape(op->in[RESIDUAL], out)))
        return "the residual has not the shape of what comes out";
    if (op->p.matmul.by_expert != (op->in[IDS] != NULL))
        return "by expert goes with the experts' numbers";
    if (op->in[IDS])
        return check_experts(op);
    if (w->ne[2] != 1 || out->ne[1] != x->ne[1] || out->ne[2] != x->ne[2])
        return "one matrix, and as many vectors out as in";
    if (op->in[BIAS] && !tensor_is_vector(op->in[BIAS], out->ne[0]))
        return "the bias is not an F32 vector with a number for each row of the matrix";
    return NULL;
}

static double dot(const float *a, const float *b, int64_t n)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

static void add_to(float *y, const float *x, int64_t n)
{
    for (int64_t j = 0; j < n; j++)
        y[j] = (float)((double)y[j] + x[j]);
}

/* What makes row i of the result: its expert (0 where there are none), that one's matrix (NULL: it
 * is on another device) and its vector. */
struct source {
    int64_t expert;
    const char *matrix;
    const float *x;
};

static struct source source_of(const struct op_call *call, int64_t i)
{
    const struct view *w = &call->in[W], *x = &call->in[X], *out = &call->out[0];
    bool by_expert = call->op->in[IDS] != NULL;
    bool x_by_slot = by_expert && x->ne[1] == out->ne[1] && x->ne[2] == out->ne[2];
    int64_t slot = i % out->ne[1], token = i / out->ne[1];
    struct source s = {0};
    if (by_expert)
        s.expert = ((const int32_t *)view_row(&call->in[IDS], token, 0))[slot];
    s.matrix = view_expert(w, s.expert);
    s.x = by_expert && !x_by_slot ? view_row(x, token, 0) : view_row_flat(x, i);
    return s;
}

/* Number j of all rows of the result; `row` is scratch for a row of a matrix. */
static void multiply(const struct op_call *call, int64_t j, float *row)
{
    const struct view *w = &call->in[W];
    uint64_t at = (uint64_t)j * dtype_row_bytes(w->dtype, (uint64_t)w->ne[0]);
    const char *decoded = NULL;
    int64_t n = batch_rows_flat(call->batch, call->op->out[0]);
    for (int64_t i = 0; i < n; i++) {
        struct source s = source_of(call, i);
        if (s.matrix && s.matrix != decoded)
            w->dtype->decode(s.matrix + at, row, (size_t)w->ne[0]);
        decoded = s.matrix ? s.matrix : decoded;
        float *y = view_row_flat(&call->out[0], i);
        y[j] = s.matrix ? (float)dot(row, s.x, w->ne[0]) : 0;
    }
}

static enum hth_status reference(const struct op_call *call)
{
    const struct view *w = &call->in[W], *out = &call->out[0];
    float *row = mem_alloc((size_t)w->ne[0] * sizeof *row);
    if (!row)
        return HTH_ERROR_MEMORY;
    for (int64_t j = 0; j < w->ne[1]; j++)
        multiply(call, j, row);
    for (int64_t i = 0; i < batch_rows_flat(call->batch, call->op->out[0]); i++) {
        struct source s = source_of(call, i);
        if (s.matrix && call->op->in[BIAS])
            add_to(view_row_flat(out, i), view_row(&call->in[BIAS], s.expert, 0), out->ne[0]);
        if (s.matrix && call->op->in[RESIDUAL])
            add_to(view_row_flat(out, i), view_row_flat(&call->in[RESIDUAL], i), out->ne[0]);
    }
    mem_free(row);
    return HTH_OK;
}

static struct op_cost cost(const struct op *op, int64_t kv_len)
{
    (void)kv_len;
    const struct tensor *w = op->in[W];
    uint64_t columns = (uint64_t)tensor_rows(op->out[0]);
    uint64_t matrices = columns < (uint64_t)w->ne[2] ? columns : (uint64_t)w->ne[2];
    struct op_cost cost = {.act_bytes = op_act_bytes(op)};
    cost.weight_bytes = tensor_bytes(w) / (uint64_t)w->ne[2] * matrices;
    if (op->in[BIAS])
        cost.weight_bytes += tensor_bytes(op->in[BIAS]);
    cost.flops = 2 * (uint64_t)w->ne[0] * (uint64_t)w->ne[1] * columns;
    return cost;
}

/* Float sums of k products lose about √k ulps (NMSE near 1e-14 × k); rounding the inputs to fp16
 * costs (2^-12)²·2; to 8 bits per block of 32, with a peak p times the rms, (p / 127)² / 12. */
const struct op_def op_def_matmul = {
    .kind = OP_MATMUL,
    .name = "matmul",
    .check = check,
    .reference = reference,
    .cost = cost,
    .tolerance_f32 = 1e-10,
    .tolerance_f16 = 4e-6,
    .tolerance_int = 4e-4,
};

struct tensor *op_matmul(struct graph *g, const char *label, struct tensor *w, struct tensor *x,
                         struct tensor *bias)
{
    if (!graph_can(g, label, w) || !graph_can(g, label, x))
        return &g->broken;
    struct op op = {.kind = OP_MATMUL, .in = {w, x, bias}};
    const int64_t ne[OP_MAX_DIMS] = {w->ne[1], x->ne[1], x->ne[2], 1};
    op.out[0] = graph_activation(g, label, &dtype_f32, ne, x->rows);
    return graph_finish(g, label, &op);
}

struct tensor *op_matmul_experts(struct graph *g, const char *label, struct tensor *w,
                                 struct tensor *x, struct tensor *ids)
{
    if (!graph_can(g, label, w) || !graph_can(g, label, x) || !graph_can(g, label, ids))
        return &g->broken;
    struct op op = {
        .kind = OP_MATMUL, .in = {w, x, NULL, NULL, ids}, .p.matmul = {.by_expert = true}};
    const int64_t ne[OP_MAX_DIMS] = {w->ne[1], ids->ne[0], ids->ne[1], 1};
    op.out[0] = graph_activation(g, label, &dtype_f32, ne, x->rows);
    return graph_finish(g, label, &op);
}
