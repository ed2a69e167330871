#include "harness/test.h"

#include <math.h>
#include <stdio.h>

#include "base/half.h"
#include "gguf/gguf_write.h"
#include "model/arch.h"

/* A small file of one architecture: 2 layers, 8 wide, 4 heads of 4 over 2, FFN 12, 6 tokens; with
 * experts: 4 of 3, 2 used. Everything can be left out by name, and `edit` adds what it likes. */
struct plan {
    const char *arch;
    bool moe, qk_norm, biases;
    const char *skip; /* a key's suffix or a tensor's name */
    const char *skip2;
    void (*edit)(struct gguf_writer *writer);
};

enum {
    LAYERS = 2,
    EMBD = 8,
    HEADS = 4,
    HEADS_KV = 2,
    DIM = 4,
    FF = 12,
    VOCAB = 6,
    FF_X = 3,
    X = 4
};

static float zeros[1024];

static bool skipped(const struct plan *plan, const char *name)
{
    return (plan->skip && strcmp(plan->skip, name) == 0) ||
           (plan->skip2 && strcmp(plan->skip2, name) == 0);
}

static void put_key(struct gguf_writer *writer, const struct plan *plan, const char *suffix,
                    uint32_t value)
{
    char name[96];
    snprintf(name, sizeof name, "%s.%s", plan->arch, suffix);
    if (!skipped(plan, suffix))
        gguf_put_u32(writer, name, value);
}

static void put(struct gguf_writer *writer, const char *name, int64_t ne0, int64_t ne1, int64_t ne2)
{
    int64_t ne[3] = {ne0, ne1 ? ne1 : 1, ne2 ? ne2 : 1};
    gguf_put_tensor(writer, name, &dtype_f32, ne2 ? 3 : ne1 ? 2 : 1, ne, zeros, NULL, NULL);
}

static void put_tensor(struct gguf_writer *writer, const struct plan *plan, const char *name,
                       const int64_t ne[3])
{
    if (!skipped(plan, name))
        put(writer, name, ne[0], ne[1], ne[2]);
}

static void put_layer(struct gguf_writer *writer, const struct plan *plan, int layer)
{
    const struct {
        const char *name;
        int64_t ne[3];
        bool wanted;
    } rows[] = {
        {"attn_norm.weight", {EMBD}, true},
        {"attn_q.weight", {EMBD, HEADS * DIM}, true},
        {"attn_k.weight", {EMBD, HEADS_KV * DIM}, true},
        {"attn_v.weight", {EMBD, HEADS_KV * DIM}, true},
        {"attn_output.weight", {HEADS * DIM, EMBD}, true},
        {"attn_q.bias", {HEADS * DIM}, plan->biases},
        {"attn_k.bias", {HEADS_KV * DIM}, plan->biases},
        {"attn_v.bias", {HEADS_KV * DIM}, plan->biases},
        {"attn_q_norm.weight", {DIM}, plan->qk_norm},
        {"attn_k_norm.weight", {DIM}, plan->qk_norm},
        {"ffn_norm.weight", {EMBD}, true},
        {"ffn_gate.weight", {EMBD, FF}, !plan->moe},
        {"ffn_up.weight", {EMBD, FF}, !plan->moe},
        {"ffn_down.weight", {FF, EMBD}, !plan->moe},
        {"ffn_gate_inp.weight", {EMBD, X}, plan->moe},
        {"ffn_gate_exps.weight", {EMBD, FF_X, X}, plan->moe},
        {"ffn_up_exps.weight", {EMBD, FF_X, X}, plan->moe},
        {"ffn_down_exps.weight", {FF_X, EMBD, X}, plan->moe},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char name[96];
        snprintf(name, sizeof name, "blk.%d.%s", layer, rows[i].name);
        if (rows[i].wanted)
            put_tensor(writer, plan, name, rows[i].ne);
    }
}

static void put_keys(struct gguf_writer *writer, const struct plan *plan)
{
    char name[96];
    if (!skipped(plan, "general.architecture"))
        gguf_put_str(writer, "general.architecture", str_of(plan->arch));
    put_key(writer, plan, "block_count", LAYERS);
    put_key(writer, plan, "embedding_length", EMBD);
    put_key(writer, plan, "context_length", 256);
    put_key(writer, plan, "feed_forward_length", FF);
    put_key(writer, plan, "attention.head_count", HEADS);
    put_key(writer, plan, "attention.head_count_kv", HEADS_KV);
    put_key(writer, plan, "attention.key_length", DIM);
    put_key(writer, plan, "attention.value_length", DIM);
    snprintf(name, sizeof name, "%s.attention.layer_norm_rms_epsilon", plan->arch);
    if (!skipped(plan, "attention.layer_norm_rms_epsilon"))
        gguf_put_f32(writer, name, 1e-5f);
    if (plan->moe) {
        put_key(writer, plan, "expert_count", X);
        put_key(writer, plan, "expert_used_count", 2);
        put_key(writer, plan, "expert_feed_forward_length", FF_X);
    }
}

static void write_file(const struct plan *plan, struct strbuf *out)
{
    struct gguf_writer *writer;
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    put_keys(writer, plan);
    put_tensor(writer, plan, "token_embd.weight", (int64_t[]){EMBD, VOCAB, 0});
    for (int i = 0; i < LAYERS; i++)
        put_layer(writer, plan, i);
    put_tensor(writer, plan, "output_norm.weight", (int64_t[]){EMBD, 0, 0});
    put_tensor(writer, plan, "output.weight", (int64_t[]){EMBD, VOCAB, 0});
    if (plan->edit)
        plan->edit(writer);
    assert_int_equal(gguf_writer_save_memory(writer, out), HTH_OK);
    gguf_writer_destroy(writer);
}

/* An open file and what loading it gave. */
struct opened {
    struct strbuf bytes;
    struct gguf *gguf;
    struct model *model;
    enum hth_status status;
};

static struct opened open_plan(struct plan plan)
{
    struct opened o = {0};
    write_file(&plan, &o.bytes);
    assert_int_equal(gguf_open_memory(&o.gguf, o.bytes.ptr, o.bytes.len, "made.gguf", test_log()),
                     HTH_OK);
    test_log_clear();
    o.status = model_load(&o.model, o.gguf, test_log());
    assert_true((o.status == HTH_OK) == (o.model != NULL));
    return o;
}

static void close_plan(struct opened *o)
{
    model_free(o->model);
    gguf_close(o->gguf);
    strbuf_free(&o->bytes);
}

/* Builds the graph for 3 tokens with all logits wanted; its text goes to `out` if there is one. */
static void check_builds(const struct model *model, struct strbuf *out)
{
    struct kv_geom kv[LAYERS];
    struct graph graph;
    model_kv_geometry(model, &dtype_f16, kv);
    assert_int_equal(kv[1].n_head_kv, HEADS_KV);
    assert_int_equal(kv[1].k_dim, DIM);
    assert_ptr_equal(kv[0].v_type, &dtype_f16);
    assert_int_equal(model_build(model, &graph, 3, 3, kv), HTH_OK);
    assert_int_equal(graph.logits->ne[0], VOCAB);
    assert_int_equal(graph.logits->ne[1], 3);
    if (out)
        graph_print(&graph, out);
    graph_free(&graph);
}

static void expect_error(struct plan plan, enum hth_status status, const char *text)
{
    struct opened o = open_plan(plan);
    assert_logged(text);
    assert_int_equal(o.status, status);
    assert_logged("made.gguf");
    close_plan(&o);
}

TEST(every_architecture_binds_and_builds)
{
    const struct plan plans[] = {
        {.arch = "llama"},
        {.arch = "llama", .moe = true},
        {.arch = "qwen2", .biases = true},
        {.arch = "qwen3", .qk_norm = true},
        {.arch = "qwen3moe", .qk_norm = true, .moe = true},
        {.arch = "mistral3"},
        {.arch = "smollm3"},
    };
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        struct opened o = open_plan(plans[i]);
        assert_string_equal(test_log_text(), "");
        assert_int_equal(o.status, HTH_OK);
        check_builds(o.model, NULL);
        assert_string_equal(o.model->arch->name, plans[i].arch);
        assert_true((o.model->layers[1].attn_q_bias != NULL) == plans[i].biases);
        assert_true((o.model->layers[1].attn_k_norm != NULL) == plans[i].qk_norm);
        assert_true((o.model->layers[1].ffn_up_exps != NULL) == plans[i].moe);
        assert_true((o.model->layers[1].ffn_up != NULL) == !plans[i].moe);
        close_plan(&o);
    }
}

TEST(sizes_and_defaults)
{
    struct opened o = open_plan((struct plan){.arch = "llama"});
    const struct hparams *hp = &o.model->hp;
    uint64_t layer = 2 * EMBD + 2 * EMBD * 16 + 2 * EMBD * 8 + 3 * EMBD * FF;
    assert_int_equal(hp->n_vocab, VOCAB);
    assert_int_equal(hp->rope.n_rot, DIM);
    assert_true(hp->rope.freq_base == 10000.0f && hp->rope.freq_scale == 1.0f);
    assert_true(hp->rope.ext_factor == 0.0f && hp->rope.attn_factor == 1.0f);
    assert_int_equal(hp->rope.n_ctx_orig, 256);
    assert_true(hp->attention_scale == 0.5f);
    assert_int_equal(model_n_params(o.model), 2 * layer + 2 * EMBD * VOCAB + EMBD);
    assert_int_equal(model_weight_bytes(o.model), 4 * model_n_params(o.model));
    for (size_t i = 0; i < o.model->n_weights; i++)
        assert_int_equal(o.model->weights[i]->index, i);
    assert_string_equal(o.model->weights[0]->name, "token_embd.weight");
    assert_string_equal(o.model->weights[1]->name, "blk.0.attn_norm.weight");
    assert_string_equal(o.model->weights[o.model->n_weights - 1]->name, "output.weight");
    close_plan(&o);
}

TEST(rope_kinds_belong_to_architectures)
{
    const struct {
        const char *arch;
        enum rope_kind kind;
        bool qk_norm;
    } rows[] = {{"llama", ROPE_NORM, false},   {"mistral3", ROPE_NORM, false},
                {"smollm3", ROPE_NORM, false}, {"qwen2", ROPE_NEOX, false},
                {"qwen3", ROPE_NEOX, true},    {"qwen3moe", ROPE_NEOX, true}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct opened o =
            open_plan((struct plan){.arch = rows[i].arch, .qk_norm = rows[i].qk_norm});
        assert_int_equal(o.status, HTH_OK);
        assert_int_equal(o.model->hp.rope.kind, rows[i].kind);
        close_plan(&o);
    }
}

TEST(missing_head_sizes_follow_from_the_width)
{
    struct opened o = open_plan((struct plan){
        .arch = "llama", .skip = "attention.key_length", .skip2 = "attention.value_length"});
    assert_int_equal(o.status, HTH_ERROR_FORMAT); /* 8 / 4 = 2 dimensions, the file has 4 */
    assert_logged("blk.0.attn_q.weight");
    assert_logged("8 x 8");
    close_plan(&o);
}

static void tie_biases_and_factors(struct gguf_writer *writer)
{
    put(writer, "output.bias", VOCAB, 0, 0);
    put(writer, "rope_freqs.weight", DIM / 2, 0, 0);
    put(writer, "blk.1.ffn_up.bias", FF, 0, 0);
}

TEST(optional_tensors_and_tied_output)
{
    struct strbuf text = {0};
    struct opened o = open_plan(
        (struct plan){.arch = "llama", .skip = "output.weight", .edit = tie_biases_and_factors});
    assert_int_equal(o.status, HTH_OK);
    assert_ptr_equal(o.model->output, o.model->token_embd);
    assert_non_null(o.model->output_bias);
    assert_null(o.model->layers[0].ffn_up_bias);
    check_builds(o.model, &text);
    assert_non_null(strstr(text.ptr, "rope_freqs.weight"));
    assert_non_null(strstr(text.ptr, "blk.1.ffn_up.bias"));
    assert_non_null(strstr(text.ptr, "output.bias"));
    strbuf_free(&text);
    close_plan(&o);
}

static void put_short_vectors(struct gguf_writer *writer)
{
    static uint16_t f16[EMBD];
    int64_t ne[1] = {EMBD};
    for (int i = 0; i < EMBD; i++)
        f16[i] = f16_from_f32((float)i * 0.25f);
    gguf_put_tensor(writer, "output_norm.weight", &dtype_f16, 1, ne, f16, NULL, NULL);
}

TEST(vectors_become_f32)
{
    struct opened o = open_plan(
        (struct plan){.arch = "llama", .skip = "output_norm.weight", .edit = put_short_vectors});
    const struct weight *norm;
    assert_int_equal(o.status, HTH_OK);
    norm = o.model->output_norm;
    assert_ptr_equal(norm->dtype, &dtype_f32);
    assert_int_equal(norm->size_bytes, EMBD * 4);
    for (int i = 0; i < EMBD; i++)
        assert_true(((const float *)norm->data)[i] == (float)i * 0.25f);
    close_plan(&o);
}

static void put_apart(struct gguf_writer *writer)
{
    for (int e = 0; e < X; e++) {
        char name[64];
        snprintf(name, sizeof name, "blk.1.ffn_up.%d.weight", e);
        put(writer, name, EMBD, FF_X, 0);
    }
}

static void put_apart_but_one(struct gguf_writer *writer)
{
    put(writer, "blk.1.ffn_up.0.weight", EMBD, FF_X, 0);
    put(writer, "blk.1.ffn_up.1.weight", EMBD, FF_X, 0);
}

static void put_apart_of_two_types(struct gguf_writer *writer)
{
    int64_t ne[2] = {EMBD, FF_X};
    put(writer, "blk.1.ffn_up.0.weight", EMBD, FF_X, 0);
    gguf_put_tensor(writer, "blk.1.ffn_up.1.weight", &dtype_f16, 2, ne, zeros, NULL, NULL);
}

TEST(experts_may_lie_apart)
{
    struct plan plan = {.arch = "llama", .moe = true, .skip = "blk.1.ffn_up_exps.weight"};
    struct opened o;
    const struct weight *up;
    plan.edit = put_apart;
    o = open_plan(plan);
    assert_int_equal(o.status, HTH_OK);
    up = o.model->layers[1].ffn_up_exps;
    assert_non_null(up->experts);
    assert_int_equal(up->ne[2], X);
    assert_int_equal(up->size_bytes, EMBD * FF_X * X * 4);
    for (int e = 0; e < X; e++) {
        char name[64];
        snprintf(name, sizeof name, "blk.1.ffn_up.%d.weight", e);
        assert_ptr_equal(up->experts[e], gguf_tensor_find(o.gguf, name)->data);
    }
    assert_null(o.model->layers[0].ffn_up_exps->experts);
    check_builds(o.model, NULL);
    close_plan(&o);
    plan.edit = put_apart_but_one;
    expect_error(plan, HTH_ERROR_FORMAT, "\"blk.1.ffn_up.2.weight\" is missing");
    plan.edit = put_apart_of_two_types;
    expect_error(plan, HTH_ERROR_UNSUPPORTED, "one type for all experts");
    plan.edit = NULL;
    expect_error(plan, HTH_ERROR_FORMAT, "\"blk.1.ffn_up_exps.weight\" is missing");
}

TEST(unknown_architecture_is_named_with_the_known)
{
    expect_error((struct plan){.arch = "grotto"}, HTH_ERROR_UNSUPPORTED, "\"grotto\"");
    expect_error((struct plan){.arch = "grotto"}, HTH_ERROR_UNSUPPORTED, "llama, mistral3, qwen2");
    expect_error((struct plan){.arch = "llama", .skip = "general.architecture"}, HTH_ERROR_FORMAT,
                 "general.architecture");
}

TEST(missing_keys_and_tensors_are_named)
{
    static const char *const keys[] = {"block_count",
                                       "embedding_length",
                                       "context_length",
                                       "attention.head_count",
                                       "attention.layer_norm_rms_epsilon",
                                       "feed_forward_length"};
    static const char *const tensors[] = {"token_embd.weight", "output_norm.weight",
                                          "blk.1.attn_q.weight", "blk.0.ffn_down.weight",
                                          "blk.1.ffn_norm.weight"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        expect_error((struct plan){.arch = "llama", .skip = keys[i]}, HTH_ERROR_FORMAT, keys[i]);
    for (size_t i = 0; i < ARRAY_LEN(tensors); i++)
        expect_error((struct plan){.arch = "llama", .skip = tensors[i]}, HTH_ERROR_FORMAT,
                     tensors[i]);
    expect_error((struct plan){.arch = "qwen3"}, HTH_ERROR_FORMAT, "blk.0.attn_q_norm.weight");
}

static void put_wide_norm(struct gguf_writer *writer)
{
    put(writer, "output_norm.weight", EMBD + 1, 0, 0);
}

static void put_integer_matrix(struct gguf_writer *writer)
{
    int64_t ne[2] = {EMBD, FF};
    gguf_put_tensor(writer, "blk.0.ffn_up.weight", &dtype_i32, 2, ne, zeros, NULL, NULL);
}

TEST(wrong_shapes_and_types_are_named)
{
    expect_error(
        (struct plan){.arch = "llama", .skip = "output_norm.weight", .edit = put_wide_norm},
        HTH_ERROR_FORMAT, "\"output_norm.weight\" is 9 x 1 x 1 x 1");
    expect_error(
        (struct plan){.arch = "llama", .skip = "blk.0.ffn_up.weight", .edit = put_integer_matrix},
        HTH_ERROR_UNSUPPORTED, "I32");
}

/* One key with a value that cannot be meant. */
static struct {
    const char *name;
    int64_t value;
    bool array;
} bad_key;

static void put_bad_key(struct gguf_writer *writer)
{
    int64_t values[2] = {bad_key.value, bad_key.array ? bad_key.value + 1 : 0};
    if (bad_key.array)
        gguf_put_array(writer, bad_key.name, GGUF_I64, values, 2);
    else
        gguf_put_array(writer, bad_key.name, GGUF_I64, values, 1);
}

TEST(hostile_numbers_are_refused)
{
    static const struct {
        const char *suffix;
        int64_t value;
    } rows[] = {
        {"block_count", 0},
        {"block_count", 1025},
        {"block_count", INT64_MAX},
        {"embedding_length", 0},
        {"embedding_length", 1 << 30},
        {"context_length", -1},
        {"attention.head_count", 0},
        {"attention.head_count", INT32_MAX},
        {"attention.head_count_kv", 3},
        {"attention.head_count_kv", 5},
        {"attention.key_length", 1 << 20},
        {"attention.value_length", -4},
        {"rope.dimension_count", 3},
        {"rope.dimension_count", 6},
        {"expert_count", 4097},
        {"expert_used_count", 5},
        {"expert_used_count", 0},
        {"feed_forward_length", INT64_MIN},
        {"expert_feed_forward_length", 1 << 30},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char name[96];
        struct opened o;
        snprintf(name, sizeof name, "llama.%s", rows[i].suffix);
        bad_key.name = name;
        bad_key.value = rows[i].value;
        bad_key.array = false;
        o = open_plan((struct plan){
            .arch = "llama", .moe = true, .skip = rows[i].suffix, .edit = put_bad_key});
        if (o.status != HTH_ERROR_FORMAT)
            fail_msg("%s = %lld gives %s", name, (long long)rows[i].value,
                     hth_status_name(o.status));
        assert_logged("made.gguf");
        close_plan(&o);
    }
}

static void put_three_heads(struct gguf_writer *writer)
{
    gguf_put_u32(writer, "llama.attention.head_count_kv", 3);
}

TEST(heads_must_divide)
{
    expect_error(
        (struct plan){.arch = "llama", .skip = "attention.head_count_kv", .edit = put_three_heads},
        HTH_ERROR_FORMAT, "head_count\" is 4, which is no multiple of the 3 of ");
}

static void put_equal_array(struct gguf_writer *writer)
{
    int32_t values[LAYERS] = {HEADS_KV, HEADS_KV};
    gguf_put_array(writer, "llama.attention.head_count_kv", GGUF_I32, values, LAYERS);
}

TEST(arrays_per_layer_must_agree)
{
    struct plan plan = {.arch = "llama", .skip = "attention.head_count_kv"};
    struct opened o;
    plan.edit = put_equal_array;
    o = open_plan(plan);
    assert_int_equal(o.status, HTH_OK);
    assert_int_equal(o.model->hp.n_head_kv, HEADS_KV);
    close_plan(&o);
    bad_key.name = "llama.attention.head_count_kv";
    bad_key.value = 1;
    bad_key.array = true;
    plan.edit = put_bad_key;
    expect_error(plan, HTH_ERROR_FORMAT, "differs from layer to layer (1 and 2)");
}

static void put_text_for_number(struct gguf_writer *writer)
{
    gguf_put_str(writer, "llama.block_count", STR("two"));
}

static void put_odd_floats(struct gguf_writer *writer)
{
    gguf_put_f32(writer, "llama.rope.freq_base", INFINITY);
}

static void put_odd_scaling(struct gguf_writer *writer)
{
    gguf_put_str(writer, "llama.rope.scaling.type", STR("spiral"));
}

static void put_negative_factor(struct gguf_writer *writer)
{
    gguf_put_f32(writer, "llama.rope.scaling.factor", -2);
}

TEST(wrong_types_of_keys_are_named)
{
    expect_error((struct plan){.arch = "llama", .skip = "block_count", .edit = put_text_for_number},
                 HTH_ERROR_FORMAT, "string");
    expect_error((struct plan){.arch = "llama", .edit = put_odd_floats}, HTH_ERROR_FORMAT,
                 "rope.freq_base");
    expect_error((struct plan){.arch = "llama", .edit = put_odd_scaling}, HTH_ERROR_FORMAT,
                 "spiral");
    expect_error((struct plan){.arch = "llama", .edit = put_negative_factor}, HTH_ERROR_FORMAT,
                 "(-2) must be above 0; convert or download the model again");
}

static void put_neutral(struct gguf_writer *writer)
{
    gguf_put_str(writer, "llama.rope.scaling.type", STR("linear"));
    gguf_put_f32(writer, "llama.rope.scaling.factor", 0);
    gguf_put_f32(writer, "llama.attention.scale", 0);
    gguf_put_u32(writer, "llama.rope.dimension_count", 0);
    gguf_put_u32(writer, "llama.rope.scaling.original_context_length", 0);
    gguf_put_f32(writer, "llama.rope.scaling.yarn_ext_factor", -1);
    gguf_put_u32(writer, "llama.expert_count", 0);
    gguf_put_u32(writer, "llama.expert_used_count", 0);
    gguf_put_f32(writer, "llama.expert_weights_scale", 0);
}

TEST(neutral_values_mean_absence)
{
    struct opened plain = open_plan((struct plan){.arch = "llama"});
    struct opened neutral = open_plan((struct plan){.arch = "llama", .edit = put_neutral});
    assert_int_equal(neutral.status, HTH_OK);
    assert_memory_equal(&plain.model->hp, &neutral.model->hp, sizeof(struct hparams));
    close_plan(&plain);
    close_plan(&neutral);
}

static void put_yarn(struct gguf_writer *writer)
{
    gguf_put_str(writer, "mistral3.rope.scaling.type", STR("yarn"));
    gguf_put_f32(writer, "mistral3.rope.scaling.factor", 4);
    gguf_put_u32(writer, "mistral3.rope.scaling.original_context_length", 16);
    gguf_put_f32(writer, "mistral3.rope.scaling.yarn_log_multiplier", 1);
    gguf_put_f32(writer, "mistral3.attention.temperature_scale", 0.4f);
    gguf_put_u32(writer, "mistral3.attention.temperature_length", 99);
}

TEST(yarn_and_temperature)
{
    struct strbuf text = {0};
    struct opened o = open_plan((struct plan){.arch = "mistral3", .edit = put_yarn});
    const struct hparams *hp = &o.model->hp;
    assert_int_equal(o.status, HTH_OK);
    assert_true(hp->rope.freq_scale == 0.25f && hp->rope.ext_factor == 1.0f);
    assert_true(hp->rope.beta_fast == 32.0f && hp->rope.beta_slow == 1.0f);
    /* op_rope multiplies by 0.1·ln 4 + 1; both together are 1. */
    assert_true(fabsf(hp->rope.attn_factor * (0.1f * logf(4) + 1) - 1) < 1e-6f);
    assert_int_equal(hp->rope.n_ctx_orig, 16);
    assert_int_equal(hp->temperature_length, 16);
    check_builds(o.model, &text);
    assert_non_null(strstr(text.ptr, "blk.1.q_temperature"));
    strbuf_free(&text);
    close_plan(&o);
}

TEST(smollm3_has_layers_without_positions)
{
    struct strbuf text = {0};
    struct opened o = open_plan((struct plan){.arch = "smollm3"});
    assert_int_equal(o.model->hp.no_rope_every, 4);
    o.model->hp.no_rope_every = 2; /* there are two layers here */
    check_builds(o.model, &text);
    assert_non_null(strstr(text.ptr, "blk.0.q_rope"));
    assert_non_null(strstr(text.ptr, "blk.0.k_rope"));
    assert_null(strstr(text.ptr, "blk.1.q_rope"));
    assert_null(strstr(text.ptr, "blk.1.k_rope"));
    strbuf_free(&text);
    close_plan(&o);
}

static void put_other_epsilon(struct gguf_writer *writer)
{
    gguf_put_f32(writer, "llama.attention.layer_norm_epsilon", 0.25f);
}

/* Layer norms have a key of their own; where a file has both, that of RMS norms counts. */
TEST(epsilon_by_either_name)
{
    const char *usual = "attention.layer_norm_rms_epsilon";
    struct opened o =
        open_plan((struct plan){.arch = "llama", .skip = usual, .edit = put_other_epsilon});
    assert_int_equal(o.status, HTH_OK);
    assert_true(o.model->hp.norm_eps == 0.25f);
    close_plan(&o);
    o = open_plan((struct plan){.arch = "llama", .edit = put_other_epsilon});
    assert_int_equal(o.status, HTH_OK);
    assert_true(o.model->hp.norm_eps == 1e-5f);
    close_plan(&o);
}

static void put_expert_keys(struct gguf_writer *writer)
{
    gguf_put_u32(writer, "qwen2.expert_count", 4);
    gguf_put_u32(writer, "qwen2.expert_used_count", 9);
}

TEST(experts_are_ignored_where_an_architecture_has_none)
{
    struct opened o =
        open_plan((struct plan){.arch = "qwen2", .biases = true, .edit = put_expert_keys});
    assert_int_equal(o.status, HTH_OK);
    check_builds(o.model, NULL);
    close_plan(&o);
}

static void put_unused(struct gguf_writer *writer)
{
    put(writer, "blk.0.mystery.weight", EMBD, 0, 0);
}

TEST(unused_tensors_are_a_note)
{
    struct opened o = open_plan((struct plan){.arch = "llama", .edit = put_unused});
    assert_int_equal(o.status, HTH_OK);
    assert_logged("1 of 22 tensors are not used");
    close_plan(&o);
}

static enum hth_status load_and_build(void *arg)
{
    struct kv_geom kv[LAYERS];
    struct graph graph;
    struct model *model;
    enum hth_status status = model_load(&model, arg, NULL);
    if (status) {
        assert_null(model);
        return status;
    }
    model_kv_geometry(model, &dtype_f32, kv);
    status = model_build(model, &graph, 2, 1, kv);
    graph_free(&graph);
    model_free(model);
    return status;
}

TEST(allocation_failures)
{
    struct opened o = open_plan((struct plan){
        .arch = "llama", .moe = true, .skip = "blk.1.ffn_up_exps.weight", .edit = put_apart});
    struct opened vectors = open_plan(
        (struct plan){.arch = "llama", .skip = "output_norm.weight", .edit = put_short_vectors});
    test_each_allocation_fails(load_and_build, o.gguf);
    test_each_allocation_fails(load_and_build, vectors.gguf);
    close_plan(&o);
    close_plan(&vectors);
    model_free(NULL);
}
