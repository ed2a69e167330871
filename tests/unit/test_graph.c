#include <limits.h>
#include <math.h>

#include "harness/test.h"
#include "op/op_def.h"

/* Building graphs: shapes, names, failures; what well-formed means for each op. */

static struct weight weight_of(const char *name, const struct dtype *type, int64_t ne0, int64_t ne1)
{
    return (struct weight){.name = name, .dtype = type, .ne = {ne0, ne1, 1, 1}};
}

static struct tensor *input(struct graph *g, const char *name, int64_t ne0, int64_t ne1,
                            int64_t ne2)
{
    const int64_t ne[OP_MAX_DIMS] = {ne0, ne1, ne2, 1};
    return graph_activation(g, name, &dtype_f32, ne, ROWS_TOKENS);
}

static void begin(struct graph *g, int n_tokens)
{
    test_log_clear();
    graph_init(g, n_tokens, 1, test_log());
}

static void check_dims(const struct tensor *tensor, int n_dims, int64_t ne0, int64_t ne1,
                       int64_t ne2)
{
    assert_int_equal(tensor->n_dims, n_dims);
    assert_int_equal(tensor->ne[0], ne0);
    assert_int_equal(tensor->ne[1], ne1);
    assert_int_equal(tensor->ne[2], ne2);
}

TEST(shapes)
{
    struct graph g;
    begin(&g, 5);
    struct tensor *x = input(&g, "x", 12, 5, 1);
    check_dims(x, 2, 12, 5, 1);
    struct tensor *heads = graph_reshape(&g, x, 4, 3, 5);
    check_dims(heads, 3, 4, 3, 5);
    assert_int_equal(heads->stride[2], 12);
    assert_ptr_equal(tensor_base(heads, NULL), x);
    check_dims(graph_reshape(&g, heads, 12, 5, 1), 2, 12, 5, 1);
    assert_int_equal(g.status, HTH_OK);
    graph_free(&g);
}

/* With one token its dimension cannot be told by its size. */
TEST(shapes_of_one_token)
{
    struct graph g;
    begin(&g, 1);
    struct tensor *x = input(&g, "x", 12, 1, 1);
    check_dims(x, 2, 12, 1, 1);
    check_dims(graph_reshape(&g, x, 4, 3, 1), 3, 4, 3, 1);
    struct batch batch = {.n_tokens = 1};
    assert_int_equal(batch_rows(&batch, graph_reshape(&g, x, 4, 3, 1)), 1);
    assert_int_equal(batch_rows_flat(&batch, graph_reshape(&g, x, 4, 3, 1)), 3);
    assert_int_equal(batch_rows_flat(&batch, graph_reshape(&g, x, 12, 1, 1)), 1);
    assert_int_equal(g.status, HTH_OK);
    graph_free(&g);
}

TEST(rows_of_a_batch)
{
    struct graph g;
    begin(&g, 8);
    struct batch batch = {.n_tokens = 3, .n_outputs = 0};
    assert_int_equal(batch_rows(&batch, input(&g, "x", 4, 8, 1)), 3);
    assert_int_equal(batch_rows_flat(&batch, input(&g, "y", 4, 6, 8)), 18);
    const int64_t ne[OP_MAX_DIMS] = {7, 1, 1, 1};
    struct tensor *out = graph_activation(&g, "out", &dtype_f32, ne, ROWS_OUTPUTS);
    assert_int_equal(batch_rows(&batch, out), 0);
    struct weight w = weight_of("w", &dtype_f32, 4, 9);
    assert_int_equal(batch_rows(&batch, graph_weight(&g, &w)), 9);
    graph_free(&g);
}

TEST(impossible_shapes)
{
    static const int64_t shapes[][3] = {
        {0, 5, 1}, {-4, 5, 1}, {4, 6, 1}, {INT64_MAX, 5, 1}, {1ll << 40, 1 << 20, 5}, {4, 5, 2}};
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        struct graph g;
        begin(&g, 5);
        assert_ptr_equal(input(&g, "x", shapes[i][0], shapes[i][1], shapes[i][2]), &g.broken);
        assert_int_equal(g.status, HTH_ERROR_FORMAT);
        assert_logged("x: no tensor can have the shape");
        graph_free(&g);
    }
    struct graph g;
    begin(&g, 5);
    struct tensor *x = input(&g, "x", 12, 5, 1);
    assert_ptr_equal(graph_reshape(&g, x, 5, 3, 5), &g.broken);
    assert_logged("x: 60 elements cannot take the shape 5 × 3 × 5");
    graph_free(&g);
}

TEST(one_tensor_per_weight)
{
    struct graph g;
    begin(&g, 2);
    struct weight a = weight_of("a", &dtype_f32, 3, 4), b = weight_of("b", &dtype_f32, 3, 4);
    assert_ptr_equal(graph_weight(&g, &a), graph_weight(&g, &a));
    assert_ptr_not_equal(graph_weight(&g, &a), graph_weight(&g, &b));
    assert_null(graph_weight(&g, NULL));
    graph_free(&g);
}

/* Positions in a model's list are looked up; whatever else an index is must do no harm. */
TEST(weights_with_any_index)
{
    static const int indices[] = {0, 7, 7, 1, -1, -1, 40, INT_MAX, INT_MAX, INT_MIN, 7, 41};
    struct weight weights[ARRAY_LEN(indices)];
    struct tensor *tensors[ARRAY_LEN(indices)];
    struct graph g;
    begin(&g, 2);
    for (size_t i = 0; i < ARRAY_LEN(indices); i++) {
        weights[i] = weight_of("w", &dtype_f32, 3, 4);
        weights[i].index = indices[i];
        tensors[i] = graph_weight(&g, &weights[i]);
        assert_ptr_equal(tensors[i]->weight, &weights[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(indices); i++)
        assert_ptr_equal(graph_weight(&g, &weights[i]), tensors[i]);
    assert_int_equal(g.n_tensors, ARRAY_LEN(indices));
    graph_free(&g);
}

static void build_small(struct graph *g, const struct weight *w, const struct weight *norm)
{
    struct tensor *x = op_get_rows(g, "embd", graph_weight(g, w), INDEX_TOKENS);
    g->layer = 3;
    struct tensor *y = op_rms_norm(g, "norm", x, graph_weight(g, norm), 1e-5f);
    y = op_matmul(g, "proj", graph_weight(g, w), y, NULL);
    x = op_add(g, "out", y, y);
    g->layer = -1;
    g->logits = x;
}

TEST(print)
{
    struct graph g;
    begin(&g, 2);
    struct weight w = weight_of("w", &dtype_q8_0, 32, 32), norm = weight_of("n", &dtype_f32, 32, 1);
    build_small(&g, &w, &norm);
    struct strbuf text = {0};
    graph_print(&g, &text);
    assert_string_equal(
        text.ptr,
        "embd = get_rows(w Q8_0 [32, 32]) -> embd F32 [32, 2]\n"
        "blk.3.norm = rms_norm(embd F32 [32, 2], n F32 [32]) -> blk.3.norm F32 [32, 2]\n"
        "blk.3.proj = matmul(w Q8_0 [32, 32], blk.3.norm F32 [32, 2]) -> blk.3.proj F32 [32, 2]\n"
        "blk.3.out = add(blk.3.proj F32 [32, 2], blk.3.proj F32 [32, 2]) -> blk.3.out F32 [32, "
        "2]\n");
    assert_int_equal(g.ops[1]->layer, 3);
    assert_int_equal(g.ops[0]->layer, -1);
    strbuf_free(&text);
    graph_free(&g);
}

/* The first failure is said and stays; what follows does nothing and still returns something. */
TEST(first_failure_stays)
{
    struct graph g;
    begin(&g, 2);
    struct weight w = weight_of("w", &dtype_q8_0, 64, 32), norm = weight_of("n", &dtype_f32, 32, 1);
    struct tensor *x = input(&g, "x", 32, 2, 1);
    size_t n_tensors = g.n_tensors;
    g.layer = 7;
    struct tensor *y = op_matmul(&g, "proj", graph_weight(&g, &w), x, NULL);
    assert_ptr_equal(y, &g.broken);
    assert_logged(
        "blk.7.proj: matmul: x is not F32 with rows as long as the matrix's: blk.7.proj = "
        "matmul(w Q8_0 [64, 32], x F32 [32, 2])");
    test_log_clear();
    struct tensor *ids;
    op_get_rows(&g, "a", y, INDEX_TOKENS);
    op_rms_norm(&g, "a", y, graph_weight(&g, &norm), 1);
    op_rope(&g, "a", y, NULL, &(struct rope_params){0});
    op_kv_write(&g, "a", y, y, graph_kv(&g, "kv", &(struct kv_geom){0}));
    op_attention(&g, "a", y, y, NULL, &(struct attention_params){0});
    op_softmax(&g, "a", y);
    op_router(&g, "a", y, NULL, &(struct router_params){0}, &ids);
    op_expert_sum(&g, "a", y, ids);
    op_matmul_experts(&g, "a", y, y, ids);
    op_glu(&g, "a", y, y, GLU_SILU);
    op_mul(&g, "a", y, op_add(&g, "b", y, y));
    op_top_k(&g, "a", y, 1);
    op_copy(&g, "a", op_scale(&g, "a", graph_reshape(&g, y, 1, 2, 3), &(struct scale_params){0}));
    graph_fail(&g, HTH_ERROR_IO, "something else");
    assert_string_equal(test_log_text(), "");
    assert_int_equal(g.status, HTH_ERROR_FORMAT);
    assert_int_equal(g.n_ops, 0);
    assert_true(g.n_tensors <= n_tensors + 2);
    graph_free(&g);
}

TEST(missing_input)
{
    struct graph g;
    begin(&g, 2);
    g.layer = 0;
    op_matmul(&g, "attn_q", NULL, input(&g, "x", 32, 2, 1), NULL);
    assert_int_equal(g.status, HTH_ERROR_FORMAT);
    assert_logged("attn_q: an input that it cannot do without is missing");
    graph_free(&g);
}

/* --- what each check refuses: one thing at a time is changed in a call that is right --- */

static struct graph *bench;
static struct weight weights[8];
static int n_weights;

static struct tensor *w2(const struct dtype *type, int64_t ne0, int64_t ne1, int64_t ne2)
{
    struct weight *w = &weights[n_weights++ % 8];
    *w = weight_of("w", type, ne0, ne1);
    w->ne[2] = ne2;
    return graph_weight(bench, w);
}

static void restart(void)
{
    if (bench->arena.blocks)
        graph_free(bench);
    begin(bench, 4);
    n_weights = 0;
}

#define REFUSED(call)                                                                              \
    do {                                                                                           \
        restart();                                                                                 \
        (void)(call);                                                                              \
        if (bench->status != HTH_ERROR_FORMAT)                                                     \
            fail_msg("%s was accepted", #call);                                                    \
    } while (0)

#define ACCEPTED(call)                                                                             \
    do {                                                                                           \
        restart();                                                                                 \
        (void)(call);                                                                              \
        if (bench->status != HTH_OK)                                                               \
            fail_msg("%s was refused: %s", #call, test_log_text());                                \
    } while (0)

#define IN(...) input(bench, "x", __VA_ARGS__)

static struct tensor *numbers(int64_t n_used, int64_t n_tokens)
{
    const int64_t ne[OP_MAX_DIMS] = {n_used, n_tokens, 1, 1};
    return graph_activation(bench, "ids", &dtype_i32, ne, ROWS_TOKENS);
}

static struct tensor *cache(int n_head_kv, int k_dim, int v_dim)
{
    const struct kv_geom kv = {n_head_kv, k_dim, v_dim, &dtype_q8_0, &dtype_f16, 0, 0};
    return graph_kv(bench, "kv", &kv);
}

static struct tensor *write(struct tensor *k, struct tensor *v, struct tensor *kv)
{
    op_kv_write(bench, "y", k, v, kv);
    return NULL;
}

static struct tensor *route(struct tensor *logits, int n_used)
{
    struct tensor *ids;
    return op_router(bench, "y", logits, NULL,
                     &(struct router_params){ROUTER_SOFTMAX, n_used, true, 1}, &ids);
}

TEST(checks)
{
    struct graph g = {0};
    bench = &g;
    const struct dtype *f = &dtype_f32, *q = &dtype_q8_0;
    ACCEPTED(op_matmul(&g, "y", w2(q, 32, 9, 1), IN(32, 4, 1), w2(f, 9, 1, 1)));
    REFUSED(op_matmul(&g, "y", w2(q, 32, 9, 1), IN(64, 4, 1), NULL));
    REFUSED(op_matmul(&g, "y", w2(q, 40, 9, 1), IN(40, 4, 1), NULL));
    REFUSED(op_matmul(&g, "y", w2(q, 32, 9, 2), IN(32, 4, 1), NULL));
    REFUSED(op_matmul(&g, "y", w2(&dtype_i32, 32, 9, 1), IN(32, 4, 1), NULL));
    REFUSED(op_matmul(&g, "y", w2(q, 32, 9, 1), IN(32, 4, 1), w2(f, 8, 1, 1)));
    REFUSED(op_matmul(&g, "y", w2(q, 32, 9, 1), IN(32, 4, 1), w2(&dtype_f16, 9, 1, 1)));
    ACCEPTED(op_matmul_experts(&g, "y", w2(q, 32, 9, 5), IN(32, 2, 4), numbers(2, 4)));
    ACCEPTED(op_matmul_experts(&g, "y", w2(q, 32, 9, 5), IN(32, 4, 1), numbers(2, 4)));
    REFUSED(op_matmul_experts(&g, "y", w2(q, 32, 9, 5), IN(32, 3, 4), numbers(2, 4)));
    REFUSED(op_matmul_experts(&g, "y", w2(q, 32, 9, 5), IN(32, 4, 1), IN(2, 4, 1)));
    ACCEPTED(op_rms_norm(&g, "y", IN(32, 4, 1), w2(f, 32, 1, 1), 1e-5f));
    REFUSED(op_rms_norm(&g, "y", IN(32, 4, 1), w2(f, 31, 1, 1), 1e-5f));
    REFUSED(op_rms_norm(&g, "y", IN(32, 4, 1), w2(q, 32, 1, 1), 1e-5f));
    REFUSED(op_rms_norm(&g, "y", IN(32, 4, 1), NULL, -1));
    ACCEPTED(op_layer_norm(&g, "y", IN(32, 4, 1), w2(f, 32, 1, 1), w2(f, 32, 1, 1), 1e-5f));
    ACCEPTED(op_layer_norm(&g, "y", IN(32, 4, 1), NULL, NULL, 0));
    REFUSED(op_layer_norm(&g, "y", IN(32, 4, 1), w2(f, 31, 1, 1), NULL, 1e-5f));
    REFUSED(op_layer_norm(&g, "y", IN(32, 4, 1), NULL, w2(f, 33, 1, 1), 1e-5f));
    REFUSED(op_layer_norm(&g, "y", IN(32, 4, 1), NULL, w2(q, 32, 1, 1), 1e-5f));
    REFUSED(op_layer_norm(&g, "y", IN(32, 4, 1), NULL, NULL, -1));
    ACCEPTED(write(IN(32, 2, 4), IN(16, 2, 4), cache(2, 32, 16)));
    REFUSED(write(IN(64, 2, 4), IN(16, 2, 4), cache(2, 32, 16)));
    REFUSED(write(IN(32, 1, 4), IN(16, 2, 4), cache(2, 32, 16)));
    REFUSED(write(IN(32, 2, 4), IN(17, 2, 4), cache(2, 32, 16)));
    REFUSED(write(IN(33, 2, 4), IN(16, 2, 4), cache(2, 33, 16)));
    ACCEPTED(route(IN(8, 4, 1), 8));
    REFUSED(route(IN(8, 4, 1), 9));
    REFUSED(route(IN(8, 4, 1), 0));
    ACCEPTED(op_expert_sum(&g, "y", IN(32, 3, 4), IN(3, 4, 1)));
    REFUSED(op_expert_sum(&g, "y", IN(32, 3, 4), IN(2, 4, 1)));
    ACCEPTED(op_glu(&g, "y", IN(8, 4, 1), IN(8, 4, 1), GLU_SILU));
    REFUSED(op_glu(&g, "y", IN(8, 4, 1), IN(9, 4, 1), GLU_SILU));
    ACCEPTED(op_add(&g, "y", IN(8, 4, 1), w2(f, 8, 1, 1)));
    REFUSED(op_add(&g, "y", IN(8, 4, 1), w2(f, 8, 2, 1)));
    REFUSED(op_mul(&g, "y", IN(8, 4, 1), IN(4, 4, 1)));
    REFUSED(op_scale(&g, "y", IN(8, 4, 1), &(struct scale_params){.scale = INFINITY}));
    REFUSED(op_scale(&g, "y", w2(f, 8, 1, 1), &(struct scale_params){1, 1, 8}));
    ACCEPTED(op_top_k(&g, "y", IN(8, 4, 1), 8));
    ACCEPTED(op_top_k(&g, "y", IN(100, 4, 1), 64));
    REFUSED(op_top_k(&g, "y", IN(8, 4, 1), 9));
    REFUSED(op_top_k(&g, "y", IN(8, 4, 1), 0));
    REFUSED(op_top_k(&g, "y", IN(100, 4, 1), 65));
    REFUSED(op_top_k(&g, "y", IN(8, 4, 2), 2));
    REFUSED(op_top_k(&g, "y", numbers(8, 4), 2));
    ACCEPTED(op_get_rows(&g, "y", w2(q, 32, 9, 1), INDEX_TOKENS));
    REFUSED(op_get_rows(&g, "y", w2(q, 33, 9, 1), INDEX_TOKENS));
    REFUSED(op_get_rows(&g, "y", w2(&dtype_i32, 32, 9, 1), INDEX_TOKENS));
    REFUSED(op_get_rows(&g, "y", w2(q, 32, 9, 1), INDEX_OUTPUTS));
    graph_free(&g);
}

static struct tensor *rope(int64_t head_dim, struct tensor *factors, struct rope_params params)
{
    return op_rope(bench, "y", IN(head_dim, 2, 4), factors, &params);
}

static struct tensor *attend(struct tensor *q, struct tensor *kv, struct attention_params params)
{
    return op_attention(bench, "y", q, kv, NULL, &params);
}

TEST(checks_of_rope_and_attention)
{
    struct graph g = {0};
    bench = &g;
    const struct rope_params right = {ROPE_NORM, 8, 10000, 1, 0, 1, 0, 0, 0};
    struct rope_params odd = right, wide = right, base = right, yarn = right;
    odd.n_rot = 7;
    wide.n_rot = 10;
    base.freq_base = 0;
    yarn.ext_factor = 1;
    ACCEPTED(rope(8, NULL, right));
    ACCEPTED(rope(8, w2(&dtype_f32, 4, 1, 1), right));
    REFUSED(rope(8, w2(&dtype_f32, 8, 1, 1), right));
    REFUSED(rope(8, NULL, odd));
    REFUSED(rope(8, NULL, wide));
    REFUSED(rope(8, NULL, base));
    REFUSED(rope(8, NULL, yarn));
    REFUSED(op_rope(&g, "y", IN(8, 4, 1), NULL, &right));
    ACCEPTED(attend(IN(32, 6, 4), cache(2, 32, 16), (struct attention_params){6, 1, 0, 0}));
    REFUSED(attend(IN(32, 5, 4), cache(2, 32, 16), (struct attention_params){5, 1, 0, 0}));
    REFUSED(attend(IN(32, 6, 4), cache(2, 32, 16), (struct attention_params){4, 1, 0, 0}));
    REFUSED(attend(IN(64, 6, 4), cache(2, 32, 16), (struct attention_params){6, 1, 0, 0}));
    REFUSED(attend(IN(32, 6, 4), IN(32, 6, 4), (struct attention_params){6, 1, 0, 0}));
    REFUSED(attend(IN(32, 6, 4), cache(2, 32, 16), (struct attention_params){6, 1, -1, 0}));
    REFUSED(attend(IN(32, 6, 4), cache(2, 32, 16), (struct attention_params){6, 1, 0, -1}));
    graph_free(&g);
}

/* --- memory --- */

static enum hth_status build_and_free(void *arg)
{
    (void)arg;
    struct graph g;
    begin(&g, 2);
    struct weight w = weight_of("w", &dtype_q8_0, 32, 32), norm = weight_of("n", &dtype_f32, 32, 1);
    build_small(&g, &w, &norm);
    enum hth_status status = g.status;
    graph_free(&g);
    return status;
}

TEST(out_of_memory)
{
    test_each_allocation_fails(build_and_free, NULL);
}

/* Every kind of op has its definition, once. */
TEST(definitions)
{
    for (int kind = 0; kind < OP_KIND_COUNT; kind++) {
        const struct op_def *def = op_def_of((enum op_kind)kind);
        assert_int_equal(def->kind, kind);
        assert_non_null(def->name);
        assert_non_null(def->check);
        assert_non_null(def->reference);
        assert_non_null(def->cost);
    }
}

TEST(costs)
{
    struct graph g;
    begin(&g, 4);
    struct weight w = weight_of("w", &dtype_q8_0, 64, 9), e = weight_of("e", &dtype_q8_0, 32, 9);
    e.ne[2] = 8;
    op_matmul(&g, "y", graph_weight(&g, &w), input(&g, "x", 64, 4, 1), NULL);
    struct op_cost cost = op_def_of(OP_MATMUL)->cost(g.ops[0], 0);
    assert_int_equal(cost.weight_bytes, 9 * 2 * 34);
    assert_int_equal(cost.flops, 2 * 64 * 9 * 4);
    assert_int_equal(cost.act_bytes, (64 + 9) * 4 * 4);
    const int64_t ne[OP_MAX_DIMS] = {1, 4, 1, 1};
    struct tensor *ids = graph_activation(&g, "ids", &dtype_i32, ne, ROWS_TOKENS);
    op_matmul_experts(&g, "y", graph_weight(&g, &e), input(&g, "x", 32, 4, 1), ids);
    cost = op_def_of(OP_MATMUL)->cost(g.ops[1], 0); /* four tokens use four experts at most */
    assert_int_equal(cost.weight_bytes, 4 * 9 * 34);
    const struct kv_geom kv = {2, 32, 16, &dtype_q8_0, &dtype_f16, 0, 0};
    op_attention(&g, "a", input(&g, "q", 32, 6, 4), graph_kv(&g, "kv", &kv), NULL,
                 &(struct attention_params){6, 1, 0, 50});
    cost = op_def_of(OP_ATTENTION)->cost(g.ops[2], 40);
    assert_int_equal(cost.kv_bytes, 40 * 2 * (34 + 32));
    assert_int_equal(op_def_of(OP_ATTENTION)->cost(g.ops[2], 400).kv_bytes, 50 * 2 * (34 + 32));
    assert_int_equal(g.status, HTH_OK);
    graph_free(&g);
}
