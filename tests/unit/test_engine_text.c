/* Conversations and streams of text through hearth.h. */
#include "harness/test.h"

#include <stdio.h>

#include "gguf/gguf_write.h"
#include "hearth/hearth.h"

enum { EOS = 2, FIRST_BYTE = 3, N_VOCAB = FIRST_BYTE + 256 };

/* A vocabulary of bytes after <unk>, <s> and </s>; no weights. */
static const char *vocabulary(void)
{
    static char path[1024];
    if (path[0])
        return path;
    static char texts[N_VOCAB][8];
    struct str tokens[N_VOCAB] = {STR("<unk>"), STR("<s>"), STR("</s>")};
    int32_t types[N_VOCAB] = {2, 3, 3}; /* unknown, control; and bytes */
    float scores[N_VOCAB] = {0};
    struct gguf_writer *writer;
    for (int i = FIRST_BYTE; i < N_VOCAB; i++) {
        snprintf(texts[i], sizeof texts[i], "<0x%02X>", (unsigned)(i - FIRST_BYTE) & 0xff);
        tokens[i] = str_of(texts[i]);
        types[i] = 6;
    }
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_str(writer, "tokenizer.ggml.model", STR("llama"));
    gguf_put_strs(writer, "tokenizer.ggml.tokens", tokens, N_VOCAB);
    gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, scores, N_VOCAB);
    gguf_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, types, N_VOCAB);
    gguf_put_i32(writer, "tokenizer.ggml.bos_token_id", 1);
    gguf_put_i32(writer, "tokenizer.ggml.eos_token_id", EOS);
    snprintf(path, sizeof path, "%s", test_temp_path("bytes.gguf"));
    assert_int_equal(gguf_writer_save(writer, path), HTH_OK);
    gguf_writer_destroy(writer);
    return path;
}

static const struct hth_message question = {"user", "Why?"};

static enum hth_status try_open(struct hth_model **model, const char *path, const char *template)
{
    struct hth_model_options options = {.vocabulary_only = true,
                                        .chat_template = template,
                                        .chat_template_name = template ? "t.jinja" : NULL,
                                        .log = test_log()->write,
                                        .log_level = HTH_LOG_WARNING};
    test_log_clear();
    return hth_model_open(model, path, &options);
}

static struct hth_model *open_with(const char *template)
{
    struct hth_model *model;
    if (try_open(&model, vocabulary(), template))
        fail_msg("%s", test_log_text());
    return model;
}

/* --- templates -------------------------------------------------------------------------------- */

static enum hth_status render(const struct hth_model *model, const char *variables, char **text)
{
    size_t len;
    const struct hth_chat chat = {&question, 1, true, variables};
    test_log_clear();
    return hth_render(model, &chat, text, &len);
}

static void expect(const char *template, const char *variables, const char *wanted)
{
    char *text;
    struct hth_model *model = open_with(template);
    if (render(model, variables, &text))
        fail_msg("%s", test_log_text());
    assert_string_equal(text, wanted);
    hth_free(text);
    hth_model_close(model);
}

TEST(variables_reach_the_template)
{
    expect("{{ messages[0].content }} {{ x }} {{ add_generation_prompt }}", "{\"x\": [1, true]}",
           "Why? [1, True] True");
    expect("{{ x is defined }}", NULL, "False");
    expect("{{ bos_token }}|{{ eos_token }}", "{\"bos_token\": \"B\"}", "B|</s>");
    /* what a conversation is cannot be another */
    expect("{{ messages|length }} {{ add_generation_prompt }}",
           "{\"messages\": [], \"add_generation_prompt\": false}", "1 True");
}

TEST(variables_must_be_an_object)
{
    struct hth_model *model = open_with("x");
    static const char *const wrong[] = {"", "[1]", "3", "{\"a\": }", "{\"a\": \"\xff\"}"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char *text;
        assert_int_equal(render(model, wrong[i], &text), HTH_ERROR_ARGUMENT);
        assert_null(text);
        assert_logged("must be a JSON object such as");
    }
    hth_model_close(model);
}

TEST(templates_tell_what_they_look_at)
{
    struct hth_model *model = open_with("{% if enable_thinking %}{{ a.b }}{% endif %}");
    assert_true(hth_template_uses(model, "enable_thinking"));
    assert_true(hth_template_uses(model, "a"));
    assert_false(hth_template_uses(model, "b"));
    assert_false(hth_template_uses(model, "thinking"));
    hth_model_close(model);
}

TEST(a_given_template_must_be_good)
{
    struct hth_model *model;
    assert_int_equal(try_open(&model, vocabulary(), "\n{% if %}"), HTH_ERROR_FORMAT);
    assert_null(model);
    assert_logged("t.jinja, line 2: ");
}

TEST(a_refusal_names_template_and_reason)
{
    char *text;
    struct hth_model *model = open_with("\n{{ raise_exception('Say please.') }}");
    assert_int_equal(render(model, NULL, &text), HTH_ERROR_ARGUMENT);
    assert_string_equal(test_log_text(),
                        "t.jinja, line 2, refuses this conversation: Say please.\n");
    hth_model_close(model);
}

static enum hth_status open_render_close(void *path)
{
    struct hth_model *model;
    char *text = NULL;
    enum hth_status status = try_open(&model, path, "{{ x }}");
    if (status == HTH_OK)
        status = render(model, "{\"x\": {\"y\": [1, \"z\"]}}", &text);
    hth_free(text);
    hth_model_close(model);
    return status;
}

TEST(rendering_without_memory)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", vocabulary());
    test_each_allocation_fails(open_render_close, path);
}

/* What a vocabulary warns of is said while an error of it would be kept. */
TEST(an_unknown_pre_tokenizer_is_a_warning)
{
    static const int32_t types[] = {1, 1, 1};
    const char *path = test_temp_path("pre.gguf");
    struct hth_model *model;
    struct gguf_writer *writer;
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_str(writer, "tokenizer.ggml.model", STR("gpt2"));
    gguf_put_str(writer, "tokenizer.ggml.pre", STR("quux"));
    gguf_put_strs(writer, "tokenizer.ggml.tokens",
                  (const struct str[]){STR("a"), STR("b"), STR("ab")}, 3);
    gguf_put_strs(writer, "tokenizer.ggml.merges", (const struct str[]){STR("a b")}, 1);
    gguf_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, types, 3);
    assert_int_equal(gguf_writer_save(writer, path), HTH_OK);
    gguf_writer_destroy(writer);
    assert_int_equal(try_open(&model, path, NULL), HTH_OK);
    assert_logged("does not know the pre-tokenizer \"quux\"");
    hth_model_close(model);
}

/* --- streams ---------------------------------------------------------------------------------- */

static int32_t byte_token(char c)
{
    return FIRST_BYTE + (unsigned char)c;
}

static void push(struct hth_stream *stream, int32_t id, struct strbuf *out)
{
    size_t len;
    const char *text;
    assert_int_equal(hth_stream_push(stream, id, &text, &len), HTH_OK);
    assert_int_equal(strlen(text), len);
    strbuf_append(out, (struct str){text, len});
}

static void push_text(struct hth_stream *stream, const char *text, struct strbuf *out)
{
    for (; *text && !hth_stream_stopped(stream); text++)
        push(stream, byte_token(*text), out);
}

static void end(struct hth_stream *stream, struct strbuf *out)
{
    size_t len;
    const char *text;
    assert_int_equal(hth_stream_end(stream, &text, &len), HTH_OK);
    strbuf_append(out, (struct str){text, len});
}

TEST(a_stream_stops_at_texts)
{
    struct hth_model *model = open_with(NULL);
    struct hth_stream *stream;
    const char *const stops[] = {"\nUser:", "\xe2\x82\xac"};
    struct strbuf out = {0};
    assert_int_equal(hth_stream_create(&stream, model), HTH_OK);
    assert_int_equal(hth_stream_stop_at(stream, stops, 2), HTH_OK);
    push_text(stream, "one\nUse", &out);
    assert_string_equal(out.ptr, "one"); /* the rest may still become a stop */
    push_text(stream, " two", &out);
    assert_string_equal(out.ptr, "one\nUse two");
    assert_false(hth_stream_stopped(stream));
    push_text(stream, "\nUser: three", &out);
    assert_true(hth_stream_stopped(stream));
    end(stream, &out);
    assert_string_equal(out.ptr, "one\nUse two");
    assert_false(hth_stream_stopped(stream)); /* ready for another */
    strbuf_clear(&out);
    push_text(stream, "3\xe2\x82\xac", &out);
    assert_true(hth_stream_stopped(stream));
    end(stream, &out);
    assert_string_equal(out.ptr, "3");
    strbuf_clear(&out);
    push_text(stream, "4\nU", &out);
    end(stream, &out);
    assert_string_equal(out.ptr, "4\nU");
    strbuf_free(&out);
    hth_stream_destroy(stream);
    hth_model_close(model);
}

/* Control tokens have no text in an answer, and end it by what they are. */
TEST(a_stream_stops_at_control_tokens)
{
    struct hth_model *model = open_with(NULL);
    struct hth_stream *stream;
    const char *const stops[] = {"ab", "</s>"};
    struct strbuf out = {0};
    assert_int_equal(hth_stream_create(&stream, model), HTH_OK);
    push(stream, EOS, &out);
    assert_int_equal(hth_stream_stop_at(stream, stops, 2), HTH_OK);
    push_text(stream, "xa", &out);
    push(stream, EOS, &out);
    assert_true(hth_stream_stopped(stream));
    push(stream, byte_token('b'), &out);
    end(stream, &out);
    assert_string_equal(out.ptr, "xa");
    strbuf_free(&out);
    hth_stream_destroy(stream);
    hth_model_close(model);
}

TEST(wrong_stops_leave_a_stream_as_it_was)
{
    struct hth_model *model = open_with(NULL);
    struct hth_stream *stream;
    const char *const good[] = {"x"}, *const bad[] = {"y", ""};
    struct strbuf out = {0};
    assert_int_equal(hth_stream_create(&stream, model), HTH_OK);
    assert_int_equal(hth_stream_stop_at(stream, good, 1), HTH_OK);
    assert_int_equal(hth_stream_stop_at(stream, bad, 2), HTH_ERROR_ARGUMENT);
    push_text(stream, "ayx", &out);
    assert_string_equal(out.ptr, "ay");
    assert_int_equal(hth_stream_stop_at(stream, NULL, 0), HTH_OK);
    strbuf_clear(&out);
    push_text(stream, "x", &out);
    assert_string_equal(out.ptr, "x");
    strbuf_free(&out);
    hth_stream_destroy(stream);
    hth_model_close(model);
}

static enum hth_status stream_once(void *arg)
{
    const char *const stops[] = {"ab", "</s>"};
    struct hth_stream *stream;
    enum hth_status status = hth_stream_create(&stream, arg);
    if (status == HTH_OK)
        status = hth_stream_stop_at(stream, stops, 2);
    hth_stream_destroy(stream);
    return status;
}

TEST(streams_without_memory)
{
    struct hth_model *model = open_with(NULL);
    test_each_allocation_fails(stream_once, model);
    hth_model_close(model);
}
