/* Tiles: rows of the matmul family for many columns, in floats, halves, integers or on cooperative
 * matrices. */
#include "gpu/matmul_part.h"

#include <string.h>

#include "base/mem.h"
#include "common/batch_args.h"
#include "gpu/coop.h"
#include "matmul/halve_args.h"
#include "matmul/matmul_args.h"
#include "matmul/quantize_args.h"
#include "moe/moe_args.h"

enum { TILE_COLUMNS = 8 }; /* of an invocation at most: MAX_TN of the shader */

bool tile_fits(const struct row_env *env, const struct op *op)
{
    (void)env;
    struct matmul_parts p = matmul_parts(op);
    return op->kind == OP_MATMUL && !p.residual && matmul_shapes_fit(&p);
}

/* 32 columns, of which an invocation has `tn`, and `bm` rows. A processor's compiler keeps sums in
 * memory from one round of a loop to the next, so that rounds must be few; and it has caches for
 * more columns, which all use what is decoded once. */
static void shape_tile(const struct row_env *env, const struct op *op, struct row_choice *choice,
                       uint32_t bm, uint32_t tn)
{
    struct matmul_parts p = matmul_parts(op);
    choice->subgroup_size = row_subgroup(env->caps, 1);
    uint32_t lanes = row_subgroup_actual(env->caps, choice->subgroup_size);
    bool processor = env->caps->kind == VK_KIND_SOFTWARE;
    uint32_t bn = 32, group = bm / 4 * (bn / tn), most = env->caps->max_subgroups * lanes;
    for (; most && group > most && tn < TILE_COLUMNS; group /= 2)
        tn *= 2;
    if (processor && !p.ids && matmul_columns(&p) > 32 && 2 * group <= most) {
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

void tile_shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    shape_tile(env, op, choice, 128, row_has_many_registers(env->caps) ? 8 : 4);
}

/* Sums of halves or integers stand beside the float ones; with 8 lanes, Intel's Xe-LP spills sooner
 * than one would count. */
void tile_narrow_shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    shape_tile(env, op, choice, 64, env->caps->subgroup_min < 16 ? 2 : 4);
}

/* --- tuning ----------------------------------------------------------------------------------- */

enum { KNOB_BN, KNOB_TN, KNOB_BM, KNOB_BUFFERS, KNOB_UNITS, KNOB_SUBGROUP, KNOB_STEP };

const struct row_knob tile_knobs[TILE_KNOBS] = {
    [KNOB_BN] = {"BN", {16, 32, 64, 128}},  [KNOB_TN] = {"TN", {2, 4, 8}},
    [KNOB_BM] = {"BM", {32, 64, 128, 256}}, [KNOB_BUFFERS] = {"BUFFERS", {1, 2}},
    [KNOB_UNITS] = {"UNITS", {1, 2, 4}},    [KNOB_SUBGROUP] = {"SUBGROUP", {4, 8, 16, 32, 64, 128}},
    [KNOB_STEP] = {"K_STEP", {1, 2, 4, 8}},
};

/* Two buffers of half a step each take as much memory as one of a whole. */
static uint32_t in_buffers(uint32_t units, uint32_t buffers, uint32_t least)
{
    return units / buffers > least ? units / buffers : least;
}

/* `unit_bytes` of shared memory for each row and column of a unit. A unit of a row is decoded by
 * one invocation, so that there must be as many; more columns of an invocation spill where
 * registers are short. */
static bool turn_tile(const struct row_env *env, const struct op *op, const uint32_t *values,
                      struct row_choice *choice, uint32_t unit_bytes)
{
    struct matmul_parts p = matmul_parts(op);
    uint32_t bm = row_turned(values[KNOB_BM], choice_get(choice, "BM", 128));
    uint32_t bn = row_turned(values[KNOB_BN], choice_get(choice, "BN", 32));
    uint32_t default_tn = choice_get(choice, "TN", 8), tn = row_turned(values[KNOB_TN], default_tn);
    uint32_t group = bm / 4 * (bn / tn), own = choice_get(choice, "UNITS", 1);
    uint32_t buffers = row_turned(values[KNOB_BUFFERS], 1);
    uint32_t units =
        row_turned(values[KNOB_UNITS], in_buffers(own > 1 ? group / bm : own, buffers, 1));
    uint32_t step_bytes = unit_bytes * units * (bm + bn);
    if (bn < tn || group < bm * units || buffers * step_bytes > env->caps->shared_bytes ||
        (tn > default_tn && !row_has_many_registers(env->caps)) ||
        (bn > 32 && bn / 2 >= (uint64_t)matmul_columns(&p)))
        return false;
    choice->subgroup_size = row_turned(values[KNOB_SUBGROUP], choice->subgroup_size);
    uint32_t lanes = row_subgroup_actual(env->caps, choice->subgroup_size);
    choice_set(choice, "BM", bm);
    choice_set(choice, "BN", bn);
    choice_set(choice, "TN", tn);
    choice_set(choice, "GROUP", group);
    choice_set(choice, "UNITS", units);
    choice_set(choice, "K_STEP", row_turned(values[KNOB_STEP], choice_get(choice, "K_STEP", 1)));
    choice_set(choice, "BUFFERS", buffers);
    choice_set(choice, "UNIFORM_COLUMNS", env->caps->subgroup_control && lanes <= bm / 4);
    return true;
}

bool tile_turn(const struct row_env *env, const struct op *op, const uint32_t *values,
               struct row_choice *choice)
{
    return turn_tile(env, op, values, choice, 32 * 4);
}

bool tile_half_turn(const struct row_env *env, const struct op *op, const uint32_t *values,
                    struct row_choice *choice)
{
    return turn_tile(env, op, values, choice, 32 * 2);
}

/* With scale and minimum, or sum, of each run. */
bool tile_int_turn(const struct row_env *env, const struct op *op, const uint32_t *values,
                   struct row_choice *choice)
{
    return turn_tile(env, op, values, choice, 32 + 2 * 8);
}

/* --- rows of a lane's own --------------------------------------------------------------------- */

/* MAX_BN and MAX_SUMS of the shader; its MAX_ROWS is the most that the knob offers. */
enum { LANES_BN = 16, LANES_LEAST_BN = 4, LANES_SUMS = 32 };

/* As matvecs of such rows: better where reads are not coalesced and shared memory is as far as any
 * other. */
bool tile_lanes_prefers(const struct row_env *env, const struct op *op)
{
    (void)op;
    return env->caps->kind == VK_KIND_SOFTWARE;
}

/* As few groups of columns as there can be, alike; by expert as many as one gets. */
static uint32_t lanes_columns(const struct matmul_parts *p, uint32_t most)
{
    uint32_t columns = (uint32_t)matmul_columns(p), groups = (columns + most - 1) / most;
    if (!p->ids)
        return (columns + groups - 1) / groups;
    uint32_t of_expert = columns / (uint32_t)p->w[0]->ne[2], bn = most;
    while (bn > LANES_LEAST_BN && bn / 2 >= of_expert)
        bn /= 2;
    return bn;
}

void tile_lanes_shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    struct matmul_parts p = matmul_parts(op);
    bool many = row_has_many_registers(env->caps);
    choice->subgroup_size = row_subgroup(env->caps, 1);
    uint32_t lanes = row_subgroup_actual(env->caps, choice->subgroup_size);
    choice_set(choice, "GROUP", lanes);
    choice_set(choice, "BM", many ? 2 * lanes : lanes);
    choice_set(choice, "BN", lanes_columns(&p, many ? LANES_BN : LANES_BN / 2));
}

enum { KNOB_LANES_BN, KNOB_LANES_ROWS, KNOB_LANES_SUBGROUPS, KNOB_LANES_SUBGROUP };

const struct row_knob tile_lanes_knobs[TILE_LANES_KNOBS] = {
    [KNOB_LANES_BN] = {"BN", {4, 8, 12, 16}},
    [KNOB_LANES_ROWS] = {"ROWS", {1, 2, 4}},
    [KNOB_LANES_SUBGROUPS] = {"SUBGROUPS", {1, 2, 4, 8}},
    [KNOB_LANES_SUBGROUP] = {"SUBGROUP", {4, 8, 16, 32, 64, 128}},
};

bool tile_lanes_turn(const struct row_env *env, const struct op *op, const uint32_t *values,
                     struct row_choice *choice)
{
    struct matmul_parts p = matmul_parts(op);
    uint32_t group = choice_get(choice, "GROUP", 32), bm = choice_get(choice, "BM", 64);
    uint32_t lanes = row_subgroup_actual(env->caps, choice->subgroup_size);
    uint32_t rows = row_turned(values[KNOB_LANES_ROWS], bm / group);
    uint32_t bn = row_turned(values[KNOB_LANES_BN], choice_get(choice, "BN", LANES_BN));
    uint32_t subgroups = row_turned(values[KNOB_LANES_SUBGROUPS], group / lanes);
    if (rows * bn > (row_has_many_registers(env->caps) ? LANES_SUMS : LANES_SUMS / 2) ||
        bn > (uint64_t)matmul_columns(&p))
        return false;
    choice->subgroup_size = row_turned(values[KNOB_LANES_SUBGROUP], choice->subgroup_size);
    lanes = row_subgroup_actual(env->caps, choice->subgroup_size);
    bm = lanes * subgroups * rows;
    if ((p.w[0]->ne[1] + bm - 1) / bm > env->caps->max_groups[0])
        return false;
    choice_set(choice, "GROUP", lanes * subgroups);
    choice_set(choice, "BM", bm);
    choice_set(choice, "BN", bn);
    return true;
}

/* --- dispatches ------------------------------------------------------------------------------- */

/* By expert: slots are sorted into tiles of one expert each first. The list of them serves gate, up
 * and down of a layer, so it is an activation of its own, made when the ids are new. */
static enum hth_status emit_groups(struct compile *c, const struct matmul_parts *p, uint32_t tile,
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

/* Activations in two bytes each, by a helper. */
static enum hth_status halve(struct compile *c, const struct tensor *x, const char *helper,
                             struct matmul_args *a, struct range *range)
{
    uint32_t rows = (uint32_t)tensor_rows(x), stride = (uint32_t)align_up(a->k, 32);
    uint64_t bytes = align_up(2ull * rows * stride, VK_REF_ALIGN);
    bool there = c->halved == x && strcmp(c->halved_by, helper) == 0;
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
        .name = helper, .args = &h, .args_bytes = sizeof h, .groups = {rows, 1, 1}};
    if (!compile_helper(c, helper, &d.choice))
        return HTH_ERROR_UNSUPPORTED;
    dispatch_reads(&d, c, x);
    dispatch_writes_range(&d, *range);
    c->halved = x;
    c->halved_by = helper;
    return compile_add(c, &d);
}

/* Halves, each row by a power of two, so that none overflows. */
static enum hth_status emit_halved(struct compile *c, const struct tensor *x, struct matmul_args *a,
                                   struct range *range)
{
    return halve(c, x, "halve", a, range);
}

/* As large as floats may be. */
static enum hth_status emit_bfloat16(struct compile *c, const struct tensor *x,
                                     struct matmul_args *a, struct range *range)
{
    return halve(c, x, "halve_bf16", a, range);
}

/* `prepare` NULL: the tiles take x as it is. */
static enum hth_status emit_tiles(struct compile *c, const struct op *op,
                                  const struct row_choice *choice, prepare_fn *prepare)
{
    struct matmul_parts p = matmul_parts(op);
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
        .x_per_slot = matmul_x_per_slot(&p),
    };
    struct dispatch d = matmul_begin(c, choice, &p);
    enum hth_status status = HTH_OK;
    if (prepare) {
        struct range range;
        status = prepare(c, p.x, &a, &range);
        dispatch_reads_range(&d, range);
    }
    d.groups[1] = ((uint32_t)matmul_columns(&p) + bn - 1) / bn;
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

enum hth_status tile_emit(struct compile *c, const struct op *op, const struct row_choice *choice)
{
    return emit_tiles(c, op, choice, NULL);
}

enum hth_status tile_int_emit(struct compile *c, const struct op *op,
                              const struct row_choice *choice)
{
    return emit_tiles(c, op, choice, emit_quantized);
}

enum hth_status tile_half_emit(struct compile *c, const struct op *op,
                               const struct row_choice *choice)
{
    return emit_tiles(c, op, choice, emit_halved);
}

enum hth_status tile_coop_bf16_emit(struct compile *c, const struct op *op,
                                    const struct row_choice *choice)
{
    return emit_tiles(c, op, choice, emit_bfloat16);
}

/* By expert, what counts is how many columns one of them gets. */
static bool coop_tile_of(const struct row_env *env, const struct op *op, enum coop_type type,
                         struct coop_tile *tile)
{
    struct matmul_parts p = matmul_parts(op);
    int64_t experts = p.ids ? p.w[0]->ne[2] : 1;
    struct coop_want want = {.type = type,
                             .run = type == COOP_S8 ? p.w[0]->dtype->sub_elems : 0,
                             .columns = (uint32_t)(matmul_columns(&p) / experts)};
    return coop_tile(env->caps, &want, tile);
}

bool tile_coop_f16_fits(const struct row_env *env, const struct op *op)
{
    struct coop_tile tile;
    return tile_fits(env, op) && coop_tile_of(env, op, COOP_F16, &tile);
}

bool tile_coop_bf16_fits(const struct row_env *env, const struct op *op)
{
    struct coop_tile tile;
    return tile_fits(env, op) && coop_tile_of(env, op, COOP_BF16, &tile);
}

bool tile_coop_s8_fits(const struct row_env *env, const struct op *op)
{
    struct coop_tile tile;
    return tile_fits(env, op) && coop_tile_of(env, op, COOP_S8, &tile);
}

static void set_coop_tile(struct row_choice *choice, struct coop_tile tile)
{
    const struct {
        const char *name;
        uint32_t value;
    } constants[] = {
        {"GROUP", tile.group}, {"BM", tile.bm},   {"BN", tile.bn},           {"M", tile.m},
        {"N", tile.n},         {"K", tile.k},     {"FM", tile.fm},           {"FN", tile.fn},
        {"UNITS", tile.units}, {"RUN", tile.run}, {"BUFFERS", tile.buffers},
    };
    for (size_t i = 0; i < ARRAY_LEN(constants); i++)
        choice_set(choice, constants[i].name, constants[i].value);
    choice->subgroup_size = tile.lanes;
}

static void shape_coop(const struct row_env *env, const struct op *op, enum coop_type type,
                       struct row_choice *choice)
{
    struct coop_tile tile;
    if (coop_tile_of(env, op, type, &tile))
        set_coop_tile(choice, tile);
}

enum { KNOB_COOP_BN, KNOB_COOP_BM, KNOB_COOP_BUFFERS, KNOB_COOP_UNITS, KNOB_COOP_SUBGROUPS };

const struct row_knob tile_coop_knobs[TILE_COOP_KNOBS] = {
    [KNOB_COOP_BN] = {"BN", {32, 64, 128}},
    [KNOB_COOP_BM] = {"BM", {32, 64, 128, 256}},
    [KNOB_COOP_BUFFERS] = {"BUFFERS", {1, 2}},
    [KNOB_COOP_UNITS] = {"UNITS", {1, 2, 4}},
    [KNOB_COOP_SUBGROUPS] = {"SUBGROUPS", {1, 2, 4, 8, 16}},
};

static bool turn_coop(const struct row_env *env, const struct op *op, enum coop_type type,
                      const uint32_t *values, struct row_choice *choice)
{
    struct coop_tile tile;
    if (!coop_tile_of(env, op, type, &tile))
        return false;
    tile.bn = row_turned(values[KNOB_COOP_BN], tile.bn);
    tile.bm = row_turned(values[KNOB_COOP_BM], tile.bm);
    tile.buffers = row_turned(values[KNOB_COOP_BUFFERS], tile.buffers);
    tile.units = row_turned(values[KNOB_COOP_UNITS],
                            in_buffers(tile.units, tile.buffers, type == COOP_S8 ? 2 : 1));
    tile.group = tile.lanes * row_turned(values[KNOB_COOP_SUBGROUPS], tile.group / tile.lanes);
    if (!coop_tile_turn(env->caps, type, &tile))
        return false;
    set_coop_tile(choice, tile);
    return true;
}

bool tile_coop_f16_turn(const struct row_env *env, const struct op *op, const uint32_t *values,
                        struct row_choice *choice)
{
    return turn_coop(env, op, COOP_F16, values, choice);
}

bool tile_coop_bf16_turn(const struct row_env *env, const struct op *op, const uint32_t *values,
                         struct row_choice *choice)
{
    return turn_coop(env, op, COOP_BF16, values, choice);
}

bool tile_coop_s8_turn(const struct row_env *env, const struct op *op, const uint32_t *values,
                       struct row_choice *choice)
{
    return turn_coop(env, op, COOP_S8, values, choice);
}

void tile_coop_f16_shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    shape_coop(env, op, COOP_F16, choice);
}

void tile_coop_bf16_shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    shape_coop(env, op, COOP_BF16, choice);
}

void tile_coop_s8_shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    shape_coop(env, op, COOP_S8, choice);
}

/* Where the device has no instruction for it, only when asked for by name. */
bool tile_int_fits(const struct row_env *env, const struct op *op)
{
    return env->caps->int_dot_any && tile_fits(env, op);
}

bool tile_half_fits(const struct row_env *env, const struct op *op)
{
    return env->caps->fp16 && tile_fits(env, op);
}

/* Integer dot products where the device says that they are fast. */
bool tile_int_prefers(const struct row_env *env, const struct op *op)
{
    (void)op;
    return env->caps->int_dot;
}

/* Nothing says so of packed fp16, but every design with fast integer dot products is known to have
 * it. Not with 8 lanes: Xe-LP's compiler spills there at any size of tile. */
bool tile_half_prefers(const struct row_env *env, const struct op *op)
{
    (void)op;
    return env->caps->int_dot && env->caps->subgroup_min >= 16;
}

/* Nothing says either whether matrices are multiplied by units made for them or one number after
 * the other. Every design that has such units has fast integer dot products, too. */
bool tile_coop_f16_prefers(const struct row_env *env, const struct op *op)
{
    (void)op;
    return env->caps->int_dot;
}

/* Besides, where bfloat16 is no slower: such weights are taken as they are, whatever their size,
 * and activations as the models had them when they were trained. */
bool tile_coop_bf16_prefers(const struct row_env *env, const struct op *op)
{
    (void)op;
    return env->caps->int_dot &&
           coop_products(env->caps, COOP_BF16, 0) >= coop_products(env->caps, COOP_F16, 0);
}

/* Besides, where an instruction makes more products of bytes than of halves: each lane has to scale
 * what comes out, which halves need not and are more exact. */
bool tile_coop_s8_prefers(const struct row_env *env, const struct op *op)
{
    uint32_t run = matmul_parts(op).w[0]->dtype->sub_elems;
    return env->caps->int_dot &&
           coop_products(env->caps, COOP_S8, run) > coop_products(env->caps, COOP_F16, 0);
}
