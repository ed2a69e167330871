#include "cpu/cpu_op.h"
#include "gpu/row.h"
#include "harness/invented_gpu.h"
#include "harness/test.h"

/* A kernel is only chosen for weights that lie as it reads them. */

static const struct vk_caps caps = {INVENTED_GPU, .fp16 = true};

static void check(enum weight_layout gate, enum weight_layout up, bool there)
{
    struct weight weights[] = {
        {.name = "gate", .dtype = &dtype_q8_0, .ne = {64, 48, 1, 1}, .layout = gate},
        {.name = "up", .dtype = &dtype_q8_0, .ne = {64, 48, 1, 1}, .layout = up, .index = 1}};
    struct graph g;
    graph_init(&g, 2, 1, test_log());
    struct tensor *x =
        graph_activation(&g, "x", &dtype_f32, (const int64_t[]){64, 2, 1, 1}, ROWS_TOKENS);
    struct tensor *a = op_matmul(&g, "a", graph_weight(&g, &weights[0]), x, NULL);
    struct tensor *b = op_matmul(&g, "b", graph_weight(&g, &weights[1]), x, NULL);
    assert_non_null(a);
    assert_non_null(b);
    const struct row_env env = {.caps = &caps, .n_seqs = 1};
    struct row_choice choice;
    assert_int_equal(cpu_op_select(g.ops[0], NULL) != NULL, gate == LAYOUT_FILE);
    assert_int_equal(row_select(&env, g.ops[0], &choice) != NULL, gate == LAYOUT_FILE);
    struct op both = *g.ops[0]; /* as when two matmuls of one input become one */
    both.kind = OP_MATMUL_QKV;
    both.in[0] = x;
    both.in[1] = g.ops[0]->in[0], both.out[0] = a;
    both.in[3] = g.ops[1]->in[0], both.out[1] = b;
    assert_int_equal(row_select(&env, &both, &choice) != NULL, there);
    graph_free(&g);
}

TEST(rows_take_weights_of_their_layout)
{
    check(LAYOUT_FILE, LAYOUT_FILE, true);
    check(LAYOUT_PLANES, LAYOUT_PLANES, false);
    check(LAYOUT_CPU, LAYOUT_CPU, false);
    check(LAYOUT_FILE, LAYOUT_PLANES, false);
    check(LAYOUT_PLANES, LAYOUT_FILE, false);
}
