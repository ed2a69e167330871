/* Rows of gathering: embeddings in any format, and the wanted rows before the head. */
#include "gpu/compile.h"

#include "base/mem.h"
#include "common/batch_args.h"
#include "rows/get_rows_args.h"

static bool fits(const struct row_env *env, const struct op *op)
{
    (void)env;
    return op->in[0]->ne[0] % 32 == 0;
}

static enum hth_status emit(struct compile *c, const struct op *op, const struct row_choice *choice)
{
    const struct tensor *table = op->in[0], *y = op->out[0];
    struct get_rows_args a = {
        .batch = compile_batch_ref(c),
        .rows_field = compile_rows_field(y),
        .index = op->p.get_rows.index == INDEX_TOKENS ? BATCH_IDS : BATCH_OUTPUTS,
        .k = (uint32_t)table->ne[0],
        .y = compile_ref(c, y),
        .y_stride = (uint32_t)y->stride[1],
    };
    struct dispatch d = {.choice = *choice,
                         .args = &a,
                         .args_bytes = sizeof a,
                         .groups = {(uint32_t)div_up(a.k / 32, 32), compile_bucket(c, y), 1}};
    dispatch_reads(&d, c, table);
    dispatch_writes(&d, c, y);
    if (table->kind != TENSOR_WEIGHT) {
        a.table = compile_ref(c, table);
        a.count = (uint32_t)tensor_rows(table);
        return compile_add(c, &d);
    }
    enum hth_status status = HTH_OK;
    const struct placed *placed = compile_weight(c, table);
    for (int i = 0; i < placed->n_parts && status == HTH_OK; i++) {
        const struct placed_part *part = &placed->parts[i];
        a.table = vk_ref(part->chunk, part->offset);
        a.first = (uint32_t)part->first;
        a.count = (uint32_t)part->count;
        status = compile_add(c, &d);
    }
    return status;
}

static const struct row rows[] = {
    {.name = "get_rows", .blob = "get_rows", .by_format = true, .fits = fits, .emit = emit},
};

const struct row_family row_family_get_rows = {
    .kinds = {OP_GET_ROWS},
    .n_kinds = 1,
    .rows = rows,
    .n_rows = ARRAY_LEN(rows),
};
