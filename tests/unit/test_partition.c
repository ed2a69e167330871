#include "op/partition.h"

#include <string.h>

#include "base/rng.h"
#include "harness/test.h"

/* A small model: a table, a norm, a matrix, a sum. */
static void build(struct graph *g, struct weight *w, struct weight *norm)
{
    *w = (struct weight){.name = "w", .dtype = &dtype_q8_0, .ne = {32, 32, 1, 1}, .index = 0};
    *norm = (struct weight){.name = "n", .dtype = &dtype_f32, .ne = {32, 1, 1, 1}, .index = 1};
    graph_init(g, 2, 1, test_log());
    struct tensor *matrix = graph_weight(g, w);
    struct tensor *x = op_get_rows(g, "embd", matrix, INDEX_TOKENS);
    g->layer = 3;
    x = op_rms_norm(g, "norm", x, graph_weight(g, norm), 1e-5f);
    struct tensor *y = op_matmul(g, "proj", matrix, x, NULL);
    g->logits = op_add(g, "out", y, x);
    g->layer = -1;
}

static void print(const struct partition *parts, struct strbuf *out)
{
    for (int d = 0; d < parts->n_devices; d++) {
        strbuf_printf(out, "%d%s:\n", d, parts->graphs[d].logits ? " logits" : "");
        graph_print(&parts->graphs[d], out);
    }
    for (int i = 0; i < parts->n_hops; i++)
        strbuf_printf(out, "hop %d to %d at %llu\n", parts->hops[i].from, parts->hops[i].to,
                      (unsigned long long)parts->hops[i].offset);
}

struct wanted {
    uint32_t devices[4]; /* of the four ops, bits; the lowest is the host's */
    const char *text;
};

static enum hth_status partition_and_compare(void *arg)
{
    const struct wanted *wanted = arg;
    struct graph g;
    struct weight w, norm;
    build(&g, &w, &norm);
    const struct partition_options options = {
        .n_devices = 3, .host = 0, .devices = wanted->devices};
    struct partition parts;
    enum hth_status status = partition_graph(&parts, &g, &options);
    assert_int_equal(g.n_ops, 0);
    if (status == HTH_OK) {
        struct strbuf text = {0};
        print(&parts, &text);
        if (text.failed)
            status = HTH_ERROR_MEMORY;
        else
            assert_string_equal(text.ptr, wanted->text);
        strbuf_free(&text);
    }
    partition_free(&parts);
    graph_free(&g);
    return status;
}

TEST(one_device_has_the_whole)
{
    struct wanted whole = {
        {2, 2, 2, 2},
        "0:\n"
        "1 logits:\n"
        "embd = get_rows(w Q8_0 [32, 32]) -> embd F32 [32, 2]\n"
        "blk.3.norm = rms_norm(embd F32 [32, 2], n F32 [32]) -> blk.3.norm F32 [32, 2]\n"
        "blk.3.proj = matmul(w Q8_0 [32, 32], blk.3.norm F32 [32, 2]) -> blk.3.proj F32 [32, 2]\n"
        "blk.3.out = add(blk.3.proj F32 [32, 2], blk.3.norm F32 [32, 2]) -> "
        "blk.3.out F32 [32, 2]\n"
        "2:\n"};
    assert_int_equal(partition_and_compare(&whole), HTH_OK);
    test_each_allocation_fails(partition_and_compare, &whole);
}

TEST(host_and_card)
{
    struct wanted two = {
        {1, 2, 2, 1},
        "0 logits:\n"
        "embd = get_rows(w Q8_0 [32, 32]) -> embd F32 [32, 2]\n"
        "embd.hop = copy(embd F32 [32, 2]) -> embd.hop F32 [32, 2]\n"
        "blk.3.proj = copy(blk.3.proj.hop F32 [32, 2]) -> blk.3.proj F32 [32, 2]\n"
        "blk.3.norm = copy(blk.3.norm.hop F32 [32, 2]) -> blk.3.norm F32 [32, 2]\n"
        "blk.3.out = add(blk.3.proj F32 [32, 2], blk.3.norm F32 [32, 2]) -> "
        "blk.3.out F32 [32, 2]\n"
        "1:\n"
        "embd = copy(embd.hop F32 [32, 2]) -> embd F32 [32, 2]\n"
        "blk.3.norm = rms_norm(embd F32 [32, 2], n F32 [32]) -> blk.3.norm F32 [32, 2]\n"
        "blk.3.norm.hop = copy(blk.3.norm F32 [32, 2]) -> blk.3.norm.hop F32 [32, 2]\n"
        "blk.3.proj = matmul(w Q8_0 [32, 32], blk.3.norm F32 [32, 2]) -> blk.3.proj F32 [32, 2]\n"
        "blk.3.proj.hop = copy(blk.3.proj F32 [32, 2]) -> blk.3.proj.hop F32 [32, 2]\n"
        "2:\n"
        "hop 0 to 1 at 0\n"
        "hop 1 to 0 at 256\n"
        "hop 1 to 0 at 512\n"};
    assert_int_equal(partition_and_compare(&two), HTH_OK);
    test_each_allocation_fails(partition_and_compare, &two);
}

/* What one card makes and another reads goes through the host. */
TEST(two_cards)
{
    struct wanted three = {
        {2, 2, 4, 4},
        "0:\n"
        "blk.3.norm.hop = copy(blk.3.norm.hop F32 [32, 2]) -> blk.3.norm.hop F32 [32, 2]\n"
        "1:\n"
        "embd = get_rows(w Q8_0 [32, 32]) -> embd F32 [32, 2]\n"
        "blk.3.norm = rms_norm(embd F32 [32, 2], n F32 [32]) -> blk.3.norm F32 [32, 2]\n"
        "blk.3.norm.hop = copy(blk.3.norm F32 [32, 2]) -> blk.3.norm.hop F32 [32, 2]\n"
        "2 logits:\n"
        "blk.3.norm = copy(blk.3.norm.hop F32 [32, 2]) -> blk.3.norm F32 [32, 2]\n"
        "blk.3.proj = matmul(w Q8_0 [32, 32], blk.3.norm F32 [32, 2]) -> blk.3.proj F32 [32, 2]\n"
        "blk.3.out = add(blk.3.proj F32 [32, 2], blk.3.norm F32 [32, 2]) -> "
        "blk.3.out F32 [32, 2]\n"
        "hop 1 to 0 at 0\n"
        "hop 0 to 2 at 0\n"};
    assert_int_equal(partition_and_compare(&three), HTH_OK);
    test_each_allocation_fails(partition_and_compare, &three);
}

/* What two devices made parts of is summed for who reads the whole. */
TEST(parts_are_summed)
{
    struct wanted both = {
        {1, 2, 3, 2},
        "0:\n"
        "embd = get_rows(w Q8_0 [32, 32]) -> embd F32 [32, 2]\n"
        "embd.hop = copy(embd F32 [32, 2]) -> embd.hop F32 [32, 2]\n"
        "blk.3.norm = copy(blk.3.norm.hop F32 [32, 2]) -> blk.3.norm F32 [32, 2]\n"
        "blk.3.proj = matmul(w Q8_0 [32, 32], blk.3.norm F32 [32, 2]) -> "
        "blk.3.proj F32 [32, 2]\n"
        "blk.3.proj.hop = copy(blk.3.proj F32 [32, 2]) -> blk.3.proj.hop F32 [32, 2]\n"
        "1 logits:\n"
        "embd = copy(embd.hop F32 [32, 2]) -> embd F32 [32, 2]\n"
        "blk.3.norm = rms_norm(embd F32 [32, 2], n F32 [32]) -> blk.3.norm F32 [32, 2]\n"
        "blk.3.norm.hop = copy(blk.3.norm F32 [32, 2]) -> blk.3.norm.hop F32 [32, 2]\n"
        "blk.3.proj = matmul(w Q8_0 [32, 32], blk.3.norm F32 [32, 2]) -> "
        "blk.3.proj F32 [32, 2]\n"
        "blk.3.proj = copy(blk.3.proj.hop F32 [32, 2]) -> blk.3.proj F32 [32, 2]\n"
        "blk.3.proj.sum = add(blk.3.proj F32 [32, 2], blk.3.proj F32 [32, 2]) -> "
        "blk.3.proj.sum F32 [32, 2]\n"
        "blk.3.out = add(blk.3.proj.sum F32 [32, 2], blk.3.norm F32 [32, 2]) -> "
        "blk.3.out F32 [32, 2]\n"
        "2:\n"
        "hop 0 to 1 at 0\n"
        "hop 1 to 0 at 256\n"
        "hop 0 to 1 at 0\n"};
    assert_int_equal(partition_and_compare(&both), HTH_OK);
    test_each_allocation_fails(partition_and_compare, &both);
}

/* --- chains at random ------------------------------------------------------------------------- */

enum { N_OPS = 40, N_DEVICES = 3, MAX_STEPS = 400 };

/* Sums of two earlier results, each op on a device. */
static void build_chain(struct graph *g, struct rng *rng, uint32_t *devices, bool alternate)
{
    static const struct weight table = {
        .name = "w", .dtype = &dtype_f32, .ne = {32, 8, 1, 1}, .index = 0};
    struct tensor *made[N_OPS];
    graph_init(g, 2, 1, test_log());
    for (int i = 0; i < N_OPS; i++) {
        devices[i] = 1u << (alternate ? (uint32_t)i & 1 : rng_below(rng, N_DEVICES));
        if (i == 0) {
            made[i] = op_get_rows(g, "a", graph_weight(g, &table), INDEX_TOKENS);
            continue;
        }
        uint32_t most = i < 6 ? (uint32_t)i : 6;
        int one = alternate ? 1 : 1 + (int)rng_below(rng, most);
        int two = alternate ? 1 : 1 + (int)rng_below(rng, most);
        made[i] = op_add(g, "a", made[i - one], made[i - two]);
    }
    g->logits = made[N_OPS - 1];
}

/* What surely happens before what: steps in a device's order, and the write of a hop before its
 * read. */
struct order {
    int n, first[N_DEVICES];                 /* a device's first step */
    int written[MAX_STEPS], read[MAX_STEPS]; /* of each hop */
    bool before[MAX_STEPS][MAX_STEPS];
};

static void find_order(const struct partition *parts, struct order *o)
{
    memset(o, 0, sizeof *o);
    for (int d = 0; d < parts->n_devices; d++) {
        o->first[d] = o->n;
        for (size_t i = 0; i < parts->graphs[d].n_ops; i++, o->n++) {
            const struct op *op = parts->graphs[d].ops[i];
            assert_true(o->n < MAX_STEPS);
            if (i > 0)
                o->before[o->n - 1][o->n] = true;
            if (op->kind == OP_COPY && op->in[0]->kind == TENSOR_HOP)
                o->read[op->in[0]->hop] = o->n;
            if (op->kind == OP_COPY && op->out[0]->kind == TENSOR_HOP)
                o->written[op->out[0]->hop] = o->n;
        }
    }
    for (int h = 0; h < parts->n_hops; h++)
        o->before[o->written[h]][o->read[h]] = true;
    for (int k = 0; k < o->n; k++)
        for (int i = 0; i < o->n; i++)
            for (int j = 0; o->before[i][k] && j < o->n; j++)
                o->before[i][j] |= o->before[k][j];
}

/* Nobody waits for itself, and what shares a place is read before it is written again. */
static void check_order(const struct partition *parts)
{
    static struct order o;
    find_order(parts, &o);
    for (int i = 0; i < o.n; i++)
        assert_false(o.before[i][i]);
    for (int a = 0; a < parts->n_hops; a++)
        for (int b = a + 1; b < parts->n_hops; b++) {
            const struct hop *x = &parts->hops[a], *y = &parts->hops[b];
            bool overlap = x->device == y->device && x->offset < y->offset + y->size_bytes &&
                           y->offset < x->offset + x->size_bytes;
            if (overlap && !o.before[o.read[a]][o.written[b]])
                fail_msg("hop %d is written while hop %d may not be read", b, a);
        }
}

static void partition_chain(struct rng *rng, bool alternate, struct partition *parts)
{
    struct graph g;
    uint32_t devices[N_OPS];
    build_chain(&g, rng, devices, alternate);
    const struct partition_options options = {
        .n_devices = N_DEVICES, .host = 0, .devices = devices};
    assert_int_equal(partition_graph(parts, &g, &options), HTH_OK);
}

TEST(hops_share_places_safely)
{
    struct rng rng = rng_seed(7);
    int shared = 0;
    for (int round = 0; round < 60; round++) {
        struct partition parts;
        partition_chain(&rng, false, &parts);
        check_order(&parts);
        shared += parts.n_hops;
        for (int d = 1; d < N_DEVICES; d++)
            shared -= (int)(parts.hop_bytes[d] / 256);
        assert_int_equal(parts.hop_bytes[0], 0);
        partition_free(&parts);
    }
    assert_true(shared > 60);
}

/* However many layers: two places, as each side waits for the other. */
TEST(a_chain_needs_two_places)
{
    struct rng rng = rng_seed(1);
    struct partition parts;
    partition_chain(&rng, true, &parts);
    assert_int_equal(parts.n_hops, N_OPS - 1);
    assert_int_equal(parts.hop_bytes[1], 2 * 256);
    check_order(&parts);
    partition_free(&parts);
}
