#include "harness/test.h"

#include "base/rng.h"
#include "data/tokenizer/tiny_vocab.h"
#include "text/tokenizer_kind.h"
#include "text/utf8.h"

static struct tiny open_tiny(const char *pre)
{
    struct tiny tiny;
    test_log_clear();
    if (tiny_open(&tiny, pre, test_log()) != HTH_OK)
        fail_msg("%s", test_log_text());
    return tiny;
}

enum { MAX_IDS = 12 };

struct encoding {
    const char *text;
    int n;
    int32_t ids[MAX_IDS];
};

static void check_encoding(const struct tiny *tiny, struct str text, unsigned flags,
                           const int32_t *ids, size_t n)
{
    struct token_list got = {0};
    assert_int_equal(tokenizer_encode(tiny->tokenizer, text, flags, &got), HTH_OK);
    bool same = got.count == n;
    for (size_t i = 0; same && i < n; i++)
        same = got.ids[i] == ids[i];
    if (!same) {
        struct strbuf ours = {0};
        for (size_t i = 0; i < got.count; i++)
            strbuf_printf(&ours, " %d", (int)got.ids[i]);
        fail_msg("\"%.*s\" with flags %u became%s", (int)text.len, text.ptr, flags,
                 ours.len ? ours.ptr : " nothing");
    }
    token_list_free(&got);
}

static void check_encodings(const char *pre, unsigned flags, const struct encoding *rows, size_t n)
{
    struct tiny tiny = open_tiny(pre);
    for (size_t i = 0; i < n; i++)
        check_encoding(&tiny, str_of(rows[i].text), flags, rows[i].ids, (size_t)rows[i].n);
    tiny_close(&tiny);
}

TEST(bpe_joins_by_rank_then_from_the_left)
{
    static const struct encoding rows[] = {
        {"", 0, {0}},
        {"h", 1, {'h'}},
        {"hello", 2, {258, 'o'}},
        {"hell", 1, {258}},
        {"aaa", 2, {259, 'a'}},
        {"aaaa", 1, {260}},
        {"aaaaa", 2, {260, 'a'}},
        {" w", 1, {261}},
        {"x w", 2, {'x', 261}},
        {"xy", 2, {'x', 'y'}}, /* a merge whose result is no token */
        {"whole", 5, {'w', 'h', 'o', 'l', 'e'}},
        {"\xc3\xa9", 2, {0xc3, 0xa9}},
    };
    check_encodings("qwen2", 0, rows, ARRAY_LEN(rows));
}

TEST(bpe_takes_whole_words_first_where_the_family_does)
{
    static const struct encoding rows[] = {{"whole", 1, {262}},
                                           {"wholes", 6, {'w', 'h', 'o', 'l', 'e', 's'}}};
    check_encodings("llama-bpe", 0, rows, ARRAY_LEN(rows));
}

TEST(bpe_keeps_bytes_that_are_no_utf8)
{
    static const struct encoding rows[] = {
        {"\xff\xfe", 2, {0xff, 0xfe}},
        {"he\xc3ll", 3, {256, 0xc3, 257}},
        {"\xed\xa0\x80", 3, {0xed, 0xa0, 0x80}},
        {"\xe9", 1, {267}}, /* of two tokens with one text the last */
    };
    check_encodings("qwen2", 0, rows, ARRAY_LEN(rows));
}

TEST(spm_joins_by_score)
{
    static const struct encoding rows[] = {
        {"", 0, {0}},
        {"ab", 1, {264}},
        {"aab", 3, {259, 265, 261}},
        {"b", 2, {259, 261}},
        {"a b", 3, {263, 259, 261}},
        {"\xc3\xa9", 2, {259, 267}},
    };
    check_encodings(NULL, 0, rows, ARRAY_LEN(rows));
}

TEST(spm_falls_back_to_bytes)
{
    static const struct encoding rows[] = {
        {"\xe2\x82\xac", 4, {259, 3 + 0xe2, 3 + 0x82, 3 + 0xac}},
        {"\xff", 2, {259, 3 + 0xff}},
        {"a\xc3", 2, {263, 3 + 0xc3}},
    };
    check_encodings(NULL, 0, rows, ARRAY_LEN(rows));
}

TEST(spm_marks_a_space_after_special_tokens)
{
    static const struct encoding parsed[] = {
        {"<s>a", 2, {1, 263}}, {"a<tool>", 2, {263, 266}}, {"<tool>a", 2, {266, 263}}};
    check_encodings(NULL, TOKEN_PARSE_SPECIAL, parsed, ARRAY_LEN(parsed));
    static const struct encoding plain[] = {{"<s>a", 5, {259, 3 + '<', 3 + 's', 3 + '>', 260}},
                                            {"<tool>a", 2, {266, 263}}};
    check_encodings(NULL, 0, plain, ARRAY_LEN(plain));
}

/* What is cut because it is too long is no beginning, and no character is cut. */
TEST(very_long_text_is_taken_in_stretches)
{
    struct tiny tiny = open_tiny(NULL);
    tiny.tokenizer->max_stretch = 4;
    static const int32_t ids[] = {264, 263, 261, 262, 267, 260};
    check_encoding(&tiny,
                   STR("ab abab\xc3\xa9"
                       "a"),
                   0, ids, ARRAY_LEN(ids));
    tiny_close(&tiny);
}

TEST(special_tokens_are_parsed_on_request)
{
    static const struct encoding parsed[] = {
        {"a<|im_end|>b", 3, {'a', 263, 'b'}},
        {"<|im<|im_end|>", 2, {264, 263}}, /* the longest at each place */
        {"<|im_en", 4, {264, '_', 'e', 'n'}},
        {"<|im_end|><|im_end|>", 2, {263, 263}},
        {"<<s>>", 3, {'<', 266, '>'}},
    };
    check_encodings("qwen2", TOKEN_PARSE_SPECIAL, parsed, ARRAY_LEN(parsed));
    static const struct encoding plain[] = {
        {"<s>", 3, {'<', 's', '>'}},
        {"x<tool>y", 3, {'x', 265, 'y'}}, /* user-defined ones always */
    };
    check_encodings("qwen2", 0, plain, ARRAY_LEN(plain));
}

TEST(bos_is_added_where_the_vocabulary_wants_it)
{
    struct encoding none = {"h", 1, {'h'}}, bos = {"h", 2, {266, 'h'}};
    check_encodings("qwen2", TOKEN_ADD_BOS, &none, 1);
    check_encodings("llama-bpe", TOKEN_ADD_BOS, &bos, 1);
    check_encodings("llama-bpe", 0, &none, 1);
    struct encoding spm[] = {{"b", 3, {1, 259, 261}}, {"", 1, {1}}};
    check_encodings(NULL, TOKEN_ADD_BOS, spm, 2);
}

TEST(a_key_decides_about_bos)
{
    for (int wants = 0; wants < 2; wants++) {
        struct gguf_writer *writer;
        assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
        tiny_put_bpe(writer, wants ? "qwen2" : "llama-bpe");
        gguf_put_bool(writer, "tokenizer.ggml.add_bos_token", wants);
        struct tiny tiny;
        assert_int_equal(tiny_open_writer(&tiny, writer, test_log()), HTH_OK);
        assert_int_equal(tokenizer_adds_bos(tiny.tokenizer), wants);
        static const int32_t ids[] = {266, 'h'};
        check_encoding(&tiny, STR("h"), TOKEN_ADD_BOS, ids + !wants, 1 + (size_t)wants);
        tiny_close(&tiny);
    }
}

TEST(an_unknown_pretokenizer_is_named_with_the_nearest)
{
    struct tiny tiny = open_tiny("qwen-2");
    assert_logged("\"qwen-2\" (the nearest it knows is \"qwen2\"); \"default\" is used");
    tiny_close(&tiny);
    tiny = open_tiny("something-else");
    assert_logged("\"something-else\"; \"default\" is used");
    tiny_close(&tiny);
    tiny = open_tiny("qwen2");
    assert_string_equal(test_log_text(), "");
    tiny_close(&tiny);
}

/* Bytes that are no tokens: dropped with a warning, or unknown without one. */
TEST(bytes_without_tokens_are_warned_of)
{
    static const struct str tokens[] = {{"a", 1}, {"b", 1}, {"?", 1}};
    for (int has_unknown = 0; has_unknown < 2; has_unknown++) {
        struct gguf_writer *writer;
        struct tiny tiny;
        assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
        gguf_put_str(writer, "tokenizer.ggml.model", STR("gpt2"));
        gguf_put_str(writer, "tokenizer.ggml.pre", STR("qwen2"));
        gguf_put_strs(writer, "tokenizer.ggml.tokens", tokens, ARRAY_LEN(tokens));
        gguf_put_strs(writer, "tokenizer.ggml.merges", &(const struct str){"a b", 3}, 1);
        if (has_unknown)
            gguf_put_u32(writer, "tokenizer.ggml.unknown_token_id", 2);
        test_log_clear();
        assert_int_equal(tiny_open_writer(&tiny, writer, test_log()), HTH_OK);
        static const int32_t ids[] = {0, 2};
        check_encoding(&tiny, STR("az"), 0, ids, has_unknown ? 2 : 1);
        assert_true(has_unknown == (test_log_text()[0] == '\0'));
        if (!has_unknown)
            assert_logged("has no token for 240 of the 243 bytes");
        tiny_close(&tiny);
    }
}

/* phi-3's special tokens take the spaces after them; the name of the model says so. */
TEST(special_tokens_strip_spaces_where_the_model_does)
{
    struct gguf_writer *writer;
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    tiny_put_spm(writer);
    gguf_put_str(writer, "general.name", STR("Phi-3 mini"));
    struct tiny tiny;
    assert_int_equal(tiny_open_writer(&tiny, writer, test_log()), HTH_OK);
    static const int32_t ids[] = {266, 263, 1, 259, 263};
    check_encoding(&tiny, STR("<tool> \n\ta<s> a"), TOKEN_PARSE_SPECIAL, ids, 5);
    tiny_close(&tiny);
}

static void check_decoding(const struct tiny *tiny, const int32_t *ids, size_t n, bool special,
                           struct str expected)
{
    struct strbuf text = {0};
    assert_int_equal(tokenizer_decode(tiny->tokenizer, ids, n, special, &text), HTH_OK);
    if (!str_equal(strbuf_str(&text), expected))
        fail_msg("\"%.*s\" instead of \"%.*s\"", (int)text.len, text.ptr ? text.ptr : "",
                 (int)expected.len, expected.ptr);
    strbuf_free(&text);
}

TEST(decoding_hides_control_tokens_unless_asked)
{
    struct tiny tiny = open_tiny("qwen2");
    static const int32_t ids[] = {266, 258, 'o', 261, 265, 269, 263, 9999, -1};
    check_decoding(&tiny, ids, ARRAY_LEN(ids), false, STR("hello w<tool>"));
    check_decoding(&tiny, ids, ARRAY_LEN(ids), true, STR("<s>hello w<tool><|im_end|>"));
    tiny_close(&tiny);
}

TEST(decoding_spm_drops_one_space_in_front)
{
    struct tiny tiny = open_tiny(NULL);
    static const int32_t ids[] = {264, 264, 1, 3 + 0xe2, 3 + 0x82, 3 + 0xac};
    check_decoding(&tiny, ids, 2, false, STR("ab ab"));
    check_decoding(&tiny, ids + 1, 5, true, STR("ab<s>\xe2\x82\xac"));
    check_decoding(&tiny, ids + 2, 4, false, STR("\xe2\x82\xac"));
    struct strbuf piece = {0};
    tokenizer_piece(tiny.tokenizer, 264, false, false, &piece);
    assert_true(str_equal(strbuf_str(&piece), STR(" ab")));
    strbuf_free(&piece);
    tiny_close(&tiny);
}

/* The three passes one by one, and what they leave alone. */
static const char *const cleaned[][2] = {
    {"Is it ?", "Is it?"},
    {"a , b . c ! d", "a, b. c! d"},
    {"  !", " !"},
    {" ?", "?"},
    {"x ' y", "x'y"},
    {"a ' ' b", "a'' b"},
    {"' '", "' '"},
    {"It 's", "It's"},
    {"we 've they 're I 'm", "we've they're I'm"},
    {"can 't he 'd she 'll n 't", "can 't he 'd she 'll n 't"},
    {"a 'r b", "a 'r b"},
    {"end '", "end '"},
    {"a ", "a "},
};

TEST(decoding_cleans_spaces_where_the_family_does)
{
    struct tiny cleans = open_tiny("gpt-2"), keeps = open_tiny("qwen2");
    for (size_t i = 0; i < ARRAY_LEN(cleaned); i++) {
        int32_t ids[40];
        struct str text = str_of(cleaned[i][0]);
        for (size_t k = 0; k < text.len; k++)
            ids[k] = (uint8_t)text.ptr[k];
        check_decoding(&cleans, ids, text.len, false, str_of(cleaned[i][1]));
        check_decoding(&keeps, ids, text.len, false, text);
    }
    tiny_close(&cleans);
    tiny_close(&keeps);
}

TEST(decoding_appends)
{
    struct tiny tiny = open_tiny("gpt-2");
    struct strbuf text = {0};
    strbuf_append(&text, STR("kept "));
    static const int32_t ids[] = {'!', ' ', '.'};
    assert_int_equal(tokenizer_decode(tiny.tokenizer, ids, 3, false, &text), HTH_OK);
    assert_string_equal(text.ptr, "kept !.");
    strbuf_free(&text);
    tiny_close(&tiny);
}

TEST(ends_of_answers)
{
    struct tiny tiny = open_tiny("qwen2");
    const struct tokenizer *t = tiny.tokenizer;
    assert_true(tokenizer_is_end(t, 263));
    assert_true(tokenizer_is_end(t, 268)); /* by its text, though the file calls it normal */
    assert_false(tokenizer_is_end(t, 266));
    assert_false(tokenizer_is_end(t, -1));
    assert_false(tokenizer_is_end(t, TINY_BPE_TOKENS));
    assert_int_equal(tokenizer_eos(t), 263);
    assert_int_equal(tokenizer_bos(t), 266);
    assert_int_equal(tokenizer_n_vocab(t), TINY_BPE_TOKENS);
    assert_int_equal(tokenizer_find(t, STR("hell")), 258);
    assert_int_equal(tokenizer_find(t, STR("xy")), -1);
    assert_int_equal(tokenizer_find(t, STR("")), -1);
    tiny_close(&tiny);
}

TEST(ends_that_the_file_names)
{
    struct gguf_writer *writer;
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    tiny_put_spm(writer);
    gguf_put_u32(writer, "tokenizer.ggml.eot_token_id", 260);
    gguf_put_u32(writer, "tokenizer.ggml.eom_token_id", 261);
    gguf_put_i32(writer, "tokenizer.ggml.eos_token_id", 262);
    struct tiny tiny;
    assert_int_equal(tiny_open_writer(&tiny, writer, test_log()), HTH_OK);
    for (int32_t id = 259; id < 265; id++)
        assert_int_equal(tokenizer_is_end(tiny.tokenizer, id), id >= 260 && id <= 262);
    assert_true(tokenizer_is_end(tiny.tokenizer, 2)); /* "</s>" */
    tiny_close(&tiny);
}

/* Harmony's "<|end|>" ends a message, not the answer, once the vocabulary has "<|return|>" and
 * "<|call|>". */
TEST(harmony_messages_do_not_end_the_answer)
{
    for (int harmony = 0; harmony < 2; harmony++) {
        static const struct str tokens[] = {{"<unk>", 5},       {"<|end|>", 7},
                                            {"a", 1},           {"<|call|>", 8},
                                            {"<|return|>", 10}, {"<|channel|>", 11}};
        static const float scores[6];
        struct gguf_writer *writer;
        assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
        gguf_put_str(writer, "tokenizer.ggml.model", STR("llama"));
        gguf_put_strs(writer, "tokenizer.ggml.tokens", tokens, harmony ? 6 : 3);
        gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, scores, harmony ? 6 : 3);
        gguf_put_u32(writer, "tokenizer.ggml.eos_token_id", 0);
        struct tiny tiny;
        assert_int_equal(tiny_open_writer(&tiny, writer, test_log()), HTH_OK);
        assert_int_equal(tokenizer_is_end(tiny.tokenizer, 1), !harmony);
        assert_int_equal(tokenizer_is_end(tiny.tokenizer, 4), harmony);
        if (harmony) { /* shown, since the format is parsed by who reads it */
            static const int32_t ids[] = {5, 1};
            check_decoding(&tiny, ids, 2, false, STR("<|channel|><|end|>"));
        }
        tiny_close(&tiny);
    }
}

static void random_text(struct rng *rng, char *text, size_t n, bool valid)
{
    static const char *const parts[] = {
        "he", "ll", "a", " ", "\n", "'s", "1", "\xc3\xa9", "w", "\xe4\xb8\xad", "\xf0\x9f\x98\x80",
        "!?"};
    size_t at = 0;
    while (at < n) {
        const char *part = parts[rng_below(rng, ARRAY_LEN(parts))];
        size_t len = strlen(part);
        if (at + len > n) {
            text[at++] = 'z';
        } else if (!valid && rng_below(rng, 4) == 0) {
            text[at++] = (char)rng_u32(rng);
        } else {
            memcpy(text + at, part, len);
            at += len;
        }
    }
}

/* Both vocabularies hold every byte, so nothing is lost. SPM cannot tell a U+2581 of the text from
 * a space, and random bytes do not form one often enough to matter: they never do with this seed.
 */
TEST(decoding_undoes_encoding)
{
    static const char *const pres[] = {"qwen2", "smollm", "deepseek-llm", "superbpe", NULL};
    struct rng rng = rng_seed(11);
    for (size_t p = 0; p < ARRAY_LEN(pres); p++) {
        struct tiny tiny = open_tiny(pres[p]);
        for (int round = 0; round < 2000; round++) {
            char text[64];
            size_t n = rng_below(&rng, sizeof text + 1);
            random_text(&rng, text, n, round % 2);
            struct token_list ids = {0};
            struct str whole = {text, n};
            assert_int_equal(tokenizer_encode(tiny.tokenizer, whole, 0, &ids), HTH_OK);
            check_decoding(&tiny, ids.ids, ids.count, false, whole);
            token_list_free(&ids);
        }
        tiny_close(&tiny);
    }
}

/* Written out piece by piece through a stream, valid text comes back whole and is valid throughout.
 */
TEST(pieces_through_a_stream_are_the_text)
{
    struct tiny tiny = open_tiny("qwen2");
    struct rng rng = rng_seed(5);
    char bytes[600];
    random_text(&rng, bytes, sizeof bytes, true);
    struct str text = {bytes, sizeof bytes};
    struct token_list ids = {0};
    assert_int_equal(tokenizer_encode(tiny.tokenizer, text, 0, &ids), HTH_OK);
    struct utf8_stream stream = {0};
    struct strbuf out = {0}, piece = {0};
    for (size_t i = 0; i < ids.count; i++) {
        strbuf_clear(&piece);
        tokenizer_piece(tiny.tokenizer, ids.ids[i], false, i == 0, &piece);
        utf8_stream_push(&stream, strbuf_str(&piece), &out);
        assert_true(utf8_valid(strbuf_str(&out)));
    }
    utf8_stream_end(&stream, &out);
    assert_true(str_equal(strbuf_str(&out), text));
    strbuf_free(&piece);
    strbuf_free(&out);
    token_list_free(&ids);
    tiny_close(&tiny);
}
