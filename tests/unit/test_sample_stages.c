/* Each stage by examples small enough to be worked out by hand; and what stages are made of. */
#include "harness/test.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "sample/mass.h"
#include "sample/same_math.h"
#include "sample/stage.h"

/* Texts of tokens by id; tests put their own in. */
static const char *const *texts;

static void piece(void *user, int32_t id, struct strbuf *out)
{
    (void)user;
    strbuf_append(out, str_of(texts[id]));
}

static struct sampler *create(int n_vocab, const struct hth_sampler_options *options)
{
    struct sampler *sampler;
    struct sampler_vocab vocab = {n_vocab, texts ? piece : NULL, NULL};
    if (sampler_create(&sampler, &vocab, options, test_log()))
        fail_msg("%s", test_log_text());
    return sampler;
}

/* Logits after the chain by id, NAN for what was dropped; `seen` ends with −1. */
static void run(struct hth_sampler_options options, const int *seen, const float *logits, int n,
                float *result)
{
    struct candidates left;
    struct sampler *sampler = create(n, &options);
    for (; seen && *seen >= 0; seen++)
        sampler_accept(sampler, *seen);
    assert_int_equal(sampler_run(sampler, logits, &left, test_log()), HTH_OK);
    for (int i = 0; i < n; i++)
        result[i] = NAN;
    for (size_t i = 0; i < left.count; i++)
        result[left.items[i].id] = left.items[i].logit;
    sampler_destroy(sampler);
}

static void expect(const float *result, const float *expected, int n)
{
    for (int i = 0; i < n; i++)
        if (isnan(result[i]) != isnan(expected[i]) || fabsf(result[i] - expected[i]) > 1e-5f)
            fail_msg("logit %d is %g, not %g", i, (double)result[i], (double)expected[i]);
}

#define CHECK_RUN(options, seen, logits, ...)                                                      \
    do {                                                                                           \
        const float expected_[] = {__VA_ARGS__};                                                   \
        float result_[ARRAY_LEN(expected_)];                                                       \
        run(options, seen, logits, ARRAY_LEN(expected_), result_);                                 \
        expect(result_, expected_, ARRAY_LEN(expected_));                                          \
    } while (0)
#define OPTIONS(...) ((struct hth_sampler_options){__VA_ARGS__})
#define SEEN(...)    ((const int[]){__VA_ARGS__, -1})

TEST(penalties_by_hand)
{
    const float logits[] = {2, -2, 3, 1};
    CHECK_RUN(OPTIONS(.repeat_penalty = 2), SEEN(0, 1), logits, 1, -4, 3, 1);
    CHECK_RUN(OPTIONS(.frequency_penalty = 0.5f), SEEN(0, 1, 0, 0), logits, 0.5f, -2.5f, 3, 1);
    CHECK_RUN(OPTIONS(.presence_penalty = 0.5f), SEEN(0, 1, 0, 0), logits, 1.5f, -2.5f, 3, 1);
    CHECK_RUN(OPTIONS(.frequency_penalty = -1, .repeat_last_n = 2), SEEN(0, 1, 2, 2), logits, 2, -2,
              5, 1);
    CHECK_RUN(OPTIONS(.repeat_penalty = 2, .frequency_penalty = 0.25f, .presence_penalty = 1),
              SEEN(0, 0), logits, -0.5f, -2, 3, 1);
    CHECK_RUN(OPTIONS(.presence_penalty = 1, .repeat_last_n = -1), SEEN(3, 0, 1, 2), logits, 1, -3,
              2, 0);
}

TEST(logit_bias_by_hand)
{
    const struct hth_logit_bias some[] = {{2, 1.5f},      {0, -1}, {2, 1},
                                          {3, -INFINITY}, {3, 5},  {4, 9}};
    const struct hth_logit_bias all[] = {
        {0, -INFINITY}, {1, -INFINITY}, {2, -INFINITY}, {3, -INFINITY}};
    const float logits[] = {2, -2, 3, 1, -INFINITY};
    CHECK_RUN(OPTIONS(.logit_bias = some, .n_logit_bias = 6), NULL, logits, 1, -2, 5.5f, NAN, NAN);
    CHECK_RUN(OPTIONS(.logit_bias = some, .n_logit_bias = 1, .samplers = ""), NULL, logits, 2, -2,
              4.5f, 1, NAN);
    struct sampler *sampler = create(5, &OPTIONS(.logit_bias = all, .n_logit_bias = 4));
    int32_t id;
    assert_int_equal(sampler_pick(sampler, logits, &id, test_log()), HTH_ERROR_FORMAT);
    assert_logged("biases of -inf");
    sampler_destroy(sampler);
}

/* p = 0.5, 0.25, 0.125, 0.125: the entropy is 1.75 bits, the surprises 1, 2, 3, 3. */
static const float halves[] = {0, -0.6931472f, -1.3862944f, -1.3862944f};

TEST(typical_by_hand)
{
    /* nearest to 1.75: the second (0.25), the first (0.75), then the others (1.25) */
    CHECK_RUN(OPTIONS(.typical_p = 0.2f), NULL, halves, NAN, halves[1], NAN, NAN);
    CHECK_RUN(OPTIONS(.typical_p = 0.7f), NULL, halves, 0, halves[1], NAN, NAN);
    CHECK_RUN(OPTIONS(.typical_p = 0.8f), NULL, halves, 0, halves[1], halves[2], NAN);
    CHECK_RUN(OPTIONS(.typical_p = 1), NULL, halves, 0, halves[1], halves[2], halves[3]);
}

TEST(top_n_sigma_by_hand)
{
    const float logits[] = {1, 5, 3, 3}; /* σ² = (4 + 4 + 0 + 0) / 4 = 2 */
    CHECK_RUN(OPTIONS(.top_n_sigma = 1.4f), NULL, logits, NAN, 5, NAN, NAN);
    CHECK_RUN(OPTIONS(.top_n_sigma = 1.5f), NULL, logits, NAN, 5, 3, 3);
    CHECK_RUN(OPTIONS(.top_n_sigma = 2.9f), NULL, logits, 1, 5, 3, 3);
}

TEST(xtc_by_hand)
{
    CHECK_RUN(OPTIONS(.xtc_probability = 1, .xtc_threshold = 0.2f), NULL, halves, NAN, halves[1],
              halves[2], halves[3]);
    CHECK_RUN(OPTIONS(.xtc_probability = 1), NULL, halves, NAN, NAN, NAN, halves[3]);
    CHECK_RUN(OPTIONS(.xtc_probability = 1, .xtc_threshold = 0.3f), NULL, halves, 0, halves[1],
              halves[2], halves[3]);
    CHECK_RUN(OPTIONS(.xtc_probability = 1, .xtc_threshold = 0.6f), NULL, halves, 0, halves[1],
              halves[2], halves[3]);
}

TEST(xtc_comes_as_often_as_asked)
{
    struct sampler *sampler = create(4, &OPTIONS(.xtc_probability = 0.3f, .seed = 5));
    struct candidates left;
    int n = 0;
    for (int i = 0; i < 10000; i++) {
        assert_int_equal(sampler_run(sampler, halves, &left, test_log()), HTH_OK);
        n += left.count < 4;
    }
    assert_in_range(n, 2800, 3200);
    sampler_destroy(sampler);
}

TEST(dynatemp_by_hand)
{
    /* The entropy of `halves` is 1.75 of at most 2 bits: T = 0.5 + 1 × 0.875. */
    CHECK_RUN(OPTIONS(.temp = 1, .dynatemp_range = 0.5f), NULL, halves, 0, halves[1] / 1.375f,
              halves[2] / 1.375f, halves[3] / 1.375f);
    float t = 0.5f + 0.875f * 0.875f;
    CHECK_RUN(OPTIONS(.temp = 1, .dynatemp_range = 0.5f, .dynatemp_exponent = 2), NULL, halves, 0,
              halves[1] / t, halves[2] / t, halves[3] / t);
    const float sure[] = {0, -900, -900}, alike[] = {1, 1, 1};
    CHECK_RUN(OPTIONS(.temp = 0.5f, .dynatemp_range = 2), NULL, sure, 0, NAN, NAN); /* T = 0 */
    CHECK_RUN(OPTIONS(.temp = 0.5f, .dynatemp_range = 2), NULL, alike, 0.4f, 0.4f, 0.4f);
}

/* --- the chain -------------------------------------------------------------------------------- */

static void check_order(struct hth_sampler_options options, const char *letters)
{
    struct sampler *sampler;
    options.temp = 2, options.top_k = 3, options.top_p = options.typical_p = 0.5f;
    options.min_p = 0.1f, options.top_n_sigma = 1, options.xtc_probability = 1;
    options.repeat_penalty = 2, options.dry_multiplier = 1;
    sampler = create(10, &options);
    assert_int_equal(sampler->chain.count, strlen(letters));
    for (int i = 0; i < sampler->chain.count; i++)
        assert_int_equal(sampler->chain.stages[i]->letter, letters[i]);
    sampler_destroy(sampler);
}

TEST(the_chain_is_what_was_asked_for)
{
    check_order(OPTIONS(0), "edskypmxt");
    check_order(OPTIONS(.samplers = ""), "");
    check_order(OPTIONS(.sampler_seq = ""), "");
    check_order(OPTIONS(.samplers = "temperature;top_k"), "tk");
    check_order(OPTIONS(.samplers = "temp;top-k;typ-p;nucleus;typical;"), "tkypy");
    check_order(OPTIONS(.samplers = "xtc;min_p;top_n_sigma;dry;penalties;typical_p"), "xmsdey");
    check_order(OPTIONS(.sampler_seq = "tkkx"), "tkkx");
    check_order(OPTIONS(.mirostat = 2), "edt");
    /* what is off has no place */
    struct sampler *sampler = create(10, &OPTIONS(.temp = 1, .top_p = 1, .repeat_penalty = 1));
    assert_int_equal(sampler->chain.count, 0);
    sampler_destroy(sampler);
}

TEST(zeros_mean_the_usual_numbers)
{
    struct hth_sampler_options o = {0};
    sampler_fill_defaults(&o);
    assert_true(o.temp == 0 && o.top_k == 0 && o.repeat_last_n == 64);
    assert_true(o.dynatemp_exponent == 1 && o.xtc_threshold == 0.1f);
    assert_true(o.mirostat_tau == 5 && o.mirostat_eta == 0.1f);
    assert_true(o.dry_base == 1.75f && o.dry_allowed_length == 2 && o.dry_last_n == HISTORY_MAX);
    struct sampler *sampler = create(3, &OPTIONS(.mirostat = 2));
    assert_true(sampler->mu == 10);
    sampler_destroy(sampler);
}

TEST(a_chain_is_not_endless)
{
    struct sampler *sampler;
    struct sampler_vocab vocab = {.n_tokens = 3};
    struct hth_sampler_options options = {.top_k = 2,
                                          .sampler_seq = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"};
    assert_int_equal(sampler_create(&sampler, &vocab, &options, test_log()), HTH_ERROR_ARGUMENT);
    assert_logged("more than 32");
}

TEST(the_likeliest_is_never_dropped)
{
    const float logits[] = {-3e38f, 3e38f, 3e38f, 0};
    CHECK_RUN(OPTIONS(.temp = 1e-6f, .top_k = 1, .top_p = 1e-30f, .min_p = 1, .typical_p = 1e-30f,
                      .top_n_sigma = 1e-30f, .xtc_probability = 1),
              NULL, logits, NAN, 0, NAN, NAN);
    CHECK_RUN(OPTIONS(.temp = 1, .top_n_sigma = 1e-30f), NULL, logits, NAN, 3e38f, 3e38f, NAN);
}

/* --- DRY -------------------------------------------------------------------------------------- */

#define DRY(...) OPTIONS(.dry_multiplier = 1, .dry_base = 2, __VA_ARGS__)

TEST(dry_by_hand)
{
    const float zero[6] = {0};
    texts = NULL;
    /* 0 1 2 | 0 1: two tokens are repeated, 2 would be the third */
    CHECK_RUN(DRY(.dry_allowed_length = 2), SEEN(0, 1, 2, 0, 1), zero, 0, 0, -1, 0, 0, 0);
    CHECK_RUN(DRY(.dry_allowed_length = 3), SEEN(0, 1, 2, 0, 1), zero, 0, 0, 0, 0, 0, 0);
    CHECK_RUN(DRY(.dry_allowed_length = 1), SEEN(0, 1, 2, 0, 1), zero, 0, 0, -2, 0, 0, 0);
    /* the longer of two repetitions counts: 5 0 1 → 2, and 0 1 → 3 */
    CHECK_RUN(DRY(0), SEEN(5, 0, 1, 2, 4, 0, 1, 3, 0, 1, 2, 5, 0, 1), zero, 0, 0, -2, -1, 0, 0);
    /* overlapping itself: 1 1 1 1 repeats three of its own */
    CHECK_RUN(DRY(0), SEEN(1, 1, 1, 1), zero, 0, -2, 0, 0, 0, 0);
    /* only within the last five */
    CHECK_RUN(DRY(.dry_last_n = 5), SEEN(4, 0, 1, 2, 4, 0, 1), zero, 0, 0, 0, 0, 0, 0);
    CHECK_RUN(DRY(.dry_last_n = 6), SEEN(4, 0, 1, 2, 4, 0, 1), zero, 0, 0, -1, 0, 0, 0);
    CHECK_RUN(DRY(.dry_last_n = -1), SEEN(4, 0, 1, 2, 4, 0, 1), zero, 0, 0, -2, 0, 0, 0);
    CHECK_RUN(DRY(0), NULL, zero, 0, 0, 0, 0, 0, 0);
}

TEST(dry_stops_at_breakers)
{
    static const char *const words[] = {"a", "b", "c", "x.\n", "E", "ND", "EN", "D"};
    static const char *const end[] = {"END", NULL}, *const none[] = {NULL};
    static const char *const twice[] = {"aab", "b", NULL};
    const float zero[8] = {0};
    texts = words;
    /* a newline before the last two tokens, another number before the first two */
    CHECK_RUN(DRY(.dry_allowed_length = 1), SEEN(3, 0, 1, 2, 3, 0, 1), zero, 0, 0, -2, 0, 0, 0, 0,
              0);
    CHECK_RUN(DRY(.dry_allowed_length = 1, .dry_breakers = none), SEEN(3, 0, 1, 2, 3, 0, 1), zero,
              0, 0, -4, 0, 0, 0, 0, 0);
    /* what holds a breaker is not made less likely, nor is what comes after one */
    CHECK_RUN(DRY(0), SEEN(0, 1, 3, 0, 1), zero, 0, 0, 0, 0, 0, 0, 0, 0);
    CHECK_RUN(DRY(.dry_allowed_length = 1), SEEN(0, 3, 0, 3), zero, 0, 0, 0, 0, 0, 0, 0, 0);
    /* "END" as E+ND and as EN+D: the text counts, not how it is cut */
    CHECK_RUN(DRY(.dry_breakers = end, .dry_allowed_length = 1), SEEN(4, 5, 0, 1, 4, 5, 0), zero, 0,
              -1, 0, 0, 0, 0, 0, 0);
    CHECK_RUN(DRY(.dry_breakers = end, .dry_allowed_length = 1), SEEN(6, 7, 0, 1, 6, 7, 0), zero, 0,
              -1, 0, 0, 0, 0, 0, 0);
    CHECK_RUN(DRY(.dry_breakers = end, .dry_allowed_length = 1), SEEN(5, 4, 0, 1, 5, 4, 0), zero, 0,
              -4, 0, 0, 0, 0, 0, 0);
    /* "aab" in a a a b: found though its beginning failed once; "b" alone breaks too */
    CHECK_RUN(DRY(.dry_breakers = twice), SEEN(0, 0, 0, 1, 2, 2, 2), zero, 0, 0, -1, 0, 0, 0, 0, 0);
    texts = NULL;
}

TEST(forgetting_forgets_half_of_a_breaker)
{
    static const char *const words[] = {"a", "b", "E", "ND"}, *const end[] = {"END", NULL};
    const float zero[4] = {0};
    texts = words;
    struct sampler *sampler = create(4, &DRY(.dry_allowed_length = 2, .dry_breakers = end));
    struct candidates left;
    sampler_accept(sampler, 2); /* "E": "ND" after it would be the rest */
    sampler_forget(sampler);
    const int32_t text[] = {3, 0, 1, 3, 0};
    for (size_t i = 0; i < ARRAY_LEN(text); i++)
        sampler_accept(sampler, text[i]);
    assert_int_equal(sampler_run(sampler, zero, &left, test_log()), HTH_OK);
    assert_true(left.items[1].id == 1 && left.items[1].logit == -1);
    assert_int_equal(sampler->since_breaker, 5);
    sampler_destroy(sampler);
    texts = NULL;
}

/* Every text against every breaker of two letters: a stream of tokens finds what a search of the
 * whole text finds. */
TEST(breakers_are_found_in_any_text)
{
    static const char *const pieces[] = {"", "a", "b", "ab", "ba", "aab"};
    struct rng rng = rng_seed(3);
    texts = pieces;
    for (int round = 0; round < 3000; round++) {
        char breaker[8] = {0}, text[128] = "";
        const char *const list[] = {breaker, NULL};
        struct sampler_vocab vocab = {ARRAY_LEN(pieces), piece, NULL};
        struct breakers breakers;
        int len = 1 + (int)rng_below(&rng, 7);
        for (int i = 0; i < len; i++)
            breaker[i] = (char)('a' + rng_below(&rng, 2));
        assert_int_equal(breakers_create(&breakers, list, &vocab, test_log()), HTH_OK);
        for (int i = 0; i < 30; i++) {
            int32_t id = (int32_t)rng_below(&rng, ARRAY_LEN(pieces));
            size_t before = strlen(text);
            bool ends = false;
            strcat(text, pieces[id]);
            for (size_t at = before; at < strlen(text); at++)
                ends |= at + 1 >= (size_t)len && !memcmp(text + at + 1 - len, breaker, (size_t)len);
            if (breakers_push(&breakers, id) != ends)
                fail_msg("round %d: \"%s\" after %s", round, breaker, text);
            assert_int_equal(breakers.inside[id], strstr(pieces[id], breaker) != NULL);
        }
        breakers_destroy(&breakers);
    }
    texts = NULL;
}

/* A million times the same token takes a pick some milliseconds; comparing every place with every
 * other would take half an hour. */
TEST(dry_takes_linear_time)
{
    const float zero[4] = {0};
    struct sampler *sampler = create(4, &DRY(0));
    struct candidates left;
    for (int i = 0; i < 1200000; i++)
        sampler_accept(sampler, i % 100000 == 99999 ? 2 : 1);
    assert_int_equal(sampler_run(sampler, zero, &left, test_log()), HTH_OK);
    assert_true(left.items[1].id == 1 && left.items[1].logit == -FLT_MAX); /* 2^… is too large */
    assert_true(left.items[0].logit == 0);
    sampler_destroy(sampler);
}

/* --- what they are made of -------------------------------------------------------------------- */

TEST(history_counts_a_window)
{
    struct history history;
    struct rng rng = rng_seed(8);
    int all[500];
    assert_true(history_create(&history, 50, 20, 7));
    for (int i = 0; i < 500; i++) {
        int counts[7] = {0};
        all[i] = (int)rng_below(&rng, 7);
        history_push(&history, all[i]);
        assert_int_equal(history.count, i < 50 ? i + 1 : 50);
        for (int k = 0; k < (int)history.count; k++)
            assert_int_equal(history_last(&history, (size_t)k), all[i - k]);
        for (int k = 0; k < 20 && k <= i; k++)
            counts[all[i - k]]++;
        for (int id = 0; id < 7; id++)
            assert_int_equal(history.n_seen[id], counts[id]);
        if (i == 300) {
            history_clear(&history);
            assert_int_equal(history.count, 0);
            for (int id = 0; id < 7; id++)
                assert_int_equal(history.n_seen[id], 0);
            break;
        }
    }
    history_destroy(&history);
}

TEST(exp_and_log_are_right)
{
    struct rng rng = rng_seed(9);
    assert_true(same_exp(0) == 1 && same_log(1) == 0 && same_exp(-INFINITY) == 0);
    assert_true(same_exp(-701) == 0 && same_exp(-699) > 0);
    for (int i = 0; i < 200000; i++) {
        double x = -700 * pow(rng_double(&rng), 1 + i % 8), y = exp(-x / 3) * (i % 2 ? 1e-9 : 1);
        if (fabs(same_exp(x) - exp(x)) > 1e-15 * exp(x))
            fail_msg("exp(%.17g) is %.17g, not %.17g", x, same_exp(x), exp(x));
        if (fabs(same_log(y) - log(y)) > 1e-15 * fmax(1e-2, fabs(log(y))))
            fail_msg("log(%.17g) is %.17g, not %.17g", y, same_log(y), log(y));
    }
}

/* Blocks are computed several at once where the processor can: the same bits as one by one. */
TEST(many_at_once_are_the_same_bits)
{
    struct rng rng = rng_seed(12);
    for (int round = 0; round < 2000; round++) {
        struct candidate items[MASS_BLOCK];
        double masses[MASS_BLOCK], range = round % 3 ? 800 : 3;
        int32_t at[MASS_BLOCK];
        size_t n = round % 4 ? MASS_BLOCK : 1 + rng_below(&rng, MASS_BLOCK);
        float max = 5 * rng_normal(&rng), most = -INFINITY, least = INFINITY;
        for (size_t i = 0; i < n; i++) {
            float x = max - (float)range * rng_float(&rng) * rng_float(&rng);
            x = rng_below(&rng, 50) ? x : round % 5 ? -INFINITY : -0.0f;
            items[i] = (struct candidate){(int32_t)i, x < max ? x : max};
            most = fmaxf(most, items[i].logit);
            least = items[i].logit > -INFINITY ? fminf(least, items[i].logit) : least;
        }
        struct stretches of = {(double)max, 0, 1000 / range, 700};
        mass_block(items, n, max, masses);
        mass_stretches(items, n, &of, at);
        for (size_t i = 0; i < MASS_BLOCK; i++) {
            if (masses[i] != (i < n ? same_exp((double)items[i].logit - max) : 0))
                fail_msg("round %d: the mass of %g is %.17g", round, (double)items[i].logit,
                         masses[i]);
            if (i < n && at[i] != (int32_t)fmin(((double)max - items[i].logit) * of.scale, 700))
                fail_msg("round %d: %g is in %d", round, (double)items[i].logit, at[i]);
        }
        float found[2];
        logits_bounds(items, n, &found[0], &found[1]);
        assert_true(found[0] == least && found[1] == most && logits_most(items, n) == most);
    }
}

/* What was picked when this was written: a change here changes everybody's texts, on this system or
 * on all. */
TEST(same_tokens_on_every_system)
{
    enum { N = 3000 };
    static float logits[N];
    const struct {
        struct hth_sampler_options options;
        uint32_t hash;
    } cases[] = {
        {{.temp = 0.9f, .seed = 1}, 0xdc1a2e38},
        {{.temp = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .seed = 2}, 0x88a33109},
        {{.temp = 1.5f, .top_p = 0.9f, .typical_p = 0.8f, .seed = 3}, 0x5a888a97},
        {{.temp = 1, .dynatemp_range = 0.7f, .dynatemp_exponent = 1.3f, .seed = 4}, 0x661750df},
        {{.temp = 1.2f, .top_n_sigma = 2.5f, .xtc_probability = 0.5f, .xtc_threshold = 0.01f},
         0x8407b40a},
        {{.temp = 1.1f, .mirostat = 2, .mirostat_tau = 4, .seed = 6}, 0x1c6c7ae2},
        {{.temp = 1, .top_k = 8, .repeat_penalty = 1.2f, .dry_multiplier = 0.8f, .seed = 7},
         0x76ea254e},
    };
    struct rng rng = rng_seed(10);
    for (int i = 0; i < N; i++) /* no libm here */
        logits[i] = 14 * (rng_float(&rng) * rng_float(&rng) * rng_float(&rng)) - 7;
    for (size_t c = 0; c < ARRAY_LEN(cases); c++) {
        struct sampler *sampler = create(N, &cases[c].options);
        uint32_t hash = 2166136261u; /* FNV-1a */
        for (int i = 0; i < 300; i++) {
            int32_t id;
            assert_int_equal(sampler_pick(sampler, logits, &id, test_log()), HTH_OK);
            sampler_accept(sampler, id);
            hash = (hash ^ (uint32_t)id) * 16777619u;
        }
        if (hash != cases[c].hash)
            fail_msg("case %zu: the hash of 300 tokens is 0x%08x, not 0x%08x", c, hash,
                     cases[c].hash);
        sampler_destroy(sampler);
    }
}

/* --- selection by mass ------------------------------------------------------------------------ */

enum { N_SHARE = 3000 };

static int by_distance(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return candidate_before(x, y) ? -1 : 1;
}

/* Logits of kinds that selection by stretches of logits could stumble over. */
static float share_logit(struct rng *rng, int kind, int i)
{
    float u = rng_float(rng);
    switch (kind) {
    case 0: return 1;                            /* all alike */
    case 1: return i % 7 ? 1 : 0.5f;             /* two values */
    case 2: return i % 100 == 3 ? -INFINITY : u; /* some may not come */
    case 3: return i == 5 ? -3e38f : u * 1e-3f;  /* one far away */
    case 4: return 10 * u * u * u;
    case 5: return 1 + (float)(i % 3) * 1.1920929e-7f;     /* neighbours */
    case 6: return -(float)i * 1e30f;                      /* nearly all without mass */
    case 7: return (float)(i / 1000) + (u < 0.5f ? 0 : u); /* many ties */
    default: return -u * 3e38f;
    }
}

/* However many, and whether or not some are in order already. */
TEST(the_first_are_the_likeliest)
{
    static struct candidate items[N_SHARE], sorted[N_SHARE];
    static const size_t counts[] = {1, 1000, 1025, 1100, 2000, N_SHARE - 1, N_SHARE, N_SHARE + 1};
    struct rng rng = rng_seed(5);
    for (int round = 0; round < 9 * (int)ARRAY_LEN(counts); round++) {
        size_t n = counts[round / 9], kept = n < N_SHARE ? n : N_SHARE;
        for (int i = 0; i < N_SHARE; i++)
            items[i] = (struct candidate){i, share_logit(&rng, round % 9, i)};
        memcpy(sorted, items, sizeof items);
        qsort(sorted, N_SHARE, sizeof *sorted, by_distance);
        struct candidates left = {items, N_SHARE, 0};
        if (round % 2)
            candidates_sort_first(&left, 70);
        candidates_keep_first(&left, n);
        assert_int_equal(left.count, kept);
        assert_true(left.n_sorted <= kept);
        assert_memory_equal(items, sorted, left.n_sorted * sizeof *items);
        qsort(items, kept, sizeof *items, by_distance);
        assert_memory_equal(items, sorted, kept * sizeof *items);
    }
}

/* What is kept is a beginning of the order, reaches the share, and without its last does not. */
TEST(a_share_is_the_fewest_that_reach_it)
{
    static struct candidate items[N_SHARE], sorted[N_SHARE];
    static const double shares[] = {1e-9, 0.1, 0.5, 0.9, 0.999, 1 - 1e-12};
    struct rng rng = rng_seed(4);
    for (int round = 0; round < 9 * (int)ARRAY_LEN(shares); round++) {
        double share = shares[round / 9], reached = 0;
        for (int i = 0; i < N_SHARE; i++)
            items[i] = (struct candidate){i, share_logit(&rng, round % 9, i)};
        memcpy(sorted, items, sizeof items);
        qsort(sorted, N_SHARE, sizeof *sorted, by_distance);
        struct candidates left = {items, N_SHARE, 0};
        float max = sorted[0].logit;
        double total = candidates_mass(&left, max), slack = 1e-9 * total;
        candidates_keep_share(&left, max, share, round % 2 ? total : 0.0, INFINITY);
        qsort(items, left.count, sizeof *items, by_distance);
        assert_memory_equal(items, sorted, left.count * sizeof *items);
        for (size_t i = 0; i + 1 < left.count; i++)
            reached += candidate_mass(&items[i], max);
        assert_true(reached < share * total + slack);
        reached += candidate_mass(&items[left.count - 1], max);
        assert_true(reached >= share * total - slack);
    }
}
