#include "op_test.h"

/* Ops that treat each row alone: norm, softmax, glu, add, mul, scale, copy, rows of tables, sums
 * over experts, routing. */

static const struct op_batch batches[] = {
    {.bucket = 1, .n_seqs = 1, .seqs = {{0, 1}}},
    {.bucket = 8, .n_seqs = 1, .seqs = {{5, 5}}},
    {.bucket = 33, .n_outputs = 3, .n_seqs = 2, .seqs = {{0, 30}, {70, 3}}},
};
static const int lengths[] = {1, 3, 64, 100, 577};

/* Calls `build` for each batch and length of rows. */
static void all(void (*build)(struct op_test *t, int n))
{
    for (size_t b = 0; b < ARRAY_LEN(batches); b++)
        for (size_t n = 0; n < ARRAY_LEN(lengths); n++) {
            struct op_test t;
            op_test_begin(&t, &batches[b]);
            build(&t, lengths[n]);
            op_test_run(&t);
        }
}

static struct tensor *input(struct op_test *t, const char *name, int64_t n)
{
    return op_test_input(t, name, n, t->graph.n_tokens, 1, ROWS_TOKENS);
}

static void build_rms_norm(struct op_test *t, int n)
{
    op_rms_norm(&t->graph, "y", input(t, "x", n), op_test_weight(t, "w", &dtype_f32, n, 1, 1),
                1e-5f);
}

static void build_rms_norm_heads(struct op_test *t, int n)
{
    struct tensor *x = op_test_input(t, "x", n, 3, t->graph.n_tokens, ROWS_TOKENS);
    op_rms_norm(&t->graph, "y", x, NULL, 1e-6f);
}

TEST(rms_norm)
{
    all(build_rms_norm);
}

TEST(rms_norm_by_head)
{
    all(build_rms_norm_heads);
}

static void build_layer_norm(struct op_test *t, int n)
{
    struct tensor *w = op_test_weight(t, "w", &dtype_f32, n, 1, 1);
    struct tensor *bias = op_test_weight(t, "b", &dtype_f32, n, 1, 1);
    op_layer_norm(&t->graph, "y", input(t, "x", n), w, bias, 1e-5f);
}

static void build_layer_norm_unbiased(struct op_test *t, int n)
{
    struct tensor *w = op_test_weight(t, "w", &dtype_f32, n, 1, 1);
    op_layer_norm(&t->graph, "y", input(t, "x", n), w, NULL, 1e-5f);
}

static void build_layer_norm_heads(struct op_test *t, int n)
{
    struct tensor *x = op_test_input(t, "x", n, 3, t->graph.n_tokens, ROWS_TOKENS);
    op_layer_norm(&t->graph, "y", x, NULL, NULL, 1e-6f);
}

TEST(layer_norm)
{
    all(build_layer_norm);
    all(build_layer_norm_unbiased);
}

TEST(layer_norm_by_head)
{
    all(build_layer_norm_heads);
}

static void build_softmax(struct op_test *t, int n)
{
    op_softmax(&t->graph, "y", input(t, "x", n));
}

TEST(softmax)
{
    all(build_softmax);
}

static void build_glu(struct op_test *t, int n)
{
    static int next;
    t->scale = 8;
    op_glu(&t->graph, "y", input(t, "gate", n), input(t, "up", n), (enum glu_kind)(next++ % 3));
}

TEST(glu)
{
    for (int kind = 0; kind < 3; kind++)
        all(build_glu);
}

static void build_glu_experts(struct op_test *t, int n)
{
    struct tensor *gate = op_test_input(t, "gate", n, 4, t->graph.n_tokens, ROWS_TOKENS);
    struct tensor *up = op_test_input(t, "up", n, 4, t->graph.n_tokens, ROWS_TOKENS);
    op_glu(&t->graph, "y", gate, up, GLU_SILU);
}

TEST(glu_by_expert)
{
    all(build_glu_experts);
}

static void build_add(struct op_test *t, int n)
{
    op_add(&t->graph, "y", input(t, "a", n), input(t, "b", n));
}

static void build_add_row(struct op_test *t, int n)
{
    op_add(&t->graph, "y", input(t, "a", n), op_test_weight(t, "b", &dtype_f32, n, 1, 1));
}

TEST(add)
{
    all(build_add);
    all(build_add_row);
}

static void build_mul(struct op_test *t, int n)
{
    op_mul(&t->graph, "y", input(t, "a", n), input(t, "b", n));
}

static void build_mul_row(struct op_test *t, int n)
{
    struct tensor *a = op_test_input(t, "a", n, 2, t->graph.n_tokens, ROWS_TOKENS);
    op_mul(&t->graph, "y", a, op_test_weight(t, "b", &dtype_f32, n, 1, 1));
}

TEST(mul)
{
    all(build_mul);
    all(build_mul_row);
}

static void build_scale(struct op_test *t, int n)
{
    op_scale(&t->graph, "y", input(t, "x", n), &(struct scale_params){.scale = 0.37f});
}

static void build_scale_position(struct op_test *t, int n)
{
    struct tensor *x = op_test_input(t, "x", n, 3, t->graph.n_tokens, ROWS_TOKENS);
    op_scale(&t->graph, "y", x, &(struct scale_params){1.5f, 0.1f, 3});
}

TEST(scale)
{
    all(build_scale);
    all(build_scale_position);
}

static void build_copy(struct op_test *t, int n)
{
    op_copy(&t->graph, "y", input(t, "x", n));
}

TEST(copy)
{
    all(build_copy);
}

static void build_get_outputs(struct op_test *t, int n)
{
    op_get_rows(&t->graph, "y", input(t, "x", n), INDEX_OUTPUTS);
}

TEST(get_outputs)
{
    all(build_get_outputs);
}

static void get_rows(const struct dtype *type)
{
    for (size_t b = 0; b < ARRAY_LEN(batches); b++) {
        struct op_test t;
        op_test_begin(&t, &batches[b]);
        struct tensor *table = op_test_weight(&t, "table", type, 512, 37, 1);
        op_get_rows(&t.graph, "y", table, INDEX_TOKENS);
        op_test_run(&t);
    }
}

TEST(get_rows)
{
    for (size_t i = 0; dtype_at(i); i++)
        if (dtype_at(i)->shader)
            get_rows(dtype_at(i));
}

static void build_expert_sum(struct op_test *t, int n)
{
    struct tensor *x = op_test_input(t, "x", n, 3, t->graph.n_tokens, ROWS_TOKENS);
    op_expert_sum(&t->graph, "y", x, input(t, "weights", 3));
}

TEST(expert_sum)
{
    all(build_expert_sum);
}

static float logit_scale = 1;

static void route(const struct router_params *params, int n_expert, bool bias)
{
    for (size_t b = 0; b < ARRAY_LEN(batches); b++) {
        struct op_test t;
        op_test_begin(&t, &batches[b]);
        struct tensor *ids, *b0 = NULL;
        t.scale = logit_scale;
        if (bias)
            b0 = op_test_weight(&t, "bias", &dtype_f32, n_expert, 1, 1);
        op_router(&t.graph, "weights", input(&t, "logits", n_expert), b0, params, &ids);
        t.skip_kinds = 1u << INPUT_DENORMAL; /* devices may flush them: then all logits are equal */
        op_test_run(&t);
    }
}

TEST(router_softmax)
{
    route(&(struct router_params){ROUTER_SOFTMAX, 2, true, 1}, 8, false);
    route(&(struct router_params){ROUTER_SOFTMAX, 8, false, 2.5f}, 128, false);
    route(&(struct router_params){ROUTER_SOFTMAX, 5, true, 1}, 33, true);
    route(&(struct router_params){ROUTER_SOFTMAX, 3, true, 1}, 3, false);
    route(&(struct router_params){ROUTER_SOFTMAX, 1, false, 1}, 1, false);
}

TEST(router_sigmoid)
{
    route(&(struct router_params){ROUTER_SIGMOID, 8, true, 2.5f}, 256, true);
    route(&(struct router_params){ROUTER_SIGMOID, 4, false, 1}, 32, false);
    /* Probabilities so small that their sum is not what normalises them. */
    logit_scale = -25;
    route(&(struct router_params){ROUTER_SIGMOID, 4, true, 1}, 32, true);
    logit_scale = 1;
}

TEST(router_softmax_of_chosen)
{
    route(&(struct router_params){ROUTER_SOFTMAX_CHOSEN, 4, false, 1}, 32, true);
    route(&(struct router_params){ROUTER_SOFTMAX_CHOSEN, 4, false, 1}, 31, false);
}
