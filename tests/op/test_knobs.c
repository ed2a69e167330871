/* Every value that can be turned of a row, by itself and some together, chosen by a table as tuning
 * leaves it: a device of its own, with a row for each. */
#include <stdio.h>

#include "gpu/table.h"
#include "op/fuse.h"
#include "op_gpu.h"
#include "op_test.h"

enum { MOST = 512, TOGETHER = 4 };

struct turned {
    size_t row;
    uint32_t values[ROW_MAX_KNOBS];
    char name[128];
};
static struct turned list[MOST];
static size_t n_list;
static const char *about; /* of rows that a test is about: the beginning of their names */
static int n_ran, n_matrices_ran;

static void add(size_t row, const uint32_t *values)
{
    const struct row *r = row_at(row, NULL);
    struct turned *turned = &list[n_list++];
    assert_true(n_list <= MOST);
    turned->row = row;
    memcpy(turned->values, values, sizeof turned->values);
    int n = snprintf(turned->name, sizeof turned->name, "%s", r->name);
    for (int k = 0; k < r->n_knobs; k++)
        if (values[k])
            n += snprintf(turned->name + n, sizeof turned->name - (size_t)n, " %s=%u",
                          r->knobs[k].name, values[k]);
}

static int knob_of(const struct row *r, const char *name)
{
    for (int k = 0; k < r->n_knobs; k++)
        if (strcmp(r->knobs[k].name, name) == 0)
            return k;
    return -1;
}

static void add_row(size_t row, struct rng *rng)
{
    const struct row *r = row_at(row, NULL);
    if (knob_of(r, "BUFFERS") >= 0) { /* also where two of the default's tile are too large */
        uint32_t values[ROW_MAX_KNOBS] = {0};
        values[knob_of(r, "BUFFERS")] = 2;
        values[knob_of(r, "BM")] = 64;
        add(row, values);
    }
    for (int k = 0; k < r->n_knobs; k++)
        for (int v = 0; v < ROW_KNOB_VALUES && r->knobs[k].values[v]; v++) {
            uint32_t values[ROW_MAX_KNOBS] = {0};
            values[k] = r->knobs[k].values[v];
            add(row, values);
        }
    for (int i = 0; i < TOGETHER; i++) {
        uint32_t values[ROW_MAX_KNOBS] = {0};
        for (int k = 0; k < r->n_knobs; k++)
            values[k] = rng_below(rng, 2) ? r->knobs[k].values[rng_below(rng, 4)] : 0;
        add(row, values);
    }
}

static bool open_turned(void)
{
    struct rng rng = rng_seed(1);
    if (!op_gpu_open())
        return false;
    for (size_t row = 0; row_at(row, NULL); row++)
        if (row_at(row, NULL)->n_knobs)
            add_row(row, &rng);
    return true;
}

static size_t n_rows(void)
{
    return n_list;
}

static const char *row_name(size_t i)
{
    return list[i].name;
}

/* As it is without is what the other devices run. */
static bool fits(size_t i, const struct op *op)
{
    const struct row_family *family;
    const struct row *row = row_at(list[i].row, &family);
    const struct row_env env = op_gpu_env();
    struct row_choice choice, plain;
    return strncmp(row->name, about, strlen(about)) == 0 && row_family_of(op->kind) == family &&
           row_fits(&env, row, op, &plain) && row_turn(&env, row, op, list[i].values, &choice) &&
           !row_choice_equal(&choice, &plain);
}

static enum op_precision precision(size_t i, const struct op *op)
{
    (void)op;
    return op_gpu_precision(list[i].row);
}

static enum hth_status run_turned(size_t i, const struct op_run *run)
{
    const struct row *row = row_at(list[i].row, NULL);
    struct row_env env = op_gpu_env();
    struct row_choice wanted, chosen;
    struct table table = {0};
    char class[sizeof table.items->class];
    assert_true(table_class(&env, run->call->op, class, sizeof class));
    table_set(table_add(&table, class), row, list[i].values);
    env.tuned = &table;
    assert_true(row_turn(&env, row, run->call->op, list[i].values, &wanted));
    assert_ptr_equal(row_select(&env, run->call->op, &chosen), row);
    assert_true(row_choice_equal(&wanted, &chosen));
    enum hth_status status = op_gpu_run_tuned(list[i].row, &table, run);
    table_free(&table);
    n_ran++;
    n_matrices_ran += row->matrices;
    return status;
}

static const struct op_device turned = {.name = "vulkan-tuned",
                                        .open = open_turned,
                                        .n_rows = n_rows,
                                        .row_name = row_name,
                                        .fits = fits,
                                        .precision = precision,
                                        .run = run_turned,
                                        .one_kind = true};
OP_DEVICE(turned)

/* --- cases ------------------------------------------------------------------------------------ */

/* Where there is a device, some were tried. */
static void ends_with(int least)
{
    print_message("%d tuned kernels\n", n_ran);
    assert_true(!op_gpu_caps() || n_ran >= least);
    n_ran = n_matrices_ran = 0;
}

/* Where a device has matrices, a whole run tries them; its subgroups may be too narrow for tiles.
 */
static void ends_with_matrices(int least)
{
    const struct vk_caps *caps = op_gpu_caps();
    bool has = caps && caps->n_matrices && caps->subgroup_default >= 8;
    assert_true(!has || !op_test_whole() || n_matrices_ran > 0);
    ends_with(least);
}

static const struct dtype *type_of(const char *name)
{
    return dtype_by_name(str_of(name));
}

static struct tensor *input(struct op_test *t, int64_t n)
{
    return op_test_input(t, "x", n, t->graph.n_tokens, 1, ROWS_TOKENS);
}

static void plain(const char *type, int64_t k, int64_t n, const struct op_batch *batch)
{
    struct op_test t;
    op_test_begin(&t, batch);
    struct tensor *w = op_test_weight(&t, "w", type_of(type), k, n, 1);
    op_matmul(&t.graph, "y", w, input(&t, k), NULL);
    op_test_run(&t);
}

/* Long enough that all subgroups of a workgroup have something to do. */
TEST(one_column)
{
    about = "matvec";
    plain("Q4_0", 2080, 37, &(struct op_batch){.n_seqs = 1, .seqs = {{0, 1}}});
    ends_with(6);
}

TEST(superblocks)
{
    about = "matvec";
    plain("Q6_K", 2048, 21, &(struct op_batch){.n_seqs = 1, .seqs = {{0, 1}}});
    ends_with(6);
}

TEST(some_columns)
{
    about = "matvec";
    plain("Q8_0", 544, 37, &(struct op_batch){.bucket = 7, .n_seqs = 1, .seqs = {{0, 6}}});
    ends_with(6);
}

TEST(many_columns)
{
    about = "matmul";
    op_test_leave_out("matmul_coop", NULL);
    plain("Q4_1", 160, 300, &(struct op_batch){.n_seqs = 1, .seqs = {{0, 70}}});
    ends_with_matrices(15);
}

TEST(many_columns_of_halves)
{
    about = "matmul";
    plain("F16", 104, 70, &(struct op_batch){.bucket = 64, .n_seqs = 1, .seqs = {{0, 35}}});
    ends_with(6);
}

TEST(many_columns_by_expert)
{
    about = "matmul";
    struct op_test t;
    op_test_begin(&t, &(struct op_batch){.bucket = 33, .n_seqs = 1, .seqs = {{0, 30}}});
    struct tensor *w = op_test_weight(&t, "w", type_of("Q4_K"), 256, 66, 8);
    struct tensor *ids = op_test_expert_ids(&t, 3);
    op_matmul_experts(&t.graph, "y", w, input(&t, 256), ids);
    op_test_run(&t);
    ends_with_matrices(15);
}

/* The graph must have become one op of this kind. */
static void run_fused(struct op_test *t, enum op_kind kind)
{
    assert_int_equal(fuse_graph(&t->graph, FUSE_ALL, NULL, NULL), HTH_OK);
    assert_int_equal(t->graph.n_ops, 1);
    assert_int_equal(t->graph.ops[0]->kind, kind);
    op_test_run(t);
}

TEST(gate_and_up)
{
    about = "matvec";
    struct op_test t;
    op_test_begin(&t, &(struct op_batch){.bucket = 2, .n_seqs = 1, .seqs = {{0, 2}}});
    struct tensor *x = input(&t, 512);
    struct tensor *wg = op_test_weight(&t, "wg", type_of("Q4_0"), 512, 67, 1);
    struct tensor *wu = op_test_weight(&t, "wu", type_of("Q4_0"), 512, 67, 1);
    struct tensor *gate = op_matmul(&t.graph, "gate", wg, x, NULL);
    struct tensor *up = op_matmul(&t.graph, "up", wu, x, NULL);
    op_glu(&t.graph, "y", gate, up, GLU_SILU);
    run_fused(&t, OP_MATMUL_GLU);
    ends_with(6);
}

TEST(norm_and_products)
{
    about = "matvec";
    struct op_test t;
    op_test_begin(&t, &(struct op_batch){.bucket = 1, .n_seqs = 1, .seqs = {{3, 1}}});
    struct tensor *w = op_test_weight(&t, "norm.w", &dtype_f32, 2048, 1, 1);
    struct tensor *x = op_rms_norm(&t.graph, "norm", input(&t, 2048), w, 1e-5f);
    const struct dtype *type = type_of("Q4_K");
    op_matmul(&t.graph, "q", op_test_weight(&t, "wq", type, 2048, 96, 1), x, NULL);
    op_matmul(&t.graph, "k", op_test_weight(&t, "wk", type, 2048, 33, 1), x, NULL);
    op_matmul(&t.graph, "v", op_test_weight(&t, "wv", type, 2048, 34, 1), x, NULL);
    run_fused(&t, OP_NORM_MATMUL);
    ends_with(6);
}

static void attend(const char *type, int v_dim, int window, const struct op_batch *batch)
{
    struct op_test t;
    op_test_begin(&t, batch);
    t.scale = 4;
    t.skip_kinds = 1u << INPUT_HUGE; /* as in test_cache.c */
    const struct attention_params params = {.n_head = 12, .scale = 0.125f, .window = window};
    struct tensor *q = op_test_input(&t, "q", 64, params.n_head, t.graph.n_tokens, ROWS_TOKENS);
    struct tensor *kv = op_test_kv(&t, 2, 64, v_dim, type_of(type));
    op_attention(&t.graph, "y", q, kv, NULL, &params);
    op_test_run(&t);
}

/* More pages than workgroups share, and fewer. */
TEST(attention_of_one_token)
{
    about = "attention";
    attend("F16", 64, 0, &(struct op_batch){.bucket = 1, .n_seqs = 1, .seqs = {{300, 1}}});
    ends_with(6);
}

TEST(attention_of_some_tokens)
{
    about = "attention";
    attend("Q8_0", 96, 150,
           &(struct op_batch){.bucket = 8, .n_seqs = 2, .seqs = {{400, 4}, {0, 2}}});
    ends_with(6);
}

TEST(attention_of_many_tokens)
{
    about = "attention";
    op_test_leave_out("attention_coop", NULL);
    attend("Q4_0", 64, 0, &(struct op_batch){.n_seqs = 2, .seqs = {{60, 50}, {0, 22}}});
    ends_with(6);
}
