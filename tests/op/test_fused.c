#include "op/fuse.h"
#include "op_test.h"

/* Fused ops, made as a device would get them: by rewriting a small graph. Cases that no row
 * of any device fits are left out, and counted. */

static const struct op_batch batches[] = {
    {.bucket = 1, .n_seqs = 1, .seqs = {{7, 1}}},
    {.bucket = 8, .n_seqs = 1, .seqs = {{60, 5}}},
    {.n_seqs = 2, .seqs = {{0, 40}, {3, 1}}},
};

/* The graph must have become one op of this kind. */
static void run_fused(struct op_test *t, enum op_kind kind)
{
    assert_int_equal(fuse_graph(&t->graph, FUSE_ALL, NULL, NULL), HTH_OK);
    assert_int_equal(t->graph.n_ops, 1);
    assert_int_equal(t->graph.ops[0]->kind, kind);
    op_test_run(t);
}

static struct tensor *input(struct op_test *t, const char *name, int64_t n)
{
    return op_test_input(t, name, n, t->graph.n_tokens, 1, ROWS_TOKENS);
}

TEST(add_rms_norm)
{
    for (size_t b = 0; b < ARRAY_LEN(batches); b++) {
        struct op_test t;
        op_test_begin(&t, &batches[b]);
        struct tensor *sum = op_add(&t.graph, "sum", input(&t, "a", 577), input(&t, "b", 577));
        struct tensor *w = op_test_weight(&t, "w", &dtype_f32, 577, 1, 1);
        op_rms_norm(&t.graph, "normed", sum, w, 1e-5f);
        run_fused(&t, OP_ADD_RMS_NORM);
    }
}

static const char *const types[] = {"F32", "F16", "Q8_0", "Q4_0", "Q4_1", "Q4_K", "Q6_K"};

TEST(matmul_glu)
{
    for (size_t i = 0; i < ARRAY_LEN(types) * ARRAY_LEN(batches); i++) {
        const struct dtype *type = dtype_by_name(str_of(types[i / ARRAY_LEN(batches)]));
        struct op_test t;
        op_test_begin(&t, &batches[i % ARRAY_LEN(batches)]);
        struct tensor *x = input(&t, "x", 512), *bias = NULL;
        if (i % 2)
            bias = op_test_weight(&t, "bias", &dtype_f32, 67, 1, 1);
        struct tensor *wg = op_test_weight(&t, "wg", type, 512, 67, 1);
        struct tensor *wu = op_test_weight(&t, "wu", type, 512, 67, 1);
        struct tensor *gate = op_matmul(&t.graph, "gate", wg, x, bias);
        struct tensor *up = op_matmul(&t.graph, "up", wu, x, NULL);
        op_glu(&t.graph, "y", gate, up, (enum glu_kind)(i % 3));
        run_fused(&t, OP_MATMUL_GLU);
    }
}

TEST(matmul_glu_experts)
{
    for (size_t i = 0; i < ARRAY_LEN(types) * ARRAY_LEN(batches); i++) {
        const struct dtype *type = dtype_by_name(str_of(types[i / ARRAY_LEN(batches)]));
        struct op_test t;
        op_test_begin(&t, &batches[i % ARRAY_LEN(batches)]);
        struct tensor *x = input(&t, "x", 256), *ids = op_test_expert_ids(&t, 3);
        struct tensor *wg = op_test_weight(&t, "wg", type, 256, 35, 8);
        struct tensor *wu = op_test_weight(&t, "wu", type, 256, 35, 8);
        t.scatter = i % 2 == 0;
        for (int k = 0; k < 2 && t.scatter; k++)
            ((struct weight *)(k ? wu : wg)->weight)->experts =
                arena_calloc(&t.graph.arena, 8, sizeof(void *));
        struct tensor *gate = op_matmul_experts(&t.graph, "gate", wg, x, ids);
        struct tensor *up = op_matmul_experts(&t.graph, "up", wu, x, ids);
        op_glu(&t.graph, "y", gate, up, GLU_SILU);
        run_fused(&t, OP_MATMUL_GLU);
    }
}

TEST(matmul_qkv)
{
    for (size_t i = 0; i < ARRAY_LEN(types) * ARRAY_LEN(batches); i++) {
        const struct dtype *type = dtype_by_name(str_of(types[i / ARRAY_LEN(batches)]));
        struct op_test t;
        op_test_begin(&t, &batches[i % ARRAY_LEN(batches)]);
        struct tensor *x = input(&t, "x", 512), *bias = NULL;
        if (i % 2)
            bias = op_test_weight(&t, "bias", &dtype_f32, 64, 1, 1);
        op_matmul(&t.graph, "q", op_test_weight(&t, "wq", type, 512, 192, 1), x, NULL);
        op_matmul(&t.graph, "k", op_test_weight(&t, "wk", type, 512, 64, 1), x, bias);
        if (i % 3)
            op_matmul(&t.graph, "v",
                      op_test_weight(&t, "wv", i % 4 ? type : &dtype_f16, 512, 65, 1), x, NULL);
        run_fused(&t, OP_MATMUL_QKV);
    }
}

TEST(rope_kv)
{
    static const struct rope_params params = {
        .kind = ROPE_NEOX, .n_rot = 64, .freq_base = 1e6f, .freq_scale = 1, .attn_factor = 1};
    const struct dtype *const cache_types[] = {&dtype_f32, &dtype_f16, &dtype_q8_0};
    for (size_t i = 0; i < ARRAY_LEN(cache_types) * ARRAY_LEN(batches); i++) {
        struct op_test t;
        op_test_begin(&t, &batches[i % ARRAY_LEN(batches)]);
        t.skip_kinds = 1u << INPUT_HUGE; /* beyond what fp16 holds */
        int64_t T = t.graph.n_tokens;
        struct tensor *q = op_test_input(&t, "q", 64, 6, T, ROWS_TOKENS);
        struct tensor *k = op_test_input(&t, "k", 64, 2, T, ROWS_TOKENS);
        struct tensor *v = op_test_input(&t, "v", 96, 2, T, ROWS_TOKENS);
        struct tensor *kv = op_test_kv(&t, 2, 64, 96, cache_types[i / ARRAY_LEN(batches)]);
        struct tensor *factors = i % 2 ? op_test_weight(&t, "factors", &dtype_f32, 32, 1, 1) : NULL;
        op_rope(&t.graph, "q.turned", q, factors, &params);
        k = op_rope(&t.graph, "k.turned", k, factors, &params);
        op_kv_write(&t.graph, "write", k, v, kv);
        run_fused(&t, OP_ROPE_KV);
    }
}
