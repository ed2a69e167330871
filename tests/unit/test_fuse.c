#include "base/mem.h"
#include "base/rng.h"
#include "harness/test.h"
#include "op/fuse.h"
#include "op/op_def.h"

/* Rewrites: what becomes one op, what must not, and that the result means the same. */

enum { EMBD = 32, HEADS = 4, HEADS_KV = 2, HEAD = 8, FF = 48, TOKENS = 3, LAYERS = 2 };

static struct weight weights[64];
static int n_weights;

static struct tensor *matrix(struct graph *g, const char *name, int64_t ne0, int64_t ne1)
{
    struct weight *w = &weights[n_weights++];
    *w = (struct weight){.name = name, .dtype = &dtype_f32, .ne = {ne0, ne1, 1, 1}};
    return graph_weight(g, w);
}

static struct tensor *input(struct graph *g, const char *name, int64_t ne0)
{
    const int64_t ne[OP_MAX_DIMS] = {ne0, g->n_tokens, 1, 1};
    return graph_activation(g, name, &dtype_f32, ne, ROWS_TOKENS);
}

static const struct rope_params rope = {ROPE_NORM, HEAD, 10000, 1, 0, 1, 0, 0, 0};

/* What a layer of a small model does; q is turned before k is there, as in model code. */
static struct tensor *layer(struct graph *g, struct tensor *x)
{
    const struct kv_geom geom = {HEADS_KV, HEAD, HEAD, &dtype_f32, &dtype_f32, 0, 16384};
    struct tensor *kv = graph_kv(g, "kv", &geom);
    struct tensor *y = op_rms_norm(g, "attn_norm", x, matrix(g, "norm", EMBD, 1), 1e-5f);
    struct tensor *q = op_matmul(g, "q", matrix(g, "wq", EMBD, HEADS * HEAD), y, NULL);
    q = graph_reshape(g, q, HEAD, HEADS, g->n_tokens);
    q = op_rope(g, "q.turned", q, NULL, &rope);
    struct tensor *k = op_matmul(g, "k", matrix(g, "wk", EMBD, HEADS_KV * HEAD), y,
                                 matrix(g, "bk", HEADS_KV * HEAD, 1));
    k = graph_reshape(g, k, HEAD, HEADS_KV, g->n_tokens);
    k = op_rope(g, "k.turned", k, NULL, &rope);
    struct tensor *v = op_matmul(g, "v", matrix(g, "wv", EMBD, HEADS_KV * HEAD), y, NULL);
    op_kv_write(g, "write", k, graph_reshape(g, v, HEAD, HEADS_KV, g->n_tokens), kv);
    y = op_attention(g, "attend", q, kv, NULL, &(struct attention_params){HEADS, 0.3f, 0, 0});
    y = op_matmul(g, "o", matrix(g, "wo", HEADS * HEAD, EMBD), y, NULL);
    x = op_add(g, "attn_out", y, x);
    y = op_rms_norm(g, "ffn_norm", x, matrix(g, "norm2", EMBD, 1), 1e-5f);
    struct tensor *gate = op_matmul(g, "gate", matrix(g, "wg", EMBD, FF), y, NULL);
    struct tensor *up = op_matmul(g, "up", matrix(g, "wu", EMBD, FF), y, NULL);
    y = op_glu(g, "act", gate, up, GLU_SILU);
    y = op_matmul(g, "down", matrix(g, "wd", FF, EMBD), y, NULL);
    return op_add(g, "out", y, x);
}

static void model(struct graph *g)
{
    n_weights = 0;
    test_log_clear();
    graph_init(g, TOKENS, 1, test_log());
    struct tensor *x = input(g, "x", EMBD);
    for (g->layer = 0; g->layer < LAYERS; g->layer++)
        x = layer(g, x);
    g->layer = -1;
    g->logits = op_rms_norm(g, "norm", x, matrix(g, "norm", EMBD, 1), 1e-5f);
    assert_int_equal(g->status, HTH_OK);
}

static int count(const struct graph *g, enum op_kind kind)
{
    int n = 0;
    for (size_t i = 0; i < g->n_ops; i++)
        n += g->ops[i]->kind == kind;
    return n;
}

/* --- the meaning: every op by its reference, every tensor with memory of its own --- */

static void *bytes_of(void **memory, const struct tensor *tensor, uint64_t seed)
{
    const struct tensor *base = tensor_base(tensor, NULL);
    if (base->kind == TENSOR_KV)
        return NULL;
    if (!memory[base->id]) {
        float *values = mem_calloc((size_t)tensor_elems(base), sizeof *values);
        assert_non_null(values);
        struct rng rng = rng_seed(seed + (uint64_t)base->id);
        for (int64_t i = 0; i < tensor_elems(base); i++)
            values[i] = rng_normal(&rng) * 0.3f;
        memory[base->id] = values;
    }
    return memory[base->id];
}

static void evaluate(const struct graph *g, float *logits)
{
    static const int32_t pos[TOKENS] = {0, 1, 2}, seq[TOKENS];
    static const uint32_t table[1];
    struct batch batch = {
        .n_tokens = TOKENS, .pos = pos, .seq = seq, .page_table = table, .table_stride = 1};
    void **memory = mem_calloc(g->n_tensors, sizeof *memory);
    void *pages[LAYERS][1];
    assert_non_null(memory);
    for (int i = 0; i < LAYERS; i++) {
        pages[i][0] = mem_calloc(1, 65536);
        assert_non_null(pages[i][0]);
    }
    for (size_t i = 0; i < g->n_ops; i++) {
        struct op_call call = {.op = g->ops[i], .batch = &batch};
        call.kv_pages = g->ops[i]->layer >= 0 ? pages[g->ops[i]->layer] : NULL;
        for (int k = 0; k < OP_MAX_IN; k++)
            if (call.op->in[k])
                call.in[k] = view_of(call.op->in[k], bytes_of(memory, call.op->in[k], 5));
        for (int k = 0; k < OP_MAX_OUT; k++)
            if (call.op->out[k])
                call.out[k] = view_of(call.op->out[k], bytes_of(memory, call.op->out[k], 5));
        assert_int_equal(op_reference(&call), HTH_OK);
    }
    memcpy(logits, memory[g->logits->id], EMBD * TOKENS * sizeof *logits);
    for (int i = 0; i < LAYERS; i++)
        mem_free(pages[i][0]);
    for (size_t i = 0; i < g->n_tensors; i++)
        mem_free(memory[i]);
    mem_free(memory);
}

TEST(layer_becomes_few)
{
    struct graph g;
    model(&g);
    size_t n_before = g.n_ops;
    assert_int_equal(fuse_graph(&g, FUSE_ALL, NULL, NULL), HTH_OK);
    assert_int_equal(count(&g, OP_NORM_MATMUL), 2 * LAYERS); /* q k v, and gate up */
    assert_int_equal(count(&g, OP_ROPE_KV), LAYERS);
    assert_int_equal(count(&g, OP_MATMUL), 2 * LAYERS);
    assert_int_equal(count(&g, OP_RMS_NORM), 1);
    /* A layer saves 2 (q k v), 2 (rope), 2 (glu), 2 (norms) and 2 (residuals). */
    assert_int_equal(g.n_ops, n_before - 10 * LAYERS);
    for (size_t i = 0; i < g.n_ops; i++)
        assert_null(op_def_of(g.ops[i]->kind)->check(g.ops[i]));
    graph_free(&g);
}

/* For every set of rewrites the fused graph gives the very bytes of the plain one. */
TEST(meaning_stays)
{
    float expected[EMBD * TOKENS], got[EMBD * TOKENS];
    for (unsigned flags = 0; flags <= FUSE_ALL; flags++) {
        struct graph g;
        model(&g);
        if (flags == 0)
            evaluate(&g, expected);
        assert_int_equal(fuse_graph(&g, flags, NULL, NULL), HTH_OK);
        evaluate(&g, got);
        assert_memory_equal(expected, got, sizeof got);
        graph_free(&g);
    }
}

TEST(deterministic)
{
    struct strbuf text[2] = {{0}};
    for (int i = 0; i < 2; i++) {
        struct graph g;
        model(&g);
        assert_int_equal(fuse_graph(&g, FUSE_ALL, NULL, NULL), HTH_OK);
        graph_print(&g, &text[i]);
        graph_free(&g);
    }
    assert_string_equal(text[0].ptr, text[1].ptr);
    strbuf_free(&text[0]);
    strbuf_free(&text[1]);
}

static bool never(void *user, const struct op *op)
{
    ++*(int *)user;
    assert_true(op->n_parts >= 2);
    return false;
}

TEST(device_may_refuse)
{
    struct graph g;
    model(&g);
    size_t n_before = g.n_ops;
    int asked = 0;
    assert_int_equal(fuse_graph(&g, FUSE_ALL, never, &asked), HTH_OK);
    assert_int_equal(g.n_ops, n_before);
    assert_true(asked > 0);
    graph_free(&g);
}

static bool no_triples(void *user, const struct op *op)
{
    (void)user;
    return op->kind != OP_MATMUL_QKV || op->n_parts == 2;
}

TEST(two_matmuls_where_three_are_refused)
{
    struct graph g;
    model(&g);
    assert_int_equal(fuse_graph(&g, FUSE_MATMUL_QKV, no_triples, NULL), HTH_OK);
    assert_int_equal(count(&g, OP_MATMUL_QKV), 2 * LAYERS); /* q and k; gate and up */
    assert_null(g.ops[1]->out[2]);
    graph_free(&g);
}

/* --- what must stay apart --- */

static void begin(struct graph *g)
{
    n_weights = 0;
    test_log_clear();
    graph_init(g, TOKENS, 1, test_log());
}

static void nothing_fuses(struct graph *g)
{
    assert_int_equal(g->status, HTH_OK);
    size_t n_before = g->n_ops;
    assert_int_equal(fuse_graph(g, FUSE_ALL, NULL, NULL), HTH_OK);
    assert_int_equal(g->n_ops, n_before);
    graph_free(g);
}

TEST(read_elsewhere)
{
    struct graph g;
    begin(&g);
    struct tensor *x = input(&g, "x", EMBD);
    struct tensor *gate = op_matmul(&g, "gate", matrix(&g, "wg", EMBD, FF), x, NULL);
    struct tensor *up = op_matmul(&g, "up", matrix(&g, "wu", EMBD, FF), input(&g, "y", EMBD), NULL);
    op_glu(&g, "act", gate, up, GLU_SILU); /* of two inputs */
    nothing_fuses(&g);

    begin(&g);
    x = input(&g, "x", EMBD);
    gate = op_matmul(&g, "gate", matrix(&g, "wg", EMBD, FF), x, NULL);
    up = op_matmul(&g, "up", matrix(&g, "wu", EMBD, FF), x, NULL);
    op_glu(&g, "act", gate, up, GLU_SILU);
    op_softmax(&g, "peek", graph_reshape(&g, gate, FF / 2, 2, TOKENS)); /* through a view */
    assert_int_equal(fuse_graph(&g, FUSE_MATMUL_GLU, NULL, NULL), HTH_OK);
    assert_int_equal(count(&g, OP_MATMUL_GLU), 0);
    graph_free(&g);

    begin(&g);
    x = input(&g, "x", EMBD);
    gate = op_matmul(&g, "gate", matrix(&g, "wg", EMBD, FF), x, NULL);
    up = op_matmul(&g, "up", matrix(&g, "wu", EMBD, FF), x, NULL);
    op_glu(&g, "act", gate, up, GLU_SILU);
    g.logits = up;
    assert_int_equal(fuse_graph(&g, FUSE_MATMUL_GLU, NULL, NULL), HTH_OK);
    assert_int_equal(count(&g, OP_MATMUL_GLU), 0);
    graph_free(&g);
}

TEST(one_row_added)
{
    struct graph g;
    begin(&g);
    struct tensor *sum = op_add(&g, "sum", input(&g, "x", EMBD), matrix(&g, "b", EMBD, 1));
    op_rms_norm(&g, "norm", sum, matrix(&g, "w", EMBD, 1), 1e-5f);
    nothing_fuses(&g);
}

TEST(norm_without_weight)
{
    struct graph g;
    begin(&g);
    struct tensor *sum = op_add(&g, "sum", input(&g, "x", EMBD), input(&g, "y", EMBD));
    op_rms_norm(&g, "norm", sum, NULL, 1e-5f);
    nothing_fuses(&g);
}

/* A reader between: the sum may be read, and the fused op moves up to before it. */
TEST(reader_between)
{
    struct graph g;
    begin(&g);
    struct tensor *x = input(&g, "x", EMBD), *w = matrix(&g, "w", EMBD, 1);
    struct tensor *sum = op_add(&g, "sum", x, x);
    struct tensor *reader = op_softmax(&g, "reader", sum);
    g.logits = op_add(&g, "end", reader, op_rms_norm(&g, "norm", sum, w, 1e-5f));
    assert_int_equal(fuse_graph(&g, FUSE_ALL, NULL, NULL), HTH_OK);
    assert_int_equal(g.n_ops, 3);
    assert_int_equal(g.ops[0]->kind, OP_ADD_RMS_NORM);
    assert_string_equal(g.ops[1]->label, "reader");
    graph_free(&g);
}

/* Turned queries that are read before the values exist cannot come from an op that writes both. */
TEST(cycle)
{
    struct graph g;
    begin(&g);
    const struct kv_geom geom = {1, HEAD, HEAD, &dtype_f32, &dtype_f32, 0, 16384};
    struct tensor *kv = graph_kv(&g, "kv", &geom);
    struct tensor *x = graph_reshape(&g, input(&g, "x", HEAD), HEAD, 1, TOKENS);
    struct tensor *q = op_rope(&g, "q", x, NULL, &rope);
    struct tensor *k = op_rope(&g, "k", x, NULL, &rope);
    struct tensor *v = op_softmax(&g, "v", q); /* values made of queries */
    op_kv_write(&g, "write", k, v, kv);
    nothing_fuses(&g);
}

TEST(ropes_that_differ)
{
    struct graph g;
    begin(&g);
    const struct kv_geom geom = {1, HEAD, HEAD, &dtype_f32, &dtype_f32, 0, 16384};
    struct tensor *kv = graph_kv(&g, "kv", &geom);
    struct tensor *x = graph_reshape(&g, input(&g, "x", HEAD), HEAD, 1, TOKENS);
    struct rope_params other = rope;
    other.freq_base = 500;
    op_rope(&g, "q", x, NULL, &other);
    op_kv_write(&g, "write", op_rope(&g, "k", x, NULL, &rope), x, kv);
    nothing_fuses(&g);
}

static enum hth_status fuse_and_free(void *arg)
{
    (void)arg;
    struct graph g;
    n_weights = 0;
    graph_init(&g, TOKENS, 1, NULL);
    struct tensor *x = input(&g, "x", EMBD);
    for (int i = 0; i < 200; i++) /* enough to need another block of the arena while fusing */
        x = op_rms_norm(&g, "norm", op_add(&g, "sum", x, x), graph_weight(&g, &weights[0]), 1);
    enum hth_status status = g.status == HTH_OK ? fuse_graph(&g, FUSE_ALL, NULL, NULL) : g.status;
    graph_free(&g);
    return status;
}

TEST(out_of_memory)
{
    weights[0] = (struct weight){.name = "w", .dtype = &dtype_f32, .ne = {EMBD, 1, 1, 1}};
    test_each_allocation_fails(fuse_and_free, NULL);
}
