/* Best paths and tries against the slow way, and what holds for every tokenizer model. */
#include "harness/test.h"

#include "base/rng.h"
#include "data/tokenizer/tiny_kinds.h"
#include "text/tokenizer_trie.h"
#include "text/utf8.h"

enum { N_TOKENS = 40, N_LETTERS = 4, MAX_LETTERS = 24 };

static const char *const letters[N_LETTERS] = {"a", "b", "\xc3\xa9", "\xe4\xb8\xad"};

static size_t random_word(struct rng *rng, char *out, uint32_t max_letters)
{
    size_t n = 0;
    for (uint32_t i = 0, count = 1 + rng_below(rng, max_letters); i < count; i++) {
        const char *letter = letters[rng_below(rng, N_LETTERS)];
        memcpy(out + n, letter, strlen(letter));
        n += strlen(letter);
    }
    return n;
}

/* Each letter and random words of them, with few different scores: ties are common. */
struct vocabulary {
    char bytes[N_TOKENS][16];
    struct str texts[N_TOKENS];
    float scores[N_TOKENS];
};

static void make_vocabulary(struct vocabulary *v, struct rng *rng)
{
    for (size_t i = 0; i < N_TOKENS; i++) {
        v->texts[i] = (struct str){v->bytes[i], random_word(rng, v->bytes[i], 4)};
        v->scores[i] = -0.5f * (float)(1 + rng_below(rng, 8));
        if (i < N_LETTERS)
            v->texts[i] = str_of(letters[i]);
    }
}

static struct tiny open_vocabulary(const struct vocabulary *v, const char *model)
{
    struct gguf_writer *writer;
    struct tiny tiny;
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_str(writer, "tokenizer.ggml.model", str_of(model));
    gguf_put_strs(writer, "tokenizer.ggml.tokens", v->texts, N_TOKENS);
    gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, v->scores, N_TOKENS);
    gguf_put_i32(writer, "tokenizer.ggml.unknown_token_id", -1);
    assert_int_equal(tiny_open_writer(&tiny, writer, test_log()), HTH_OK);
    return tiny;
}

/* The score of the best way to cut the text, by the definition: of all tokens that it begins with
 * the one that is best together with the best of the rest. Of equal texts the last token counts. */
static double best_score(const struct vocabulary *v, struct str text)
{
    double best[MAX_LETTERS * 3 + 1];
    best[text.len] = 0;
    for (size_t at = text.len; at-- > 0;) {
        best[at] = -1e9;
        for (size_t i = 0; i < N_TOKENS; i++) {
            bool counts = str_starts_with(str_slice(text, at, text.len), v->texts[i]);
            for (size_t k = i + 1; k < N_TOKENS && counts; k++)
                counts = !str_equal(v->texts[k], v->texts[i]);
            double score = counts ? best[at + v->texts[i].len] + v->scores[i] : -1e9;
            best[at] = score > best[at] ? score : best[at];
        }
    }
    return best[0];
}

/* The ids must be of tokens that make up the text, with the best sum of scores. */
static void check_path(const struct vocabulary *v, const struct tiny *tiny, struct str text)
{
    struct token_list ids = {0};
    double sum = 0, best = best_score(v, text);
    size_t at = 0;
    assert_int_equal(tokenizer_encode(tiny->tokenizer, text, 0, &ids), HTH_OK);
    for (size_t i = 0; i < ids.count; i++) {
        struct str token = v->texts[ids.ids[i]];
        assert_true(str_starts_with(str_slice(text, at, text.len), token));
        sum += v->scores[ids.ids[i]];
        at += token.len;
    }
    assert_int_equal(at, text.len);
    if (sum != best) /* halves: exact */
        fail_msg("\"%.*s\": a sum of %g, the best has %g", (int)text.len, text.ptr, sum, best);
    token_list_free(&ids);
}

static void check_model(const char *model, uint64_t seed)
{
    struct rng rng = rng_seed(seed);
    for (int i = 0; i < 60; i++) {
        struct vocabulary v;
        make_vocabulary(&v, &rng);
        struct tiny tiny = open_vocabulary(&v, model);
        for (int round = 0; round < 200; round++) {
            char text[MAX_LETTERS * 3];
            size_t n = random_word(&rng, text, MAX_LETTERS);
            check_path(&v, &tiny, (struct str){text, n});
        }
        tiny_close(&tiny);
    }
}

TEST(ugm_finds_the_best_path)
{
    check_model("t5", 31);
}

TEST(plamo_finds_the_best_path)
{
    check_model("plamo2", 32);
}

/* The walk names each token that a text begins with, the shorter before the longer. */
TEST(trie_finds_what_a_search_finds)
{
    struct rng rng = rng_seed(33);
    for (int i = 0; i < 60; i++) {
        struct vocabulary v;
        struct trie trie = {0};
        make_vocabulary(&v, &rng);
        for (uint32_t k = 0; k < N_TOKENS; k++)
            assert_true(trie_add(&trie, v.texts[k], k));
        assert_true(trie_build(&trie));
        for (int round = 0; round < 100; round++) {
            char bytes[MAX_LETTERS];
            struct str text = {bytes, random_word(&rng, bytes, 6)};
            struct trie_walk walk = trie_walk_from(&trie, text);
            for (size_t len = 1; len <= text.len; len++) {
                uint32_t expected = TRIE_NONE;
                for (uint32_t k = 0; k < N_TOKENS; k++)
                    if (str_equal(v.texts[k], str_slice(text, 0, len)))
                        expected = k;
                if (expected == TRIE_NONE)
                    continue;
                assert_int_equal(trie_next(&walk), expected);
                assert_int_equal(walk.len, len);
            }
            assert_int_equal(trie_next(&walk), TRIE_NONE);
        }
        trie_free(&trie);
    }
}

/* --- every model --- */

static void random_text(struct rng *rng, struct strbuf *out, size_t n, bool valid)
{
    static const char *const parts[] = {"he",   "llo",  "a",        "b",        " ",
                                        "  ",   "\n\n", "aaaa",     "\xc3\xa9", "\xe4\xb8\xad",
                                        "\\x4", "'s",   "\xe2\x82", "<dn",      "\xf0\x9f\x98\x80",
                                        ", ",   "\t",   "ab",       "1",        "ACGTAC"};
    strbuf_clear(out);
    while (out->len < n) {
        const char *part = parts[rng_below(rng, ARRAY_LEN(parts))];
        if (!valid && rng_below(rng, 4) == 0)
            strbuf_append_char(out, (char)rng_u32(rng));
        else if (!valid || utf8_valid(str_of(part)))
            strbuf_append(out, str_of(part));
    }
}

/* These hold every byte, so nothing is lost; of the others none promises it. */
TEST(decoding_undoes_encoding)
{
    static const char *const models[] = {"rwkv", "plamo2", "plamo3", "hybriddna"};
    struct rng rng = rng_seed(34);
    struct strbuf text = {0}, back = {0};
    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        struct tiny tiny;
        assert_int_equal(tiny_open_kind(&tiny, models[i], test_log()), HTH_OK);
        for (int round = 0; round < 2000; round++) {
            struct token_list ids = {0};
            random_text(&rng, &text, rng_below(&rng, 64), round % 2);
            struct str whole = strbuf_str(&text);
            assert_int_equal(tokenizer_encode(tiny.tokenizer, whole, 0, &ids), HTH_OK);
            strbuf_clear(&back);
            assert_int_equal(tokenizer_decode(tiny.tokenizer, ids.ids, ids.count, true, &back),
                             HTH_OK);
            if (!str_equal(strbuf_str(&back), whole))
                fail_msg("%s: \"%s\" became \"%s\"", models[i], text.ptr, back.ptr);
            token_list_free(&ids);
        }
        tiny_close(&tiny);
    }
    strbuf_free(&text);
    strbuf_free(&back);
}

/* What a stream has written ends with a whole character, whatever the tokens are: those of a text,
 * and any in any order. All of it together is the text of the pieces. */
TEST(streams_never_end_inside_a_character)
{
    struct rng rng = rng_seed(35);
    struct strbuf text = {0}, out = {0}, piece = {0}, all = {0}, lossy = {0};
    for (size_t i = 0; i < TINY_MODELS; i++) {
        struct tiny tiny;
        assert_int_equal(tiny_open_kind(&tiny, tiny_models[i], test_log()), HTH_OK);
        for (int round = 0; round < 200; round++) {
            struct token_list ids = {0};
            random_text(&rng, &text, 100, round % 2);
            assert_int_equal(tokenizer_encode(tiny.tokenizer, strbuf_str(&text), 0, &ids), HTH_OK);
            for (size_t k = 0; round % 3 == 0 && k < ids.count; k++)
                ids.ids[k] = (int32_t)rng_below(&rng, (uint32_t)tokenizer_n_vocab(tiny.tokenizer));
            struct utf8_stream stream = {0};
            strbuf_clear(&out);
            strbuf_clear(&all);
            strbuf_clear(&lossy);
            for (size_t k = 0; k < ids.count; k++) {
                strbuf_clear(&piece);
                tokenizer_piece(tiny.tokenizer, ids.ids[k], false, k == 0, &piece);
                strbuf_append(&all, strbuf_str(&piece));
                utf8_stream_push(&stream, strbuf_str(&piece), &out);
                assert_true(utf8_valid(strbuf_str(&out)));
            }
            utf8_stream_end(&stream, &out);
            utf8_append_lossy(&lossy, strbuf_str(&all));
            assert_true(str_equal(strbuf_str(&out), strbuf_str(&lossy)));
            token_list_free(&ids);
        }
        tiny_close(&tiny);
    }
    strbuf_free(&text);
    strbuf_free(&out);
    strbuf_free(&piece);
    strbuf_free(&all);
    strbuf_free(&lossy);
}
