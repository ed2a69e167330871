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

/* Rows fold a norm into the products of one token, in some shape of theirs. */
static const struct op_batch one_token[] = {
    {.n_seqs = 1, .seqs = {{7, 1}}},
    {.bucket = 2, .n_seqs = 1, .seqs = {{3, 1}}},
};

static const struct dtype *type_at(size_t i)
{
    return dtype_by_name(str_of(types[i % ARRAY_LEN(types)]));
}

static struct tensor *normed(struct op_test *t, int64_t n)
{
    struct tensor *w = op_test_weight(t, "norm.w", &dtype_f32, n, 1, 1);
    return op_rms_norm(&t->graph, "norm", input(t, "x", n), w, 1e-5f);
}

TEST(norm_matmul)
{
    static const int64_t lengths[] = {72, 512, 1280}; /* 72 is for floats alone */
    for (size_t i = 0; i < 2 * ARRAY_LEN(types) * ARRAY_LEN(lengths); i++) {
        int64_t k = lengths[i / (2 * ARRAY_LEN(types))];
        const struct dtype *type = type_at(i);
        if (k % type->block_elems != 0)
            continue;
        struct op_test t;
        op_test_begin(&t, &one_token[i / ARRAY_LEN(types) % 2]);
        struct tensor *x = normed(&t, k);
        struct tensor *bias = i % 2 ? op_test_weight(&t, "bias", &dtype_f32, 67, 1, 1) : NULL;
        op_matmul(&t.graph, "y", op_test_weight(&t, "w", type, k, 67, 1), x, bias);
        run_fused(&t, OP_NORM_MATMUL);
    }
}

TEST(norm_matmul_glu)
{
    for (size_t i = 0; i < 2 * ARRAY_LEN(types); i++) {
        struct op_test t;
        op_test_begin(&t, one_token);
        struct tensor *x = normed(&t, 512), *ids = NULL;
        int64_t n_expert = i < ARRAY_LEN(types) ? 1 : 8;
        struct tensor *wg = op_test_weight(&t, "wg", type_at(i), 512, 35, n_expert);
        struct tensor *wu = op_test_weight(&t, "wu", type_at(i), 512, 35, n_expert);
        if (n_expert > 1)
            ids = op_test_expert_ids(&t, 3);
        struct tensor *gate = ids ? op_matmul_experts(&t.graph, "gate", wg, x, ids)
                                  : op_matmul(&t.graph, "gate", wg, x, NULL);
        struct tensor *up = ids ? op_matmul_experts(&t.graph, "up", wu, x, ids)
                                : op_matmul(&t.graph, "up", wu, x, NULL);
        op_glu(&t.graph, "y", gate, up, GLU_SILU);
        run_fused(&t, OP_NORM_MATMUL);
    }
}

TEST(norm_matmul_qkv)
{
    for (size_t i = 0; i < 2 * ARRAY_LEN(types); i++) {
        struct op_test t;
        op_test_begin(&t, one_token);
        struct tensor *x = normed(&t, 512);
        struct tensor *bias = i % 2 ? op_test_weight(&t, "bias", &dtype_f32, 64, 1, 1) : NULL;
        op_matmul(&t.graph, "q", op_test_weight(&t, "wq", type_at(i), 512, 192, 1), x, NULL);
        op_matmul(&t.graph, "k", op_test_weight(&t, "wk", type_at(i), 512, 64, 1), x, bias);
        if (i < ARRAY_LEN(types))
            op_matmul(&t.graph, "v", op_test_weight(&t, "wv", type_at(i), 512, 65, 1), x, NULL);
        run_fused(&t, OP_NORM_MATMUL);
    }
}

/* The residual stands before or after the product. */
TEST(matmul_add)
{
    for (size_t i = 0; i < ARRAY_LEN(types) * ARRAY_LEN(batches); i++) {
        struct op_test t;
        op_test_begin(&t, &batches[i / ARRAY_LEN(types)]);
        struct tensor *residual = input(&t, "residual", 67);
        struct tensor *w = op_test_weight(&t, "w", type_at(i), 512, 67, 1);
        struct tensor *y = op_matmul(&t.graph, "product", w, input(&t, "x", 512), NULL);
        op_add(&t.graph, "y", i % 2 ? y : residual, i % 2 ? residual : y);
        run_fused(&t, OP_MATMUL);
    }
}

static void matmul_sum(const struct dtype *type, const struct op_batch *batch, unsigned form)
{
    enum { BY_SLOT = 1, RESIDUAL = 2, BIAS = 4, ELSEWHERE = 8 };
    struct op_test t;
    op_test_begin(&t, batch);
    t.scatter = t.elsewhere = form & ELSEWHERE;
    struct tensor *w = op_test_weight(&t, "w", type, 512, 67, 8);
    struct tensor *ids = op_test_expert_ids(&t, 3);
    struct tensor *x = form & BY_SLOT
                           ? op_test_input(&t, "x", 512, 3, t.graph.n_tokens, ROWS_TOKENS)
                           : input(&t, "x", 512);
    if (form & ELSEWHERE)
        ((struct weight *)w->weight)->experts = arena_calloc(&t.graph.arena, 8, sizeof(void *));
    struct tensor *y = op_matmul_experts(&t.graph, "experts", w, x, ids);
    if (form & BIAS)
        t.graph.ops[0]->in[2] = op_test_weight(&t, "bias", &dtype_f32, 67, 8, 1);
    y = op_expert_sum(&t.graph, "sum", y, input(&t, "shares", 3));
    if (form & RESIDUAL)
        op_add(&t.graph, "y", input(&t, "residual", 67), y);
    run_fused(&t, OP_MATMUL_SUM);
}

TEST(matmul_sum)
{
    for (unsigned form = 0; form < 16; form++)
        for (size_t b = 0; b < 2; b++)
            matmul_sum(type_at(form + 3 * b), &batches[b], form);
}

TEST(rope_kv)
{
    static const struct rope_params params = {
        .kind = ROPE_NEOX, .n_rot = 64, .freq_base = 1e6f, .freq_scale = 1, .attn_factor = 1};
    const struct dtype *const cache_types[] = {&dtype_f32, &dtype_f16, &dtype_q8_0, &dtype_q4_0};
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

TEST(normed_rope_kv)
{
    static const struct rope_params params = {
        .kind = ROPE_NORM, .n_rot = 48, .freq_base = 1e4f, .freq_scale = 1, .attn_factor = 1};
    const struct dtype *const cache_types[] = {&dtype_f32, &dtype_f16, &dtype_q8_0, &dtype_q4_0};
    for (size_t i = 0; i < ARRAY_LEN(cache_types) * ARRAY_LEN(batches); i++) {
        struct op_test t;
        op_test_begin(&t, &batches[i % ARRAY_LEN(batches)]);
        /* Beyond what fp16 holds; and what the eps leaves of tiny heads is on the edge of it. */
        t.skip_kinds = 1u << INPUT_HUGE | 1u << INPUT_TINY;
        int64_t T = t.graph.n_tokens;
        struct tensor *q = op_test_input(&t, "q", 64, 6, T, ROWS_TOKENS);
        struct tensor *k = op_test_input(&t, "k", 64, 2, T, ROWS_TOKENS);
        struct tensor *v = op_test_input(&t, "v", 96, 2, T, ROWS_TOKENS);
        struct tensor *kv = op_test_kv(&t, 2, 64, 96, cache_types[i / ARRAY_LEN(batches)]);
        struct tensor *w_q = op_test_weight(&t, "w_q", &dtype_f32, 64, 1, 1);
        struct tensor *w_k = op_test_weight(&t, "w_k", &dtype_f32, 64, 1, 1);
        q = op_rms_norm(&t.graph, "q.normed", q, w_q, 1e-6f);
        op_rope(&t.graph, "q.turned", q, NULL, &params);
        k = op_rms_norm(&t.graph, "k.normed", k, w_k, 1e-6f);
        k = op_rope(&t.graph, "k.turned", k, NULL, &params);
        op_kv_write(&t.graph, "write", k, v, kv);
        run_fused(&t, OP_ROPE_KV);
    }
}
