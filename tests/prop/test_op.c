#include <math.h>

#include "base/mem.h"
#include "base/rng.h"
#include "cpu/cpu_check.h"
#include "cpu/cpu_exec.h"
#include "harness/test.h"

/* A small model on the CPU executor: a batch of n says what n batches say, and so does any split;
 * two sequences in a batch do not see each other; buckets partly filled change nothing. With
 * experts, window, and quantized weights, on several threads. */

enum { EMBD = 64, HEADS = 4, HEADS_KV = 2, HEAD = 16, FF = 96, VOCAB = 50, EXPERTS = 6, USED = 2 };
enum { LAYERS = 2, MAX_TOKENS = 96, MAX_WEIGHTS = 64, PAGES = 8, PAGE_BYTES = 1 << 16 };

struct fixture {
    struct weight weights[MAX_WEIGHTS];
    void *bytes[MAX_WEIGHTS];
    int n_weights, next;
    const struct dtype *type, *kv_type;
    char *cache;
    void *pages[PAGES];
    struct pool *pool;
    bool float_only, check;
};

/* The n-th weight of the model; made when it is first asked for, the same ever after. */
static struct tensor *weight(struct fixture *f, struct graph *g, const struct dtype *type,
                             int64_t ne0, int64_t ne1, int64_t ne2)
{
    int at = f->next++;
    assert_true(at < MAX_WEIGHTS);
    struct weight *w = &f->weights[at];
    if (!w->name) {
        uint64_t row_bytes = dtype_row_bytes(type, (uint64_t)ne0);
        *w = (struct weight){.name = "w", .dtype = type, .ne = {ne0, ne1, ne2, 1}};
        w->size_bytes = row_bytes * (uint64_t)(ne1 * ne2);
        char *bytes = mem_alloc((size_t)w->size_bytes);
        float *row = mem_alloc((size_t)ne0 * sizeof *row);
        assert_true(bytes && row);
        struct rng rng = rng_seed(100 + (uint64_t)at);
        for (int64_t j = 0; j < ne1 * ne2; j++) {
            for (int64_t i = 0; i < ne0; i++)
                row[i] =
                    ne1 == 1 ? 1 + 0.1f * rng_normal(&rng) : rng_normal(&rng) / sqrtf((float)ne0);
            type->encode(row, bytes + (uint64_t)j * row_bytes, (size_t)ne0);
        }
        mem_free(row);
        w->data = f->bytes[at] = bytes;
    }
    return graph_weight(g, w);
}

static struct tensor *attention(struct fixture *f, struct graph *g, struct tensor *x, int layer)
{
    static const struct rope_params rope = {ROPE_NEOX, HEAD, 10000, 0.5f, 1, 1, 32, 1, 64};
    uint32_t row = (uint32_t)dtype_row_bytes(f->kv_type, HEAD);
    uint32_t part = HEADS_KV * KV_PAGE * row;
    const struct kv_geom geom = {HEADS_KV,
                                 HEAD,
                                 HEAD,
                                 f->kv_type,
                                 f->kv_type,
                                 2 * part * (uint32_t)layer,
                                 2 * part * (uint32_t)layer + part};
    struct tensor *kv = graph_kv(g, "kv", &geom);
    struct tensor *q = op_matmul(g, "q", weight(f, g, f->type, EMBD, HEADS * HEAD, 1), x, NULL);
    struct tensor *k = op_matmul(g, "k", weight(f, g, f->type, EMBD, HEADS_KV * HEAD, 1), x, NULL);
    struct tensor *v = op_matmul(g, "v", weight(f, g, f->type, EMBD, HEADS_KV * HEAD, 1), x, NULL);
    q = op_rope(g, "q.turned", graph_reshape(g, q, HEAD, HEADS, g->n_tokens), NULL, &rope);
    k = op_rope(g, "k.turned", graph_reshape(g, k, HEAD, HEADS_KV, g->n_tokens), NULL, &rope);
    op_kv_write(g, "write", k, graph_reshape(g, v, HEAD, HEADS_KV, g->n_tokens), kv);
    x = op_attention(g, "attend", q, kv, NULL,
                     &(struct attention_params){HEADS, 0.25f, 0, layer ? 9 : 0});
    return op_matmul(g, "o", weight(f, g, f->type, HEADS * HEAD, EMBD, 1), x, NULL);
}

static struct tensor *experts(struct fixture *f, struct graph *g, struct tensor *x)
{
    struct tensor *ids;
    struct tensor *logits =
        op_matmul(g, "router", weight(f, g, &dtype_f32, EMBD, EXPERTS, 1), x, NULL);
    struct tensor *weights = op_router(
        g, "weights", logits, NULL, &(struct router_params){ROUTER_SOFTMAX, USED, true, 1}, &ids);
    struct tensor *gate =
        op_matmul_experts(g, "gate", weight(f, g, f->type, EMBD, FF, EXPERTS), x, ids);
    struct tensor *up =
        op_matmul_experts(g, "up", weight(f, g, f->type, EMBD, FF, EXPERTS), x, ids);
    x = op_glu(g, "act", gate, up, GLU_SILU);
    x = op_matmul_experts(g, "down", weight(f, g, f->type, FF, EMBD, EXPERTS), x, ids);
    return op_expert_sum(g, "sum", x, weights);
}

static void build(struct fixture *f, struct graph *g, int n_tokens, int n_outputs)
{
    f->next = 0;
    graph_init(g, n_tokens, n_outputs, test_log());
    struct tensor *x =
        op_get_rows(g, "embd", weight(f, g, &dtype_f16, EMBD, VOCAB, 1), INDEX_TOKENS);
    for (g->layer = 0; g->layer < LAYERS; g->layer++) {
        struct tensor *y = op_rms_norm(g, "norm", x, weight(f, g, &dtype_f32, EMBD, 1, 1), 1e-5f);
        x = op_add(g, "a", x, attention(f, g, y, g->layer));
        y = op_rms_norm(g, "norm2", x, weight(f, g, &dtype_f32, EMBD, 1, 1), 1e-5f);
        x = op_add(g, "b", x, experts(f, g, y));
    }
    g->layer = -1;
    x = op_get_rows(g, "wanted", x, INDEX_OUTPUTS);
    x = op_rms_norm(g, "norm", x, weight(f, g, &dtype_f32, EMBD, 1, 1), 1e-5f);
    g->logits = op_matmul(g, "head", weight(f, g, f->type, EMBD, VOCAB, 1), x, NULL);
    if (g->status != HTH_OK)
        fail_msg("%s", test_log_text());
}

static void begin(struct fixture *f, const char *type, const struct dtype *kv_type, bool float_only)
{
    *f = (struct fixture){
        .type = dtype_by_name(str_of(type)), .kv_type = kv_type, .float_only = float_only};
    assert_non_null(f->type);
    f->cache = mem_alloc(PAGES * PAGE_BYTES);
    assert_non_null(f->cache);
    memset(f->cache, 0xff, PAGES * PAGE_BYTES);
    for (int i = 0; i < PAGES; i++)
        f->pages[i] = f->cache + i * PAGE_BYTES;
    assert_int_equal(pool_create(&f->pool, 3, test_log()), HTH_OK);
    test_log_clear();
}

static void end(struct fixture *f)
{
    for (int i = 0; i < MAX_WEIGHTS; i++)
        mem_free(f->bytes[i]);
    mem_free(f->cache);
    pool_destroy(f->pool);
}

static const uint32_t page_table[] = {5, 2, 7, 0, 6, 1, 3, 4};
enum { TABLE_STRIDE = 4 };

static int32_t token_at(int seq, int pos)
{
    return (int32_t)((pos * 7 + pos / 5 + seq * 11) % VOCAB);
}

/* Runs tokens [first, first + n) of a sequence in a bucket; logits of all go to `out`. */
static void run(struct fixture *f, int seq, int first, int n, int bucket, float *out)
{
    int32_t ids[MAX_TOKENS], pos[MAX_TOKENS], seqs[MAX_TOKENS], outputs[MAX_TOKENS];
    for (int i = 0; i < n; i++) {
        ids[i] = token_at(seq, first + i);
        pos[i] = first + i;
        seqs[i] = seq;
        outputs[i] = i;
    }
    struct batch batch = {n, ids, pos, seqs, n, outputs, page_table, TABLE_STRIDE, 2, 0};
    struct graph g;
    build(f, &g, bucket, bucket);
    struct cpu_exec *exec;
    struct cpu_exec_options options = {
        .pool = f->pool, .float_only = f->float_only, .check = f->check};
    assert_int_equal(cpu_exec_create(&exec, &g, &options, test_log()), HTH_OK);
    if (cpu_exec_run(exec, &batch, f->pages, NULL) != HTH_OK)
        fail_msg("%s", test_log_text());
    memcpy(out, cpu_exec_result(exec), (size_t)n * VOCAB * sizeof *out);
    assert_true(cpu_exec_bytes(exec) > 0);
    cpu_exec_destroy(exec);
    graph_free(&g);
}

static void same(const float *expected, const float *got, int n_tokens, double limit)
{
    double nmse = test_nmse(expected, got, (size_t)n_tokens * VOCAB);
    if (!(nmse <= limit))
        fail_msg("NMSE %g, allowed %g", nmse, limit);
}

static float whole[MAX_TOKENS * VOCAB], split[MAX_TOKENS * VOCAB];

/* Every op treats a token the same way whatever else is in the batch, but for the order of sums.
 * Where values are rounded to 8 bits or fp16 on the way, such a difference now and then moves one
 * by a step: far less than a wrong token, position or page would. */
static void splits(struct fixture *f, double limit)
{
    run(f, 0, 0, 90, 90, whole);
    for (int i = 0; i < 90; i++)
        run(f, 0, i, 1, 1, split + i * VOCAB);
    same(whole, split, 90, limit);
    struct rng rng = rng_seed(3);
    for (int round = 0; round < 4; round++) {
        memset(f->cache, 0xff, PAGES * PAGE_BYTES);
        for (int first = 0; first < 90;) {
            int n = 1 + (int)rng_below(&rng, 40);
            n = n < 90 - first ? n : 90 - first;
            run(f, 0, first, n, n + (int)rng_below(&rng, 5), split + first * VOCAB);
            first += n;
        }
        same(whole, split, 90, limit);
    }
}

TEST(splits_float)
{
    struct fixture f;
    begin(&f, "F16", &dtype_f32, true);
    splits(&f, 1e-11);
    end(&f);
}

TEST(splits_integer)
{
    struct fixture f;
    begin(&f, "Q4_1", &dtype_f16, false);
    splits(&f, 1e-5);
    end(&f);
}

TEST(splits_q8_0)
{
    struct fixture f;
    begin(&f, "Q8_0", &dtype_f16, true);
    splits(&f, 1e-7);
    end(&f);
}

TEST(two_sequences)
{
    struct fixture f;
    begin(&f, "Q8_0", &dtype_f16, false);
    run(&f, 0, 0, 20, 20, whole);
    run(&f, 1, 0, 13, 13, whole + 20 * VOCAB);
    memset(f.cache, 0xff, PAGES * PAGE_BYTES);
    /* 12 of the one, then its rest and all of the other together. */
    run(&f, 0, 0, 12, 12, split);
    int32_t ids[21], pos[21], seqs[21], outputs[21];
    for (int i = 0; i < 21; i++) {
        seqs[i] = i < 8 ? 0 : 1;
        pos[i] = i < 8 ? 12 + i : i - 8;
        ids[i] = token_at(seqs[i], pos[i]);
        outputs[i] = i;
    }
    struct batch batch = {21, ids, pos, seqs, 21, outputs, page_table, TABLE_STRIDE, 2, 0};
    struct graph g;
    build(&f, &g, 32, 32);
    struct cpu_exec *exec;
    struct cpu_exec_options options = {.pool = f.pool};
    assert_int_equal(cpu_exec_create(&exec, &g, &options, test_log()), HTH_OK);
    assert_int_equal(cpu_exec_run(exec, &batch, f.pages, NULL), HTH_OK);
    memcpy(split + 12 * VOCAB, cpu_exec_result(exec), 21 * VOCAB * sizeof *split);
    same(whole, split, 33, 1e-5);
    cpu_exec_destroy(exec);
    graph_free(&g);
    end(&f);
}

TEST(check_mode)
{
    struct fixture f;
    begin(&f, "Q8_0", &dtype_f16, false);
    f.check = true;
    run(&f, 0, 0, 70, 70, whole);
    run(&f, 0, 70, 1, 1, whole);
    f.float_only = true;
    run(&f, 0, 71, 5, 8, whole);
    end(&f);
}

TEST(check_names_what_differs)
{
    struct graph g;
    test_log_clear();
    graph_init(&g, 2, 1, test_log());
    const int64_t ne[OP_MAX_DIMS] = {3, 2, 1, 1};
    struct tensor *x = graph_activation(&g, "x", &dtype_f32, ne, ROWS_TOKENS);
    g.layer = 4;
    struct tensor *y = op_add(&g, "sum", x, x);
    float in[6] = {1, 2, 3, 4, 5, 6}, out[6] = {2, 4, 6, 8, 10, 12};
    struct batch batch = {.n_tokens = 2};
    struct op_call call = {.op = g.ops[0], .batch = &batch};
    call.in[0] = call.in[1] = view_of(x, in);
    call.out[0] = view_of(y, out);
    assert_int_equal(cpu_check(&call, true, test_log()), HTH_OK);
    out[4] = 10.5f;
    assert_int_equal(cpu_check(&call, true, test_log()), HTH_ERROR_DEVICE);
    assert_logged("blk.4.sum (add) differs from its reference");
    assert_logged("most at element 4, 10.5 instead of 10");
    batch.n_tokens = 1; /* the row is not there */
    assert_int_equal(cpu_check(&call, true, test_log()), HTH_OK);
    out[0] = NAN;
    assert_int_equal(cpu_check(&call, true, test_log()), HTH_ERROR_DEVICE);
    graph_free(&g);
}

TEST(bad_batches)
{
    struct fixture f;
    begin(&f, "F32", &dtype_f32, true);
    struct graph g;
    build(&f, &g, 4, 2);
    struct cpu_exec *exec;
    struct cpu_exec_options options = {.pool = f.pool};
    assert_int_equal(cpu_exec_create(&exec, &g, &options, test_log()), HTH_OK);
    int32_t ids[5] = {0, 1, VOCAB, -1, 0}, pos[5] = {0, 1, 2, 3, 4}, seqs[5] = {0};
    int32_t outputs[3] = {0, 2, 1};
    struct batch batch = {2, ids, pos, seqs, 1, outputs, page_table, TABLE_STRIDE, 1, 0};
    assert_int_equal(cpu_exec_run(exec, &batch, f.pages, NULL), HTH_OK);
    batch.n_tokens = 3;
    assert_int_equal(cpu_exec_run(exec, &batch, f.pages, NULL), HTH_ERROR_ARGUMENT);
    assert_logged("token 50 is out of range: the vocabulary has 50");
    ids[2] = -7;
    assert_int_equal(cpu_exec_run(exec, &batch, f.pages, NULL), HTH_ERROR_ARGUMENT);
    assert_logged("token -7 is out of range");
    batch.n_tokens = 5;
    assert_int_equal(cpu_exec_run(exec, &batch, f.pages, NULL), HTH_ERROR_ARGUMENT);
    assert_logged("a batch of 5 tokens with 1 outputs does not fit into 4 and 2");
    batch.n_tokens = 2;
    batch.n_outputs = 2;
    assert_int_equal(cpu_exec_run(exec, &batch, f.pages, NULL), HTH_ERROR_ARGUMENT);
    assert_logged("output 1 of a batch of 2 tokens is row 2");
    batch.n_outputs = 0;
    assert_int_equal(cpu_exec_run(exec, &batch, f.pages, NULL), HTH_OK);
    cpu_exec_destroy(exec);
    graph_free(&g);
    end(&f);
}

static enum hth_status create_and_destroy(void *arg)
{
    struct cpu_exec *exec;
    struct cpu_exec_options options = {0};
    enum hth_status status = cpu_exec_create(&exec, arg, &options, NULL);
    cpu_exec_destroy(exec);
    return status;
}

static bool refuse(void *user, size_t size)
{
    (void)size;
    ++*(int *)user;
    return false;
}

/* Creating survives each failure; running allocates nothing at all. */
TEST(allocations)
{
    struct fixture f;
    begin(&f, "Q4_1", &dtype_f16, false);
    struct graph g;
    build(&f, &g, 3, 3);
    test_each_allocation_fails(create_and_destroy, &g);
    struct cpu_exec *exec;
    struct cpu_exec_options options = {.pool = f.pool};
    assert_int_equal(cpu_exec_create(&exec, &g, &options, test_log()), HTH_OK);
    int32_t ids[3] = {1, 2, 3}, pos[3] = {0, 1, 2}, seqs[3] = {0}, outputs[1] = {2};
    struct batch batch = {3, ids, pos, seqs, 1, outputs, page_table, TABLE_STRIDE, 1, 0};
    int n_asked = 0;
    mem_set_hook(refuse, &n_asked);
    enum hth_status status = cpu_exec_run(exec, &batch, f.pages, NULL);
    mem_set_hook(NULL, NULL);
    assert_int_equal(status, HTH_OK);
    assert_int_equal(n_asked, 0);
    cpu_exec_destroy(exec);
    graph_free(&g);
    end(&f);
}
