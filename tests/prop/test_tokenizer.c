#include "harness/test.h"

#include "base/rng.h"
#include "gguf/gguf_write.h"
#include "text/tokenizer.h"

/* Random vocabularies over four letters, one of them SPM's mark for a space, and the slow way to
 * join: look at all neighbours, join the best, look again. */
enum { LETTERS = 4, N_TOKENS = 60, WORD = 40 };

static const char *const letters[LETTERS] = {"a", "b", "c", "\xe2\x96\x81"};

struct vocabulary {
    char bytes[N_TOKENS][40];
    struct str texts[N_TOKENS];
    char merge_bytes[N_TOKENS][42];
    struct str merges[N_TOKENS];
    float scores[N_TOKENS];
    size_t n_merges;
    bool by_score;
    bool words_apart; /* no token has the mark after a letter */
};

static int find(const struct vocabulary *v, struct str text)
{
    for (int i = 0; i < N_TOKENS; i++)
        if (str_equal(v->texts[i], text))
            return i;
    return -1;
}

/* Each further token is two earlier ones, so that most merges can be reached. */
static void make_vocabulary(struct vocabulary *v, struct rng *rng, bool by_score, bool words_apart)
{
    *v = (struct vocabulary){.by_score = by_score, .words_apart = words_apart};
    for (uint32_t i = 0; i < N_TOKENS;) {
        if (i < LETTERS) {
            v->texts[i] = str_of(letters[i]);
            v->scores[i++] = -9;
            continue;
        }
        struct str a = v->texts[rng_below(rng, i)], b = v->texts[rng_below(rng, i)];
        bool spans = (uint8_t)a.ptr[a.len - 1] < 0x80 && (uint8_t)b.ptr[0] >= 0x80;
        if (a.len + b.len > 20 || (words_apart && spans))
            continue;
        memcpy(v->bytes[i], a.ptr, a.len);
        memcpy(v->bytes[i] + a.len, b.ptr, b.len);
        struct str text = {v->bytes[i], a.len + b.len};
        if (find(v, text) >= 0)
            continue;
        char *merge = v->merge_bytes[v->n_merges];
        memcpy(merge, a.ptr, a.len);
        merge[a.len] = ' ';
        memcpy(merge + a.len + 1, b.ptr, b.len);
        v->merges[v->n_merges++] = (struct str){merge, a.len + b.len + 1};
        /* Few different scores, of both signs: ties are common. */
        v->scores[i] = (float)rng_below(rng, 9) - 4;
        v->texts[i++] = text;
    }
    for (size_t i = v->n_merges; i > 1; i--) {
        size_t k = rng_below(rng, (uint32_t)i);
        struct str swap = v->merges[i - 1];
        v->merges[i - 1] = v->merges[k];
        v->merges[k] = swap;
    }
}

/* The cost of joining a and b, which stand side by side; the lowest goes first. */
static bool cost_of(const struct vocabulary *v, struct str a, struct str b, float *cost)
{
    if (v->by_score) {
        int id = find(v, (struct str){a.ptr, a.len + b.len});
        *cost = id < 0 ? 0 : -v->scores[id];
        return id >= 0;
    }
    for (size_t i = 0; i < v->n_merges; i++) {
        struct str merge = v->merges[i];
        if (merge.len == a.len + b.len + 1 && merge.ptr[a.len] == ' ' &&
            str_starts_with(merge, a) && str_ends_with(merge, b)) {
            *cost = (float)i;
            return true;
        }
    }
    return false;
}

static size_t join_slowly(const struct vocabulary *v, struct str word, int32_t *ids)
{
    struct str parts[WORD];
    size_t n = 0;
    for (size_t at = 0; at < word.len; at += parts[n++].len)
        parts[n] = str_slice(word, at, at + ((uint8_t)word.ptr[at] < 0x80 ? 1 : 3));
    for (;;) {
        size_t best = n;
        float best_cost = 0, cost;
        for (size_t i = 0; i + 1 < n; i++) {
            if (!cost_of(v, parts[i], parts[i + 1], &cost) || (best < n && cost >= best_cost))
                continue;
            best = i;
            best_cost = cost;
        }
        if (best == n)
            break;
        parts[best].len += parts[best + 1].len;
        memmove(&parts[best + 1], &parts[best + 2], (n - best - 2) * sizeof parts[0]);
        n--;
    }
    for (size_t i = 0; i < n; i++)
        ids[i] = find(v, parts[i]);
    return n;
}

static void check_vocabulary(const struct vocabulary *v, struct rng *rng)
{
    struct gguf_writer *writer;
    struct gguf *gguf;
    struct tokenizer *tokenizer;
    struct strbuf bytes = {0};
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_str(writer, "tokenizer.ggml.model", v->by_score ? STR("llama") : STR("gpt2"));
    gguf_put_str(writer, "tokenizer.ggml.pre", STR("gemma4"));
    gguf_put_bool(writer, "tokenizer.ggml.add_space_prefix", false);
    gguf_put_strs(writer, "tokenizer.ggml.tokens", v->texts, N_TOKENS);
    gguf_put_strs(writer, "tokenizer.ggml.merges", v->merges, v->n_merges);
    gguf_put_array(writer, "tokenizer.ggml.scores", GGUF_F32, v->scores, N_TOKENS);
    assert_int_equal(gguf_writer_save_memory(writer, &bytes), HTH_OK);
    gguf_writer_destroy(writer);
    assert_int_equal(gguf_open_memory(&gguf, bytes.ptr, bytes.len, "random", test_log()), HTH_OK);
    assert_int_equal(tokenizer_create(&tokenizer, gguf, test_log()), HTH_OK);
    for (int round = 0; round < 200; round++) {
        struct strbuf word = {0};
        for (uint32_t i = 0, len = 1 + rng_below(rng, WORD); i < len; i++)
            strbuf_append(&word, str_of(letters[rng_below(rng, LETTERS)]));
        int32_t expected[WORD];
        size_t n = join_slowly(v, strbuf_str(&word), expected);
        struct token_list ids = {0};
        assert_int_equal(tokenizer_encode(tokenizer, strbuf_str(&word), 0, &ids), HTH_OK);
        if (ids.count != n || memcmp(ids.ids, expected, n * sizeof *expected) != 0)
            fail_msg("\"%s\" was joined in another order", word.ptr);
        strbuf_free(&word);
        token_list_free(&ids);
    }
    tokenizer_destroy(tokenizer);
    gguf_close(gguf);
    strbuf_free(&bytes);
}

TEST(bpe_joins_as_the_slow_way_does)
{
    struct rng rng = rng_seed(21);
    for (int i = 0; i < 40; i++) {
        struct vocabulary v;
        make_vocabulary(&v, &rng, false, false);
        check_vocabulary(&v, &rng);
    }
}

TEST(spm_joins_as_the_slow_way_does)
{
    struct rng rng = rng_seed(22);
    for (int i = 0; i < 40; i++) {
        struct vocabulary v;
        make_vocabulary(&v, &rng, true, i % 2);
        check_vocabulary(&v, &rng);
    }
}
