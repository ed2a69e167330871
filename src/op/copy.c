#include "op/op_impl.h"

#include <string.h>

/* The same bytes, elsewhere. */

static const char *check(const struct op *op)
{
    const struct tensor *x = op->in[0], *out = op->out[0];
    if (!x || !out || x->kind == TENSOR_KV || out->kind == TENSOR_KV || out->kind == TENSOR_WEIGHT)
        return "it takes and gives rows";
    if (x->dtype != out->dtype || !tensor_same_shape(x, out) || x->rows != out->rows)
        return "what comes out has not the type and shape of what goes in";
    if (x->ne[3] != 1 || x->ne[0] % x->dtype->block_elems != 0)
        return "its rows are no whole number of blocks";
    return NULL;
}

static enum hth_status reference(const struct op_call *call)
{
    int64_t rows = batch_rows_flat(call->batch, call->op->out[0]);
    for (int64_t row = 0; row < rows; row++)
        memcpy(view_row_flat(&call->out[0], row), view_row_flat(&call->in[0], row),
               (size_t)dtype_row_bytes(call->in[0].dtype, (uint64_t)call->in[0].ne[0]));
    return HTH_OK;
}

static struct op_cost cost(const struct op *op, int64_t kv_len)
{
    (void)kv_len;
    return op_cost_elementwise(op, 0);
}

const struct op_def op_def_copy = {
    .kind = OP_COPY,
    .name = "copy",
    .check = check,
    .reference = reference,
    .cost = cost,
};

struct tensor *op_copy(struct graph *g, const char *label, struct tensor *x)
{
    if (!graph_can(g, label, x))
        return &g->broken;
    struct op op = {.kind = OP_COPY, .in = {x}};
    op.out[0] = graph_activation(g, label, x->dtype, x->ne, x->rows);
    return graph_finish(g, label, &op);
}
