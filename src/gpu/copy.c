/* The row that copies; all of a hop's bytes are words. */
#include "gpu/compile.h"

#include "copy/copy_args.h"

enum { PER_GROUP = 256 };

static bool fits(const struct row_env *env, const struct op *op)
{
    (void)env;
    return op->in[0]->dtype->block_elems == 1 && op->in[0]->dtype->block_bytes == 4;
}

static enum hth_status emit(struct compile *c, const struct op *op, const struct row_choice *choice)
{
    const struct tensor *x = op->in[0], *y = op->out[0];
    uint32_t tokens = compile_bucket(c, y), n = (uint32_t)(tensor_elems(y) / tokens);
    struct copy_args a = {
        .batch = compile_batch_ref(c),
        .rows_field = compile_rows_field(y),
        .n = n,
        .x = compile_ref(c, x),
        .y = compile_ref(c, y),
        .x_stride = compile_stride(x),
        .y_stride = compile_stride(y),
    };
    struct dispatch d = {.choice = *choice,
                         .args = &a,
                         .args_bytes = sizeof a,
                         .groups = {(n + PER_GROUP - 1) / PER_GROUP, tokens, 1}};
    dispatch_reads(&d, c, x);
    dispatch_writes(&d, c, y);
    return compile_add(c, &d);
}

static const struct row rows[] = {
    {.name = "copy", .blob = "copy", .fits = fits, .emit = emit},
};

const struct row_family row_family_copy = {
    .kinds = {OP_COPY},
    .n_kinds = 1,
    .rows = rows,
    .n_rows = ARRAY_LEN(rows),
};
