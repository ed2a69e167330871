#include "base/mem.h"
#include "base/rng.h"
#include "harness/test.h"
#include "plan/memmap.h"

/* Offsets by liveness: what is needed at one time never overlaps, and memory is used again. */

static struct tensor *input(struct graph *g, int64_t ne0)
{
    const int64_t ne[OP_MAX_DIMS] = {ne0, g->n_tokens, 1, 1};
    return graph_activation(g, "x", &dtype_f32, ne, ROWS_TOKENS);
}

static void chain(struct graph *g, int n)
{
    graph_init(g, 4, 1, test_log());
    struct tensor *x = input(g, 100);
    for (int i = 0; i < n; i++)
        x = op_softmax(g, "y", x);
    g->logits = x;
}

TEST(chain_uses_two_places)
{
    struct graph g;
    struct memmap map;
    chain(&g, 20);
    assert_int_equal(memmap_create(&map, &g, 64, false, test_log()), HTH_OK);
    assert_int_equal(map.size_bytes, 2 * 1600);
    memmap_free(&map);
    assert_int_equal(memmap_create(&map, &g, 64, true, test_log()), HTH_OK);
    assert_int_equal(map.size_bytes, 21 * 1600);
    memmap_free(&map);
    graph_free(&g);
}

TEST(alignment)
{
    struct graph g;
    struct memmap map;
    chain(&g, 3);
    assert_int_equal(memmap_create(&map, &g, 1024, true, test_log()), HTH_OK);
    for (size_t i = 0; i < g.n_tensors; i++)
        assert_int_equal(map.offsets[i] % 1024, 0);
    assert_int_equal(map.size_bytes, 4 * 2048);
    memmap_free(&map);
    graph_free(&g);
}

TEST(views_share_and_keep_alive)
{
    struct graph g;
    graph_init(&g, 4, 1, test_log());
    struct tensor *x = input(&g, 64), *y = op_softmax(&g, "y", x);
    struct tensor *view = graph_reshape(&g, y, 16, 4, 4);
    struct tensor *z = op_softmax(&g, "z", op_softmax(&g, "a", x));
    g.logits = op_add(&g, "sum", graph_reshape(&g, view, 64, 4, 1), z);
    struct weight w = {.name = "w", .dtype = &dtype_f32, .ne = {8, 8}};
    struct tensor *weight = graph_weight(&g, &w);
    struct memmap map;
    assert_int_equal(memmap_create(&map, &g, 64, false, test_log()), HTH_OK);
    assert_int_equal(map.offsets[view->id], map.offsets[y->id]);
    assert_int_not_equal(map.offsets[y->id], map.offsets[z->id]);
    assert_true(map.offsets[weight->id] == UINT64_MAX);
    memmap_free(&map);
    graph_free(&g);
}

/* What nobody reads needs room while it is made; the result needs it to the end. */
TEST(unread_and_result)
{
    struct graph g;
    graph_init(&g, 4, 1, test_log());
    struct tensor *x = input(&g, 64);
    g.logits = op_softmax(&g, "logits", x);
    struct tensor *unread = op_softmax(&g, "unread", x);
    struct tensor *last = op_softmax(&g, "last", unread);
    struct memmap map;
    assert_int_equal(memmap_create(&map, &g, 64, false, test_log()), HTH_OK);
    assert_int_not_equal(map.offsets[unread->id], map.offsets[g.logits->id]);
    assert_int_not_equal(map.offsets[last->id], map.offsets[g.logits->id]);
    memmap_free(&map);
    graph_free(&g);
}

/* --- random graphs against a plain simulation: each op writes its own number over its outputs, and
 *     finds in its inputs what their makers wrote --- */

static void fill_bytes(unsigned char *at, uint64_t size, int value)
{
    memset(at, value, (size_t)size);
}

static void simulate(const struct graph *g, const struct memmap *map)
{
    unsigned char *bytes = mem_calloc(1, (size_t)map->size_bytes + 1);
    assert_non_null(bytes);
    for (size_t i = 0; i <= g->n_ops; i++) {
        const struct op *op = i < g->n_ops ? g->ops[i] : NULL;
        for (int k = 0; k < (op ? OP_MAX_IN : 1); k++) {
            const struct tensor *in = op ? op->in[k] : g->logits;
            in = in ? tensor_base(in, NULL) : NULL;
            if (!in || in->kind != TENSOR_ACTIVATION || in->id == 0) /* nobody writes the input */
                continue;
            for (int64_t b = 0; b < tensor_elems(in) * 4; b++)
                assert_int_equal(bytes[map->offsets[in->id] + (uint64_t)b], in->id % 251 + 1);
        }
        if (op)
            fill_bytes(bytes + map->offsets[op->out[0]->id], (uint64_t)tensor_elems(op->out[0]) * 4,
                       op->out[0]->id % 251 + 1);
    }
    mem_free(bytes);
}

TEST(random_graphs)
{
    struct rng rng = rng_seed(11);
    uint64_t used = 0, kept = 0;
    for (int round = 0; round < 60; round++) {
        struct graph g;
        graph_init(&g, 1 + (int)rng_below(&rng, 3), 1, test_log());
        struct tensor *pool[64];
        int n = 0;
        pool[n++] = input(&g, 5);
        for (int i = 0; i < 60; i++) {
            struct tensor *x = pool[n - 1 - (int)rng_below(&rng, (uint32_t)(n < 6 ? n : 6))];
            if (rng_below(&rng, 3) == 0) {
                struct weight *w = arena_alloc(&g.arena, sizeof *w);
                assert_non_null(w);
                *w = (struct weight){
                    .name = "w", .dtype = &dtype_f32, .ne = {x->ne[0], 1 + rng_below(&rng, 90)}};
                pool[n++] = op_matmul(&g, "m", graph_weight(&g, w), x, NULL);
            } else {
                pool[n++] = rng_below(&rng, 2) ? op_add(&g, "a", x, x) : op_softmax(&g, "s", x);
            }
        }
        g.logits = pool[(int)rng_below(&rng, 30) + 30];
        assert_int_equal(g.status, HTH_OK);
        struct memmap map;
        assert_int_equal(memmap_create(&map, &g, 16, false, test_log()), HTH_OK);
        simulate(&g, &map);
        used += map.size_bytes;
        memmap_free(&map);
        assert_int_equal(memmap_create(&map, &g, 16, true, test_log()), HTH_OK);
        simulate(&g, &map);
        kept += map.size_bytes;
        memmap_free(&map);
        graph_free(&g);
    }
    assert_true(used * 4 < kept);
}

static enum hth_status create_and_free(void *arg)
{
    struct memmap map;
    enum hth_status status = memmap_create(&map, arg, 64, false, test_log());
    memmap_free(&map);
    return status;
}

TEST(out_of_memory)
{
    struct graph g;
    chain(&g, 5);
    test_each_allocation_fails(create_and_free, &g);
    graph_free(&g);
}
