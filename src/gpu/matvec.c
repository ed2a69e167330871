/* Matvecs: rows of the matmul family for up to 16 columns, with what comes before and after. */
#include "gpu/matmul_part.h"

#include "base/mem.h"
#include "matmul/matvec_args.h"

enum {
    MATVEC_MAX_COLS = 4,
    /* Each workgroup squares all of x and multiplies it by the norm's weight: of one column that is
     * less than waiting for a norm, of several it is as much as the products. */
    MATVEC_NORM_TOKENS = 1,
    FEW_GROUPS = 256, /* workgroups that leave a card idle */
    SLICE = 4096,     /* so many make a slice where there are more: one can be a submit */
};

bool matvec_fits(const struct row_env *env, const struct op *op)
{
    (void)env;
    struct matmul_parts p = matmul_parts(op);
    int64_t tokens = p.ids && !p.shares ? p.y[0]->ne[2] : matmul_columns(&p);
    bool residual_fits = !p.residual || p.residual->stride[1] == p.y[0]->stride[1];
    bool norm_fits = !p.norm || tokens <= MATVEC_NORM_TOKENS;
    return matmul_shapes_fit(&p) && residual_fits && norm_fits && tokens <= ROW_FEW_TOKENS;
}

/* Rows per workgroup save loads of x, which every lane shares among its rows; several columns use
 * the registers up, and so do superblocks, whose words come from several places and whose units
 * may come in twos. With a norm or a sum of experts beside, as many rows spill on Xe-LP. */
static uint32_t matvec_rows(const struct row_env *env, const struct matmul_parts *p, uint32_t cols)
{
    if (row_has_many_registers(env->caps))
        return cols <= 2 && !(p->glu && cols == 2) ? 2 : 1;
    bool heavy = p->w[0]->dtype->block_elems > 32, beside = p->norm || p->shares;
    if (cols != 1)
        return cols == 2 ? 2 : 1;
    return (heavy ? 2 : 4) >> beside;
}

/* Columns of one workgroup: as few groups of at most MATVEC_MAX_COLS as there can be, alike. */
static uint32_t matvec_cols(const struct matmul_parts *p)
{
    uint32_t columns = p->ids ? 1 : (uint32_t)matmul_columns(p);
    uint32_t groups = (columns + MATVEC_MAX_COLS - 1) / MATVEC_MAX_COLS;
    return (columns + groups - 1) / groups;
}

/* What a product does before and after. */
static void set_extras(struct row_choice *choice, const struct matmul_parts *p)
{
    choice_set(choice, "GLU", p->glu);
    choice_set(choice, "NORM", p->norm != NULL);
    choice_set(choice, "SUM", p->shares != NULL);
}

/* One subgroup shares a row, so that no barrier is needed; more where rows are few and long, and
 * there is a card to fill with them. */
void matvec_shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    struct matmul_parts p = matmul_parts(op);
    uint32_t cols = matvec_cols(&p);
    choice->subgroup_size = row_subgroup(env->caps, 1);
    uint32_t lanes = row_subgroup_actual(env->caps, choice->subgroup_size), group = lanes;
    uint32_t rows = matvec_rows(env, &p, cols);
    uint32_t units = (uint32_t)div_up((uint64_t)p.w[0]->ne[0], 32), n = 0;
    for (int i = 0; i < (p.glu ? 1 : p.n); i++)
        n += (uint32_t)p.w[i]->ne[1];
    while (n / rows < FEW_GROUPS && group < 4 * lanes && group * 4 <= units)
        group *= 2;
    choice_set(choice, "GROUP", group);
    choice_set(choice, "ROWS", rows);
    choice_set(choice, "COLS", cols);
    set_extras(choice, &p);
}

/* Lanes with rows of their own read x once for all of them, and sum up nothing; their reads of
 * weights lie far apart. That is better where reads are not coalesced: on a CPU, whose compiler
 * puts what finds no register on the stack. */
bool matvec_lanes_prefers(const struct row_env *env, const struct op *op)
{
    (void)op;
    return env->caps->kind == VK_KIND_SOFTWARE;
}

void matvec_lanes_shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    struct matmul_parts p = matmul_parts(op);
    uint32_t cols = matvec_cols(&p);
    choice->subgroup_size = row_subgroup(env->caps, 1);
    choice_set(choice, "GROUP", row_subgroup_actual(env->caps, choice->subgroup_size));
    choice_set(choice, "ROWS", p.w[0]->dtype->block_elems > 32 ? 2 : 4);
    choice_set(choice, "COLS", cols);
    choice_set(choice, "LANE_ROWS", 1);
    set_extras(choice, &p);
}

/* --- tuning ----------------------------------------------------------------------------------- */

enum { KNOB_SUBGROUP, KNOB_SUBGROUPS, KNOB_ROWS, KNOB_COLS };

/* The lanes that share a row are SUBGROUPS of them. */
const struct row_knob matvec_knobs[MATVEC_KNOBS] = {
    [KNOB_SUBGROUP] = {"SUBGROUP", {4, 8, 16, 32, 64, 128}},
    [KNOB_SUBGROUPS] = {"SUBGROUPS", {1, 2, 4, 8}},
    [KNOB_ROWS] = {"ROWS", {1, 2, 4}},
    [KNOB_COLS] = {"COLS", {1, 2, 3, 4, 6, 8}},
};

/* Sums of more rows and columns spill where registers are short, and are slow to compile. No lane
 * is without a unit of the rows that it shares. */
bool matvec_turn(const struct row_env *env, const struct op *op, const uint32_t *values,
                 struct row_choice *choice)
{
    struct matmul_parts p = matmul_parts(op);
    uint32_t lanes = row_subgroup_actual(env->caps, choice->subgroup_size);
    uint32_t subgroups =
        row_turned(values[KNOB_SUBGROUPS], choice_get(choice, "GROUP", lanes) / lanes);
    uint32_t rows = row_turned(values[KNOB_ROWS], choice_get(choice, "ROWS", 1));
    uint32_t cols = row_turned(values[KNOB_COLS], choice_get(choice, "COLS", 1));
    uint32_t columns = p.ids ? 1 : (uint32_t)matmul_columns(&p);
    uint32_t units = (uint32_t)div_up((uint64_t)p.w[0]->ne[0], 32);
    uint32_t most = row_has_many_registers(env->caps) ? 8 : 4;
    choice->subgroup_size = row_turned(values[KNOB_SUBGROUP], choice->subgroup_size);
    lanes = row_subgroup_actual(env->caps, choice->subgroup_size);
    bool idle =
        choice_get(choice, "LANE_ROWS", 0) == 0 && subgroups > 1 && lanes * subgroups > units;
    if (idle || cols > columns || rows * cols > most)
        return false;
    choice_set(choice, "GROUP", lanes * subgroups);
    choice_set(choice, "ROWS", rows);
    choice_set(choice, "COLS", cols);
    return true;
}

/* Whether a weight lies in several chunks, so that its pieces are dispatched one by one. */
static bool any_split(const struct compile *c, const struct matmul_parts *p)
{
    for (int i = 0; i < p->n; i++)
        if (!p->ids && compile_weight(c, p->w[i])->n_parts > 1)
            return true;
    return false;
}

/* Piece `round` of weight i as part `at` of the arguments. */
static void set_part(const struct compile *c, const struct matmul_parts *p, int i, int round,
                     int at, struct matvec_args *a)
{
    const struct placed *placed = compile_weight(c, p->w[i]);
    const struct placed_part *part = &placed->parts[round];
    a->w[at] = vk_ref(part->chunk, part->offset);
    a->n[at] = (uint32_t)(p->ids ? p->w[i]->ne[1] : part->count);
    a->y_first[at] = (uint32_t)(p->ids ? 0 : part->first);
    a->bias[at] = compile_vector(c, p->bias[i]);
    const struct tensor *y = p->y[p->glu ? 0 : i];
    a->y[at] = compile_ref(c, y);
    a->y_stride[at] = (uint32_t)y->stride[1];
    if (p->ids)
        a->table[at] = vk_ref(placed->table_chunk, placed->table_offset);
}

static enum hth_status matvec_add(struct compile *c, struct dispatch *d, struct matvec_args *a)
{
    uint32_t rows = choice_get(&d->choice, "ROWS", 1), glu = choice_get(&d->choice, "GLU", 0);
    if (choice_get(&d->choice, "LANE_ROWS", 0))
        rows *= choice_get(&d->choice, "GROUP", 1);
    d->groups[1] = 0;
    for (int i = 0; i < (glu ? 1 : 3); i++)
        d->groups[1] += (a->n[i] + rows - 1) / rows;
    /* and a vocabulary can have more rows than a dimension has workgroups */
    d->groups[2] = 1 + (d->groups[1] - 1) / SLICE;
    d->groups[1] = (d->groups[1] + d->groups[2] - 1) / d->groups[2];
    d->args = a;
    d->args_bytes = sizeof *a;
    return compile_add(c, d);
}

/* All weights in one dispatch; or, where some lie in several chunks, piece by piece. */
enum hth_status matvec_emit(struct compile *c, const struct op *op, const struct row_choice *choice)
{
    struct matmul_parts p = matmul_parts(op);
    uint32_t cols = choice_get(choice, "COLS", 1);
    struct matvec_args a = {
        .batch = compile_batch_ref(c),
        .rows_field = compile_rows_field(p.x),
        .k = (uint32_t)p.w[0]->ne[0],
        .x_stride = (uint32_t)p.x->stride[1],
        .x = compile_ref(c, p.x),
        .residual = compile_ref(c, p.residual),
        .ids = compile_ref(c, p.ids),
        .n_used = p.ids ? (uint32_t)p.ids->ne[0] : 1,
        .x_per_slot = matmul_x_per_slot(&p),
        .norm = compile_vector(c, p.norm),
        .eps = p.eps,
        .shares = compile_ref(c, p.shares),
    };
    struct dispatch d = matmul_begin(c, choice, &p);
    d.groups[0] = ((uint32_t)matmul_columns(&p) + cols - 1) / cols;
    if (!any_split(c, &p)) {
        for (int i = 0; i < p.n; i++)
            set_part(c, &p, i, 0, i, &a);
        return matvec_add(c, &d, &a);
    }
    enum hth_status status = HTH_OK;
    for (int i = 0; i < (p.glu ? 1 : p.n); i++) {
        int rounds = compile_weight(c, p.w[i])->n_parts;
        for (int round = 0; round < rounds && status == HTH_OK; round++) {
            set_part(c, &p, i, round, 0, &a);
            if (p.glu)
                set_part(c, &p, 1, round, 1, &a);
            status = matvec_add(c, &d, &a);
        }
    }
    return status;
}
