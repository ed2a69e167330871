/* What a bad file or a bad text may do to the tokenizer models beside SPM and BPE. */
#include "harness/test.h"

#include <math.h>
#include <time.h>

#include "base/rng.h"
#include "data/tokenizer/tiny_kinds.h"
#include "text/tokenizer_charsmap.h"
#include "text/tokenizer_trie.h"

/* The address sanitizer slows all this down several times. */
#if defined(__SANITIZE_ADDRESS__)
enum { SLOWNESS = 10 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { SLOWNESS = 10 };
#else
enum { SLOWNESS = 1 };
#endif
#else
enum { SLOWNESS = 1 };
#endif

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* --- vocabularies that are not what they should be --- */

static void put_nothing(struct gguf_writer *writer)
{
    (void)writer;
}

static void lowercase_is_text(struct gguf_writer *writer)
{
    gguf_put_str(writer, "tokenizer.ggml.normalizer.lowercase", STR("no"));
}

static void merging_is_text(struct gguf_writer *writer)
{
    gguf_put_str(writer, "tokenizer.ggml.remove_extra_whitespaces", STR("no"));
}

static void separator_is_too_large(struct gguf_writer *writer)
{
    gguf_put_u32(writer, "tokenizer.ggml.seperator_token_id", ARRAY_LEN(tiny_wpm_tokens));
}

static void add_sep_is_text(struct gguf_writer *writer)
{
    gguf_put_str(writer, "tokenizer.ggml.add_sep_token", STR("no"));
}

static void put_map(struct gguf_writer *writer, const void *bytes, size_t n)
{
    gguf_put_array(writer, "tokenizer.ggml.precompiled_charsmap", GGUF_I8, bytes, n);
}

static void map_is_numbers(struct gguf_writer *writer)
{
    static const int32_t numbers[2];
    gguf_put_array(writer, "tokenizer.ggml.precompiled_charsmap", GGUF_I32, numbers, 2);
}

static void map_is_text(struct gguf_writer *writer)
{
    gguf_put_str(writer, "tokenizer.ggml.precompiled_charsmap", STR("\0\0\0\0"));
}

static void map_has_no_head(struct gguf_writer *writer)
{
    put_map(writer, "\0\0\0", 3);
}

static void map_is_cut(struct gguf_writer *writer)
{
    put_map(writer, "\x08\0\0\0\0\0\0\0", 8);
}

static void map_is_huge(struct gguf_writer *writer)
{
    put_map(writer, "\xfc\xff\xff\xff\0\0\0\0", 8);
}

static void map_is_odd(struct gguf_writer *writer)
{
    put_map(writer, "\x03\0\0\0\0\0\0\0", 8);
}

static void map_text_has_no_end(struct gguf_writer *writer)
{
    put_map(writer, "\x04\0\0\0\0\0\0\0ab\0c", 12);
}

static void map_text_is_long(struct gguf_writer *writer)
{
    static char bytes[8 + CHARSMAP_MAX_TEXT + 2] = {4};
    memset(bytes + 8, 'x', CHARSMAP_MAX_TEXT + 1);
    put_map(writer, bytes, sizeof bytes);
}

static const struct broken {
    const char *model, *drop; /* this key of the good vocabulary */
    void (*put)(struct gguf_writer *writer);
    const char *says;
} broken[] = {
    {"t5", "tokenizer.ggml.scores", put_nothing, "a \"t5\" vocabulary cannot be used"},
    {"plamo2", "tokenizer.ggml.scores", put_nothing, "a \"plamo2\" vocabulary cannot"},
    {"plamo3", "tokenizer.ggml.scores", put_nothing, "a \"plamo3\" vocabulary cannot"},
    {"hybriddna", "tokenizer.ggml.merges", put_nothing, "merges is missing"},
    {"whitespace", "tokenizer.ggml.merges", put_nothing, "merges is missing"},
    {"bert", "", lowercase_is_text, "lowercase must be true or false"},
    {"t5", "", merging_is_text, "remove_extra_whitespaces must be true or false"},
    {"bert", "tokenizer.ggml.seperator_token_id", separator_is_too_large, "must be an id below"},
    {"bert", "", add_sep_is_text, "add_sep_token must be true or false"},
    {"t5", "", map_is_numbers, "must be an array of bytes"},
    {"t5", "", map_is_text, "must be an array of bytes"},
    {"t5", "", map_has_no_head, "has 3 bytes and says that its trie takes 0"},
    {"t5", "", map_is_cut, "has 8 bytes and says that its trie takes 8"},
    {"t5", "", map_is_huge, "has 8 bytes and says that its trie takes 4294967292"},
    {"t5", "", map_is_odd, "has 8 bytes and says that its trie takes 3"},
    {"t5", "", map_text_has_no_end, "without an end"},
    {"t5", "", map_text_is_long, "more than 256 bytes"},
};

TEST(broken_vocabularies_are_refused_with_a_reason)
{
    for (size_t i = 0; i < ARRAY_LEN(broken); i++) {
        struct gguf_writer *writer;
        struct tiny good, bad;
        assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
        tiny_put_kind(writer, broken[i].model);
        assert_int_equal(tiny_open_writer(&good, writer, test_log()), HTH_OK);
        assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
        for (size_t k = 0; k < gguf_n_keys(good.gguf); k++)
            if (!str_equal(gguf_key_at(good.gguf, k)->name, str_of(broken[i].drop)))
                gguf_put_key(writer, gguf_key_at(good.gguf, k));
        broken[i].put(writer);
        test_log_clear();
        if (tiny_open_writer(&bad, writer, test_log()) != HTH_ERROR_FORMAT)
            fail_msg("%s: \"%s\" was not refused", broken[i].model, broken[i].says);
        assert_logged(broken[i].says);
        assert_logged("tiny"); /* the file is named */
        tiny_close(&bad);
        tiny_close(&good);
    }
}

/* --- character maps --- */

/* The vocabulary of "t5" with a map of these units and texts. */
static struct tiny open_map(const uint32_t *units, size_t n, struct str texts)
{
    static uint8_t bytes[4 + 4 * 4096 + 1024];
    struct gguf_writer *writer;
    struct tiny tiny;
    uint32_t size = (uint32_t)n * 4;
    assert_true(4 + size + texts.len <= sizeof bytes);
    memcpy(bytes, &size, 4);
    memcpy(bytes + 4, units, size);
    memcpy(bytes + 4 + size, texts.ptr, texts.len);
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    tiny_put_kind(writer, "t5");
    put_map(writer, bytes, 4 + size + texts.len);
    test_log_clear();
    if (tiny_open_writer(&tiny, writer, test_log()) != HTH_OK)
        fail_msg("%s", test_log_text());
    return tiny;
}

/* Encodes `size` bytes made of `part`; returns how many ids that are. */
static size_t encode_many(const struct tiny *tiny, const char *part, size_t size, double limit_s)
{
    struct strbuf text = {0};
    struct token_list ids = {0};
    while (text.len < size)
        strbuf_append(&text, str_of(part));
    double start = cpu_seconds();
    assert_int_equal(tokenizer_encode(tiny->tokenizer, strbuf_str(&text), 0, &ids), HTH_OK);
    double took = cpu_seconds() - start;
    if (took > limit_s * SLOWNESS)
        fail_msg("%zu bytes of \"%s\" took %.2f s", size, part, took);
    size_t n = ids.count;
    strbuf_free(&text);
    token_list_free(&ids);
    return n;
}

/* The unit of 'a' leads to itself: a key of any length. */
TEST(charsmap_may_go_in_circles)
{
    for (int ends = 0; ends < 2; ends++) {
        uint32_t units[128] = {0};
        units['a'] = 'a' | 'a' << 10 | (ends ? 0x100 : 0);
        struct tiny tiny = open_map(units, 128, (struct str){"b", 2});
        enum { SIZE = 1000 * 1000 };
        size_t n = encode_many(&tiny, "a", SIZE, 4);
        size_t n_keys = (SIZE + CHARSMAP_MAX_TEXT - 1) / CHARSMAP_MAX_TEXT;
        assert_int_equal(n, ends ? n_keys : SIZE);
        tiny_close(&tiny);
    }
}

TEST(charsmap_may_point_anywhere)
{
    static const uint32_t offsets[] = {0x3fffff, 0x1fffff, 127, 128, 1, 0};
    for (size_t i = 0; i < ARRAY_LEN(offsets); i++) {
        for (uint32_t flags = 0; flags < 4; flags++) {
            uint32_t units[128] = {0};
            units['a'] = 'a' | (offsets[i] << 10) | flags << 8;
            units['a' ^ 1] = 0xffffffffu; /* as a leaf: a text far outside */
            struct tiny tiny = open_map(units, 128, (struct str){"b", 2});
            encode_many(&tiny, "ab", 10, 1);
            tiny_close(&tiny);
        }
    }
    static const uint32_t no_units[1];
    struct tiny none = open_map(no_units, 0, (struct str){"b", 2});
    assert_int_equal(encode_many(&none, "ab", 2, 1), 1);
    tiny_close(&none);
}

TEST(charsmap_may_be_noise)
{
    struct rng rng = rng_seed(41);
    for (int round = 0; round < 300; round++) {
        uint32_t units[256];
        char texts[64], text[64];
        for (size_t i = 0; i < 256; i++) /* mostly labels that fit, so that walks go on */
            units[i] = (rng_u32(&rng) & 0x3ff00) | (rng_below(&rng, 4) ? (uint32_t)i & 0xff : 7);
        for (size_t i = 0; i < sizeof texts; i++)
            texts[i] = (char)rng_below(&rng, 256);
        texts[sizeof texts - 1] = '\0';
        struct tiny tiny = open_map(units, 256, (struct str){texts, sizeof texts});
        for (size_t i = 0; i < sizeof text; i++)
            text[i] = (char)rng_below(&rng, 256);
        struct token_list ids = {0};
        struct str whole = {text, sizeof text};
        assert_int_equal(tokenizer_encode(tiny.tokenizer, whole, 0, &ids), HTH_OK);
        for (size_t i = 0; i < ids.count; i++)
            assert_in_range(ids.ids[i], 0, tokenizer_n_vocab(tiny.tokenizer) - 1);
        token_list_free(&ids);
        tiny_close(&tiny);
    }
}

/* --- scores --- */

/* No number and infinite scores: any tokens, but all of the text. */
TEST(scores_may_be_anything)
{
    static const float odd[] = {NAN, INFINITY, -INFINITY, -0.0f, 3e38f, -3e38f};
    static const char *const models[] = {"t5", "plamo2", "plamo3"};
    for (size_t i = 0; i < ARRAY_LEN(models) * ARRAY_LEN(odd); i++) {
        struct tiny_lists lists;
        struct gguf_writer *writer;
        struct tiny tiny;
        const char *model = models[i % ARRAY_LEN(models)];
        tiny_kind_lists(&lists, model);
        for (size_t k = 0; k < lists.n; k++)
            lists.scores[k] = odd[(k + i) % ARRAY_LEN(odd)];
        assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
        gguf_put_str(writer, "tokenizer.ggml.model", str_of(model));
        tiny_put_lists(writer, &lists);
        gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, lists.scores, lists.n);
        assert_int_equal(tiny_open_writer(&tiny, writer, test_log()), HTH_OK);
        struct token_list ids = {0};
        struct strbuf text = {0};
        struct str whole = STR("aab baaabb a");
        assert_int_equal(tokenizer_encode(tiny.tokenizer, whole, 0, &ids), HTH_OK);
        assert_int_equal(tokenizer_decode(tiny.tokenizer, ids.ids, ids.count, true, &text), HTH_OK);
        if (!str_equal(strbuf_str(&text), whole))
            fail_msg("%s: the text became \"%s\"", model, text.ptr ? text.ptr : "");
        strbuf_free(&text);
        token_list_free(&ids);
        tiny_close(&tiny);
    }
}

TEST(plamo_never_takes_a_token_without_a_number)
{
    static const struct str texts[] = {{"<unk>", 5}, {"a", 1}, {"aa", 2}, {"aaa", 3}};
    static const float scores[] = {0, -1, NAN, -INFINITY};
    struct gguf_writer *writer;
    struct tiny tiny;
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_str(writer, "tokenizer.ggml.model", STR("plamo2"));
    gguf_put_strs(writer, "tokenizer.ggml.tokens", texts, ARRAY_LEN(texts));
    gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, scores, ARRAY_LEN(texts));
    assert_int_equal(tiny_open_writer(&tiny, writer, test_log()), HTH_OK);
    assert_int_equal(encode_many(&tiny, "a", 6, 1), 6);
    tiny_close(&tiny);
}

/* --- odd vocabularies --- */

/* No special tokens, holes, equal texts, a token that is part of a character, bad escapes. */
TEST(odd_vocabularies_work)
{
    static const struct str texts[] = {{"", 0},
                                       {"a", 1},
                                       {"a", 1},
                                       {"\xe4\xb8", 2},
                                       {"\\x4", 3},
                                       {"\\", 1},
                                       {"\\xzz", 4},
                                       {"a\0b", 3},
                                       {MARK "a", 4},
                                       {"<0x61>", 6},
                                       {"\xb8"
                                        "a",
                                        2}};
    static const float scores[ARRAY_LEN(texts)] = {0, -1, -2, -3, -4, -5, -6, -7, -8, -9, -10};
    static const struct str merges[] = {{"a a", 3}};
    for (size_t i = 0; i < TINY_MODELS; i++) {
        struct gguf_writer *writer;
        struct tiny tiny;
        assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
        gguf_put_str(writer, "tokenizer.ggml.model", str_of(tiny_models[i]));
        gguf_put_strs(writer, "tokenizer.ggml.tokens", texts, ARRAY_LEN(texts));
        gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, scores, ARRAY_LEN(texts));
        gguf_put_strs(writer, "tokenizer.ggml.merges", merges, 1);
        test_log_clear();
        if (tiny_open_writer(&tiny, writer, test_log()) != HTH_OK)
            fail_msg("%s", test_log_text());
        struct token_list ids = {0};
        struct strbuf text = {0};
        struct str whole = STR("a \xe4\xb8\xad\\x4\\xzz a\0b\xb8"
                               "a<dna>a\xe4\xb8");
        assert_int_equal(tokenizer_encode(tiny.tokenizer, whole, 0, &ids), HTH_OK);
        assert_true(ids.count > 0);
        for (size_t k = 0; k < ids.count; k++)
            assert_in_range(ids.ids[k], 0, ARRAY_LEN(texts) - 1);
        for (int32_t id = 0; id < (int32_t)ARRAY_LEN(texts); id++)
            tokenizer_piece(tiny.tokenizer, id, true, false, &text);
        assert_false(text.failed);
        strbuf_free(&text);
        token_list_free(&ids);
        tiny_close(&tiny);
    }
}

/* Texts of 1 to 1024 times the same letter, and one more that is too long to be found. */
TEST(long_tokens_are_bounded)
{
    enum { N = TRIE_MAX_TEXT + 1 };
    static char letters[N];
    static struct str texts[N + 1];
    static float scores[N + 1];
    memset(letters, 'a', sizeof letters);
    texts[0] = STR("<unk>");
    for (size_t i = 1; i <= N; i++) {
        texts[i] = (struct str){letters, i};
        scores[i] = (float)-(int)i;
    }
    static const char *const models[] = {"t5", "plamo2", "rwkv", "bert"};
    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        struct gguf_writer *writer;
        struct tiny tiny;
        assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
        gguf_put_str(writer, "tokenizer.ggml.model", str_of(models[i]));
        gguf_put_strs(writer, "tokenizer.ggml.tokens", texts, N + 1);
        gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, scores, N + 1);
        gguf_put_u32(writer, "tokenizer.ggml.unknown_token_id", 0);
        test_log_clear();
        assert_int_equal(tiny_open_writer(&tiny, writer, test_log()), HTH_OK);
        assert_logged("1 token of its vocabulary longer than 1024 bytes");
        size_t n = encode_many(&tiny, "a", 100 * 1000, 4);
        if (strcmp(models[i], "rwkv") == 0)
            assert_int_equal(n, (100 * 1000 + TRIE_MAX_TEXT - 1) / TRIE_MAX_TEXT);
        tiny_close(&tiny);
    }
}

/* --- time --- */

/* A megabyte without a place to cut it, for each model what is worst for it. */
TEST(a_megabyte_in_one_word)
{
    static const char *const hostile[][2] = {
        {"bert", "he"},
        {"bert", "hell"},
        {"bert", "\xcc\x81"},
        {"bert", ","},
        {"t5", "a"},
        {"t5", "ab"},
        {"t5", "\xff"},
        {"t5", "x"},
        {"t5", "xy"},
        {"t5", "<"},
        {"rwkv", "hello"},
        {"rwkv", "hell"},
        {"plamo2", "ab"},
        {"plamo2", "\xff"},
        {"plamo3", "aaaa"},
        {"plamo3", "a  "},
        {"plamo3", "<|plamo:"},
        {"hybriddna", "<dna>"},
        {"hybriddna", "ACG"},
        {"hybriddna", "<"},
        {"hybriddna", "<dna>a</dna>"},
        {"whitespace", "hell"},
        {"whitespace", "a "},
    };
    for (size_t i = 0; i < ARRAY_LEN(hostile); i++) {
        struct tiny tiny;
        assert_int_equal(tiny_open_kind(&tiny, hostile[i][0], test_log()), HTH_OK);
        encode_many(&tiny, hostile[i][1], 1000 * 1000, 2);
        tiny_close(&tiny);
    }
}

/* 250 000 tokens, as many as the largest vocabularies of this kind have. */
TEST(a_large_vocabulary_opens_fast)
{
    enum { N = 250 * 1000 };
    struct arena arena = {0};
    struct str *texts = arena_calloc(&arena, N, sizeof *texts);
    float *scores = arena_calloc(&arena, N, sizeof *scores);
    assert_true(texts && scores);
    struct rng rng = rng_seed(3);
    for (size_t i = 0; i < N; i++) {
        char word[12];
        size_t len = 3 + rng_below(&rng, 9);
        for (size_t k = 0; k < len; k++)
            word[k] = (char)('a' + rng_below(&rng, 26));
        texts[i] = (struct str){arena_strndup(&arena, word, len), len};
        scores[i] = -(float)i;
    }
    struct gguf_writer *writer;
    struct tiny tiny;
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_str(writer, "tokenizer.ggml.model", STR("t5"));
    gguf_put_strs(writer, "tokenizer.ggml.tokens", texts, N);
    gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, scores, N);
    assert_int_equal(tiny_open_writer(&tiny, writer, test_log()), HTH_OK);
    double best = 1e9;
    for (int round = 0; round < 3; round++) {
        struct tokenizer *tokenizer;
        double start = cpu_seconds();
        assert_int_equal(tokenizer_create(&tokenizer, tiny.gguf, test_log()), HTH_OK);
        double took = cpu_seconds() - start;
        best = took < best ? took : best;
        tokenizer_destroy(tokenizer);
    }
    print_message("250 000 tokens: %.1f ms\n", best * 1e3);
    if (best > 0.5 * SLOWNESS)
        fail_msg("creating the tokenizer took %.3f s", best);
    tiny_close(&tiny);
    arena_free(&arena);
}
