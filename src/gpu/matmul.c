/* Rows of matmul: matvec for up to 16 columns, tiles for more; plain, fused, by expert. */
#include "gpu/compile.h"

#include "base/mem.h"
#include "common/batch_args.h"
#include "gpu/coop.h"
#include "matmul/halve_args.h"
#include "matmul/matmul_args.h"
#include "matmul/matvec_args.h"
#include "matmul/quantize_args.h"
#include "moe/moe_args.h"

enum {
    MATVEC_MAX_COLS = 4,
    /* Each workgroup squares all of x and multiplies it by the norm's weight: of one column that is
     * less than waiting for a norm, of several it is as much as the products. */
    MATVEC_NORM_TOKENS = 1,
    FEW_GROUPS = 256, /* workgroups that leave a card idle */
    TILE_COLUMNS = 8, /* of an invocation at most: MAX_TN of the shader */
};

/* The matmuls inside an op, whatever its kind: up to three weights that share x. */
struct parts {
    const struct tensor *x, *ids, *residual;
    const struct tensor *w[3], *bias[3], *y[3];
    int n;
    uint32_t glu;              /* 0, or 1 + enum glu_kind: w[0] is gate, w[1] up, y[0] the result */
    const struct tensor *norm; /* x is normed first; its weight */
    float eps;
    const struct tensor *shares; /* of the experts of a token, which are summed up */
};

static struct parts parts_of(const struct op *op)
{
    struct parts p = {0};
    if (op->kind == OP_NORM_MATMUL) {
        p = parts_of(op->parts[1]);
        p.x = op->parts[0]->in[0];
        p.norm = op->in[OP_NORM_W];
        p.eps = op->parts[0]->p.rms_norm.eps;
    } else if (op->kind == OP_MATMUL || op->kind == OP_MATMUL_SUM) {
        p = (struct parts){.x = op->in[1], .ids = op->in[4], .residual = op->in[3], .n = 1};
        p.w[0] = op->in[0], p.bias[0] = op->in[2], p.y[0] = op->out[0];
        p.shares = op->kind == OP_MATMUL_SUM ? op->in[5] : NULL;
    } else if (op->kind == OP_MATMUL_GLU) {
        p = (struct parts){
            .x = op->in[1], .ids = op->in[4], .n = 2, .glu = 1 + (uint32_t)op->p.glu.kind};
        p.w[0] = op->in[0], p.bias[0] = op->in[2], p.w[1] = op->in[5], p.bias[1] = op->in[6];
        p.y[0] = op->out[0];
    } else {
        p.x = op->in[0];
        for (int i = 0; i < 3 && op->in[1 + 2 * i]; i++, p.n++) {
            p.w[i] = op->in[1 + 2 * i], p.bias[i] = op->in[2 + 2 * i];
            p.y[i] = op->out[i];
        }
    }
    return p;
}

/* Columns of y at the bucket's size: tokens, or slots (token, expert). */
static int64_t columns_of(const struct parts *p)
{
    return tensor_rows(p->y[0]);
}

static bool same_formats(const struct parts *p)
{
    for (int i = 1; i < p->n; i++)
        if (p->w[i]->dtype != p->w[0]->dtype)
            return false;
    return true;
}

/* All kernels take units of 32 columns, of whole blocks or of floats in 16-byte loads. */
static bool shapes_fit(const struct parts *p)
{
    int64_t k = p->w[0]->ne[0];
    bool plain = p->w[0]->dtype->block_elems == 1;
    return (plain ? k % 8 == 0 : k % 32 == 0) && p->w[0]->kind == TENSOR_WEIGHT && same_formats(p);
}

static bool matvec_fits(const struct row_env *env, const struct op *op)
{
    (void)env;
    struct parts p = parts_of(op);
    int64_t tokens = p.ids && !p.shares ? p.y[0]->ne[2] : columns_of(&p);
    bool residual_fits = !p.residual || p.residual->stride[1] == p.y[0]->stride[1];
    bool norm_fits = !p.norm || tokens <= MATVEC_NORM_TOKENS;
    return shapes_fit(&p) && residual_fits && norm_fits && tokens <= ROW_FEW_TOKENS;
}

/* Rows per workgroup save loads of x, which every lane shares among its rows; several columns use
 * the registers up, and so do superblocks, whose words come from several places and whose units
 * may come in twos. With a norm or a sum of experts beside, as many rows spill on Xe-LP. */
static uint32_t matvec_rows(const struct row_env *env, const struct parts *p, uint32_t cols)
{
    if (row_has_many_registers(env->caps))
        return cols <= 2 && !(p->glu && cols == 2) ? 2 : 1;
    bool heavy = p->w[0]->dtype->block_elems > 32, beside = p->norm || p->shares;
    if (cols != 1)
        return cols == 2 ? 2 : 1;
    return (heavy ? 2 : 4) >> beside;
}

/* Columns of one workgroup: as few groups of at most MATVEC_MAX_COLS as there can be, alike. */
static uint32_t matvec_cols(const struct parts *p)
{
    uint32_t columns = p->ids ? 1 : (uint32_t)columns_of(p);
    uint32_t groups = (columns + MATVEC_MAX_COLS - 1) / MATVEC_MAX_COLS;
    return (columns + groups - 1) / groups;
}

/* What a product does before and after. */
static void set_extras(struct row_choice *choice, const struct parts *p)
{
    choice_set(choice, "GLU", p->glu);
    choice_set(choice, "NORM", p->norm != NULL);
    choice_set(choice, "SUM", p->shares != NULL);
}

/* One subgroup shares a row, so that no barrier is needed; more where rows are few and long, and
 * there is a card to fill with them. */
static void matvec_shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    struct parts p = parts_of(op);
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
static bool lanes_read_apart(const struct row_env *env, const struct op *op)
{
    (void)op;
    return env->caps->kind == VK_KIND_SOFTWARE;
}

static void matvec_lanes_shape(const struct row_env *env, const struct op *op,
                               struct row_choice *choice)
{
    struct parts p = parts_of(op);
    uint32_t cols = matvec_cols(&p);
    choice->subgroup_size = row_subgroup(env->caps, 1);
    choice_set(choice, "GROUP", row_subgroup_actual(env->caps, choice->subgroup_size));
    choice_set(choice, "ROWS", p.w[0]->dtype->block_elems > 32 ? 2 : 4);
    choice_set(choice, "COLS", cols);
    choice_set(choice, "LANE_ROWS", 1);
    set_extras(choice, &p);
}

static struct dispatch begin(const struct compile *c, const struct row_choice *choice,
                             const struct parts *p)
{
    struct dispatch d = {.choice = *choice};
    dispatch_reads(&d, c, p->x);
    dispatch_reads(&d, c, p->ids);
    dispatch_reads(&d, c, p->residual);
    dispatch_reads(&d, c, p->shares);
    for (int i = 0; i < 3; i++)
        dispatch_writes(&d, c, p->y[i]);
    return d;
}

/* Whether a weight lies in several chunks, so that its pieces are dispatched one by one. */
static bool any_split(const struct compile *c, const struct parts *p)
{
    for (int i = 0; i < p->n; i++)
        if (!p->ids && compile_weight(c, p->w[i])->n_parts > 1)
            return true;
    return false;
}

/* Slots instead of columns, where experts are chosen: does x have a row for each? */
static bool x_per_slot(const struct parts *p)
{
    int64_t slots = p->shares ? tensor_elems(p->shares) : tensor_rows(p->y[0]);
    return p->ids && tensor_rows(p->x) == slots;
}

/* Piece `round` of weight i as part `at` of the arguments. */
static void set_part(const struct compile *c, const struct parts *p, int i, int round, int at,
                     struct matvec_args *a)
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
    /* a vocabulary can have more rows than a dimension has workgroups: 65535 is all that is sure */
    uint32_t most = c->env.caps->max_groups[1];
    d->groups[2] = 1 + (d->groups[1] - 1) / most; /* which may be all that 32 bits hold */
    d->groups[1] = (d->groups[1] + d->groups[2] - 1) / d->groups[2];
    d->args = a;
    d->args_bytes = sizeof *a;
    return compile_add(c, d);
}

/* All weights in one dispatch; or, where some lie in several chunks, piece by piece. */
static enum hth_status matvec_emit(struct compile *c, const struct op *op,
                                   const struct row_choice *choice)
{
    struct parts p = parts_of(op);
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
        .x_per_slot = x_per_slot(&p),
        .norm = compile_vector(c, p.norm),
        .eps = p.eps,
        .shares = compile_ref(c, p.shares),
    };
    struct dispatch d = begin(c, choice, &p);
    d.groups[0] = ((uint32_t)columns_of(&p) + cols - 1) / cols;
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

/* --- tiles ------------------------------------------------------------------------------------ */

static bool matmul_fits(const struct row_env *env, const struct op *op)
{
    (void)env;
    struct parts p = parts_of(op);
    return op->kind == OP_MATMUL && !p.residual && shapes_fit(&p);
}

/* 32 columns, of which an invocation has `tn`, and `bm` rows. A processor's compiler keeps sums in
 * memory from one round of a loop to the next, so that rounds must be few; and it has caches for
 * more columns, which all use what is decoded once. */
static void tile_shape(const struct row_env *env, const struct op *op, struct row_choice *choice,
                       uint32_t bm, uint32_t tn)
{
    struct parts p = parts_of(op);
    choice->subgroup_size = row_subgroup(env->caps, 1);
    uint32_t lanes = row_subgroup_actual(env->caps, choice->subgroup_size);
    bool processor = env->caps->kind == VK_KIND_SOFTWARE;
    uint32_t bn = 32, group = bm / 4 * (bn / tn), most = env->caps->max_subgroups * lanes;
    for (; most && group > most && tn < TILE_COLUMNS; group /= 2)
        tn *= 2;
    if (processor && !p.ids && columns_of(&p) > 32 && 2 * group <= most) {
        bn *= 2;
        group *= 2;
    }
    choice_set(choice, "BM", bm);
    choice_set(choice, "BN", bn);
    choice_set(choice, "TN", tn);
    choice_set(choice, "GROUP", group);
    choice_set(choice, "UNITS", group > bm && !processor ? group / bm : 1);
    choice_set(choice, "K_STEP", processor ? 8 : 1);
    choice_set(choice, "UNIFORM_COLUMNS", env->caps->subgroup_control && lanes <= bm / 4);
}

static void float_tile_shape(const struct row_env *env, const struct op *op,
                             struct row_choice *choice)
{
    tile_shape(env, op, choice, 128, row_has_many_registers(env->caps) ? 8 : 4);
}

/* Sums of halves or integers stand beside the float ones; with 8 lanes, Intel's Xe-LP spills sooner
 * than one would count. */
static void narrow_tile_shape(const struct row_env *env, const struct op *op,
                              struct row_choice *choice)
{
    tile_shape(env, op, choice, 64, env->caps->subgroup_min < 16 ? 2 : 4);
}

/* By expert: slots are sorted into tiles of one expert each first. The list of them serves gate, up
 * and down of a layer, so it is an activation of its own, made when the ids are new. */
static enum hth_status emit_groups(struct compile *c, const struct parts *p, uint32_t tile,
                                   struct matmul_args *a, struct dispatch *d, uint32_t *n_tiles)
{
    uint32_t n_used = (uint32_t)p->y[0]->ne[1], n_expert = (uint32_t)p->w[0]->ne[2];
    uint32_t slots = n_used * (uint32_t)c->graph->n_tokens;
    *n_tiles = slots / tile + (slots < n_expert ? slots : n_expert);
    struct group_args g = {.batch = compile_batch_ref(c),
                           .ids = compile_ref(c, p->ids),
                           .n_expert = n_expert,
                           .n_used = n_used,
                           .tile = tile,
                           .slots_at = GROUPS_TILES + 3 * *n_tiles};
    struct range range;
    bool there = c->grouped == p->ids && c->grouped_tile == tile;
    compile_side(c, SIDE_GROUPS, 4ull * (g.slots_at + slots), &g.groups, &range);
    a->groups = g.groups;
    dispatch_reads_range(d, range);
    if (there)
        return HTH_OK;
    struct dispatch group = {
        .name = "group", .args = &g, .args_bytes = sizeof g, .groups = {1, 1, 1}};
    if (!compile_helper(c, "group", &group.choice))
        return HTH_ERROR_UNSUPPORTED;
    dispatch_reads(&group, c, p->ids);
    dispatch_writes_range(&group, range);
    c->grouped = p->ids;
    c->grouped_tile = tile;
    return compile_add(c, &group);
}

/* Replaces x of a tile's arguments by what a helper makes of it, once for all matmuls that share
 * it, in `range`. */
typedef enum hth_status prepare_fn(struct compile *c, const struct tensor *x, struct matmul_args *a,
                                   struct range *range);

/* Activations in bytes. */
static enum hth_status emit_quantized(struct compile *c, const struct tensor *x,
                                      struct matmul_args *a, struct range *range)
{
    uint32_t rows = (uint32_t)tensor_rows(x), k = a->k;
    uint64_t bytes = align_up((uint64_t)rows * k, VK_REF_ALIGN);
    bool there = c->quantized == x;
    struct quantize_args q = {.batch = a->batch,
                              .rows_field = a->rows_field,
                              .per_row = rows / compile_bucket(c, x),
                              .k = k,
                              .x = a->x,
                              .x_stride = a->x_stride};
    compile_side(c, SIDE_QUANTIZED, bytes + (uint64_t)rows * k / 32 * 16, &q.q, range);
    q.scales = q.q + (uint32_t)(bytes / VK_REF_ALIGN);
    a->x = q.q;
    a->x_scales = q.scales;
    a->x_stride = k;
    if (there)
        return HTH_OK;
    struct dispatch d = {.name = "quantize",
                         .args = &q,
                         .args_bytes = sizeof q,
                         .groups = {(k / 32 + 31) / 32, rows, 1}};
    if (!compile_helper(c, "quantize", &d.choice))
        return HTH_ERROR_UNSUPPORTED;
    dispatch_reads(&d, c, x);
    dispatch_writes_range(&d, *range);
    c->quantized = x;
    return compile_add(c, &d);
}

/* Activations in halves, each row by a power of two, so that none overflows. */
static enum hth_status emit_halved(struct compile *c, const struct tensor *x, struct matmul_args *a,
                                   struct range *range)
{
    uint32_t rows = (uint32_t)tensor_rows(x), stride = (uint32_t)align_up(a->k, 32);
    uint64_t bytes = align_up(2ull * rows * stride, VK_REF_ALIGN);
    bool there = c->halved == x;
    struct halve_args h = {.batch = a->batch,
                           .rows_field = a->rows_field,
                           .per_row = rows / compile_bucket(c, x),
                           .k = a->k,
                           .x = a->x,
                           .x_stride = a->x_stride};
    compile_side(c, SIDE_HALVES, bytes + 4ull * rows, &h.halves, range);
    h.scales = h.halves + (uint32_t)(bytes / VK_REF_ALIGN);
    a->x = h.halves;
    a->x_scales = h.scales;
    a->x_stride = stride;
    if (there)
        return HTH_OK;
    struct dispatch d = {
        .name = "halve", .args = &h, .args_bytes = sizeof h, .groups = {rows, 1, 1}};
    if (!compile_helper(c, "halve", &d.choice))
        return HTH_ERROR_UNSUPPORTED;
    dispatch_reads(&d, c, x);
    dispatch_writes_range(&d, *range);
    c->halved = x;
    return compile_add(c, &d);
}

/* `prepare` NULL: the tiles take x as it is. */
static enum hth_status emit_tiles(struct compile *c, const struct op *op,
                                  const struct row_choice *choice, prepare_fn *prepare)
{
    struct parts p = parts_of(op);
    uint32_t bm = choice_get(choice, "BM", 128), bn = choice_get(choice, "BN", 32);
    struct matmul_args a = {
        .batch = compile_batch_ref(c),
        .rows_field = compile_rows_field(p.x),
        .k = (uint32_t)p.w[0]->ne[0],
        .x = compile_ref(c, p.x),
        .x_stride = (uint32_t)p.x->stride[1],
        .x_scales = REF_NONE,
        .y = compile_ref(c, p.y[0]),
        .y_stride = (uint32_t)p.y[0]->stride[1],
        .bias = compile_vector(c, p.bias[0]),
        .groups = REF_NONE,
        .table = REF_NONE,
        .n_used = p.ids ? (uint32_t)p.y[0]->ne[1] : 1,
        .x_per_slot = x_per_slot(&p),
    };
    struct dispatch d = begin(c, choice, &p);
    enum hth_status status = HTH_OK;
    if (prepare) {
        struct range range;
        status = prepare(c, p.x, &a, &range);
        dispatch_reads_range(&d, range);
    }
    d.groups[1] = ((uint32_t)columns_of(&p) + bn - 1) / bn;
    d.groups[2] = 1;
    const struct placed *placed = compile_weight(c, p.w[0]);
    if (status == HTH_OK && p.ids) {
        status = emit_groups(c, &p, bn, &a, &d, &d.groups[1]);
        a.table = vk_ref(placed->table_chunk, placed->table_offset);
    }
    for (int i = 0; i < (p.ids ? 1 : placed->n_parts) && status == HTH_OK; i++) {
        const struct placed_part *part = &placed->parts[i];
        a.w = vk_ref(part->chunk, part->offset);
        a.n = (uint32_t)(p.ids ? p.w[0]->ne[1] : part->count);
        a.y_first = (uint32_t)(p.ids ? 0 : part->first);
        d.args = &a;
        d.args_bytes = sizeof a;
        d.groups[0] = (a.n + bm - 1) / bm;
        status = compile_add(c, &d);
    }
    return status;
}

static enum hth_status matmul_emit(struct compile *c, const struct op *op,
                                   const struct row_choice *choice)
{
    return emit_tiles(c, op, choice, NULL);
}

static enum hth_status matmul_int_emit(struct compile *c, const struct op *op,
                                       const struct row_choice *choice)
{
    return emit_tiles(c, op, choice, emit_quantized);
}

static enum hth_status coop_emit(struct compile *c, const struct op *op,
                                 const struct row_choice *choice)
{
    return emit_tiles(c, op, choice, emit_halved);
}

/* By expert, what counts is how many columns one of them gets. */
static bool coop_tile_of(const struct row_env *env, const struct op *op, struct coop_tile *tile)
{
    struct parts p = parts_of(op);
    int64_t experts = p.ids ? p.w[0]->ne[2] : 1;
    return coop_tile(env->caps, (uint32_t)(columns_of(&p) / experts), tile);
}

static bool coop_fits(const struct row_env *env, const struct op *op)
{
    struct coop_tile tile;
    return matmul_fits(env, op) && coop_tile_of(env, op, &tile);
}

static void coop_shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    struct coop_tile tile;
    if (!coop_tile_of(env, op, &tile))
        return;
    const struct {
        const char *name;
        uint32_t value;
    } constants[] = {
        {"GROUP", tile.group}, {"BM", tile.bm}, {"BN", tile.bn},
        {"M", tile.m},         {"N", tile.n},   {"K", tile.k},
        {"FM", tile.fm},       {"FN", tile.fn}, {"UNITS", tile.units},
    };
    for (size_t i = 0; i < ARRAY_LEN(constants); i++)
        choice_set(choice, constants[i].name, constants[i].value);
    choice->subgroup_size = tile.lanes;
}

/* Where the device has no instruction for it, only when asked for by name. */
static bool matmul_int_fits(const struct row_env *env, const struct op *op)
{
    return env->caps->int_dot_any && matmul_fits(env, op);
}

static bool matmul_half_fits(const struct row_env *env, const struct op *op)
{
    return env->caps->fp16 && matmul_fits(env, op);
}

/* Integer dot products where the device says that they are fast. */
static bool int_is_fast(const struct row_env *env, const struct op *op)
{
    (void)op;
    return env->caps->int_dot;
}

/* Nothing says so of packed fp16, but every design with fast integer dot products is known to have
 * it. Not with 8 lanes: Xe-LP's compiler spills there at any size of tile. */
static bool half_is_fast(const struct row_env *env, const struct op *op)
{
    (void)op;
    return env->caps->int_dot && env->caps->subgroup_min >= 16;
}

/* Nothing says either whether matrices are multiplied by units made for them or one number after
 * the other. Every design that has such units has fast integer dot products, too. */
static bool coop_is_fast(const struct row_env *env, const struct op *op)
{
    (void)op;
    return env->caps->int_dot;
}

static const struct row rows[] = {
    {.name = "matvec_lanes_f32",
     .blob = "matvec",
     .by_format = true,
     .fits = matvec_fits,
     .prefers = lanes_read_apart,
     .shape = matvec_lanes_shape,
     .emit = matvec_emit},
    {.name = "matvec_f32",
     .blob = "matvec",
     .by_format = true,
     .fits = matvec_fits,
     .shape = matvec_shape,
     .emit = matvec_emit},
    {.name = "matmul_coop",
     .blob = "matmul_coop",
     .by_format = true,
     .half = true,
     .matrices = true,
     .fits = coop_fits,
     .prefers = coop_is_fast,
     .shape = coop_shape,
     .emit = coop_emit},
    {.name = "matmul_int",
     .blob = "matmul_int",
     .by_format = true,
     .integer = true,
     .fits = matmul_int_fits,
     .prefers = int_is_fast,
     .shape = narrow_tile_shape,
     .emit = matmul_int_emit},
    {.name = "matmul_f16",
     .blob = "matmul_f16",
     .by_format = true,
     .half = true,
     .fits = matmul_half_fits,
     .prefers = half_is_fast,
     .shape = narrow_tile_shape,
     .emit = matmul_emit},
    {.name = "matmul_f32",
     .blob = "matmul_f32",
     .by_format = true,
     .fits = matmul_fits,
     .shape = float_tile_shape,
     .emit = matmul_emit},
};

const struct row_family row_family_matmul = {
    .kinds = {OP_MATMUL, OP_MATMUL_GLU, OP_MATMUL_QKV, OP_MATMUL_SUM, OP_NORM_MATMUL},
    .n_kinds = 5,
    .rows = rows,
    .n_rows = ARRAY_LEN(rows),
};
