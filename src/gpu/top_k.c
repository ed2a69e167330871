/* The row that chooses the largest of each row of logits. */
#include "gpu/compile.h"

#include "op/top_k.h"
#include "top_k/top_k_args.h"

/* Eight elements for each invocation of a large workgroup: enough of them for any GPU in a row of
 * 32 000, and few enough for one workgroup to go through what they found in a row of 262 144. */
enum { SLICE = 2048, MAX_GROUP = 256, SUBGROUPS = 8 };

/* Whoever takes the best of all subgroups looks at each: they are to be few. */
static void shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    (void)op;
    choice->subgroup_size = row_subgroup(env->caps, 32);
    uint32_t lanes = row_subgroup_actual(env->caps, choice->subgroup_size);
    choice_set(choice, "GROUP", lanes * SUBGROUPS < MAX_GROUP ? lanes * SUBGROUPS : MAX_GROUP);
}

static enum hth_status emit(struct compile *c, const struct op *op, const struct row_choice *choice)
{
    const struct tensor *x = op->in[0], *y = op->out[0];
    uint32_t rows = compile_bucket(c, x), n = (uint32_t)x->ne[0];
    struct top_k_args a = {
        .batch = compile_batch_ref(c),
        .rows_field = compile_rows_field(x),
        .n = n,
        .k = (uint32_t)op->p.top_k.k,
        .slices = (n + SLICE - 1) / SLICE,
        .slice = SLICE,
        .x = compile_ref(c, x),
        .y = compile_ref(c, y),
        .x_stride = compile_stride(x),
        .y_stride = compile_stride(y),
    };
    struct range found;
    compile_side(c, SIDE_FOUND, 4ull * rows * a.slices * (2 * a.k + 1), &a.found, &found);
    struct dispatch slices = {.name = "top_k_slices",
                              .choice = *choice,
                              .args = &a,
                              .args_bytes = sizeof a,
                              .groups = {a.slices, rows, 1}};
    dispatch_reads(&slices, c, x);
    dispatch_writes_range(&slices, found);
    enum hth_status status = compile_add(c, &slices);
    a.merge = 1;
    struct dispatch merge = {
        .choice = *choice, .args = &a, .args_bytes = sizeof a, .groups = {1, rows, 1}};
    dispatch_reads_range(&merge, found);
    dispatch_writes(&merge, c, y);
    return status ? status : compile_add(c, &merge);
}

static const struct row rows[] = {
    {.name = "top_k", .blob = "top_k", .shape = shape, .emit = emit},
};

const struct row_family row_family_top_k = {
    .kinds = {OP_TOP_K},
    .n_kinds = 1,
    .rows = rows,
    .n_rows = ARRAY_LEN(rows),
};
