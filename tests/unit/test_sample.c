#include "harness/test.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "sample/sampler.h"

enum { N_MAX = 1000 };

/* --- an independent reference: sort everything, walk down ------------------------------------- */

struct entry {
    int id;
    double logit, p;
};

static int by_likelihood(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit > y->logit ? -1 : 1;
    return x->id - y->id;
}

static void softmax(struct entry *e, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += e[i].p = exp(e[i].logit - e[0].logit);
    for (int i = 0; i < n; i++)
        e[i].p /= sum;
}

/* The distribution that the parameters mean: probabilities by id. */
static void reference(const float *logits, int n, const struct hth_sampler_options *p,
                      const int32_t *recent, int n_recent, double *probs)
{
    struct entry e[N_MAX];
    int last_n = p->repeat_last_n ? p->repeat_last_n : 64, kept = n;
    double sum = 0;
    for (int i = 0; i < n; i++) {
        float logit = logits[i];
        bool seen = false;
        for (int k = n_recent > last_n ? n_recent - last_n : 0; k < n_recent; k++)
            seen |= recent[k] == i;
        if (seen && p->repeat_penalty > 0)
            logit = logit > 0 ? logit / p->repeat_penalty : logit * p->repeat_penalty;
        e[i] = (struct entry){i, logit, 0};
        probs[i] = 0;
    }
    qsort(e, (size_t)n, sizeof *e, by_likelihood);
    if (p->top_k > 0 && p->top_k < kept)
        kept = p->top_k;
    softmax(e, kept);
    if (p->top_p > 0 && p->top_p < 1) {
        int i = 0;
        for (sum = 0; i < kept && sum < p->top_p; i++)
            sum += e[i].p;
        kept = i;
        softmax(e, kept);
    }
    if (p->min_p > 0) {
        int i = 0;
        while (i < kept && e[i].p >= p->min_p * e[0].p * (1 - 1e-12))
            i++;
        kept = i;
    }
    for (int i = 0; i < kept; i++)
        e[i].logit /= p->temp;
    softmax(e, kept);
    for (int i = 0; i < kept; i++)
        probs[e[i].id] = e[i].p;
}

static void make_logits(struct rng *rng, float *logits, int n)
{
    for (int i = 0; i < n; i++)
        logits[i] = 3 * rng_normal(rng);
}

static struct sampler *create(int n_vocab, struct hth_sampler_options params)
{
    struct sampler *sampler;
    struct sampler_vocab vocab = {.n_tokens = n_vocab};
    assert_int_equal(sampler_create(&sampler, &vocab, &params, test_log()), HTH_OK);
    return sampler;
}

static int32_t pick(struct sampler *sampler, const float *logits)
{
    int32_t id;
    assert_int_equal(sampler_pick(sampler, logits, &id, test_log()), HTH_OK);
    return id;
}

/* Draws often; each id must come as often as the reference says (χ², generous), and none that it
 * excludes. */
static void check_distribution(struct hth_sampler_options params, int n, const int32_t *recent,
                               int n_recent)
{
    enum { DRAWS = 20000 };
    float logits[N_MAX];
    double probs[N_MAX], chi2 = 0;
    int counts[N_MAX] = {0}, n_cells = 0;
    struct rng rng = rng_seed(params.seed + 77);
    struct sampler *sampler = create(n, params);
    make_logits(&rng, logits, n);
    for (int i = 0; i < n_recent; i++)
        sampler_accept(sampler, recent[i]);
    reference(logits, n, &params, recent, n_recent, probs);
    for (int i = 0; i < DRAWS; i++)
        counts[pick(sampler, logits)]++;
    for (int i = 0; i < n; i++) {
        double expected = probs[i] * DRAWS;
        if (probs[i] == 0 && counts[i] > 0)
            fail_msg("id %d came %d times but is cut off", i, counts[i]);
        if (expected < 5)
            continue;
        chi2 += (counts[i] - expected) * (counts[i] - expected) / expected;
        n_cells++;
    }
    assert_true(n_cells > 1);
    /* 6 standard deviations of χ² above its mean */
    if (chi2 > n_cells + 6 * sqrt(2.0 * n_cells))
        fail_msg("chi² is %g over %d cells", chi2, n_cells);
    sampler_destroy(sampler);
}

TEST(plain_temperature_draws_the_softmax)
{
    check_distribution((struct hth_sampler_options){.temp = 1, .seed = 1}, 50, NULL, 0);
    check_distribution((struct hth_sampler_options){.temp = 0.6f, .seed = 2}, 50, NULL, 0);
    check_distribution((struct hth_sampler_options){.temp = 1.7f, .seed = 3}, 50, NULL, 0);
}

TEST(top_k_keeps_the_likeliest)
{
    check_distribution((struct hth_sampler_options){.temp = 1.5f, .top_k = 5, .seed = 4}, 700, NULL,
                       0);
    check_distribution((struct hth_sampler_options){.temp = 1, .top_k = 2, .seed = 5}, 33, NULL, 0);
    check_distribution((struct hth_sampler_options){.temp = 1, .top_k = 5000, .seed = 6}, 20, NULL,
                       0);
}

TEST(top_p_keeps_the_nucleus)
{
    check_distribution((struct hth_sampler_options){.temp = 1.2f, .top_p = 0.95f, .seed = 7}, 100,
                       NULL, 0);
    check_distribution((struct hth_sampler_options){.temp = 2, .top_p = 0.97f, .seed = 8}, 900,
                       NULL, 0);
}

TEST(min_p_keeps_what_is_near)
{
    check_distribution((struct hth_sampler_options){.temp = 2, .min_p = 0.1f, .seed = 9}, 60, NULL,
                       0);
}

TEST(penalty_sees_recent_tokens_only)
{
    const int32_t recent[] = {3, 3, 9, 4, 1, 0, 7, 5, 6, 2};
    check_distribution(
        (struct hth_sampler_options){
            .temp = 1, .repeat_penalty = 2.5f, .repeat_last_n = 4, .seed = 10},
        30, recent, 10);
    check_distribution((struct hth_sampler_options){.temp = 1, .repeat_penalty = 1.3f, .seed = 11},
                       20, recent, 10);
}

TEST(all_together_in_order)
{
    const int32_t recent[] = {3, 9, 4, 1, 0, 7};
    check_distribution((struct hth_sampler_options){.temp = 1.8f,
                                                    .top_k = 40,
                                                    .top_p = 0.95f,
                                                    .min_p = 0.02f,
                                                    .repeat_penalty = 1.4f,
                                                    .seed = 12},
                       900, recent, 6);
}

/* Exactly which ids survive, for many shapes of input; the draw is made nearly uniform, so that all
 * of them come. */
TEST(kept_sets_equal_the_reference)
{
    struct rng rng = rng_seed(13);
    for (int round = 0; round < 60; round++) {
        int n = 2 + (int)rng_below(&rng, 120), seen = 0, meant = 0;
        struct hth_sampler_options params = {
            .temp = 1000,
            .top_k = (int)rng_below(&rng, 30),
            .top_p = round % 3 ? rng_float(&rng) : 0,
            .min_p = round % 2 ? rng_float(&rng) * 0.2f : 0,
            .seed = (uint64_t)round,
        };
        float logits[N_MAX];
        double probs[N_MAX];
        bool came[N_MAX] = {false};
        struct sampler *sampler = create(n, params);
        make_logits(&rng, logits, n);
        if (round % 4 == 0) /* many ties */
            for (int i = 0; i < n; i++)
                logits[i] = floorf(logits[i] / 2);
        reference(logits, n, &params, NULL, 0, probs);
        for (int i = 0; i < 4000; i++)
            came[pick(sampler, logits)] = true;
        for (int i = 0; i < n; i++) {
            seen += came[i];
            meant += probs[i] > 0;
            if (came[i] != (probs[i] > 0))
                fail_msg("round %d: id %d of %d, %d", round, i, n, came[i]);
        }
        assert_int_equal(seen, meant);
        sampler_destroy(sampler);
    }
}

TEST(greedy_takes_the_first_of_equals)
{
    const float logits[] = {-1, 4, 2, 4, 4, -INFINITY};
    struct sampler *sampler = create(6, (struct hth_sampler_options){0});
    assert_int_equal(pick(sampler, logits), 1);
    sampler_destroy(sampler);
    sampler = create(6, (struct hth_sampler_options){.repeat_penalty = 1.5f});
    sampler_accept(sampler, 1);
    sampler_accept(sampler, -7);
    sampler_accept(sampler, 6);
    assert_int_equal(pick(sampler, logits), 3);
    sampler_destroy(sampler);
    sampler = create(6, (struct hth_sampler_options){.top_k = 2, .top_p = 0.1f, .min_p = 0.9f});
    assert_int_equal(pick(sampler, logits), 1);
    sampler_destroy(sampler);
}

TEST(a_seed_gives_one_text)
{
    float logits[500];
    int32_t first[100];
    struct rng rng = rng_seed(14);
    struct hth_sampler_options params = {.temp = 1, .top_p = 0.99f, .seed = 99};
    struct sampler *a = create(500, params), *b = create(500, params), *other;
    int same = 0;
    make_logits(&rng, logits, 500);
    for (int i = 0; i < 100; i++) {
        first[i] = pick(a, logits);
        assert_int_equal(pick(b, logits), first[i]);
    }
    sampler_reset(a);
    params.seed = 100;
    other = create(500, params);
    for (int i = 0; i < 100; i++) {
        assert_int_equal(pick(a, logits), first[i]);
        same += pick(other, logits) == first[i];
    }
    assert_true(same < 60);
    sampler_destroy(a);
    sampler_destroy(b);
    sampler_destroy(other);
}

TEST(reset_forgets_recent_tokens)
{
    const float logits[] = {2, 1.9f};
    struct sampler *sampler = create(2, (struct hth_sampler_options){.repeat_penalty = 2});
    sampler_accept(sampler, 0);
    assert_int_equal(pick(sampler, logits), 1);
    sampler_reset(sampler);
    assert_int_equal(pick(sampler, logits), 0);
    sampler_destroy(sampler);
}

TEST(tiny_temperature_and_huge_logits_are_sane)
{
    const float logits[] = {3e38f, -3e38f, 2.9e38f, -INFINITY};
    int n_first = 0, n_third = 0;
    struct sampler *sampler = create(4, (struct hth_sampler_options){.temp = 1e-6f});
    for (int i = 0; i < 50; i++)
        assert_int_equal(pick(sampler, logits), 0);
    sampler_destroy(sampler);
    sampler = create(4, (struct hth_sampler_options){.temp = 1, .repeat_penalty = 1e-3f});
    sampler_accept(sampler, 0);
    sampler_accept(sampler, 2);
    for (int i = 0; i < 50; i++) { /* both at the largest float now */
        int32_t id = pick(sampler, logits);
        n_first += id == 0;
        n_third += id == 2;
    }
    assert_int_equal(n_first + n_third, 50);
    assert_true(n_first > 5 && n_third > 5);
    sampler_destroy(sampler);
}

TEST(what_is_no_number_is_an_error)
{
    float logits[3] = {1, NAN, 2};
    int32_t id = 5;
    struct sampler *sampler = create(3, (struct hth_sampler_options){0});
    assert_int_equal(sampler_pick(sampler, logits, &id, test_log()), HTH_ERROR_FORMAT);
    assert_int_equal(id, -1);
    assert_logged("token 1 is not a number");
    logits[1] = INFINITY;
    assert_int_equal(sampler_pick(sampler, logits, &id, test_log()), HTH_ERROR_FORMAT);
    assert_logged("token 1 is infinite");
    logits[0] = logits[1] = logits[2] = -INFINITY;
    assert_int_equal(sampler_pick(sampler, logits, &id, test_log()), HTH_ERROR_FORMAT);
    assert_logged("forbidden");
    sampler_destroy(sampler);
}

TEST(parameters_out_of_range_are_named)
{
    static const char *const empty[] = {"", NULL};
    static const struct hth_logit_bias outside[] = {{3, 1}, {10, 1}}, before[] = {{-1, 1}};
    static const struct hth_logit_bias infinite[] = {{3, INFINITY}}, no_number[] = {{3, NAN}};
    const struct {
        struct hth_sampler_options params;
        const char *name;
    } bad[] = {
        {{.temp = -1}, "temp"},
        {{.temp = NAN}, "temp"},
        {{.dynatemp_range = -1}, "dynatemp_range"},
        {{.dynatemp_exponent = NAN}, "dynatemp_exponent"},
        {{.top_k = -1}, "top_k"},
        {{.top_p = 1.5f}, "top_p"},
        {{.min_p = -0.1f}, "min_p"},
        {{.typical_p = 1.1f}, "typical_p"},
        {{.top_n_sigma = -1}, "top_n_sigma"},
        {{.xtc_probability = 2}, "xtc_probability"},
        {{.xtc_threshold = -0.1f}, "xtc_threshold"},
        {{.mirostat = 1}, "mirostat 2"},
        {{.mirostat_tau = -1}, "mirostat_tau"},
        {{.mirostat_eta = INFINITY}, "mirostat_eta"},
        {{.repeat_penalty = -1}, "repeat_penalty"},
        {{.frequency_penalty = NAN}, "frequency_penalty"},
        {{.presence_penalty = INFINITY}, "presence_penalty"},
        {{.repeat_last_n = -2}, "repeat_last_n"},
        {{.repeat_last_n = 2000000}, "repeat_last_n"},
        {{.dry_multiplier = -1}, "dry_multiplier"},
        {{.dry_base = 0.5f}, "dry_base"},
        {{.dry_base = NAN}, "dry_base"},
        {{.dry_allowed_length = -1}, "dry_allowed_length"},
        {{.dry_last_n = -2}, "dry_last_n"},
        {{.dry_breakers = empty}, "1 to 64 bytes"},
        {{.logit_bias = outside, .n_logit_bias = 2}, "token 10"},
        {{.logit_bias = before, .n_logit_bias = 1}, "token -1"},
        {{.logit_bias = infinite, .n_logit_bias = 1}, "token 3 is inf"},
        {{.logit_bias = no_number, .n_logit_bias = 1}, "token 3 is nan"},
        {{.samplers = "top_k;top_pp"}, "did you mean top_p?"},
        {{.samplers = "top_k,top_p"}, "no sampler \"top_k,top_p\""},
        {{.samplers = ";"}, "no sampler \"\""},
        {{.sampler_seq = "kq"}, "letter 'q'"},
        {{.samplers = "", .sampler_seq = ""}, "leave one out"},
    };
    struct sampler_vocab vocab = {.n_tokens = 10};
    struct sampler *sampler;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        test_log_clear();
        assert_int_equal(sampler_create(&sampler, &vocab, &bad[i].params, test_log()),
                         HTH_ERROR_ARGUMENT);
        assert_null(sampler);
        assert_logged(bad[i].name);
    }
    sampler_destroy(NULL);
}

static void piece(void *user, int32_t id, struct strbuf *out)
{
    (void)user;
    strbuf_printf(out, "token %d", id);
}

static enum hth_status create_once(void *arg)
{
    static const struct hth_logit_bias bias = {4, 1};
    struct hth_sampler_options params = {
        .repeat_penalty = 2, .dry_multiplier = 1, .logit_bias = &bias, .n_logit_bias = 1};
    struct sampler_vocab vocab = {100, piece, NULL};
    struct sampler *sampler;
    enum hth_status status = sampler_create(&sampler, &vocab, &params, arg);
    if (status)
        assert_null(sampler);
    sampler_destroy(sampler);
    return status;
}

TEST(allocation_failures)
{
    test_each_allocation_fails(create_once, NULL);
}

static bool refuse(void *user, size_t size)
{
    ++*(int *)user;
    return size == 0;
}

TEST(picking_allocates_nothing)
{
    float logits[500];
    struct rng rng = rng_seed(15);
    struct sampler_vocab vocab = {500, piece, NULL};
    struct hth_sampler_options params = {.temp = 1,
                                         .dynatemp_range = 0.5f,
                                         .top_k = 400,
                                         .top_p = 0.99f,
                                         .min_p = 0.001f,
                                         .typical_p = 0.99f,
                                         .top_n_sigma = 5,
                                         .xtc_probability = 0.5f,
                                         .repeat_penalty = 1.1f,
                                         .dry_multiplier = 1};
    make_logits(&rng, logits, 500);
    for (int mirostat = 0; mirostat <= 2; mirostat += 2) {
        struct sampler *sampler;
        int n_allocations = 0;
        params.mirostat = mirostat;
        assert_int_equal(sampler_create(&sampler, &vocab, &params, test_log()), HTH_OK);
        mem_set_hook(refuse, &n_allocations);
        for (int i = 0; i < 200; i++)
            sampler_accept(sampler, pick(sampler, logits));
        sampler_reset(sampler);
        mem_set_hook(NULL, NULL);
        assert_int_equal(n_allocations, 0);
        sampler_destroy(sampler);
    }
}
