#include "engine/split.h"

#include "harness/test.h"

#include <stdio.h>

/* Which device runs which op of a layer with experts. */

enum { EMBD = 32, FF = 64, EXPERTS = 4, TOKENS = 2 };
enum { GPU = 1, OTHER_GPU, N_DEVICES };

enum { TABLE, NORM, ROUTER, GATE, UP, DOWN, N_WEIGHTS };

static const struct weight layer_weights[N_WEIGHTS] = {
    {.name = "token_embd", .ne = {EMBD, 8, 1, 1}},
    {.name = "blk.0.ffn_norm", .ne = {EMBD, 1, 1, 1}},
    {.name = "blk.0.ffn_gate_inp", .ne = {EMBD, EXPERTS, 1, 1}},
    {.name = "blk.0.ffn_gate_exps", .ne = {EMBD, FF, EXPERTS, 1}},
    {.name = "blk.0.ffn_up_exps", .ne = {EMBD, FF, EXPERTS, 1}},
    {.name = "blk.0.ffn_down_exps", .ne = {FF, EMBD, EXPERTS, 1}},
};

struct fixture {
    struct weight weights[N_WEIGHTS], *list[N_WEIGHTS];
    struct model model;
    struct graph graphs[N_DEVICES];
    bool router_on_gpu, layer_norm, two_gpus;
};

static int device_of(void *user, const struct weight *weight, int expert)
{
    const struct fixture *f = user;
    if (expert < 0)
        return weight->index == ROUTER && f->router_on_gpu ? GPU : SPLIT_HOST;
    return expert % (f->two_gpus ? 3 : 2);
}

static int device_of_cache(void *user, int layer)
{
    (void)user, (void)layer;
    return SPLIT_HOST;
}

static void build(struct fixture *f, struct graph *g)
{
    const struct router_params router = {.n_used = 2, .normalize = true, .scale = 1};
    struct tensor *w[N_WEIGHTS], *ids;
    graph_init(g, TOKENS, TOKENS, test_log());
    for (int i = 0; i < N_WEIGHTS; i++)
        w[i] = graph_weight(g, &f->weights[i]);
    struct tensor *x = op_get_rows(g, "embed", w[TABLE], INDEX_TOKENS);
    g->layer = 0;
    struct tensor *h = f->layer_norm ? op_layer_norm(g, "norm", x, w[NORM], NULL, 1e-5f)
                                     : op_rms_norm(g, "norm", x, w[NORM], 1e-5f);
    struct tensor *share =
        op_router(g, "share", op_matmul(g, "router", w[ROUTER], h, NULL), NULL, &router, &ids);
    struct tensor *gate = op_matmul_experts(g, "gate", w[GATE], h, ids);
    struct tensor *up = op_matmul_experts(g, "up", w[UP], h, ids);
    h = op_glu(g, "glu", gate, up, GLU_SILU);
    h = op_expert_sum(g, "sum", op_matmul_experts(g, "down", w[DOWN], h, ids), share);
    g->logits = op_add(g, "residual", x, h);
    g->layer = -1;
    assert_int_equal(g->status, HTH_OK);
}

/* The odd experts are on the GPU, the others, as the table, with the host; or one after the other
 * in turn with the host, the GPU and another one. */
static void divide(struct fixture *f)
{
    struct split split;
    f->model = (struct model){.log = test_log(), .weights = f->list, .n_weights = N_WEIGHTS};
    f->model.hp = (struct hparams){.n_layer = 1, .n_expert = EXPERTS};
    for (int i = 0; i < N_WEIGHTS; i++) {
        f->weights[i] = layer_weights[i];
        f->weights[i].dtype = &dtype_f32;
        f->weights[i].index = i;
        f->weights[i].size_bytes = 4 * (uint64_t)(layer_weights[i].ne[0] * layer_weights[i].ne[1] *
                                                  layer_weights[i].ne[2]);
        f->list[i] = &f->weights[i];
    }
    const struct split_choice choice = {
        .n_devices = N_DEVICES, .weight = device_of, .cache = device_of_cache, .user = f};
    assert_int_equal(split_create(&split, &f->model, &choice), HTH_OK);
    for (int d = 0; d < N_DEVICES; d++) {
        build(f, &f->graphs[d]);
        assert_int_equal(split_graph(&split, &f->graphs[d], d), HTH_OK);
    }
    split_free(&split);
}

static void release(struct fixture *f)
{
    for (int d = 0; d < N_DEVICES; d++)
        graph_free(&f->graphs[d]);
}

/* The devices that run the op of this name, as bits; copies are named as what they copy. */
static unsigned devices_of(const struct graph graphs[N_DEVICES], const char *label)
{
    unsigned devices = 0;
    for (int d = 0; d < N_DEVICES; d++)
        for (size_t i = 0; i < graphs[d].n_ops; i++)
            if (strcmp(graphs[d].ops[i]->label, label) == 0 && graphs[d].ops[i]->kind != OP_COPY)
                devices |= 1u << d;
    return devices;
}

/* Numbers that a GPU takes from the host or hands to it. */
static int64_t handed_over(const struct graph graphs[N_DEVICES], int device)
{
    int64_t n = 0;
    for (size_t i = 0; i < graphs[device].n_ops; i++) {
        const struct op *op = graphs[device].ops[i];
        n += op->kind == OP_COPY ? tensor_elems(op->out[0]) : 0;
    }
    return n;
}

enum { ON_HOST = 1u << SPLIT_HOST, ON_GPU = 1u << GPU, ON_BOTH = ON_HOST | ON_GPU };

/* What lies between experts' matrices is where they are; only what a layer's part takes and its sum
 * go over: the normed rows, numbers and shares of the chosen, and back a row per token. */
TEST(rows_of_experts_stay_where_the_experts_are)
{
    struct fixture f = {0};
    divide(&f);
    assert_int_equal(devices_of(f.graphs, "blk.0.gate"), ON_BOTH);
    assert_int_equal(devices_of(f.graphs, "blk.0.up"), ON_BOTH);
    assert_int_equal(devices_of(f.graphs, "blk.0.glu"), ON_BOTH);
    assert_int_equal(devices_of(f.graphs, "blk.0.down"), ON_BOTH);
    assert_int_equal(devices_of(f.graphs, "blk.0.sum"), ON_BOTH);
    assert_int_equal(handed_over(f.graphs, GPU), TOKENS * (EMBD + 2 + 2 + EMBD));
    release(&f);
}

/* Each of two GPUs has its share of them, and takes and hands over what one alone does. */
TEST(experts_are_on_two_gpus_and_with_the_host)
{
    static const char *const labels[] = {"blk.0.gate", "blk.0.up", "blk.0.glu", "blk.0.down",
                                         "blk.0.sum"};
    struct fixture f = {.two_gpus = true};
    divide(&f);
    for (size_t i = 0; i < ARRAY_LEN(labels); i++)
        assert_int_equal(devices_of(f.graphs, labels[i]), ON_BOTH | 1u << OTHER_GPU);
    assert_int_equal(devices_of(f.graphs, "blk.0.residual"), ON_HOST);
    assert_int_equal(handed_over(f.graphs, GPU), TOKENS * (EMBD + 2 + 2 + EMBD));
    assert_int_equal(handed_over(f.graphs, OTHER_GPU), TOKENS * (EMBD + 2 + 2 + EMBD));
    release(&f);
}

/* One value for all: neither what chooses the experts nor what is added once may run twice. */
TEST(what_is_no_experts_runs_once)
{
    struct fixture f = {0};
    divide(&f);
    assert_int_equal(devices_of(f.graphs, "embed"), ON_HOST);
    assert_int_equal(devices_of(f.graphs, "blk.0.norm"), ON_HOST);
    assert_int_equal(devices_of(f.graphs, "blk.0.router"), ON_HOST);
    assert_int_equal(devices_of(f.graphs, "blk.0.share"), ON_HOST);
    assert_int_equal(devices_of(f.graphs, "blk.0.residual"), ON_HOST);
    release(&f);
}

/* A norm's input has to go to the GPU anyway, where its reader is. */
TEST(a_norm_is_where_it_is_read)
{
    for (int layer_norm = 0; layer_norm < 2; layer_norm++) {
        struct fixture f = {.router_on_gpu = true, .layer_norm = layer_norm};
        divide(&f);
        assert_int_equal(devices_of(f.graphs, "embed"), ON_HOST);
        assert_int_equal(devices_of(f.graphs, "blk.0.norm"), ON_GPU);
        assert_int_equal(devices_of(f.graphs, "blk.0.router"), ON_GPU);
        assert_int_equal(devices_of(f.graphs, "blk.0.share"), ON_GPU);
        release(&f);
    }
}

/* --- dense layers ----------------------------------------------------------------------------- */

enum { LAYERS = 4, OF_LAYER = 3, N_DENSE = 1 + LAYERS * OF_LAYER, FIRST_ON_GPU = 1 };

struct dense {
    struct weight weights[N_DENSE], *list[N_DENSE];
    struct graph graphs[N_DEVICES];
};

/* The table is the host's, and layer 0; the others are the GPU's, but of layer 2 the matrix `down`
 * is another GPU's. */
static int device_of_dense(void *user, const struct weight *weight, int expert)
{
    (void)user, (void)expert;
    int layer = (weight->index - 1) / OF_LAYER;
    if (weight->index == 0 || layer < FIRST_ON_GPU)
        return SPLIT_HOST;
    return layer == 2 && weight->index % OF_LAYER == 0 ? OTHER_GPU : GPU;
}

static void build_dense(struct dense *f, struct graph *g)
{
    graph_init(g, TOKENS, TOKENS, test_log());
    struct tensor *x = op_get_rows(g, "embed", graph_weight(g, &f->weights[0]), INDEX_TOKENS);
    for (g->layer = 0; g->layer < LAYERS; g->layer++) {
        struct weight *own = &f->weights[1 + g->layer * OF_LAYER];
        struct tensor *h = op_rms_norm(g, "norm", x, graph_weight(g, &own[0]), 1e-5f);
        h = op_matmul(g, "up", graph_weight(g, &own[1]), h, NULL);
        h = op_matmul(g, "down", graph_weight(g, &own[2]), h, NULL);
        x = op_add(g, "residual", x, h);
    }
    g->layer = -1;
    g->logits = x;
    assert_int_equal(g->status, HTH_OK);
}

static void divide_dense(struct dense *f)
{
    struct split split;
    struct model model = {.log = test_log(), .weights = f->list, .n_weights = N_DENSE};
    model.hp.n_layer = LAYERS;
    for (int i = 0; i < N_DENSE; i++) {
        static char names[N_DENSE][32];
        int layer = (i - 1) / OF_LAYER, part = (i - 1) % OF_LAYER;
        snprintf(names[i], sizeof names[i], i ? "blk.%d.%s" : "token_embd", layer,
                 part == 0   ? "norm"
                 : part == 1 ? "up"
                             : "down");
        f->weights[i] = (struct weight){.name = names[i],
                                        .dtype = &dtype_f32,
                                        .index = i,
                                        .ne = {i && part == 2 ? FF : EMBD, 1, 1, 1}};
        f->weights[i].ne[1] = i == 0 ? 8 : part == 0 ? 1 : part == 1 ? FF : EMBD;
        f->weights[i].size_bytes = 4 * (uint64_t)(f->weights[i].ne[0] * f->weights[i].ne[1]);
        f->list[i] = &f->weights[i];
    }
    const struct split_choice choice = {
        .n_devices = N_DEVICES, .weight = device_of_dense, .cache = device_of_cache};
    assert_int_equal(split_create(&split, &model, &choice), HTH_OK);
    for (int d = 0; d < N_DEVICES; d++) {
        build_dense(f, &f->graphs[d]);
        assert_int_equal(split_graph(&split, &f->graphs[d], d), HTH_OK);
    }
    split_free(&split);
}

/* The sum behind a block is where the block's result is: layers that follow each other on a device
 * hand over nothing between them, whoever has the first summand. */
TEST(a_sum_is_where_its_block_is)
{
    struct dense f = {0};
    divide_dense(&f);
    assert_int_equal(devices_of(f.graphs, "blk.0.residual"), ON_HOST);
    assert_int_equal(devices_of(f.graphs, "blk.1.norm"), ON_GPU);
    assert_int_equal(devices_of(f.graphs, "blk.1.residual"), ON_GPU);
    assert_int_equal(devices_of(f.graphs, "blk.2.norm"), ON_GPU);
    assert_int_equal(devices_of(f.graphs, "blk.2.residual"), 1u << OTHER_GPU);
    assert_int_equal(devices_of(f.graphs, "blk.3.residual"), ON_GPU);
    /* takes rows of layer 0 and of layer 2; hands layer 1's and those between the matrices */
    assert_int_equal(handed_over(f.graphs, GPU), TOKENS * (EMBD + EMBD + EMBD + FF));
    assert_int_equal(handed_over(f.graphs, OTHER_GPU), TOKENS * (EMBD + FF + EMBD));
    for (int d = 0; d < N_DEVICES; d++)
        graph_free(&f.graphs[d]);
}
