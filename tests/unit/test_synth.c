#include "harness/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "model/arch.h"
#include "model/synth_part.h"
#include "text/tokenizer.h"

/* A made model in memory, opened. */
struct made {
    struct strbuf bytes;
    struct gguf *gguf;
};

static enum hth_status make_bytes(struct synth_params params, struct strbuf *out)
{
    struct synth *synth;
    enum hth_status status = synth_create(&synth, &params, test_log());
    if (status) {
        assert_null(synth);
        return status;
    }
    status = gguf_writer_save_memory(synth_writer(synth), out);
    synth_destroy(synth);
    return status;
}

static struct made make(const char *shape, const char *quant)
{
    struct made made = {0};
    struct synth_params params = {.shape = shape, .quant = quant, .seed = 5};
    assert_int_equal(make_bytes(params, &made.bytes), HTH_OK);
    assert_int_equal(
        gguf_open_memory(&made.gguf, made.bytes.ptr, made.bytes.len, shape, test_log()), HTH_OK);
    return made;
}

static void unmake(struct made *made)
{
    gguf_close(made->gguf);
    strbuf_free(&made->bytes);
}

static const char *type_of(const struct made *made, const char *name)
{
    const struct gguf_tensor *tensor = gguf_tensor_find(made->gguf, name);
    assert_non_null(tensor);
    return tensor->dtype->name;
}

TEST(every_shape_can_be_described)
{
    for (size_t i = 0; synth_shape_at(i); i++) {
        struct synth_params params = {.shape = synth_shape_at(i), .quant = "Q4_k_M"};
        struct synth *synth;
        assert_int_equal(synth_create(&synth, &params, test_log()), HTH_OK);
        synth_destroy(synth);
    }
    assert_non_null(synth_shape_find(STR("MIXTRAL-8x7b")));
}

/* The numbers of parameters that the models' cards state. */
TEST(shapes_have_the_published_sizes)
{
    static const struct {
        const char *name;
        double billions;
    } rows[] = {
        {"smollm2-135m", 0.1345},  {"llama-1b", 1.1000}, {"llama-8b", 8.0303},
        {"llama-70b", 70.5537},    {"qwen3-4b", 4.0225}, {"qwen3-30b-a3b", 30.5321},
        {"mixtral-8x7b", 46.7028}, {"moe-4b", 4.05},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct synth_shape *s = synth_shape_find(str_of(rows[i].name));
        double q = (double)s->n_head * s->head_dim, kv = (double)s->n_head_kv * s->head_dim;
        double ff = s->n_expert ? s->n_expert * (double)(s->n_ff_expert ? s->n_ff_expert : s->n_ff)
                                : s->n_ff;
        double layer = s->n_embd * (2 * q + 2 * kv + 3 * ff + 2.0 + s->n_expert);
        double total = s->n_layer * layer + (s->tied ? 1.0 : 2.0) * s->n_vocab * s->n_embd;
        if (fabs(total / 1e9 - rows[i].billions) > 0.002 * rows[i].billions)
            fail_msg("%s has %.4f billion parameters, not %.4f", s->name, total / 1e9,
                     rows[i].billions);
    }
}

TEST(tiny_models_bind_and_build)
{
    static const char *const shapes[] = {"tiny-moe", "tiny-llama"};
    static const char *const quants[] = {"q4_k_m", "q8_0", "BF16"};
    for (size_t i = 0; i < ARRAY_LEN(shapes) * ARRAY_LEN(quants); i++) {
        struct made made = make(shapes[i % 2], quants[i / 2]);
        struct kv_geom kv[4];
        struct model *model;
        struct graph graph;
        test_log_clear();
        assert_int_equal(model_load(&model, made.gguf, test_log()), HTH_OK);
        assert_string_equal(test_log_text(), ""); /* nothing is left over */
        model_kv_geometry(model, &dtype_f16, kv);
        assert_int_equal(model_build(model, &graph, 4, 1, kv), HTH_OK);
        graph_free(&graph);
        model_free(model);
        unmake(&made);
    }
}

TEST(a_seed_gives_one_file_for_any_number_of_threads)
{
    struct strbuf one = {0}, three = {0}, other = {0};
    struct synth_params params = {.shape = "tiny-llama", .quant = "q5_k_s", .seed = 7};
    struct pool *pool;
    assert_int_equal(make_bytes(params, &one), HTH_OK);
    assert_int_equal(pool_create(&pool, 3, test_log()), HTH_OK);
    params.pool = pool;
    assert_int_equal(make_bytes(params, &three), HTH_OK);
    assert_int_equal(one.len, three.len);
    assert_memory_equal(one.ptr, three.ptr, one.len);
    params.seed = 8;
    assert_int_equal(make_bytes(params, &other), HTH_OK);
    assert_int_equal(one.len, other.len);
    assert_memory_not_equal(one.ptr + one.len / 2, other.ptr + one.len / 2, 4096);
    pool_destroy(pool);
    strbuf_free(&one);
    strbuf_free(&three);
    strbuf_free(&other);
}

static void check_scale(const struct made *made, const char *name, double deviation)
{
    const struct gguf_tensor *tensor = gguf_tensor_find(made->gguf, name);
    size_t n = (size_t)(tensor->ne[0] * tensor->ne[1] * tensor->ne[2]);
    float *values = calloc(n, sizeof *values);
    double sum = 0, squares = 0;
    tensor->dtype->decode(tensor->data, values, n);
    for (size_t i = 0; i < n; i++) {
        sum += values[i];
        squares += (double)values[i] * values[i];
    }
    if (fabs(sqrt(squares / (double)n) - deviation) > 0.03 * deviation ||
        fabs(sum / (double)n) > 0.03 * deviation)
        fail_msg("%s: mean %g, deviation %g, not %g", name, sum / (double)n,
                 sqrt(squares / (double)n), deviation);
    assert_memory_not_equal(values, values + tensor->ne[0], (size_t)tensor->ne[0] * 4);
    free(values);
}

TEST(weights_have_the_right_scale)
{
    struct made made = make("tiny-llama", "q4_0");
    const struct gguf_tensor *norm = gguf_tensor_find(made.gguf, "blk.1.ffn_norm.weight");
    check_scale(&made, "blk.0.attn_q.weight", 1 / 16.0);
    check_scale(&made, "blk.3.ffn_down.weight", 1 / sqrt(768.0));
    check_scale(&made, "output.weight", 1 / 16.0);
    check_scale(&made, "token_embd.weight", 1);
    for (int i = 0; i < norm->ne[0]; i++) {
        float value = ((const float *)norm->data)[i];
        assert_true(value >= 0.9f && value <= 1.1f);
    }
    unmake(&made);
}

/* What is made in one go must not come again: 8 pieces of 16 × 1024 blocks. */
TEST(large_matrices_do_not_repeat)
{
    struct made made = make("tiny-moe", "q4_0");
    const struct gguf_tensor *tensor = gguf_tensor_find(made.gguf, "blk.0.ffn_up_exps.weight");
    const char *bytes = tensor->data;
    size_t slice = 1024 * 18, n_slices = (size_t)tensor->size_bytes / slice;
    assert_int_equal(n_slices, 128);
    for (size_t i = 1; i < n_slices; i++)
        assert_memory_not_equal(bytes, bytes + i * slice, slice);
    unmake(&made);
}

/* As the field's quantizer makes them (files compared tensor by tensor). */
TEST(mixes_put_better_types_where_the_field_does)
{
    static const bool better[22] = {
        [0] = true,  [1] = true,  [4] = true,  [7] = true,  [10] = true,
        [13] = true, [16] = true, [19] = true, [20] = true, [21] = true};
    const struct synth_shape *llama = synth_shape_find(STR("llama-1b"));
    const struct synth_shape *mixtral = synth_shape_find(STR("mixtral-8x7b"));
    const struct synth_shape *big = synth_shape_find(STR("llama-70b"));
    const struct synth_shape *small = synth_shape_find(STR("smollm2-135m"));
    struct synth_mix plain;
    const struct synth_mix *mix = synth_mix_find(STR("Q4_K_M"), &plain);
    assert_non_null(mix);
    for (int i = 0; i < 22; i++) {
        const char *want = better[i] ? "Q6_K" : "Q4_K";
        assert_string_equal(synth_mix_type(mix, llama, ROLE_FFN_DOWN, i, 5632)->name, want);
        assert_string_equal(synth_mix_type(mix, llama, ROLE_ATTN_V, i, 2048)->name, want);
        assert_string_equal(synth_mix_type(mix, llama, ROLE_ATTN_K, i, 2048)->name, "Q4_K");
    }
    assert_string_equal(synth_mix_type(mix, llama, ROLE_OUTPUT, -1, 2048)->name, "Q6_K");
    assert_string_equal(synth_mix_type(mix, llama, ROLE_EMBED, -1, 2048)->name, "Q4_K");
    assert_string_equal(synth_mix_type(mix, mixtral, ROLE_ATTN_V, 9, 4096)->name, "Q8_0");
    assert_string_equal(synth_mix_type(mix, mixtral, ROLE_ATTN_OUT, 9, 4096)->name, "Q5_K");
    assert_string_equal(synth_mix_type(mix, big, ROLE_ATTN_V, 11, 8192)->name, "Q5_K");
    assert_string_equal(synth_mix_type(mix, small, ROLE_OUTPUT, -1, 576)->name, "Q8_0");
    assert_string_equal(synth_mix_type(mix, small, ROLE_ATTN_Q, 3, 576)->name, "Q5_0");
    mix = synth_mix_find(STR("q4_1"), &plain);
    assert_string_equal(synth_mix_type(mix, llama, ROLE_OUTPUT, -1, 2048)->name, "Q4_1");
    assert_null(synth_mix_find(STR("i32"), &plain));
    assert_null(synth_mix_find(STR("q4_k_x"), &plain));
}

TEST(files_carry_their_types)
{
    struct made made = make("tiny-moe", "q4_k_m");
    uint64_t file_type = 0;
    assert_string_equal(type_of(&made, "blk.3.ffn_down_exps.weight"), "Q6_K");
    assert_string_equal(type_of(&made, "blk.0.ffn_down_exps.weight"), "Q4_K");
    assert_string_equal(type_of(&made, "blk.0.ffn_gate_inp.weight"), "F32");
    assert_string_equal(type_of(&made, "output.weight"), "Q6_K");
    assert_true(gguf_get_u64(gguf_key_find(made.gguf, "general.file_type"), 0, &file_type));
    assert_int_equal(file_type, 15);
    unmake(&made);
}

static void check_round_trip(const struct tokenizer *tokenizer, struct str text)
{
    struct token_list ids = {0};
    struct strbuf back = {0};
    assert_int_equal(tokenizer_encode(tokenizer, text, 0, &ids), HTH_OK);
    assert_int_equal(tokenizer_decode(tokenizer, ids.ids, ids.count, false, &back), HTH_OK);
    if (back.len != text.len || memcmp(back.ptr, text.ptr, text.len) != 0)
        fail_msg("\"%.*s\" came back as \"%.*s\"", (int)text.len, text.ptr, (int)back.len,
                 back.ptr);
    token_list_free(&ids);
    strbuf_free(&back);
}

TEST(vocabularies_work)
{
    static const char *const shapes[] = {"tiny-moe", "tiny-llama"};
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++) {
        struct made made = make(shapes[i], "q4_0");
        struct tokenizer *tokenizer;
        struct token_list ids = {0};
        struct rng rng = rng_seed(1);
        assert_int_equal(tokenizer_create(&tokenizer, made.gguf, test_log()), HTH_OK);
        assert_int_equal(tokenizer_n_vocab(tokenizer), i ? 2048 : 4096);
        check_round_trip(tokenizer,
                         STR("Why is the sky blue?\n\n  In 1905, perhaps; \xc3\xa9t\xc3\xa9 "
                             "\xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x8c\x8d\tend\xc2\xad\x7f."));
        for (int round = 0; round < 200; round++) { /* printable, so that spaces stay inside */
            char text[64];
            for (size_t k = 0; k < sizeof text; k++)
                text[k] = (char)(k == 0 || rng_below(&rng, 6) ? 'a' + rng_below(&rng, 26)
                                                              : 32 + rng_below(&rng, 95));
            check_round_trip(tokenizer, (struct str){text, sizeof text});
        }
        /* Words are found: a text of common letters takes fewer tokens than it has letters. */
        assert_int_equal(tokenizer_encode(tokenizer, STR("the tree is there on its own"), 0, &ids),
                         HTH_OK);
        assert_true(ids.count < 21);
        ids.count = 0;
        assert_int_equal(
            tokenizer_encode(tokenizer, STR("<|im_start|>"), TOKEN_PARSE_SPECIAL, &ids), HTH_OK);
        assert_int_equal(ids.count, 1);
        assert_true(tokenizer_is_end(tokenizer, tokenizer_find(tokenizer, STR("<|im_end|>"))));
        assert_non_null(gguf_key_find(made.gguf, "tokenizer.chat_template"));
        token_list_free(&ids);
        tokenizer_destroy(tokenizer);
        unmake(&made);
    }
}

TEST(unknown_names_are_answered_with_the_known)
{
    struct strbuf out = {0};
    struct synth_params params = {.shape = "llama-9b", .quant = "q4_0"};
    assert_int_equal(make_bytes(params, &out), HTH_ERROR_ARGUMENT);
    assert_logged("llama-9b");
    assert_logged("qwen3-30b-a3b");
    params = (struct synth_params){.shape = "tiny-moe", .quant = "q11"};
    assert_int_equal(make_bytes(params, &out), HTH_ERROR_ARGUMENT);
    assert_logged("q11");
    assert_logged("q4_k_m");
    params = (struct synth_params){.shape = NULL, .quant = NULL};
    assert_int_equal(make_bytes(params, &out), HTH_ERROR_ARGUMENT);
    synth_destroy(NULL);
}

static enum hth_status make_once(void *arg)
{
    struct strbuf out = {0};
    struct synth_params params = {.shape = "tiny-llama", .quant = "q8_0"};
    enum hth_status status = make_bytes(params, &out);
    (void)arg;
    strbuf_free(&out);
    return status;
}

TEST(allocation_failures)
{
    test_each_allocation_fails(make_once, NULL);
}
