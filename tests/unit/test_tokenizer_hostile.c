#include "harness/test.h"

#include <time.h>

#include "base/mem.h"
#include "base/rng.h"
#include "data/tokenizer/tiny_kinds.h"

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

static void model_is_a_number(struct gguf_writer *writer)
{
    gguf_put_u32(writer, "tokenizer.ggml.model", 1);
}

static void model_is_unknown(struct gguf_writer *writer)
{
    gguf_put_str(writer, "tokenizer.ggml.model", STR("abacus"));
}

static void tokens_are_numbers(struct gguf_writer *writer)
{
    static const int32_t numbers[3] = {1, 2, 3};
    gguf_put_array(writer, "tokenizer.ggml.tokens", GGUF_I32, numbers, 3);
}

static void tokens_are_one_string(struct gguf_writer *writer)
{
    gguf_put_str(writer, "tokenizer.ggml.tokens", STR("abc"));
}

static void tokens_are_few(struct gguf_writer *writer)
{
    static const struct str texts[2] = {{"a", 1}, {"b", 1}};
    gguf_put_strs(writer, "tokenizer.ggml.tokens", texts, 2);
}

static void tokens_are_none(struct gguf_writer *writer)
{
    gguf_put_strs(writer, "tokenizer.ggml.tokens", NULL, 0);
}

static void types_are_floats(struct gguf_writer *writer)
{
    static const float floats[TINY_BPE_TOKENS];
    gguf_put_array(writer, "tokenizer.ggml.token_type", GGUF_F32, floats, TINY_BPE_TOKENS);
}

static void types_are_strings(struct gguf_writer *writer)
{
    static const struct str texts[1] = {{"normal", 6}};
    gguf_put_strs(writer, "tokenizer.ggml.token_type", texts, 1);
}

static void scores_are_flags(struct gguf_writer *writer)
{
    static const uint8_t flags[TINY_SPM_TOKENS];
    gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_BOOL, flags, TINY_SPM_TOKENS);
}

static void scores_are_few(struct gguf_writer *writer)
{
    static const float scores[2];
    gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, scores, 2);
}

static void merge_lacks_a_space(struct gguf_writer *writer)
{
    static const struct str merges[3] = {{"a b", 3}, {"c d", 3}, {"abcd", 4}};
    gguf_put_strs(writer, "tokenizer.ggml.merges", merges, 3);
}

static void merge_lacks_a_part(struct gguf_writer *writer)
{
    static const struct str merges[2] = {{"a b", 3}, {"ab ", 3}};
    gguf_put_strs(writer, "tokenizer.ggml.merges", merges, 2);
}

static void merge_is_empty(struct gguf_writer *writer)
{
    static const struct str merges[1] = {{"", 0}};
    gguf_put_strs(writer, "tokenizer.ggml.merges", merges, 1);
}

static void merges_are_numbers(struct gguf_writer *writer)
{
    static const uint8_t numbers[3];
    gguf_put_array(writer, "tokenizer.ggml.merges", GGUF_U8, numbers, 3);
}

static void bos_is_too_large(struct gguf_writer *writer)
{
    gguf_put_u32(writer, "tokenizer.ggml.bos_token_id", TINY_BPE_TOKENS);
}

static void eos_is_negative(struct gguf_writer *writer)
{
    gguf_put_i32(writer, "tokenizer.ggml.eos_token_id", -2);
}

static void eos_is_huge(struct gguf_writer *writer)
{
    gguf_put_u64(writer, "tokenizer.ggml.eos_token_id", UINT64_MAX);
}

static void eot_is_text(struct gguf_writer *writer)
{
    gguf_put_str(writer, "tokenizer.ggml.eot_token_id", STR("<|eot_id|>"));
}

static void add_bos_is_text(struct gguf_writer *writer)
{
    gguf_put_str(writer, "tokenizer.ggml.add_bos_token", STR("yes"));
}

static const struct broken {
    const char *drop; /* this key of the good vocabulary */
    void (*put)(struct gguf_writer *writer);
    enum hth_status status;
    const char *says;
    bool spm;
} broken[] = {
    {"tokenizer.ggml.model", put_nothing, HTH_ERROR_FORMAT, "tokenizer.ggml.model is missing", 0},
    {"tokenizer.ggml.model", model_is_a_number, HTH_ERROR_FORMAT, "not a string", 0},
    {"tokenizer.ggml.model", model_is_unknown, HTH_ERROR_UNSUPPORTED, "\"abacus\"; it knows", 0},
    {"tokenizer.ggml.tokens", put_nothing, HTH_ERROR_FORMAT, "tokens is missing", 0},
    {"tokenizer.ggml.tokens", tokens_are_numbers, HTH_ERROR_FORMAT, "tokens is another array", 0},
    {"tokenizer.ggml.tokens", tokens_are_one_string, HTH_ERROR_FORMAT, "tokens is no array", 0},
    {"tokenizer.ggml.tokens", tokens_are_none, HTH_ERROR_FORMAT, "tokenizer.ggml.tokens is", 0},
    {"tokenizer.ggml.tokens", tokens_are_few, HTH_ERROR_FORMAT, "entries for 2 tokens", 0},
    {"tokenizer.ggml.token_type", types_are_floats, HTH_ERROR_FORMAT, "must hold integers", 0},
    {"tokenizer.ggml.token_type", types_are_strings, HTH_ERROR_FORMAT, "array of numbers", 0},
    {"tokenizer.ggml.scores", scores_are_flags, HTH_ERROR_FORMAT, "must hold numbers", 1},
    {"tokenizer.ggml.scores", scores_are_few, HTH_ERROR_FORMAT, "has 2 entries for", 1},
    {"tokenizer.ggml.scores", put_nothing, HTH_ERROR_FORMAT, "scores is missing", 1},
    {"tokenizer.ggml.merges", put_nothing, HTH_ERROR_FORMAT, "merges is missing", 0},
    {"tokenizer.ggml.merges", merges_are_numbers, HTH_ERROR_FORMAT, "array of strings", 0},
    {"tokenizer.ggml.merges", merge_lacks_a_space, HTH_ERROR_FORMAT, "merges[2] is not two", 0},
    {"tokenizer.ggml.merges", merge_lacks_a_part, HTH_ERROR_FORMAT, "merges[1] is not two", 0},
    {"tokenizer.ggml.merges", merge_is_empty, HTH_ERROR_FORMAT, "merges[0] is not two", 0},
    {"tokenizer.ggml.bos_token_id", bos_is_too_large, HTH_ERROR_FORMAT, "bos_token_id must be", 0},
    {"tokenizer.ggml.eos_token_id", eos_is_negative, HTH_ERROR_FORMAT, "eos_token_id must be", 0},
    {"tokenizer.ggml.eos_token_id", eos_is_huge, HTH_ERROR_FORMAT, "eos_token_id must be", 0},
    {"", eot_is_text, HTH_ERROR_FORMAT, "eot_token_id must be", 0},
    {"", add_bos_is_text, HTH_ERROR_FORMAT, "add_bos_token must be true or false", 0},
};

static void check_broken(const struct broken *row)
{
    struct tiny good, bad;
    assert_int_equal(tiny_open(&good, row->spm ? NULL : "qwen2", test_log()), HTH_OK);
    struct gguf_writer *writer;
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    for (size_t i = 0; i < gguf_n_keys(good.gguf); i++) {
        const struct gguf_key *key = gguf_key_at(good.gguf, i);
        if (!str_equal(key->name, str_of(row->drop)))
            gguf_put_key(writer, key);
    }
    row->put(writer);
    test_log_clear();
    enum hth_status status = tiny_open_writer(&bad, writer, test_log());
    if (status != row->status)
        fail_msg("%s: status %d instead of %d\n%s", row->says, (int)status, (int)row->status,
                 test_log_text());
    assert_null(bad.tokenizer);
    assert_logged(row->says);
    assert_logged("tiny"); /* the file is named */
    tiny_close(&bad);
    tiny_close(&good);
}

TEST(broken_vocabularies_are_refused_with_a_reason)
{
    for (size_t i = 0; i < ARRAY_LEN(broken); i++)
        check_broken(&broken[i]);
}

static struct tiny open_lists(const struct str *texts, size_t n, const struct str *merges,
                              size_t n_merges)
{
    struct gguf_writer *writer;
    struct tiny tiny;
    test_log_clear();
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_str(writer, "tokenizer.ggml.model", STR("gpt2"));
    gguf_put_str(writer, "tokenizer.ggml.pre", STR("qwen2"));
    gguf_put_strs(writer, "tokenizer.ggml.tokens", texts, n);
    gguf_put_strs(writer, "tokenizer.ggml.merges", merges, n_merges);
    if (tiny_open_writer(&tiny, writer, test_log()) != HTH_OK)
        fail_msg("%s", test_log_text());
    return tiny;
}

/* Odd but readable: holes, equal texts, merges that go round in circles or repeat. */
TEST(odd_vocabularies_work)
{
    static const struct str texts[] = {{"", 0}, {"a", 1},  {"a", 1},   {"b", 1},
                                       {"", 0}, {"ab", 2}, {"aba", 3}, {"bab", 3}};
    static const struct str merges[] = {{"a b", 3},  {"a b", 3},  {"b a", 3},   {"ab a", 4},
                                        {"b ab", 4}, {"a ba", 4}, {"aba b", 5}, {"  x", 3}};
    struct tiny tiny = open_lists(texts, ARRAY_LEN(texts), merges, ARRAY_LEN(merges));
    struct token_list ids = {0};
    assert_int_equal(tokenizer_encode(tiny.tokenizer, STR("abaZ"), 0, &ids), HTH_OK);
    /* a-b joins first, then ab-a; "Z" has no token and there is no unknown token. */
    assert_int_equal(ids.count, 1);
    assert_int_equal(ids.ids[0], 6);
    ids.count = 0;
    assert_int_equal(tokenizer_encode(tiny.tokenizer, STR("a"), 0, &ids), HTH_OK);
    assert_int_equal(ids.ids[0], 2);
    assert_int_equal(tokenizer_bos(tiny.tokenizer), -1);
    assert_int_equal(tokenizer_eos(tiny.tokenizer), -1);
    token_list_free(&ids);
    tiny_close(&tiny);
}

/* Hundreds of merged texts that are no tokens, where the file has three tokens. */
TEST(merges_may_outnumber_tokens)
{
    enum { N = 700 };
    static const struct str texts[] = {{"a", 1}, {"b", 1}, {"ab", 2}};
    static char bytes[N][16];
    static struct str merges[N];
    for (int i = 0; i < N; i++) {
        snprintf(bytes[i], sizeof bytes[i], i == N - 1 ? "a b" : "x%d y%d", i, i);
        merges[i] = str_of(bytes[i]);
    }
    struct tiny tiny = open_lists(texts, ARRAY_LEN(texts), merges, N);
    struct token_list ids = {0};
    assert_int_equal(tokenizer_encode(tiny.tokenizer, STR("ab"), 0, &ids), HTH_OK);
    assert_int_equal(ids.count, 1);
    assert_int_equal(ids.ids[0], 2);
    token_list_free(&ids);
    tiny_close(&tiny);
}

/* Each of its characters stands for no byte, and is shown beside all of the token. */
TEST(pieces_do_not_grow_with_the_square_of_a_token)
{
    enum { N = 3000 };
    static char euros[3 * N];
    for (size_t i = 0; i < sizeof euros; i++)
        euros[i] = "\xe2\x82\xac"[i % 3];
    const struct str texts[] = {{euros, 6}, {euros, sizeof euros}};
    static const struct str merges[] = {{"a b", 3}};
    struct tiny tiny = open_lists(texts, ARRAY_LEN(texts), merges, ARRAY_LEN(merges));
    struct strbuf piece = {0};
    tokenizer_piece(tiny.tokenizer, 0, true, false, &piece);
    assert_string_equal(piece.ptr, "[UNK_BYTE_0xe282ac\xe2\x82\xac\xe2\x82\xac]"
                                   "[UNK_BYTE_0xe282ac\xe2\x82\xac\xe2\x82\xac]");
    piece.len = 0;
    tokenizer_piece(tiny.tokenizer, 1, true, false, &piece);
    assert_in_range(piece.len, N * strlen("[UNK_BYTE_0xe282ac]"),
                    N * strlen("[UNK_BYTE_0xe282ac]") + 4096);
    strbuf_free(&piece);
    tiny_close(&tiny);
}

TEST(what_has_no_token_becomes_the_unknown_one)
{
    static const struct str texts[] = {{"<unk>", 5}, {"\xe2\x96\x81", 3}, {"a", 1}};
    static const float scores[3] = {0, -1, -2};
    struct gguf_writer *writer;
    struct tiny tiny;
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_str(writer, "tokenizer.ggml.model", STR("llama"));
    gguf_put_strs(writer, "tokenizer.ggml.tokens", texts, 3);
    gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, scores, 3);
    test_log_clear();
    assert_int_equal(tiny_open_writer(&tiny, writer, test_log()), HTH_OK);
    struct token_list ids = {0};
    assert_int_equal(tokenizer_encode(tiny.tokenizer, STR("a\xe2\x82\xac\xff"), 0, &ids), HTH_OK);
    static const int32_t expected[] = {1, 2, 0, 0};
    assert_int_equal(ids.count, 4);
    assert_memory_equal(ids.ids, expected, sizeof expected);
    token_list_free(&ids);
    tiny_close(&tiny);
}

/* No number, and infinite scores: any order, but an end. */
TEST(scores_may_be_anything)
{
    struct tiny_lists lists;
    tiny_spm_lists(&lists);
    static const uint32_t odd[] = {0x7fc00000, 0xffc00000, 0x7f800000, 0xff800000, 0x80000000};
    for (size_t i = 0; i < lists.n; i++)
        memcpy(&lists.scores[i], &odd[i % ARRAY_LEN(odd)], sizeof odd[0]);
    struct gguf_writer *writer;
    struct tiny tiny;
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_str(writer, "tokenizer.ggml.model", STR("llama"));
    tiny_put_lists(writer, &lists);
    gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, lists.scores, lists.n);
    assert_int_equal(tiny_open_writer(&tiny, writer, test_log()), HTH_OK);
    struct token_list ids = {0};
    struct strbuf text = {0};
    assert_int_equal(tokenizer_encode(tiny.tokenizer, STR("aab baa"), 0, &ids), HTH_OK);
    assert_int_equal(tokenizer_decode(tiny.tokenizer, ids.ids, ids.count, false, &text), HTH_OK);
    assert_string_equal(text.ptr, "aab baa");
    strbuf_free(&text);
    token_list_free(&ids);
    tiny_close(&tiny);
}

/* --- memory that runs out --- */

static enum hth_status use_all(void *arg)
{
    const struct gguf *gguf = arg;
    struct tokenizer *tokenizer;
    enum hth_status status = tokenizer_create(&tokenizer, gguf, NULL);
    if (status != HTH_OK)
        return status;
    struct token_list ids = {0};
    struct strbuf text = {0};
    status = tokenizer_encode(
        tokenizer, STR("<s>hello  aaaa\xff w\xe2\x82\xac<tool> whole he<dna>ACGTN</dna>"),
        TOKEN_ADD_BOS | TOKEN_ADD_END | TOKEN_PARSE_SPECIAL, &ids);
    if (status == HTH_OK)
        status = tokenizer_decode(tokenizer, ids.ids, ids.count, true, &text);
    token_list_free(&ids);
    strbuf_free(&text);
    tokenizer_destroy(tokenizer);
    return status;
}

TEST(each_allocation_may_fail)
{
    static const char *const pres[] = {"llama-bpe", "gemma4", "mmbert", NULL};
    struct tiny tiny;
    for (size_t i = 0; i < ARRAY_LEN(pres); i++) {
        assert_int_equal(tiny_open(&tiny, pres[i], test_log()), HTH_OK);
        test_each_allocation_fails(use_all, tiny.gguf);
        tiny_close(&tiny);
    }
    for (size_t i = 0; i < TINY_MODELS; i++) {
        assert_int_equal(tiny_open_kind(&tiny, tiny_models[i], test_log()), HTH_OK);
        test_each_allocation_fails(use_all, tiny.gguf);
        tiny_close(&tiny);
    }
}

/* --- time --- */

/* One word of a megabyte: the merges must not cost its square. */
static void check_long_word(const char *pre, const char *part, double limit_s)
{
    struct tiny tiny;
    assert_int_equal(tiny_open(&tiny, pre, test_log()), HTH_OK);
    struct strbuf text = {0};
    while (text.len < 1000 * 1000)
        strbuf_append(&text, str_of(part));
    struct token_list ids = {0};
    double start = cpu_seconds();
    assert_int_equal(tokenizer_encode(tiny.tokenizer, strbuf_str(&text), 0, &ids), HTH_OK);
    double took = cpu_seconds() - start;
    if (took > limit_s * SLOWNESS)
        fail_msg("a megabyte of \"%s\" took %.2f s", part, took);
    struct strbuf back = {0};
    assert_int_equal(tokenizer_decode(tiny.tokenizer, ids.ids, ids.count, false, &back), HTH_OK);
    assert_true(str_equal(strbuf_str(&back), strbuf_str(&text)));
    strbuf_free(&back);
    strbuf_free(&text);
    token_list_free(&ids);
    tiny_close(&tiny);
}

TEST(a_megabyte_in_one_word)
{
    check_long_word("qwen2", "a", 2);
    check_long_word("qwen2", "hell", 2);
    check_long_word("qwen2", "<", 2);
    check_long_word("qwen2", "\xff", 2);
    check_long_word(NULL, "a", 2);
    check_long_word(NULL, " a", 2);
    check_long_word(NULL, "\xff", 2);
}

static double encode_seconds(const struct tiny *tiny, struct str text, unsigned flags,
                             struct token_list *ids)
{
    double start = cpu_seconds();
    ids->count = 0;
    assert_int_equal(tokenizer_encode(tiny->tokenizer, text, flags, ids), HTH_OK);
    return cpu_seconds() - start;
}

/* One special token that is too long to be looked for, thousands that are the same, and among those
 * one that is found in any text. */
TEST(special_tokens_are_bounded)
{
    enum { N = 20000, LONG = 60000, SHOWN = 9000 };
    static char letters[LONG], text[3 * N + 1];
    static struct str texts[N];
    static int32_t types[N];
    struct gguf_writer *writer;
    struct token_list ids = {0};
    struct tiny tiny;
    static const struct str merges[] = {{"a b", 3}};
    memset(letters, 'a', LONG - 1);
    letters[LONG - 1] = 'b';
    for (size_t i = 0; i < N; i++) {
        texts[i] = STR("<s>");
        types[i] = i == SHOWN ? TOKEN_USER_DEFINED : TOKEN_CONTROL;
        memcpy(text + 3 * i, "<s>", 3);
    }
    texts[0] = (struct str){letters, LONG};
    texts[1] = STR("a");
    types[1] = TOKEN_NORMAL;
    test_log_clear();
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_str(writer, "tokenizer.ggml.model", STR("gpt2"));
    gguf_put_str(writer, "tokenizer.ggml.pre", STR("qwen2"));
    gguf_put_strs(writer, "tokenizer.ggml.tokens", texts, N);
    gguf_put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, types, N);
    gguf_put_strs(writer, "tokenizer.ggml.merges", merges, 1);
    assert_int_equal(tiny_open_writer(&tiny, writer, test_log()), HTH_OK);
    assert_logged("1 token of its vocabulary longer than 1024 bytes");

    double took = encode_seconds(&tiny, (struct str){text, 3 * N}, 0, &ids);
    assert_int_equal(ids.count, N);
    assert_int_equal(ids.ids[N - 1], SHOWN);
    took += encode_seconds(&tiny, (struct str){text, 3 * N}, TOKEN_PARSE_SPECIAL, &ids);
    assert_int_equal(ids.count, N);
    assert_int_equal(ids.ids[N - 1], 2);
    took += encode_seconds(&tiny, (struct str){letters, LONG}, TOKEN_PARSE_SPECIAL, &ids);
    assert_int_equal(ids.count, LONG - 1); /* "b" has no token */
    if (took > 0.5 * SLOWNESS)
        fail_msg("it took %.2f s", took);
    token_list_free(&ids);
    tiny_close(&tiny);
}

static void check_opens_fast(const struct str *texts, const struct str *merges, size_t n)
{
    double start = cpu_seconds();
    struct tiny tiny = open_lists(texts, n, merges, n);
    double took = cpu_seconds() - start;
    if (took > 0.25 * SLOWNESS)
        fail_msg("opening took %.2f s", took);
    tiny_close(&tiny);
}

/* Merges that are all the same, and such as a table whose hash everybody knows would put in the
 * same few places. */
TEST(no_merges_make_opening_slow)
{
    enum { N = 60000, SLOTS = 131072, FEW = 64 };
    static struct str texts[N], same[N], crowded[N];
    struct arena arena = {0};
    struct rng rng = rng_seed(5);
    for (size_t i = 0; i < N; i++) {
        texts[i] = str_of(arena_printf(&arena, "%c%zx", 'g' + (int)(i % 20), i));
        same[i] = STR("g0 h1");
    }
    for (size_t i = 0; i < N;) {
        uint32_t left = rng_below(&rng, N), right = rng_below(&rng, N);
        uint64_t hash = ((uint64_t)left << 32 | right) * 0x9e3779b97f4a7c15u >> 32;
        if (hash % SLOTS < FEW)
            crowded[i++] = str_of(arena_printf(&arena, "%s %s", texts[left].ptr, texts[right].ptr));
    }
    check_opens_fast(texts, same, N);
    check_opens_fast(texts, crowded, N);
    arena_free(&arena);
}

/* 150 000 tokens of which two thirds are merged from others: under a tenth of a second. */
TEST(a_large_vocabulary_opens_fast)
{
    enum { N = 150 * 1000 };
    struct arena arena = {0};
    struct str *texts = arena_calloc(&arena, N, sizeof *texts);
    struct str *merges = arena_calloc(&arena, N, sizeof *merges);
    assert_true(texts && merges);
    struct rng rng = rng_seed(3);
    size_t n_merges = 0;
    for (size_t i = 0; i < N; i++) {
        char *text;
        if (i < N / 3) {
            text = arena_printf(&arena, "%c%zx", 'g' + (int)(i % 20), i);
        } else {
            struct str a = texts[rng_below(&rng, (uint32_t)i)], b = texts[i % (N / 3)];
            text = arena_printf(&arena, "%s%s", a.ptr, b.ptr);
            merges[n_merges++] = str_of(arena_printf(&arena, "%s %s", a.ptr, b.ptr));
        }
        assert_non_null(text);
        texts[i] = str_of(text);
    }
    struct tiny tiny = open_lists(texts, N, merges, n_merges);
    double best = 1e9;
    for (int round = 0; round < 5; round++) {
        struct tokenizer *tokenizer;
        double start = cpu_seconds();
        assert_int_equal(tokenizer_create(&tokenizer, tiny.gguf, test_log()), HTH_OK);
        double took = cpu_seconds() - start;
        best = took < best ? took : best;
        tokenizer_destroy(tokenizer);
    }
    print_message("150 000 tokens, %d merges: %.1f ms\n", (int)n_merges, best * 1e3);
    if (best > 0.1 * SLOWNESS)
        fail_msg("creating the tokenizer took %.3f s", best);
    tiny_close(&tiny);
    arena_free(&arena);
}
