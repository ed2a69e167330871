/* Rows of attention, by the type of the cache. */
#include "gpu/compile.h"

#include "attention/attention_args.h"
#include "base/mem.h"
#include "gpu/coop.h"
#include "gpu/table.h"

enum { GROUP = KV_PAGE, MAX_HEAD = 512, MAX_QR = 16, MAX_SPLITS = 32 };

/* Workgroups of 64 that keep a GPU's memory busy, whatever its size; a software device wants a few
 * for each processor, and pays for each that has nothing to do. */
enum { ENOUGH_GROUPS = 512, ENOUGH_SOFTWARE_GROUPS = 8 };

static bool kv_fits(const struct op *op, const struct dtype *type)
{
    const struct kv_geom *kv = &op->in[1]->kv;
    return kv->k_type == type && kv->v_type == type && kv->k_dim % 8 == 0 &&
           kv->k_dim <= MAX_HEAD && kv->v_dim <= MAX_HEAD;
}

static bool fits_f32(const struct row_env *env, const struct op *op)
{
    (void)env;
    return kv_fits(op, &dtype_f32);
}

static bool fits_f16(const struct row_env *env, const struct op *op)
{
    (void)env;
    return kv_fits(op, &dtype_f16);
}

static bool fits_q8_0(const struct row_env *env, const struct op *op)
{
    (void)env;
    return kv_fits(op, &dtype_q8_0);
}

static bool fits_q4_0(const struct row_env *env, const struct op *op)
{
    (void)env;
    return kv_fits(op, &dtype_q4_0);
}

/* Query heads that share a KV head. */
static uint32_t heads_of(const struct op *op)
{
    return (uint32_t)(op->p.attention.n_head / op->in[1]->kv.n_head_kv);
}

/* Rows of a workgroup: (token, head) pairs that share a KV head; fewer where registers are short
 * (wide heads, 16 lanes) or the bucket has one token per tile anyway. */
static uint32_t query_rows(const struct row_env *env, const struct op *op)
{
    const struct kv_geom *kv = &op->in[1]->kv;
    uint32_t heads = heads_of(op);
    uint32_t limit = MAX_QR;
    if (kv->v_dim > 128 || !row_has_many_registers(env->caps))
        limit = 8;
    if (kv->v_dim > 256)
        limit = 4;
    bool single = op->in[0]->ne[2] <= 16;
    uint32_t wanted = single ? heads : (16 / heads ? 16 / heads * heads : heads);
    return wanted < limit ? wanted : limit;
}

static uint32_t row_blocks(const struct op *op, uint32_t tile_tokens, uint32_t qr)
{
    return (tile_tokens * heads_of(op) + qr - 1) / qr;
}

/* Workgroups where none share pages. */
static uint32_t unsplit_groups(const struct op *op, uint32_t qr)
{
    uint32_t n_tokens = (uint32_t)op->in[0]->ne[2];
    uint32_t tile = attention_tile_tokens(op, (int)n_tokens);
    return (n_tokens + tile - 1) / tile * (uint32_t)op->in[1]->kv.n_head_kv *
           row_blocks(op, tile, qr);
}

/* Workgroups that share a tile's pages: one of the knob's values, so that numbers of tokens share
 * kernels. */
static uint32_t splits(const struct row_env *env, const struct op *op, uint32_t qr)
{
    uint32_t groups = unsplit_groups(op, qr), n = 1;
    uint32_t enough = env->caps->kind == VK_KIND_SOFTWARE ? ENOUGH_SOFTWARE_GROUPS : ENOUGH_GROUPS;
    while (op->in[0]->ne[2] <= SPLIT_TOKENS && n < MAX_SPLITS && n * groups < enough)
        n *= 2;
    return n;
}

static void shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    const struct kv_geom *kv = &op->in[1]->kv;
    choice->subgroup_size = row_subgroup(env->caps, 1);
    uint32_t qr = query_rows(env, op);
    choice_set(choice, "QR", qr);
    choice_set(choice, "SPLITS", splits(env, op, qr));
    choice_set(choice, "HEAD_K", (uint32_t)kv->k_dim);
    choice_set(choice, "HEAD_V", (uint32_t)kv->v_dim);
}

/* --- tuning ----------------------------------------------------------------------------------- */

enum { KNOB_SPLITS, KNOB_QR, KNOB_SUBGROUP, KNOBS };

static const struct row_knob knobs[KNOBS] = {
    [KNOB_SPLITS] = {"SPLITS", {1, 2, 4, 8, 16, MAX_SPLITS}},
    [KNOB_QR] = {"QR", {1, 2, 4, 8, MAX_QR}},
    [KNOB_SUBGROUP] = {"SUBGROUP", {4, 8, 16, 32, GROUP}},
};

/* What a workgroup shares: queries, scores, and a few numbers of each row and lane. */
static uint64_t shared_bytes(const struct kv_geom *kv, uint32_t qr)
{
    return 4ull * (qr * ((uint32_t)kv->k_dim + GROUP) + GROUP + 3 * MAX_QR + 1);
}

/* More workgroups only leave more parts to put together. */
static bool may_split(const struct op *op, uint32_t qr, uint32_t n_splits)
{
    enum { MOST_GROUPS = 4 * ENOUGH_GROUPS };
    return n_splits == 1 ||
           (op->in[0]->ne[2] <= SPLIT_TOKENS && unsplit_groups(op, qr) * n_splits <= MOST_GROUPS);
}

/* More sums than a lane has by default, of the widest heads, spill. */
static bool turn(const struct row_env *env, const struct op *op, const uint32_t *values,
                 struct row_choice *choice)
{
    enum { MOST_SUMS = 32 };
    const struct kv_geom *kv = &op->in[1]->kv;
    uint32_t qr = row_turned(values[KNOB_QR], choice_get(choice, "QR", 1));
    uint32_t n_splits = row_turned(values[KNOB_SPLITS], splits(env, op, qr));
    uint32_t rows = attention_tile_tokens(op, (int)op->in[0]->ne[2]) * heads_of(op);
    choice->subgroup_size = row_turned(values[KNOB_SUBGROUP], choice->subgroup_size);
    if (qr > rows || qr * div_up((uint64_t)kv->v_dim, GROUP) > MOST_SUMS ||
        shared_bytes(kv, qr) > env->caps->shared_bytes || !may_split(op, qr, n_splits) ||
        GROUP % row_subgroup_actual(env->caps, choice->subgroup_size))
        return false;
    choice_set(choice, "QR", qr);
    choice_set(choice, "SPLITS", n_splits);
    return true;
}

/* "attention F16 128+128 8x4 1": the cache's type, lengths of its rows, its heads by the queries
 * that share each, and tokens at most. */
static void describe(const struct op *op, struct strbuf *out)
{
    const struct kv_geom *kv = &op->in[1]->kv;
    strbuf_printf(out, "%s %s %d+%d %dx%u %lld", op_def_of(op->kind)->name, kv->k_type->name,
                  kv->k_dim, kv->v_dim, kv->n_head_kv, heads_of(op),
                  (long long)table_columns(op->in[0]->ne[2]));
    if (op->p.attention.window > 0)
        strbuf_printf(out, " window %lld", (long long)table_size(op->p.attention.window));
}

/* --- on cooperative matrices ------------------------------------------------------------------ */

typedef bool coop_fn(const struct vk_caps *caps, uint32_t rows, uint32_t k_dim, uint32_t v_dim,
                     struct coop_attention *out);

static bool coop_tile_of(const struct row_env *env, const struct op *op, coop_fn *coop,
                         struct coop_attention *tile)
{
    const struct kv_geom *kv = &op->in[1]->kv;
    int n_tokens = (int)op->in[0]->ne[2];
    return n_tokens > ROW_FEW_TOKENS &&
           coop(env->caps, attention_tile_tokens(op, n_tokens) * heads_of(op), (uint32_t)kv->k_dim,
                (uint32_t)kv->v_dim, tile);
}

static bool coop_fits(const struct row_env *env, const struct op *op, const struct dtype *type,
                      coop_fn *coop)
{
    struct coop_attention tile;
    return kv_fits(op, type) && coop_tile_of(env, op, coop, &tile);
}

static bool coop_fits_f16(const struct row_env *env, const struct op *op)
{
    return coop_fits(env, op, &dtype_f16, coop_attention);
}

static bool coop_fits_q8_0(const struct row_env *env, const struct op *op)
{
    return coop_fits(env, op, &dtype_q8_0, coop_attention);
}

static bool coop_fits_q4_0(const struct row_env *env, const struct op *op)
{
    return coop_fits(env, op, &dtype_q4_0, coop_attention);
}

static bool coop2_fits_f16(const struct row_env *env, const struct op *op)
{
    return coop_fits(env, op, &dtype_f16, coop_attention2);
}

static bool coop2_fits_q8_0(const struct row_env *env, const struct op *op)
{
    return coop_fits(env, op, &dtype_q8_0, coop_attention2);
}

static bool coop2_fits_q4_0(const struct row_env *env, const struct op *op)
{
    return coop_fits(env, op, &dtype_q4_0, coop_attention2);
}

/* As for tiles of matmul: designs that have units for matrices have fast integer dot products. Few
 * tokens rather share their pages between many workgroups. */
static bool coop_prefers(const struct row_env *env, const struct op *op)
{
    return env->caps->int_dot && op->in[0]->ne[2] > SPLIT_TOKENS;
}

static void shape_coop(const struct row_env *env, const struct op *op, coop_fn *coop,
                       struct row_choice *choice)
{
    const struct kv_geom *kv = &op->in[1]->kv;
    struct coop_attention tile;
    if (!coop_tile_of(env, op, coop, &tile))
        return;
    const struct {
        const char *name;
        uint32_t value;
    } constants[] = {
        {"GROUP", tile.group},
        {"QR", tile.rows},
        {"M", tile.m},
        {"N", tile.n},
        {"K", tile.k},
        {"FM", tile.fm},
        {"FN", tile.fn},
        {"HEAD_K", (uint32_t)kv->k_dim},
        {"HEAD_V", (uint32_t)kv->v_dim},
    };
    for (size_t i = 0; i < ARRAY_LEN(constants); i++)
        choice_set(choice, constants[i].name, constants[i].value);
    choice->subgroup_size = tile.lanes;
}

static void coop_shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    shape_coop(env, op, coop_attention, choice);
}

static void coop2_shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    shape_coop(env, op, coop_attention2, choice);
}

/* --- all -------------------------------------------------------------------------------------- */

static enum hth_status emit(struct compile *c, const struct op *op, const struct row_choice *choice)
{
    const struct tensor *q = op->in[0], *kv = op->in[1], *y = op->out[0];
    const struct attention_params *p = &op->p.attention;
    const struct batch_layout *batch = &c->program->batch;
    uint32_t qr = choice_get(choice, "QR", 1), n_splits = choice_get(choice, "SPLITS", 1);
    uint32_t blocks = row_blocks(op, batch->tile_tokens, qr);
    uint32_t n_head_kv = (uint32_t)kv->kv.n_head_kv;
    struct attention_args a = {
        .batch = compile_batch_ref(c),
        .q = compile_ref(c, q),
        .y = compile_ref(c, y),
        .sinks = compile_vector(c, op->in[2]),
        .q_stride = (uint32_t)q->stride[2],
        .y_stride = (uint32_t)y->stride[1],
        .k_offset = kv->kv.k_offset / VK_REF_ALIGN,
        .v_offset = kv->kv.v_offset / VK_REF_ALIGN,
        .heads = heads_of(op),
        .scale = p->scale,
        .softcap = p->softcap,
        .window = (uint32_t)p->window,
        .parts = REF_NONE,
    };
    struct range parts;
    if (n_splits > 1)
        compile_side(c, SIDE_PARTS,
                     4ull * batch->max_tiles * n_head_kv * blocks * n_splits * qr *
                         ((uint32_t)kv->kv.v_dim + 2),
                     &a.parts, &parts);
    struct dispatch d = {.choice = *choice,
                         .args = &a,
                         .args_bytes = sizeof a,
                         .groups = {batch->max_tiles, n_head_kv, blocks * n_splits}};
    dispatch_reads(&d, c, q);
    dispatch_reads(&d, c, kv);
    dispatch_writes(&d, c, y);
    if (n_splits > 1)
        dispatch_writes_range(&d, parts); /* who counts in the same counters waits for it, too */
    return compile_add(c, &d);
}

static const struct row rows[] = {
    {.name = "attention_coop2_f16",
     .blob = "attention_coop2_f16",
     .half = true,
     .matrices = true,
     .fits = coop2_fits_f16,
     .prefers = coop_prefers,
     .shape = coop2_shape,
     .emit = emit},
    {.name = "attention_coop2_q8_0",
     .blob = "attention_coop2_q8_0",
     .half = true,
     .matrices = true,
     .fits = coop2_fits_q8_0,
     .prefers = coop_prefers,
     .shape = coop2_shape,
     .emit = emit},
    {.name = "attention_coop2_q4_0",
     .blob = "attention_coop2_q4_0",
     .half = true,
     .matrices = true,
     .fits = coop2_fits_q4_0,
     .prefers = coop_prefers,
     .shape = coop2_shape,
     .emit = emit},
    {.name = "attention_coop_f16",
     .blob = "attention_coop_f16",
     .half = true,
     .matrices = true,
     .fits = coop_fits_f16,
     .prefers = coop_prefers,
     .shape = coop_shape,
     .emit = emit},
    {.name = "attention_coop_q8_0",
     .blob = "attention_coop_q8_0",
     .half = true,
     .matrices = true,
     .fits = coop_fits_q8_0,
     .prefers = coop_prefers,
     .shape = coop_shape,
     .emit = emit},
    {.name = "attention_coop_q4_0",
     .blob = "attention_coop_q4_0",
     .half = true,
     .matrices = true,
     .fits = coop_fits_q4_0,
     .prefers = coop_prefers,
     .shape = coop_shape,
     .emit = emit},
    {.name = "attention_f16",
     .blob = "attention_f16",
     .fits = fits_f16,
     .shape = shape,
     .knobs = knobs,
     .n_knobs = KNOBS,
     .turn = turn,
     .emit = emit},
    {.name = "attention_f32",
     .blob = "attention_f32",
     .fits = fits_f32,
     .shape = shape,
     .knobs = knobs,
     .n_knobs = KNOBS,
     .turn = turn,
     .emit = emit},
    {.name = "attention_q8_0",
     .blob = "attention_q8_0",
     .fits = fits_q8_0,
     .shape = shape,
     .knobs = knobs,
     .n_knobs = KNOBS,
     .turn = turn,
     .emit = emit},
    {.name = "attention_q4_0",
     .blob = "attention_q4_0",
     .fits = fits_q4_0,
     .shape = shape,
     .knobs = knobs,
     .n_knobs = KNOBS,
     .turn = turn,
     .emit = emit},
};

const struct row_family row_family_attention = {
    .kinds = {OP_ATTENTION},
    .n_kinds = 1,
    .rows = rows,
    .n_rows = ARRAY_LEN(rows),
    .describe = describe,
};
