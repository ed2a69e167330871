#include "logits.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "base/pool.h"
#include "cpu/cpu_exec.h"
#include "kv/kv.h"
#include "model/model.h"

/* Models that are wrong in one thing, each of which has happened to somebody: the golden logits
 * must tell them from the right one. The right graph of the very same path passes. */

enum { MAX_HEADS = 64 };

/* A mistake: in what the file says, or in the graph. */
struct mistake {
    const char *what, *model;
    void (*in_model)(struct model *model, struct arena *arena);
    void (*in_graph)(struct graph *graph, struct arena *arena);
};

/* Far above every tolerance (1e-6 in float, 1e-4 with rounded activations), so that no rounding can
 * excuse it. */
static const double least_error = 1e-3, tolerance = 1e-6;

/* --- running ------------------------------------------------------------------------------------
 */

/* All tokens in one batch on the CPU, in float, with an F32 cache. */
static double run_graph(const struct model *model, const struct graph *graph, uint64_t page_bytes,
                        const struct golden *golden)
{
    int n = golden->n_tokens;
    int32_t *lists = mem_calloc(3 * (size_t)n, sizeof *lists);
    char *page = mem_calloc(1, page_bytes);
    assert_true(lists && page && n <= KV_PAGE);
    for (int i = 0; i < n; i++)
        lists[i] = lists[n + i] = i; /* positions, outputs; all of sequence 0 */
    static const uint32_t page_table[1] = {0};
    void *pages[1] = {page};
    struct batch batch = {.n_tokens = n,
                          .ids = golden->tokens,
                          .pos = lists,
                          .seq = lists + 2 * n,
                          .n_outputs = n,
                          .outputs = lists + n,
                          .page_table = page_table,
                          .table_stride = 1,
                          .n_seqs = 1};
    struct cpu_exec *exec;
    struct cpu_exec_options options = {.float_only = true};
    if (cpu_exec_create(&exec, graph, &options, test_log()) != HTH_OK ||
        cpu_exec_run(exec, &batch, pages, NULL) != HTH_OK)
        fail_msg("%s", test_log_text());
    double nmse =
        test_nmse(golden->logits, cpu_exec_result(exec), (size_t)n * (size_t)model->hp.n_vocab);
    cpu_exec_destroy(exec);
    mem_free(lists);
    mem_free(page);
    return nmse;
}

/* NMSE of a model with a mistake, or of the right one. */
static double error_of(const char *name, const struct mistake *mistake)
{
    struct golden golden;
    struct gguf *gguf;
    struct model *model = NULL;
    struct graph graph;
    struct arena arena = {0};
    golden_open(&golden, test_golden_path("rich/logits/%s.gguf", name));
    test_log_clear();
    if (gguf_open(&gguf, test_golden_path("rich/models/%s.gguf", name), test_log()) != HTH_OK ||
        model_load(&model, gguf, test_log()) != HTH_OK)
        fail_msg("%s", test_log_text());
    if (mistake && mistake->in_model)
        mistake->in_model(model, &arena);
    struct kv_geom *kv = arena_calloc(&arena, (size_t)model->hp.n_layer, sizeof *kv);
    assert_non_null(kv);
    model_kv_geometry(model, &dtype_f32, kv);
    uint64_t page_bytes = kv_layout(kv, model->hp.n_layer, test_log());
    if (model_build(model, &graph, golden.n_tokens, golden.n_tokens, kv) != HTH_OK)
        fail_msg("%s: %s", mistake ? mistake->what : name, test_log_text());
    if (mistake && mistake->in_graph)
        mistake->in_graph(&graph, &arena);
    double nmse = run_graph(model, &graph, page_bytes, &golden);
    graph_free(&graph);
    model_free(model);
    gguf_close(gguf);
    golden_close(&golden);
    arena_free(&arena);
    return nmse;
}

static void each_must_fail(const struct mistake *mistakes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double nmse = error_of(mistakes[i].model, &mistakes[i]);
        printf("%-10s %-48s %.1e\n", mistakes[i].model, mistakes[i].what, nmse);
        if (!(nmse >= least_error)) /* what is no number fails as well */
            fail_msg("%s with the mistake \"%s\" has an NMSE of only %g", mistakes[i].model,
                     mistakes[i].what, nmse);
    }
}

TEST(right_models_pass)
{
    static const char *const names[] = {"llama-gqa", "llama-yarn", "llama-linear", "llama-moe",
                                        "qwen2",     "qwen3",      "qwen3moe",     "mistral3",
                                        "smollm3",   "seed_oss",   "cohere2"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        assert_true(error_of(names[i], NULL) <= tolerance);
}

/* --- positions ----------------------------------------------------------------------------------
 */

static void halves_for_pairs(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.rope.kind = model->hp.rope.kind == ROPE_NORM ? ROPE_NEOX : ROPE_NORM;
}

static void no_factors(struct model *model, struct arena *arena)
{
    (void)arena;
    model->rope_freqs = NULL;
}

static void usual_base(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.rope.freq_base = 10000;
}

static void half_turns(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.rope.n_rot /= 2;
}

static void not_stretched(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.rope.freq_scale = 1;
}

static void no_yarn(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.rope.ext_factor = 0;
}

static void no_yarn_scale(struct model *model, struct arena *arena)
{
    (void)arena;
    struct rope_params *rope = &model->hp.rope;
    rope->attn_factor /= 1 + 0.1f * logf(1 / rope->freq_scale);
}

static void yarn_scale_twice(struct model *model, struct arena *arena)
{
    (void)arena;
    struct rope_params *rope = &model->hp.rope;
    rope->attn_factor *= 1 + 0.1f * logf(1 / rope->freq_scale);
}

static void yarn_from_the_whole_context(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.rope.n_ctx_orig = model->hp.n_ctx_train;
}

static void position_everywhere(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.no_rope_every = INT32_MAX;
}

static void position_nowhere_in_third(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.no_rope_every = 3;
}

static void no_window(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.n_window = 0;
}

static void window_without_itself(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.n_window++;
}

static void no_temperature(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.temperature_scale = 0;
}

static void slow_temperature(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.temperature_length *= 2;
}

TEST(wrong_positions)
{
    static const struct mistake mistakes[] = {
        {"rope turns halves, not pairs", "llama-gqa", halves_for_pairs, NULL},
        {"rope turns pairs, not halves", "qwen2", halves_for_pairs, NULL},
        {"rope turns pairs, not halves", "qwen3moe", halves_for_pairs, NULL},
        {"rope turns pairs, not halves", "seed_oss", halves_for_pairs, NULL},
        {"no frequency factors", "llama-gqa", no_factors, NULL},
        {"rope base 10000", "llama-gqa", usual_base, NULL},
        {"rope on half of a head", "qwen3", half_turns, NULL},
        {"linear scale ignored", "llama-linear", not_stretched, NULL},
        {"YaRN without its ramp", "llama-yarn", no_yarn, NULL},
        {"YaRN without its scale", "llama-yarn", no_yarn_scale, NULL},
        {"YaRN scaled where the file says not to", "mistral3", yarn_scale_twice, NULL},
        {"YaRN of the whole context", "llama-yarn", yarn_from_the_whole_context, NULL},
        {"layers without position ignored", "smollm3", position_everywhere, NULL},
        {"the wrong layers without position", "smollm3", position_nowhere_in_third, NULL},
        {"layers without position ignored", "cohere2", position_everywhere, NULL},
        {"the wrong layers without position", "cohere2", position_nowhere_in_third, NULL},
        {"no window", "cohere2", no_window, NULL},
        {"the window's own position not counted", "cohere2", window_without_itself, NULL},
        {"temperature ignored", "mistral3", no_temperature, NULL},
        {"temperature by other steps", "mistral3", slow_temperature, NULL},
    };
    each_must_fail(mistakes, ARRAY_LEN(mistakes));
}

/* --- attention ----------------------------------------------------------------------------------
 */

/* Blocks of `size` bytes in another order: out[i] = in[order[i]]. */
static void permute_blocks(const char *in, char *out, const int *order, int n, size_t size)
{
    for (int i = 0; i < n; i++)
        memcpy(out + (size_t)i * size, in + (size_t)order[i] * size, size);
}

static struct weight *copy_weight(const struct weight *weight, struct arena *arena, char **bytes)
{
    struct weight *copy = arena_alloc(arena, sizeof *copy);
    *bytes = arena_alloc(arena, weight->size_bytes);
    assert_true(copy && *bytes && !dtype_is_block(weight->dtype));
    *copy = *weight;
    copy->data = *bytes;
    return copy;
}

/* Query head h reads KV head h mod n instead of h / (heads per KV head): the same as heads moved to
 * where the right rule gives them that KV head, and their outputs moved back. */
static void heads_modulo(struct model *model, struct arena *arena)
{
    const struct hparams *hp = &model->hp;
    int order[MAX_HEADS], n = 0;
    for (int kv = 0; kv < hp->n_head_kv; kv++)
        for (int h = kv; h < hp->n_head; h += hp->n_head_kv)
            order[n++] = h;
    for (int i = 0; i < hp->n_layer; i++) {
        struct layer *layer = &model->layers[i];
        char *q, *o;
        size_t elem = layer->attn_q->dtype->block_bytes,
               out = layer->attn_output->dtype->block_bytes;
        size_t head_bytes = (size_t)hp->n_embd * (size_t)hp->head_dim_k * elem;
        size_t part_bytes = (size_t)hp->head_dim_v * out, row_bytes = part_bytes * (size_t)n;
        const char *o_data = layer->attn_output->data;
        struct weight *new_q = copy_weight(layer->attn_q, arena, &q);
        struct weight *new_o = copy_weight(layer->attn_output, arena, &o);
        permute_blocks(layer->attn_q->data, q, order, n, head_bytes);
        for (int row = 0; row < hp->n_embd; row++)
            permute_blocks(o_data + (size_t)row * row_bytes, o + (size_t)row * row_bytes, order, n,
                           part_bytes);
        layer->attn_q = new_q;
        layer->attn_output = new_o;
    }
}

static void no_head_norms(struct model *model, struct arena *arena)
{
    (void)arena;
    for (int i = 0; i < model->hp.n_layer; i++)
        model->layers[i].attn_q_norm = model->layers[i].attn_k_norm = NULL;
}

static void no_biases(struct model *model, struct arena *arena)
{
    (void)arena;
    for (int i = 0; i < model->hp.n_layer; i++) {
        struct layer *layer = &model->layers[i];
        layer->attn_q_bias = layer->attn_k_bias = layer->attn_v_bias = NULL;
    }
}

static void no_value_bias(struct model *model, struct arena *arena)
{
    (void)arena;
    for (int i = 0; i < model->hp.n_layer; i++)
        model->layers[i].attn_v_bias = NULL;
}

static void scale_of_embedding(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.attention_scale = 1 / sqrtf((float)model->hp.n_embd / (float)model->hp.n_head);
}

static void keys_for_values(struct model *model, struct arena *arena)
{
    (void)arena;
    for (int i = 0; i < model->hp.n_layer; i++)
        model->layers[i].attn_v = model->layers[i].attn_k;
}

static void window(struct graph *graph, struct arena *arena)
{
    (void)arena;
    for (size_t i = 0; i < graph->n_ops; i++)
        if (graph->ops[i]->kind == OP_ATTENTION)
            graph->ops[i]->p.attention.window = 16;
}

static void softcap(struct graph *graph, struct arena *arena)
{
    (void)arena;
    for (size_t i = 0; i < graph->n_ops; i++)
        if (graph->ops[i]->kind == OP_ATTENTION)
            graph->ops[i]->p.attention.softcap = 1;
}

TEST(wrong_attention)
{
    static const struct mistake mistakes[] = {
        {"KV head = h mod n", "llama-gqa", heads_modulo, NULL},
        {"KV head = h mod n", "qwen3", heads_modulo, NULL},
        {"no norm of q and k", "qwen3", no_head_norms, NULL},
        {"no norm of q and k", "qwen3moe", no_head_norms, NULL},
        {"no biases", "qwen2", no_biases, NULL},
        {"no biases", "seed_oss", no_biases, NULL},
        {"no bias of v", "qwen2", no_value_bias, NULL},
        {"scale by n_embd / n_head", "qwen3", scale_of_embedding, NULL},
        {"keys for values", "llama-gqa", keys_for_values, NULL},
        {"a window where there is none", "llama-gqa", NULL, window},
        {"a softcap where there is none", "llama-gqa", NULL, softcap},
    };
    each_must_fail(mistakes, ARRAY_LEN(mistakes));
}

/* --- experts ------------------------------------------------------------------------------------
 */

/* A bias on choosing that no probability outweighs; the shares stay the unbiased ones. */
static void first_experts(struct graph *graph, struct arena *arena)
{
    for (size_t i = 0; i < graph->n_ops; i++) {
        struct op *op = graph->ops[i];
        if (op->kind != OP_ROUTER)
            continue;
        int n = (int)op->in[0]->ne[0];
        struct weight *bias = arena_alloc(arena, sizeof *bias);
        float *data = arena_calloc(arena, (size_t)n, sizeof *data);
        assert_true(bias && data);
        for (int e = 0; e < n; e++)
            data[e] = 10.0f * (float)(n - e);
        *bias = (struct weight){.name = "bias",
                                .dtype = &dtype_f32,
                                .ne = {n, 1, 1, 1},
                                .data = data,
                                .size_bytes = (uint64_t)n * sizeof *data};
        op->in[1] = graph_weight(graph, bias);
    }
}

static void not_renormalised(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.router.normalize = false;
}

static void sigmoid(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.router.kind = ROUTER_SIGMOID;
}

static void one_expert_less(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.router.n_used--;
    model->hp.n_expert_used--;
}

static void experts_doubled(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.router.scale = 2;
}

static void gate_for_up(struct model *model, struct arena *arena)
{
    (void)arena;
    for (int i = 0; i < model->hp.n_layer; i++) {
        struct layer *layer = &model->layers[i];
        const struct weight *gate = layer->ffn_gate, *exps = layer->ffn_gate_exps;
        layer->ffn_gate = layer->ffn_up;
        layer->ffn_up = gate;
        layer->ffn_gate_exps = layer->ffn_up_exps;
        layer->ffn_up_exps = exps;
    }
}

TEST(wrong_experts)
{
    static const struct mistake mistakes[] = {
        {"always the first experts", "llama-moe", NULL, first_experts},
        {"always the first experts", "qwen3moe", NULL, first_experts},
        {"shares not renormalised", "llama-moe", not_renormalised, NULL},
        {"shares not renormalised", "qwen3moe", not_renormalised, NULL},
        {"sigmoid for softmax", "llama-moe", sigmoid, NULL},
        {"one expert less", "llama-moe", one_expert_less, NULL},
        {"one expert less", "qwen3moe", one_expert_less, NULL},
        {"shares doubled", "qwen3moe", experts_doubled, NULL},
        {"gate and up exchanged", "llama-moe", gate_for_up, NULL},
    };
    each_must_fail(mistakes, ARRAY_LEN(mistakes));
}

/* --- layers -------------------------------------------------------------------------------------
 */

/* Every sum of this label loses its first input: a + b becomes b. */
static void drop_first(struct graph *graph, const char *label)
{
    int n = 0;
    for (size_t i = 0; i < graph->n_ops; i++) {
        struct op *op = graph->ops[i];
        if (op->kind != OP_ADD || !strstr(op->label, label))
            continue;
        op->kind = OP_SCALE;
        op->in[0] = op->in[1];
        op->in[1] = NULL;
        op->p.scale = (struct scale_params){.scale = 1};
        n++;
    }
    assert_true(n > 0);
}

static void no_attention_residual(struct graph *graph, struct arena *arena)
{
    (void)arena;
    drop_first(graph, "attn_residual");
}

static void no_ffn_residual(struct graph *graph, struct arena *arena)
{
    (void)arena;
    drop_first(graph, "ffn_residual");
}

static void gelu(struct graph *graph, struct arena *arena)
{
    (void)arena;
    for (size_t i = 0; i < graph->n_ops; i++)
        if (graph->ops[i]->kind == OP_GLU)
            graph->ops[i]->p.glu.kind = GLU_GELU_TANH;
}

static void norm_without_weight(struct graph *graph, struct arena *arena)
{
    (void)arena;
    for (size_t i = 0; i < graph->n_ops; i++)
        if (graph->ops[i]->kind == OP_RMS_NORM && strstr(graph->ops[i]->label, "output_norm"))
            graph->ops[i]->in[1] = NULL;
}

static void mean_not_taken_off(struct graph *graph, struct arena *arena)
{
    (void)arena;
    for (size_t i = 0; i < graph->n_ops; i++)
        if (graph->ops[i]->kind == OP_LAYER_NORM) {
            graph->ops[i]->kind = OP_RMS_NORM;
            graph->ops[i]->p.rms_norm.eps = graph->ops[i]->p.layer_norm.eps;
        }
}

static void ffn_after_attention(struct graph *graph, struct arena *arena)
{
    struct tensor *attention = NULL;
    (void)arena;
    for (size_t i = 0; i < graph->n_ops; i++) {
        struct op *op = graph->ops[i];
        if (strstr(op->label, "attn_output"))
            attention = op->out[0];
        if (strstr(op->label, "ffn_gate") || strstr(op->label, "ffn_up"))
            op->in[1] = attention;
    }
}

static void unscaled_logits(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.logit_scale = 1;
}

static void weight_plus_one(struct model *model, struct arena *arena)
{
    char *bytes;
    struct weight *copy = copy_weight(model->output_norm, arena, &bytes);
    const float *from = model->output_norm->data;
    float *to = (float *)(void *)bytes;
    for (int64_t i = 0; i < copy->ne[0]; i++)
        to[i] = from[i] + 1;
    model->output_norm = copy;
}

static void large_epsilon(struct model *model, struct arena *arena)
{
    (void)arena;
    model->hp.norm_eps = 0.1f;
}

static void twice_the_input(struct graph *graph, struct arena *arena)
{
    (void)arena;
    for (size_t i = 0; i < graph->n_ops; i++)
        if (graph->ops[i]->kind == OP_ADD && strstr(graph->ops[i]->label, "residual"))
            graph->ops[i]->in[1] = graph->ops[i]->in[0];
}

static void layers_reversed(struct model *model, struct arena *arena)
{
    (void)arena;
    for (int i = 0, j = model->hp.n_layer - 1; i < j; i++, j--) {
        struct layer first = model->layers[i];
        model->layers[i] = model->layers[j];
        model->layers[j] = first;
    }
}

TEST(wrong_layers)
{
    static const struct mistake mistakes[] = {
        {"no residual of attention", "llama-gqa", NULL, no_attention_residual},
        {"no residual of the FFN", "qwen2", NULL, no_ffn_residual},
        {"what a layer adds is what it was given", "qwen3", NULL, twice_the_input},
        {"GELU for SiLU", "llama-gqa", NULL, gelu},
        {"gate and up exchanged", "llama-gqa", gate_for_up, NULL},
        {"output norm without its weight", "qwen3", NULL, norm_without_weight},
        {"norm weights count from 1", "llama-gqa", weight_plus_one, NULL},
        {"an epsilon of 0.1", "llama-gqa", large_epsilon, NULL},
        {"the mean is not taken off", "cohere2", NULL, mean_not_taken_off},
        {"the FFN reads what attention gave", "cohere2", NULL, ffn_after_attention},
        {"logits not scaled", "cohere2", unscaled_logits, NULL},
        {"layers in reverse", "smollm3", layers_reversed, NULL},
    };
    each_must_fail(mistakes, ARRAY_LEN(mistakes));
}
