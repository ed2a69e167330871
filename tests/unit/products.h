/*
 * products.h — an op with matrices or a cache that are not there, for tests of how rows are chosen.
 *
 * Owns the graph; the weights are the caller's as long as it. One thread.
 */
#ifndef UNIT_PRODUCTS_H
#define UNIT_PRODUCTS_H

#include "gpu/row.h"
#include "harness/test.h"

struct product {
    struct graph graph;
    struct weight weight;
    const struct op *op;
};

/* y = W·x: n rows of k, of so many columns. */
static inline void product_begin(struct product *p, const struct dtype *type, int64_t n, int64_t k,
                                 int n_tokens)
{
    const int64_t ne[OP_MAX_DIMS] = {k, n_tokens, 1, 1};
    *p = (struct product){.weight = {.name = "w", .dtype = type, .ne = {k, n, 1, 1}}};
    graph_init(&p->graph, n_tokens, 1, test_log());
    struct tensor *x = graph_activation(&p->graph, "x", &dtype_f32, ne, ROWS_TOKENS);
    op_matmul(&p->graph, "y", graph_weight(&p->graph, &p->weight), x, NULL);
    assert_int_equal(p->graph.status, HTH_OK);
    p->op = p->graph.ops[0];
}

/* The same by expert, each token using two of so many. */
static inline void product_begin_experts(struct product *p, const struct dtype *type, int64_t n,
                                         int64_t k, int n_tokens, int n_expert)
{
    const int64_t ne[OP_MAX_DIMS] = {k, n_tokens, 1, 1}, ids_ne[] = {2, n_tokens, 1, 1};
    *p = (struct product){.weight = {.name = "w", .dtype = type, .ne = {k, n, n_expert, 1}}};
    graph_init(&p->graph, n_tokens, 1, test_log());
    struct tensor *x = graph_activation(&p->graph, "x", &dtype_f32, ne, ROWS_TOKENS);
    struct tensor *ids = graph_activation(&p->graph, "ids", &dtype_i32, ids_ne, ROWS_TOKENS);
    op_matmul_experts(&p->graph, "y", graph_weight(&p->graph, &p->weight), x, ids);
    assert_int_equal(p->graph.status, HTH_OK);
    p->op = p->graph.ops[0];
}

struct attends {
    int n_head, n_head_kv, k_dim, v_dim, window;
};

/* Attention over a cache of a type. */
static inline void product_begin_attention(struct product *p, const struct dtype *type,
                                           const struct attends *shape, int n_tokens)
{
    const int64_t ne[OP_MAX_DIMS] = {shape->k_dim, shape->n_head, n_tokens, 1};
    uint64_t k_bytes = dtype_row_bytes(type, (uint64_t)shape->k_dim) * KV_PAGE;
    const struct kv_geom kv = {.k_type = type,
                               .v_type = type,
                               .n_head_kv = shape->n_head_kv,
                               .k_dim = shape->k_dim,
                               .v_dim = shape->v_dim,
                               .v_offset = (uint32_t)(k_bytes * (uint64_t)shape->n_head_kv)};
    const struct attention_params params = {
        .n_head = shape->n_head, .scale = 0.1f, .window = shape->window};
    *p = (struct product){0};
    graph_init(&p->graph, n_tokens, 1, test_log());
    struct tensor *q = graph_activation(&p->graph, "q", &dtype_f32, ne, ROWS_TOKENS);
    op_attention(&p->graph, "y", q, graph_kv(&p->graph, "kv", &kv), NULL, &params);
    assert_int_equal(p->graph.status, HTH_OK);
    p->op = p->graph.ops[0];
}

static inline void product_end(struct product *p)
{
    graph_free(&p->graph);
}

#endif
