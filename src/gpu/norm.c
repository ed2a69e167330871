/* Rows of RMS norm (alone, and after a residual), layer norm and softmax. */
#include "gpu/compile.h"

#include "common/batch_args.h"
#include "norm/norm_args.h"

/* A workgroup per row: a subgroup for short rows (heads), more for long ones. */
static void row_shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    uint32_t lanes = row_subgroup_actual(env->caps, row_subgroup(env->caps, 32));
    uint32_t group = lanes, n = (uint32_t)op->out[0]->ne[0];
    while (group < 256 && group * 8 <= n)
        group *= 2;
    choice->subgroup_size = row_subgroup(env->caps, 32);
    choice_set(choice, "GROUP", group);
}

/* y = norm(x + add) × w + bias, sum = x + add; NULL: without. */
struct parts {
    const struct tensor *x, *add, *sum, *w, *bias, *y;
    float eps;
};

static enum hth_status emit(struct compile *c, const struct parts *p,
                            const struct row_choice *choice)
{
    const struct tensor *x = p->x, *add = p->add, *sum = p->sum, *y = p->y;
    uint32_t rows = (uint32_t)tensor_rows(x);
    struct norm_args a = {
        .batch = compile_batch_ref(c),
        .rows_field = compile_rows_field(x),
        .per_row = rows / compile_bucket(c, x),
        .n = (uint32_t)x->ne[0],
        .x = compile_ref(c, x),
        .add = compile_ref(c, add),
        .sum = compile_ref(c, sum),
        .w = compile_vector(c, p->w),
        .bias = compile_vector(c, p->bias),
        .y = compile_ref(c, y),
        .x_stride = compile_stride(x),
        .add_stride = add ? compile_stride(add) : 0,
        .sum_stride = sum ? compile_stride(sum) : 0,
        .y_stride = compile_stride(y),
        .eps = p->eps,
    };
    struct dispatch d = {
        .choice = *choice, .args = &a, .args_bytes = sizeof a, .groups = {rows, 1, 1}};
    dispatch_reads(&d, c, x);
    dispatch_reads(&d, c, add);
    dispatch_writes(&d, c, sum);
    dispatch_writes(&d, c, y);
    return compile_add(c, &d);
}

static enum hth_status rms_norm_emit(struct compile *c, const struct op *op,
                                     const struct row_choice *choice)
{
    struct parts p = {.x = op->in[0], .w = op->in[1], .y = op->out[0], .eps = op->p.rms_norm.eps};
    if (op->kind == OP_ADD_RMS_NORM) {
        p.add = op->in[1], p.sum = op->out[0];
        p.w = op->in[2], p.y = op->out[1];
    }
    return emit(c, &p, choice);
}

static enum hth_status layer_norm_emit(struct compile *c, const struct op *op,
                                       const struct row_choice *choice)
{
    const struct parts p = {.x = op->in[0],
                            .w = op->in[1],
                            .bias = op->in[2],
                            .y = op->out[0],
                            .eps = op->p.layer_norm.eps};
    return emit(c, &p, choice);
}

static enum hth_status softmax_emit(struct compile *c, const struct op *op,
                                    const struct row_choice *choice)
{
    return emit(c, &(struct parts){.x = op->in[0], .y = op->out[0]}, choice);
}

static const struct row norm_rows[] = {
    {.name = "rms_norm", .blob = "rms_norm", .shape = row_shape, .emit = rms_norm_emit},
};

const struct row_family row_family_norm = {
    .kinds = {OP_RMS_NORM, OP_ADD_RMS_NORM},
    .n_kinds = 2,
    .rows = norm_rows,
    .n_rows = ARRAY_LEN(norm_rows),
};

static const struct row layer_norm_rows[] = {
    {.name = "layer_norm", .blob = "layer_norm", .shape = row_shape, .emit = layer_norm_emit},
};

const struct row_family row_family_layer_norm = {
    .kinds = {OP_LAYER_NORM},
    .n_kinds = 1,
    .rows = layer_norm_rows,
    .n_rows = ARRAY_LEN(layer_norm_rows),
};

static const struct row softmax_rows[] = {
    {.name = "softmax", .blob = "softmax", .shape = row_shape, .emit = softmax_emit},
};

const struct row_family row_family_softmax = {
    .kinds = {OP_SOFTMAX},
    .n_kinds = 1,
    .rows = softmax_rows,
    .n_rows = ARRAY_LEN(softmax_rows),
};
