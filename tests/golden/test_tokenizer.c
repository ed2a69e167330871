#include "harness/test.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/os.h"
#include "data/tokenizer/tiny_vocab.h"
#include "gguf/gguf_write.h"
#include "text/pretokenize.h"
#include "text/tokenizer.h"

/* A vocabulary read from a file, perhaps with keys changed on the way. */
struct vocabulary {
    struct gguf *gguf;
    struct tokenizer *tokenizer;
    struct strbuf changed;
};

static void open_vocabulary(struct vocabulary *v, const char *path)
{
    *v = (struct vocabulary){0};
    test_log_clear();
    if (gguf_open(&v->gguf, path, test_log()) != HTH_OK ||
        tokenizer_create(&v->tokenizer, v->gguf, test_log()) != HTH_OK)
        fail_msg("%s: %s", path, test_log_text());
}

static void close_vocabulary(struct vocabulary *v)
{
    tokenizer_destroy(v->tokenizer);
    gguf_close(v->gguf);
    strbuf_free(&v->changed);
}

/* The same file with another `tokenizer.ggml.pre` (NULL: without it). */
static void open_with_pre(struct vocabulary *v, const struct gguf *source, const char *pre)
{
    *v = (struct vocabulary){0};
    struct gguf_writer *writer;
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    for (size_t i = 0; i < gguf_n_keys(source); i++) {
        const struct gguf_key *key = gguf_key_at(source, i);
        if (!str_equal(key->name, STR("tokenizer.ggml.pre")))
            gguf_put_key(writer, key);
    }
    if (pre)
        gguf_put_str(writer, "tokenizer.ggml.pre", str_of(pre));
    assert_int_equal(gguf_writer_save_memory(writer, &v->changed), HTH_OK);
    gguf_writer_destroy(writer);
    test_log_clear();
    if (gguf_open_memory(&v->gguf, v->changed.ptr, v->changed.len, "changed", test_log()) !=
            HTH_OK ||
        tokenizer_create(&v->tokenizer, v->gguf, test_log()) != HTH_OK)
        fail_msg("pre %s: %s", pre ? pre : "absent", test_log_text());
}

static void print_ids(struct strbuf *out, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++)
        strbuf_printf(out, " %" PRId32, ids[i]);
}

/* Fails with both lists of ids, and the pieces of ours. */
static void report(const struct tokenizer *tokenizer, const char *what, struct str text,
                   const struct token_list *got, const int32_t *expected, size_t n_expected)
{
    struct strbuf ours = {0}, theirs = {0}, pieces = {0}, other = {0};
    print_ids(&ours, got->ids, got->count);
    print_ids(&theirs, expected, n_expected);
    for (size_t i = 0; i < got->count; i++) {
        strbuf_append_char(&pieces, '|');
        tokenizer_piece(tokenizer, got->ids[i], true, false, &pieces);
    }
    for (size_t i = 0; i < n_expected; i++) {
        strbuf_append_char(&other, '|');
        tokenizer_piece(tokenizer, expected[i], true, false, &other);
    }
    print_error("%s: text \"%.*s\"\n  expected%s\n  got     %s\n  expected %s\n  got      %s\n",
                what, (int)text.len, text.ptr, theirs.len ? theirs.ptr : "",
                ours.len ? ours.ptr : "", other.len ? other.ptr : "", pieces.len ? pieces.ptr : "");
    strbuf_free(&ours);
    strbuf_free(&theirs);
    strbuf_free(&pieces);
    strbuf_free(&other);
}

static bool same_ids(const struct tokenizer *tokenizer, const char *what, struct str text,
                     const int32_t *expected, size_t n_expected)
{
    struct token_list got = {0};
    assert_int_equal(tokenizer_encode(tokenizer, text, 0, &got), HTH_OK);
    bool same = got.count == n_expected;
    for (size_t i = 0; same && i < got.count; i++)
        same = got.ids[i] == expected[i];
    if (!same)
        report(tokenizer, what, text, &got, expected, n_expected);
    token_list_free(&got);
    return same;
}

static struct strbuf read_whole(const char *path)
{
    struct strbuf bytes = {0};
    assert_int_equal(file_read(path, 64 << 20, &bytes, test_log()), HTH_OK);
    return bytes;
}

static char *find_mark(char *from, const char *end, const char *mark)
{
    size_t len = strlen(mark);
    for (; (size_t)(end - from) >= len; from++)
        if (memcmp(from, mark, len) == 0)
            return from;
    return NULL;
}

/* The texts of X.gguf.inp against the lines of X.gguf.out. */
static void check_file(const char *name)
{
    struct vocabulary v;
    open_vocabulary(&v, test_golden_path("tokenizer/%s.gguf", name));
    struct strbuf texts = read_whole(test_golden_path("tokenizer/%s.gguf.inp", name));
    struct strbuf ids = read_whole(test_golden_path("tokenizer/%s.gguf.out", name));
    static const char mark[] = "\n__ggml_vocab_test__\n";
    size_t n = 0, n_bad = 0;
    char *line = ids.ptr;
    for (char *text = texts.ptr; text < texts.ptr + texts.len; n++) {
        char *end = find_mark(text, texts.ptr + texts.len, mark);
        if (!end)
            break;
        struct token_list expected = {0};
        char *line_end = strchr(line, '\n');
        assert_non_null(line_end);
        while (line < line_end) {
            char *after;
            long id = strtol(line, &after, 10);
            if (after == line || after > line_end)
                break;
            assert_true(token_list_append(&expected, (int32_t)id));
            line = after;
        }
        line = line_end + 1;
        struct str one = {text, (size_t)(end - text)};
        n_bad += !same_ids(v.tokenizer, name, one, expected.ids, expected.count);
        token_list_free(&expected);
        text = end + sizeof mark - 1;
    }
    assert_in_range(n, 40, 1000);
    strbuf_free(&texts);
    strbuf_free(&ids);
    close_vocabulary(&v);
    if (n_bad)
        fail_msg("%s: %zu of %zu texts differ", name, n_bad, n);
}

TEST(llama_spm)
{
    check_file("llama-spm");
}

TEST(phi_3)
{
    check_file("phi-3");
}

TEST(llama_bpe)
{
    check_file("llama-bpe");
}

TEST(qwen2)
{
    check_file("qwen2");
}

TEST(gpt_2)
{
    check_file("gpt-2");
}

TEST(deepseek_llm)
{
    check_file("deepseek-llm");
}

TEST(falcon)
{
    check_file("falcon");
}

TEST(starcoder)
{
    check_file("starcoder");
}

TEST(wpm)
{
    check_file("wpm-synth");
}

TEST(wpm_cased)
{
    check_file("wpm-cased-synth");
}

TEST(ugm)
{
    check_file("ugm-synth");
}

TEST(ugm_nomap)
{
    check_file("ugm-nomap-synth");
}

TEST(rwkv)
{
    check_file("rwkv-synth");
}

TEST(plamo2)
{
    check_file("plamo2-synth");
}

TEST(plamo3)
{
    check_file("plamo3-synth");
}

TEST(hybriddna)
{
    check_file("hybriddna-synth");
}

TEST(whitespace)
{
    check_file("whitespace-synth");
}

static json_t *load_json(const char *path)
{
    json_error_t error;
    json_t *root = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (!root)
        fail_msg("%s: %s", path, error.text);
    return root;
}

static struct str json_text(const json_t *value)
{
    return (struct str){json_string_value(value), json_string_length(value)};
}

/* All texts of one pre-tokenizer against `rows`; a null row passes with any answer. */
static size_t check_rows(const struct tokenizer *tokenizer, const char *pre, const json_t *texts,
                         const json_t *rows)
{
    size_t n_bad = 0;
    for (size_t t = 0; t < json_array_size(texts); t++) {
        const json_t *row = json_array_get(rows, t);
        struct token_list expected = {0};
        for (size_t i = 0; i < json_array_size(row); i++) {
            json_int_t id = json_integer_value(json_array_get(row, i));
            assert_true(token_list_append(&expected, (int32_t)id));
        }
        struct str text = json_text(json_array_get(texts, t));
        if (json_is_null(row)) {
            struct token_list any = {0};
            assert_int_equal(tokenizer_encode(tokenizer, text, 0, &any), HTH_OK);
            token_list_free(&any);
        } else {
            n_bad += !same_ids(tokenizer, pre, text, expected.ids, expected.count);
        }
        token_list_free(&expected);
    }
    return n_bad;
}

/* Every name through one vocabulary. HEARTH_PRE picks one name. */
static void check_pre(const char *json_name)
{
    json_t *root = load_json(test_golden_path("tokenizer/pre/%s.json", json_name));
    json_t *ids = json_object_get(root, "ids"), *same_as = json_object_get(root, "same_as");
    const json_t *texts = json_object_get(root, "texts");
    char vocab[64];
    snprintf(vocab, sizeof vocab, "%s", json_string_value(json_object_get(root, "vocab")));
    struct gguf *source;
    const char *path = test_golden_path(
        strcmp(vocab, "merge-synth.gguf") == 0 ? "tokenizer/pre/%s" : "tokenizer/%s", vocab);
    assert_int_equal(gguf_open(&source, path, test_log()), HTH_OK);
    const char *only = getenv("HEARTH_PRE");
    size_t n_bad = 0, n_names = 0;
    for (size_t i = 0; pre_row_at(i); i++) {
        const char *pre = pre_row_at(i)->name;
        if (only && strcmp(only, pre) != 0)
            continue;
        const json_t *other = json_object_get(same_as, pre);
        const json_t *rows = json_object_get(ids, other ? json_string_value(other) : pre);
        if (!rows)
            continue;
        struct vocabulary v;
        open_with_pre(&v, source, pre);
        size_t bad = check_rows(v.tokenizer, pre, texts, rows);
        if (bad)
            print_error("== %s: %d texts differ\n", pre, (int)bad);
        n_bad += bad;
        n_names++;
        close_vocabulary(&v);
    }
    gguf_close(source);
    size_t n_wanted = json_object_size(ids) + json_object_size(same_as);
    json_decref(root);
    if (n_bad)
        fail_msg("%s: %zu answers differ", json_name, n_bad);
    if (!only)
        assert_int_equal(n_names, n_wanted);
}

TEST(pre_synth)
{
    check_pre("golden-synth");
}

TEST(pre_gpt_2)
{
    check_pre("golden");
}

TEST(pre_qwen2)
{
    check_pre("golden-qwen2");
}

TEST(pre_absent_means_default)
{
    struct gguf *source;
    const char *path = test_golden_path("tokenizer/gpt-2.gguf");
    assert_int_equal(gguf_open(&source, path, test_log()), HTH_OK);
    json_t *root = load_json(test_golden_path("tokenizer/pre/golden.json"));
    const json_t *rows = json_object_get(json_object_get(root, "ids"), "default");
    for (int i = 0; i < 3; i++) {
        static const char *const pres[3] = {NULL, "", "no-such-pre-tokenizer"};
        struct vocabulary v;
        open_with_pre(&v, source, pres[i]);
        assert_logged("\"default\" is used");
        assert_int_equal(check_rows(v.tokenizer, "default", json_object_get(root, "texts"), rows),
                         0);
        close_vocabulary(&v);
    }
    json_decref(root);
    gguf_close(source);
}

/* A flag that was not probed (null) may be anything. */
static void check_flag(const json_t *row, const char *name, bool ours)
{
    const json_t *value = json_object_get(row, name);
    assert_non_null(value);
    if (!json_is_null(value) && json_is_true(value) != ours)
        fail_msg("%s is %d here", name, ours);
}

TEST(pre_flags)
{
    json_t *root = load_json(test_golden_path("tokenizer/pre/flags.json"));
    const char *name;
    json_t *row;
    size_t n = 0;
    json_object_foreach(root, name, row)
    {
        const struct pre_row *ours = pre_row_find(str_of(name));
        if (!ours)
            fail_msg("no pre-tokenizer \"%s\"", name);
        struct tiny tiny;
        assert_int_equal(tiny_open(&tiny, name, test_log()), HTH_OK);
        check_flag(row, "add_bos", tokenizer_adds_bos(tiny.tokenizer));
        tiny_close(&tiny);
        /* add_eos is said of none; add_sep is of two texts in one, which hearth does not make. */
        check_flag(row, "clean_spaces", ours->flags & PRE_CLEAN_SPACES);
        check_flag(row, "whole_word_first", ours->flags & PRE_WHOLE_WORD);
        check_flag(row, "u2581_is_space", ours->flags & PRE_SPACE_MARK);
        n++;
    }
    assert_int_equal(n, 93);
    json_decref(root);
}

static void decode_base64(struct str text, struct strbuf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    unsigned bits = 0, n_bits = 0;
    for (size_t i = 0; i < text.len && text.ptr[i] != '='; i++) {
        const char *digit = strchr(digits, text.ptr[i]);
        assert_non_null(digit);
        bits = bits << 6 | (unsigned)(digit - digits);
        n_bits += 6;
        if (n_bits >= 8)
            strbuf_append_char(out, (char)(bits >> (n_bits -= 8) & 0xff));
    }
}

/* One row of detok.json, without or with special tokens written out. */
static bool same_text(const struct tokenizer *tokenizer, const json_t *row, bool special)
{
    struct token_list ids = {0};
    const json_t *list = json_object_get(row, "ids");
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_int_t id = json_integer_value(json_array_get(list, i));
        assert_true(token_list_append(&ids, (int32_t)id));
    }
    struct strbuf expected = {0}, got = {0};
    const json_t *exact = json_object_get(row, special ? "text_special_b64" : "text_b64");
    if (exact)
        decode_base64(json_text(exact), &expected);
    else
        strbuf_append(&expected,
                      json_text(json_object_get(row, special ? "text_special" : "text")));
    assert_int_equal(tokenizer_decode(tokenizer, ids.ids, ids.count, special, &got), HTH_OK);
    bool same = str_equal(strbuf_str(&got), strbuf_str(&expected));
    if (!same)
        print_error("expected \"%s\"\ngot      \"%s\"\n", expected.len ? expected.ptr : "",
                    got.len ? got.ptr : "");
    strbuf_free(&expected);
    strbuf_free(&got);
    token_list_free(&ids);
    return same;
}

static void check_decoding(const char *name, const char *path)
{
    json_t *root = load_json(test_golden_path("tokenizer/detok.json"));
    const json_t *rows = json_object_get(root, name);
    assert_int_equal(json_array_size(rows), 20);
    struct vocabulary v;
    open_vocabulary(&v, path);
    size_t n_bad = 0;
    for (size_t i = 0; i < 20; i++) {
        n_bad += !same_text(v.tokenizer, json_array_get(rows, i), false);
        n_bad += !same_text(v.tokenizer, json_array_get(rows, i), true);
    }
    close_vocabulary(&v);
    json_decref(root);
    if (n_bad)
        fail_msg("%s: %zu of 40 texts differ", name, n_bad);
}

TEST(decoding)
{
    static const char *const names[] = {
        "deepseek-llm.gguf",    "falcon.gguf",           "gpt-2.gguf",
        "llama-bpe.gguf",       "llama-spm.gguf",        "phi-3.gguf",
        "qwen2.gguf",           "starcoder.gguf",        "wpm-synth.gguf",
        "wpm-cased-synth.gguf", "ugm-synth.gguf",        "ugm-nomap-synth.gguf",
        "rwkv-synth.gguf",      "plamo2-synth.gguf",     "plamo3-synth.gguf",
        "hybriddna-synth.gguf", "whitespace-synth.gguf",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        check_decoding(names[i], test_golden_path("tokenizer/%s", names[i]));
}

TEST(smollm2_decoding)
{
    check_decoding("SmolLM2-135M-Instruct.Q4_1.gguf", test_real_model());
}

TEST(smollm2_chat_markers)
{
    struct vocabulary v;
    open_vocabulary(&v, test_real_model());
    struct token_list ids = {0};
    struct str text = STR("<|im_start|>user\nHi<|im_end|>\n");
    assert_int_equal(tokenizer_encode(v.tokenizer, text, TOKEN_ADD_BOS | TOKEN_PARSE_SPECIAL, &ids),
                     HTH_OK);
    assert_true(ids.count > 4);
    assert_int_equal(ids.ids[0], 1);
    assert_int_equal(ids.ids[ids.count - 2], 2);
    assert_false(tokenizer_adds_bos(v.tokenizer));
    assert_true(tokenizer_is_end(v.tokenizer, 2));
    assert_false(tokenizer_is_end(v.tokenizer, 1));
    struct strbuf back = {0};
    assert_int_equal(tokenizer_decode(v.tokenizer, ids.ids, ids.count, true, &back), HTH_OK);
    assert_true(str_equal(strbuf_str(&back), text));
    strbuf_free(&back);
    token_list_free(&ids);
    close_vocabulary(&v);
}

/* The prompts of the model's golden logits, tokenized as an engine would. */
TEST(smollm2_prompts)
{
    struct vocabulary v;
    open_vocabulary(&v, test_real_model());
    static const char *const names[] = {"smollm2-sky", "smollm2-long"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct gguf *golden;
        const char *path = test_golden_path("real/%s.gguf", names[i]);
        assert_int_equal(gguf_open(&golden, path, test_log()), HTH_OK);
        const struct gguf_tensor *tokens = gguf_tensor_find(golden, "tokens");
        assert_non_null(tokens);
        struct strbuf text = read_whole(test_golden_path("real/%s.txt", names[i]));
        struct token_list ids = {0};
        assert_int_equal(tokenizer_encode(v.tokenizer, strbuf_str(&text),
                                          TOKEN_ADD_BOS | TOKEN_PARSE_SPECIAL, &ids),
                         HTH_OK);
        assert_int_equal(ids.count, tokens->ne[0]);
        assert_memory_equal(ids.ids, tokens->data, ids.count * sizeof *ids.ids);
        token_list_free(&ids);
        strbuf_free(&text);
        gguf_close(golden);
    }
    close_vocabulary(&v);
}
