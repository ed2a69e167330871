/* What was measured decides which row is chosen, as far as rows offer it. */
#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"
#include "gpu/selftest_part.h"
#include "gpu/table.h"
#include "harness/invented_gpu.h"
#include "products.h"

static struct vk_caps card(void)
{
    struct vk_caps caps = {INVENTED_GPU};
    caps.fp16 = caps.int_dot = caps.int_dot_any = caps.subgroup_control = true;
    caps.subgroup_min = 16;
    caps.subgroup_max = caps.subgroup_default = 32;
    return caps;
}

static const char *class_of(const struct op *op, bool float_only)
{
    static char text[4][96];
    static int n;
    const struct row_env env = {.float_only = float_only};
    char *out = text[n++ % 4];
    assert_true(table_class(&env, op, out, sizeof text[0]));
    return out;
}

static const char *class_for(const struct dtype *type, int64_t n, int64_t k, int n_tokens)
{
    struct product p;
    product_begin(&p, type, n, k, n_tokens);
    const char *class = class_of(p.op, false);
    product_end(&p);
    return class;
}

TEST(classes_are_formats_and_sizes)
{
    const char *class = class_for(&dtype_q8_0, 4096, 4096, 1);
    assert_string_equal(class, "matmul Q8_0 4096x4096 1");
    assert_string_equal(class_for(&dtype_q8_0, 5120, 4608, 1), class);
    assert_string_not_equal(class_for(&dtype_q4_0, 4096, 4096, 1), class);
    assert_string_equal(class_for(&dtype_q8_0, 6144, 4096, 1), "matmul Q8_0 6144x4096 1");
    assert_string_equal(class_for(&dtype_q8_0, 4064, 4096, 2), "matmul Q8_0 3072x4096 2");
    assert_string_equal(class_for(&dtype_q8_0, 1, 32, 3), "matmul Q8_0 1x32 3");
    assert_string_equal(class_for(&dtype_q8_0, 3, 32, 5), "matmul Q8_0 3x32 8");
    assert_string_equal(class_for(&dtype_q8_0, 2, 32, 512), "matmul Q8_0 2x32 256");
    assert_string_equal(class_for(&dtype_q8_0, 2, 32, 4096), "matmul Q8_0 2x32 256");
}

TEST(classes_of_experts_and_of_float_math)
{
    struct product p;
    product_begin_experts(&p, &dtype_q4_k, 768, 2048, 4, 128);
    assert_string_equal(class_of(p.op, false), "matmul Q4_K 768x2048 4 2 of 128");
    assert_string_equal(class_of(p.op, true), "matmul Q4_K 768x2048 4 2 of 128 float");
    product_end(&p);
}

TEST(classes_of_attention)
{
    struct product p;
    product_begin_attention(&p, &dtype_f16, &(struct attends){32, 8, 128, 64, 0}, 6);
    assert_string_equal(class_of(p.op, false), "attention F16 128+64 8x4 8");
    product_end(&p);
    product_begin_attention(&p, &dtype_q8_0, &(struct attends){8, 8, 64, 64, 1000}, 200);
    assert_string_equal(class_of(p.op, false), "attention Q8_0 64+64 8x1 256 window 768");
    product_end(&p);
}

TEST(what_has_nothing_to_turn_has_no_class)
{
    struct graph g;
    const int64_t ne[OP_MAX_DIMS] = {64, 1, 1, 1};
    const struct row_env env = {0};
    char text[96];
    graph_init(&g, 1, 1, test_log());
    op_softmax(&g, "y", graph_activation(&g, "x", &dtype_f32, ne, ROWS_TOKENS));
    assert_false(table_class(&env, g.ops[0], text, sizeof text));
    graph_free(&g);
}

/* --- choosing --------------------------------------------------------------------------------- */

struct chosen {
    const char *row;
    uint32_t group, rows, cols, subgroup;
};

static struct chosen choose(const struct row_env *env, const struct op *op)
{
    struct row_choice choice;
    const struct row *row = row_select(env, op, &choice);
    assert_non_null(row);
    return (struct chosen){row->name, choice_get(&choice, "GROUP", 0),
                           choice_get(&choice, "ROWS", 0), choice_get(&choice, "COLS", 0),
                           choice.subgroup_size};
}

static void put(struct table *table, const char *class, const char *row, const char *knob,
                uint32_t value)
{
    struct table_entry *entry = table_add(table, class);
    assert_non_null(entry);
    snprintf(entry->row, sizeof entry->row, "%s", row);
    entry->n_knobs = knob != NULL;
    if (knob)
        snprintf(entry->knobs[0].name, sizeof entry->knobs[0].name, "%s", knob);
    entry->knobs[0].value = value;
}

/* One token on the card, with an entry. */
static struct chosen choose_with(const char *row, const char *knob, uint32_t value)
{
    struct table table = {0};
    struct product p;
    const struct vk_caps caps = card();
    const struct row_env env = {.caps = &caps, .n_seqs = 1, .tuned = &table};
    product_begin(&p, &dtype_q8_0, 4096, 4096, 1);
    put(&table, class_of(p.op, false), row, knob, value);
    struct chosen chosen = choose(&env, p.op);
    product_end(&p);
    table_free(&table);
    return chosen;
}

static void is_default(struct chosen chosen)
{
    const struct chosen plain = choose_with("", NULL, 0);
    assert_string_equal(plain.row, "matvec_f32");
    assert_string_equal(chosen.row, plain.row);
    assert_true(chosen.group == plain.group && chosen.rows == plain.rows &&
                chosen.cols == plain.cols && chosen.subgroup == plain.subgroup);
}

TEST(an_entry_is_used)
{
    is_default(choose_with("matvec_f32", NULL, 0));
    assert_int_equal(choose_with("matvec_f32", "ROWS", 1).rows, 1);
    assert_int_equal(choose_with("matvec_f32", "SUBGROUP", 32).subgroup, 32);
    assert_int_equal(choose_with("matvec_f32", "SUBGROUP", 32).group, 32);
    assert_int_equal(choose_with("matvec_f32", "SUBGROUPS", 4).group, 64);
    assert_string_equal(choose_with("matvec_lanes_f32", NULL, 0).row, "matvec_lanes_f32");
    assert_string_equal(choose_with("matmul_f32", NULL, 0).row, "matmul_f32");
}

TEST(what_rows_do_not_offer_is_not_used)
{
    is_default(choose_with("matvec_f32", "ROWS", 3));
    is_default(choose_with("matvec_f32", "ROWS", 1u << 31));
    is_default(choose_with("matvec_f32", "COLS", 2));      /* there is one */
    is_default(choose_with("matvec_f32", "SUBGROUP", 64)); /* the card has no such */
    is_default(choose_with("matvec_f32", "SUBGROUP", 8));
    is_default(choose_with("matvec_f32", "BM", 64)); /* another row's */
    is_default(choose_with("matvec_f32", "GROUP", 64));
    is_default(choose_with("matvec_f16", NULL, 0)); /* there is none */
    is_default(choose_with("rms_norm", NULL, 0));
    is_default(choose_with("matmul_coop_f16", NULL, 0)); /* the card has no matrices */
}

TEST(what_is_said_goes_before_it)
{
    struct table table = {0};
    struct row_bars bars = {0};
    struct product p;
    const struct vk_caps caps = card();
    struct row_env env = {.caps = &caps, .n_seqs = 1, .tuned = &table};
    product_begin(&p, &dtype_q8_0, 4096, 4096, 1);
    put(&table, class_of(p.op, false), "matvec_lanes_f32", "ROWS", 1);
    assert_string_equal(choose(&env, p.op).row, "matvec_lanes_f32");
    env.forced = "matvec_f32";
    assert_string_equal(choose(&env, p.op).row, "matvec_f32");
    env.forced = "matvec_lanes_f32";
    assert_int_equal(choose(&env, p.op).rows, 4);
    env.forced = NULL;
    env.plain = true;
    assert_string_equal(choose(&env, p.op).row, "matmul_f32");
    env.plain = false;
    env.float_only = true; /* measured apart */
    assert_string_equal(choose(&env, p.op).row, "matvec_f32");
    env.float_only = false;
    assert_true(row_bars_add(&bars, "matvec_lanes_f32", "matvec_q8_0"));
    env.bars = &bars;
    assert_string_equal(choose(&env, p.op).row, "matvec_f32");
    row_bars_free(&bars);
    product_end(&p);
    table_free(&table);
}

/* --- limits ----------------------------------------------------------------------------------- */

/* The subgroups' matrices are all of the tile, once; shared memory as matmul_coop.comp has it. */
static void check_coop(const struct vk_caps *caps, const struct row_choice *c, uint32_t lanes)
{
    uint32_t bm = choice_get(c, "BM", 0), bn = choice_get(c, "BN", 0), m = choice_get(c, "M", 0);
    uint32_t n = choice_get(c, "N", 0), fm = choice_get(c, "FM", 0), fn = choice_get(c, "FN", 0);
    uint32_t subgroups = choice_get(c, "GROUP", 0) / lanes, units = choice_get(c, "UNITS", 0);
    assert_true(fm >= 1 && fn >= 1 && bm % (m * fm) == 0 && bn % (n * fn) == 0);
    assert_int_equal(bm / (m * fm) * (bn / (n * fn)), subgroups);
    uint32_t run = choice_get(c, "RUN", 0), columns = 32 * units;
    uint32_t bytes = run ? columns + 16 + 8 * columns / run : 2 * (columns + 8);
    uint32_t words = subgroups * m * n + bm + (run ? 2 : 3) * bn;
    assert_true(choice_get(c, "BUFFERS", 1) * (bm + bn) * bytes + 4 * words <= caps->shared_bytes);
    assert_true(bm * bn / (subgroups * lanes) <= 128);
}

/* A self-test of it has a second workgroup along rows and columns, and one that is not full. */
static void check_selftest(const struct row_choice *c)
{
    const struct selftest_size size = selftest_size_for(c);
    uint32_t group = choice_get(c, "LANE_ROWS", 0) ? choice_get(c, "GROUP", 0) : 1;
    uint32_t bm = choice_get(c, "BM", 1), bn = choice_get(c, "BN", 1);
    assert_true(size.rows > (int64_t)group * choice_get(c, "ROWS", 1));
    assert_true(size.rows > bm && (bm == 1 || size.rows % bm));
    assert_true(size.tokens > (int)bn && (bn == 1 || (uint32_t)size.tokens % bn));
    assert_true(size.tokens > ROW_FEW_TOKENS);
}

/* What shaders ask of it beside what the device allows: tiles.glsl, matvec.comp. */
static void check_shape(const struct vk_caps *caps, const struct row *row,
                        const struct row_choice *c)
{
    uint32_t group = choice_get(c, "GROUP", 0), lanes = row_subgroup_actual(caps, c->subgroup_size);
    assert_true(group <= caps->max_invocations && group % lanes == 0);
    assert_true(!c->subgroup_size || !caps->max_subgroups || group / lanes <= caps->max_subgroups);
    assert_true(!c->subgroup_size || (caps->subgroup_control && lanes >= caps->subgroup_min &&
                                      lanes <= caps->subgroup_max));
    check_selftest(c);
    if (strncmp(row->name, "matvec", 6) == 0) {
        uint32_t rows = choice_get(c, "ROWS", 0), cols = choice_get(c, "COLS", 0);
        assert_true(rows >= 1 && rows <= 4 && cols >= 1 && cols <= 8 && rows * cols <= 16);
        return;
    }
    if (strncmp(row->name, "matmul_coop", 11) == 0) {
        check_coop(caps, c, lanes);
        return;
    }
    if (strncmp(row->name, "matmul_lanes", 12) == 0) {
        uint32_t bm = choice_get(c, "BM", 0), bn = choice_get(c, "BN", 0);
        uint32_t rows = bm / group, most = row_has_many_registers(caps) ? 32 : 16;
        assert_true(bm % group == 0 && rows >= 1 && rows <= 4);
        assert_true(bn >= 1 && bn <= 16 && rows * bn <= most);
        return;
    }
    uint32_t bm = choice_get(c, "BM", 0), bn = choice_get(c, "BN", 0), tn = choice_get(c, "TN", 0);
    uint32_t units = choice_get(c, "UNITS", 0), columns = choice_get(c, "UNIFORM_COLUMNS", 0);
    uint32_t number = strncmp(row->name, "matmul_f32", 10) == 0   ? 128
                      : strncmp(row->name, "matmul_f16", 10) == 0 ? 64
                                                                  : 48;
    assert_true(tn <= 8 && bn % tn == 0 && group == bm / 4 * (bn / tn));
    assert_true(units >= 1 && group >= units * bm);
    assert_true(choice_get(c, "BUFFERS", 1) * number * units * (bm + bn) <= caps->shared_bytes);
    assert_true(!columns || (bm / 4) % lanes == 0);
    assert_int_equal(32 * units % choice_get(c, "K_STEP", 1), 0);
}

/* attention.glsl: a workgroup of 64, whole subgroups, shared memory; side buffers are no larger
 * than those of 2048 workgroups with all rows. A self-test of it has a page for each of some
 * splits. */
static void check_attention(const struct vk_caps *caps, const struct op *op,
                            const struct row_choice *c)
{
    const struct kv_geom *kv = &op->in[1]->kv;
    uint32_t qr = choice_get(c, "QR", 0), splits = choice_get(c, "SPLITS", 0);
    uint32_t heads = (uint32_t)(op->p.attention.n_head / kv->n_head_kv);
    int n_tokens = (int)op->in[0]->ne[2];
    uint32_t tile = attention_tile_tokens(op, n_tokens);
    uint32_t tiles = ((uint32_t)n_tokens + tile - 1) / tile;
    uint32_t groups = tiles * (uint32_t)kv->n_head_kv * ((tile * heads + qr - 1) / qr);
    assert_int_equal(64 % row_subgroup_actual(caps, c->subgroup_size), 0);
    assert_true(qr >= 1 && qr <= 16 && splits >= 1 && splits <= 32);
    assert_true(4 * (qr * ((uint32_t)kv->k_dim + 64) + 64 + 49) <= caps->shared_bytes);
    assert_true(splits == 1 || (n_tokens <= SPLIT_TOKENS && groups * splits <= 2048));
    const struct selftest_size size = selftest_size_for(c);
    int n_pages = (size.pos + 1 + 63) / 64;
    assert_true(n_pages >= 2 && n_pages > (int)(splits < 4 ? splits : 4));
}

/* Which values of which knobs went through, by the first of the rows that have them. */
enum { MOST_ROWS = 64 };
static bool went[MOST_ROWS][ROW_MAX_KNOBS][ROW_KNOB_VALUES];

static size_t first_with(const struct row_knob *knobs)
{
    size_t i = 0;
    while (row_at(i, NULL)->knobs != knobs)
        i++;
    assert_true(i < MOST_ROWS);
    return i;
}

static void note_values(const struct row *row, const uint32_t *values)
{
    size_t i = first_with(row->knobs);
    for (int k = 0; k < row->n_knobs; k++)
        for (int v = 0; v < ROW_KNOB_VALUES; v++)
            went[i][k][v] |= values[k] && values[k] == row->knobs[k].values[v];
}

/* What a knob offers is of use to some row on some device. */
static void every_value_went(const struct row *row)
{
    size_t i = first_with(row->knobs);
    for (int k = 0; k < row->n_knobs; k++)
        for (int v = 0; v < ROW_KNOB_VALUES && row->knobs[k].values[v]; v++)
            if (!went[i][k][v])
                fail_msg("%s: no device takes %s=%u", row->name, row->knobs[k].name,
                         row->knobs[k].values[v]);
}

/* An op of one of the families that can be turned. */
static void begin_at_random(struct product *p, struct rng *rng)
{
    static const struct dtype *const types[] = {&dtype_q8_0, &dtype_f16, &dtype_q4_k, &dtype_bf16};
    static const struct dtype *const of_caches[] = {&dtype_f16, &dtype_q8_0, &dtype_q4_0,
                                                    &dtype_f32};
    static const int tokens[] = {1, 2, 5, 16, 33, 512};
    int n_tokens = tokens[rng_below(rng, 6)], n_head_kv = 1 << rng_below(rng, 4);
    const struct attends shape = {n_head_kv * (1 + (int)rng_below(rng, 8)), n_head_kv,
                                  32 << rng_below(rng, 5), 32 << rng_below(rng, 5), 0};
    if (rng_below(rng, 2))
        product_begin_attention(p, of_caches[rng_below(rng, 4)], &shape, n_tokens);
    else
        product_begin(p, types[rng_below(rng, 4)], 32 + rng_below(rng, 999),
                      256 * (1 + rng_below(rng, 16)), n_tokens);
}

/* Every row with values at random, on devices at random: what is let through keeps to all of it. */
static int turn_at_random(struct rng *rng, const struct vk_caps *caps)
{
    const struct row_env env = {.caps = caps, .n_seqs = 1};
    const struct row_family *family;
    const struct row *row;
    struct product p;
    int n = 0;
    begin_at_random(&p, rng);
    for (size_t i = 0; (row = row_at(i, &family)); i++) {
        uint32_t values[ROW_MAX_KNOBS] = {0};
        struct row_choice choice;
        if (family != row_family_of(p.op->kind) || !row->n_knobs)
            continue;
        bool any = false;
        for (int k = 0; k < row->n_knobs; k++) {
            values[k] =
                rng_below(rng, 2) ? row->knobs[k].values[rng_below(rng, ROW_KNOB_VALUES)] : 0;
            any |= values[k] != 0;
        }
        if (!any || !row_turn(&env, row, p.op, values, &choice))
            continue;
        if (p.op->kind == OP_ATTENTION)
            check_attention(caps, p.op, &choice);
        else
            check_shape(caps, row, &choice);
        note_values(row, values);
        n++;
    }
    product_end(&p);
    return n;
}

static void give_matrices(struct vk_caps *caps, uint32_t m, uint32_t n)
{
    caps->bf16_matrices = true;
    caps->n_matrices = 3;
    caps->matrices[0] = (struct vk_matrix){m, n, 16, "f16", "f16", "f32", "f32", false};
    caps->matrices[1] = (struct vk_matrix){m, n, 16, "bf16", "bf16", "f32", "f32", false};
    caps->matrices[2] = (struct vk_matrix){m, n, 32, "s8", "s8", "s32", "s32", false};
}

TEST(no_shape_exceeds_a_device)
{
    struct rng rng = rng_seed(7);
    int n = 0;
    for (int round = 0; round < 8000; round++) {
        struct vk_caps caps = card();
        caps.kind = rng_below(&rng, 4) ? VK_KIND_DISCRETE : VK_KIND_SOFTWARE;
        caps.subgroup_min = 4u << rng_below(&rng, 5);
        caps.subgroup_max = caps.subgroup_min << rng_below(&rng, 3);
        caps.subgroup_default = caps.subgroup_max;
        caps.subgroup_control = rng_below(&rng, 4) > 0;
        caps.max_invocations = caps.max_group[0] = 128u << rng_below(&rng, 4);
        caps.max_subgroups = rng_below(&rng, 2) ? 0 : 8u << rng_below(&rng, 4);
        caps.shared_bytes = 16384u << rng_below(&rng, 3);
        give_matrices(&caps, 8u << rng_below(&rng, 2), 8u << rng_below(&rng, 2));
        n += turn_at_random(&rng, &caps);
    }
    assert_true(n > 3000);
    const struct row *row;
    for (size_t i = 0; (row = row_at(i, NULL)); i++)
        every_value_went(row);
}

/* --- the list --------------------------------------------------------------------------------- */

TEST(entries_are_bounded)
{
    struct table table = {0};
    char class[32];
    for (int i = 0; i < TABLE_MOST; i++) {
        snprintf(class, sizeof class, "class %d", i);
        assert_non_null(table_add(&table, class));
    }
    assert_ptr_equal(table_add(&table, "class 7"), &table.items[7]);
    assert_non_null(table_add(&table, "one more")); /* in the place of the oldest */
    assert_int_equal(table.n, TABLE_MOST);
    assert_null(table_find(&table, "class 0"));
    assert_ptr_equal(table_find(&table, "class 7"), &table.items[6]);
    assert_ptr_equal(table_find(&table, "one more"), &table.items[TABLE_MOST - 1]);
    table_free(&table);
}

static bool fail_all(void *user, size_t size)
{
    (void)user, (void)size;
    return false;
}

TEST(without_memory_nothing_is_tuned)
{
    struct table table = {0};
    struct product p;
    const struct vk_caps caps = card();
    struct row_env env = {.caps = &caps, .n_seqs = 1, .tuned = &table};
    product_begin(&p, &dtype_q8_0, 4096, 4096, 1);
    put(&table, class_of(p.op, false), "matvec_lanes_f32", NULL, 0);
    mem_set_hook(fail_all, NULL);
    struct row_choice choice;
    const struct row *row = row_select(&env, p.op, &choice);
    struct table_entry *added = table_add(&(struct table){0}, "class");
    mem_set_hook(NULL, NULL);
    assert_string_equal(row->name, "matvec_f32");
    assert_null(added);
    product_end(&p);
    table_free(&table);
}
