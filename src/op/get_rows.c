#include "op/op_impl.h"

/* Rows of a table: out[t] = table[ids[t]], or of the batch: out[i] = x[outputs[i]]. */

static const char *check(const struct op *op)
{
    const struct tensor *table = op->in[0], *out = op->out[0];
    if (!table || !out)
        return "it takes a table and gives rows";
    if (!table->dtype->decode || table->ne[2] != 1 || table->ne[3] != 1)
        return "the table is not a matrix of numbers";
    if (table->ne[0] % table->dtype->block_elems != 0)
        return "the table's rows are no whole number of blocks";
    if (!tensor_is_f32(out) || out->ne[0] != table->ne[0] || out->ne[2] != 1)
        return "the rows that come out are not F32 rows of the table's length";
    bool outputs = op->p.get_rows.index == INDEX_OUTPUTS;
    if (outputs ? table->rows != ROWS_TOKENS || out->rows != ROWS_OUTPUTS
                : table->rows != ROWS_FIXED || out->rows != ROWS_TOKENS)
        return "tokens index a fixed table, outputs index the rows of the batch";
    return NULL;
}

static enum hth_status reference(const struct op_call *call)
{
    const int32_t *index =
        call->op->p.get_rows.index == INDEX_OUTPUTS ? call->batch->outputs : call->batch->ids;
    const struct view *table = &call->in[0], *out = &call->out[0];
    int64_t rows = batch_rows(call->batch, call->op->out[0]);
    for (int64_t i = 0; i < rows; i++)
        table->dtype->decode(view_row(table, index[i], 0), view_row(out, i, 0),
                             (size_t)table->ne[0]);
    return HTH_OK;
}

static struct op_cost cost(const struct op *op, int64_t kv_len)
{
    (void)kv_len;
    struct op_cost cost = {.act_bytes = op_act_bytes(op)};
    uint64_t read = dtype_row_bytes(op->in[0]->dtype, (uint64_t)tensor_elems(op->out[0]));
    if (op->in[0]->kind == TENSOR_WEIGHT)
        cost.weight_bytes = read;
    else
        cost.act_bytes = read + tensor_bytes(op->out[0]);
    return cost;
}

/* Decoding is exact in float; formats whose scale and value are multiplied in another order, or in
 * fp16, may differ by an ulp of those. */
const struct op_def op_def_get_rows = {
    .kind = OP_GET_ROWS,
    .name = "get_rows",
    .check = check,
    .reference = reference,
    .cost = cost,
    .tolerance_f32 = 1e-12,
    .tolerance_f16 = 1e-6,
    .tolerance_int = 1e-12,
};

struct tensor *op_get_rows(struct graph *g, const char *label, struct tensor *table,
                           enum batch_index index)
{
    if (!graph_can(g, label, table))
        return &g->broken;
    bool outputs = index == INDEX_OUTPUTS;
    struct op op = {.kind = OP_GET_ROWS, .in = {table}, .p.get_rows = {index}};
    const int64_t ne[OP_MAX_DIMS] = {table->ne[0], outputs ? g->n_outputs : g->n_tokens, 1, 1};
    op.out[0] = graph_activation(g, label, &dtype_f32, ne, outputs ? ROWS_OUTPUTS : ROWS_TOKENS);
    return graph_finish(g, label, &op);
}
