#include "cpu/rows.h"

static void rows(const struct op_call *call, const struct cpu_op *op, int64_t begin, int64_t end)
{
    (void)op;
    const int32_t *index =
        call->op->p.get_rows.index == INDEX_OUTPUTS ? call->batch->outputs : call->batch->ids;
    const struct view *table = &call->in[0];
    for (int64_t i = begin; i < end; i++)
        table->dtype->decode(view_row(table, index[i], 0), view_row(&call->out[0], i, 0),
                             (size_t)table->ne[0]);
}

static void run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    cpu_rows(call, scratch, batch_rows(call->batch, call->op->out[0]), call->in[0].ne[0], rows);
}

const struct cpu_op cpu_op_get_rows_scalar = {
    .name = "get_rows_scalar", .kind = OP_GET_ROWS, .level = CPU_SCALAR, .run = run};
