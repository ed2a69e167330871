/* Rows of what makes each element from one or two others. */
#include "gpu/compile.h"

#include "elementwise/elementwise_args.h"

enum { PER_GROUP = 256 };

enum mode { MODE_ADD, MODE_MUL, MODE_SCALE, MODE_GLU };

static void shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    (void)env;
    choice_set(choice, "MODE",
               op->kind == OP_ADD     ? MODE_ADD
               : op->kind == OP_MUL   ? MODE_MUL
               : op->kind == OP_SCALE ? MODE_SCALE
                                      : MODE_GLU);
    choice_set(choice, "GLU", op->kind == OP_GLU ? 1 + (uint32_t)op->p.glu.kind : 0);
}

static enum hth_status emit(struct compile *c, const struct op *op, const struct row_choice *choice)
{
    const struct tensor *x = op->in[0], *b = op->kind == OP_SCALE ? NULL : op->in[1],
                        *y = op->out[0];
    uint32_t tokens = compile_bucket(c, y), n = (uint32_t)(tensor_elems(y) / tokens);
    struct elementwise_args a = {
        .batch = compile_batch_ref(c),
        .rows_field = compile_rows_field(y),
        .n = n,
        .row = (uint32_t)y->ne[0],
        .x = compile_ref(c, x),
        .b = compile_vector(c, b),
        .y = compile_ref(c, y),
        .x_stride = compile_stride(x),
        .b_stride = b ? compile_stride(b) : 0,
        .y_stride = compile_stride(y),
        .b_is_row = b && tensor_elems(b) == b->ne[0] && tensor_elems(b) != tensor_elems(y),
    };
    if (op->kind == OP_SCALE) {
        a.scale = op->p.scale.scale;
        a.log_scale = op->p.scale.log_scale;
        a.log_length = (uint32_t)op->p.scale.log_length;
    }
    struct dispatch d = {.choice = *choice,
                         .args = &a,
                         .args_bytes = sizeof a,
                         .groups = {(n + PER_GROUP - 1) / PER_GROUP, tokens, 1}};
    dispatch_reads(&d, c, x);
    dispatch_reads(&d, c, b);
    dispatch_writes(&d, c, y);
    return compile_add(c, &d);
}

static const struct row rows[] = {
    {.name = "elementwise", .blob = "elementwise", .shape = shape, .emit = emit},
};

const struct row_family row_family_elementwise = {
    .kinds = {OP_ADD, OP_MUL, OP_SCALE, OP_GLU},
    .n_kinds = 4,
    .rows = rows,
    .n_rows = ARRAY_LEN(rows),
};
