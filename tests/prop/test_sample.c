/* Chains of all samplers in any order, against their definitions written down plainly: everything
 * in double, everything sorted, nothing clever. */
#include "harness/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "sample/stage.h"

enum { N_MAX = 400, TEXT_MAX = 200 };

struct entry {
    int id;
    double logit, p, key;
};

/* What is left, likeliest first, and what the definitions look at. */
struct world {
    struct entry e[N_MAX];
    int n;
    struct hth_sampler_options o;
    const int *text; /* so far */
    int n_text;
    struct rng rng;
};

static int by_likelihood(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->logit > y->logit ? -1 : x->logit < y->logit ? 1 : x->id - y->id;
}

static int by_key(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return x->key < y->key ? -1 : x->key > y->key ? 1 : by_likelihood(a, b);
}

/* Sorts and gives each its probability. */
static void settle(struct world *w)
{
    double sum = 0;
    qsort(w->e, (size_t)w->n, sizeof *w->e, by_likelihood);
    for (int i = 0; i < w->n; i++)
        sum += w->e[i].p = exp(w->e[i].logit - w->e[0].logit);
    for (int i = 0; i < w->n; i++)
        w->e[i].p /= sum;
}

static double entropy(const struct world *w)
{
    double h = 0;
    for (int i = 0; i < w->n; i++)
        if (w->e[i].p > 0)
            h -= w->e[i].p * log(w->e[i].p);
    return h;
}

/* How many, in the present order, it takes until their probabilities are p together. */
static int reach(const struct world *w, double p)
{
    double sum = 0;
    for (int i = 0; i < w->n; i++)
        if ((sum += w->e[i].p) >= p)
            return i + 1;
    return w->n;
}

static void penalties(struct world *w)
{
    int last_n = w->o.repeat_last_n == 0  ? 64
                 : w->o.repeat_last_n < 0 ? TEXT_MAX
                                          : w->o.repeat_last_n;
    double repeat = w->o.repeat_penalty ? (double)w->o.repeat_penalty : 1;
    for (int i = 0; i < w->n; i++) {
        int count = 0;
        double *l = &w->e[i].logit;
        for (int k = w->n_text > last_n ? w->n_text - last_n : 0; k < w->n_text; k++)
            count += w->text[k] == w->e[i].id;
        if (count > 0) {
            *l = *l > 0 ? *l / repeat : *l * repeat;
            *l -= count * (double)w->o.frequency_penalty + (double)w->o.presence_penalty;
            *l = (float)*l;
        }
    }
}

/* Ids that are multiples of 7 have a newline in their text (see piece). */
static bool breaks(int id)
{
    return id % 7 == 0;
}

static void dry(struct world *w)
{
    int window = w->o.dry_last_n > 0 && w->o.dry_last_n < w->n_text ? w->o.dry_last_n : w->n_text;
    int allowed = w->o.dry_allowed_length ? w->o.dry_allowed_length : 2;
    const int *text = w->text + w->n_text - window;
    for (int i = 0; i < w->n; i++) {
        int longest = 0;
        for (int next = 1; next < window; next++) {
            int n = 0;
            if (text[next] != w->e[i].id || breaks(text[next]))
                continue;
            while (n < next && text[next - 1 - n] == text[window - 1 - n] &&
                   !breaks(text[window - 1 - n]))
                n++;
            longest = n > longest ? n : longest;
        }
        if (longest >= allowed)
            w->e[i].logit =
                (float)(w->e[i].logit -
                        w->o.dry_multiplier *
                            pow(w->o.dry_base ? (double)w->o.dry_base : 1.75, longest - allowed));
    }
}

static void top_n_sigma(struct world *w)
{
    double mean = 0, square = 0, least;
    for (int i = 0; i < w->n; i++)
        mean += w->e[i].logit / w->n;
    for (int i = 0; i < w->n; i++)
        square += pow(w->e[i].logit - mean, 2) / w->n;
    least = w->e[0].logit - w->o.top_n_sigma * sqrt(square);
    while (w->e[w->n - 1].logit < least)
        w->n--;
}

static void typical(struct world *w)
{
    double h = entropy(w);
    for (int i = 0; i < w->n; i++)
        w->e[i].key = fabs(-log(w->e[i].p) - h);
    qsort(w->e, (size_t)w->n, sizeof *w->e, by_key);
    w->n = reach(w, w->o.typical_p);
}

static void min_p(struct world *w)
{
    while (w->e[w->n - 1].p < (double)w->o.min_p * w->e[0].p * (1 - 1e-12))
        w->n--;
}

static void xtc(struct world *w)
{
    double threshold = w->o.xtc_threshold ? (double)w->o.xtc_threshold : (double)0.1f;
    int above = 0;
    if (rng_double(&w->rng) >= (double)w->o.xtc_probability)
        return;
    while (above < w->n && w->e[above].p >= threshold)
        above++;
    if (above < 2)
        return;
    memmove(w->e, w->e + above - 1, (size_t)(w->n - above + 1) * sizeof *w->e);
    w->n -= above - 1;
}

static void temperature(struct world *w)
{
    double temp = w->o.temp, range = w->o.dynatemp_range;
    if (range > 0 && w->n > 1) {
        double low = fmax(0, temp - range), high = temp + range;
        double exponent = w->o.dynatemp_exponent ? (double)w->o.dynatemp_exponent : 1;
        temp = low + (high - low) * pow(entropy(w) / log(w->n), exponent);
    }
    for (int i = 0; i < w->n; i++)
        w->e[i].logit /= temp;
}

/* One letter of the chain; what is off does nothing, as does what cuts while mirostat works. */
static void stage(struct world *w, char letter)
{
    const struct hth_sampler_options *o = &w->o;
    settle(w);
    switch (letter) {
    case 'e': penalties(w); break;
    case 'd':
        if (o->dry_multiplier > 0)
            dry(w);
        break;
    case 's':
        if (o->top_n_sigma > 0 && !o->mirostat)
            top_n_sigma(w);
        break;
    case 'k':
        if (o->top_k > 0 && o->top_k < w->n && !o->mirostat)
            w->n = o->top_k;
        break;
    case 'y':
        if (o->typical_p > 0 && o->typical_p < 1 && !o->mirostat)
            typical(w);
        break;
    case 'p':
        if (o->top_p > 0 && o->top_p < 1 && !o->mirostat)
            w->n = reach(w, o->top_p);
        break;
    case 'm':
        if (o->min_p > 0 && !o->mirostat)
            min_p(w);
        break;
    case 'x':
        if (o->xtc_probability > 0 && o->xtc_threshold <= 0.5f && !o->mirostat)
            xtc(w);
        break;
    case 't': temperature(w); break;
    default: fail_msg("no such letter");
    }
    settle(w);
}

/* --- random chains ---------------------------------------------------------------------------- */

static void piece(void *user, int32_t id, struct strbuf *out)
{
    (void)user;
    strbuf_printf(out, breaks(id) ? ".\n%d" : "w%d", id);
}

static void check_left(const struct candidates *left, const struct world *w, int round)
{
    double sum = 0, expected[N_MAX] = {0};
    bool wanted[N_MAX] = {false};
    float max = candidates_max(left);
    for (int i = 0; i < w->n; i++) {
        wanted[w->e[i].id] = true;
        expected[w->e[i].id] = w->e[i].p;
    }
    for (size_t i = 0; i < left->count; i++)
        sum += exp((double)left->items[i].logit - max);
    for (size_t i = 0; i < left->count; i++) {
        int id = left->items[i].id;
        double p = exp((double)left->items[i].logit - max) / sum;
        if (!wanted[id])
            fail_msg("round %d: id %d of %zu left is not meant, %d are", round, id, left->count,
                     w->n);
        if (fabs(p - expected[id]) > 2e-6)
            fail_msg("round %d: id %d has probability %g, not %g", round, id, p, expected[id]);
        wanted[id] = false;
    }
    assert_int_equal(left->count, w->n);
    for (size_t i = 0; i + 1 < left->n_sorted; i++)
        assert_true(candidate_before(&left->items[i], &left->items[i + 1]));
}

static void random_options(struct rng *rng, struct hth_sampler_options *o)
{
    bool on[9];
    for (int i = 0; i < 9; i++)
        on[i] = rng_below(rng, 2);
    *o = (struct hth_sampler_options){
        .seed = rng_u32(rng),
        .temp = 0.2f + 2 * rng_float(rng),
        .dynatemp_range = on[0] ? 3 * rng_float(rng) : 0,
        .dynatemp_exponent = on[1] ? 0.1f + 2 * rng_float(rng) : 0,
        .top_k = on[2] ? (int)rng_below(rng, 60) : 0,
        .top_p = on[3] ? rng_float(rng) : 1,
        .min_p = on[4] ? 0.3f * rng_float(rng) : 0,
        .typical_p = on[5] ? rng_float(rng) : 0,
        .top_n_sigma = on[6] ? 3 * rng_float(rng) : 0,
        .xtc_probability = rng_float(rng),
        .xtc_threshold = on[7] ? 0.7f * rng_float(rng) : 0,
        .repeat_last_n = (int)rng_below(rng, 40) - 1,
        .repeat_penalty = rng_below(rng, 2) ? 0.5f + rng_float(rng) : 1,
        .frequency_penalty = rng_below(rng, 2) ? rng_float(rng) - 0.3f : 0,
        .presence_penalty = rng_below(rng, 2) ? rng_float(rng) - 0.3f : 0,
        .dry_multiplier = on[8] ? rng_float(rng) : 0,
        .dry_base = rng_below(rng, 2) ? 1 + rng_float(rng) : 0,
        .dry_allowed_length = (int)rng_below(rng, 4),
        .dry_last_n = (int)rng_below(rng, 2 * TEXT_MAX) - 1,
    };
}

static void fill_logits(struct rng *rng, float *logits, int n)
{
    float scale = powf(10, 1.5f * rng_float(rng) - 0.5f);
    bool ties = rng_below(rng, 4) == 0;
    for (int i = 0; i < n; i++) {
        logits[i] = scale * rng_normal(rng);
        if (ties)
            logits[i] = floorf(logits[i]);
    }
}

static void check_chain(int round)
{
    static struct world w;
    struct rng rng = rng_seed((uint64_t)round + 1000);
    int n = 1 + (int)rng_below(&rng, N_MAX), text[TEXT_MAX],
        alphabet = 1 + (int)rng_below(&rng, 12);
    char letters[] = "edskypmxt";
    float logits[N_MAX];
    struct sampler *sampler;
    struct sampler_vocab vocab = {n, piece, NULL};
    random_options(&rng, &w.o);
    for (int i = 8; i > 0; i--) { /* any order, often the usual one */
        uint32_t j = rng_below(&rng, (uint32_t)i + 1);
        char t = letters[i];
        letters[i] = round % 2 ? letters[j] : t;
        letters[j] = round % 2 ? t : letters[j];
    }
    letters[round % 2 ? rng_below(&rng, 10) : 9] = '\0';
    w.o.sampler_seq = round % 2 ? letters : NULL;
    w.text = text;
    w.rng = rng_seed(w.o.seed);
    fill_logits(&rng, logits, n);
    assert_int_equal(sampler_create(&sampler, &vocab, &w.o, test_log()), HTH_OK);
    w.n_text = (int)rng_below(&rng, TEXT_MAX);
    for (int i = 0; i < w.n_text; i++) {
        text[i] = (int)rng_below(&rng, (uint32_t)(alphabet < n ? alphabet : n));
        if (i > 10 && rng_below(&rng, 3)) /* repeat */
            text[i] = text[i - 1 - (int)(i % 5)];
        sampler_accept(sampler, text[i]);
    }
    for (int pick = 0; pick < 3; pick++) { /* XTC's luck changes */
        struct candidates left;
        w.n = n;
        for (int i = 0; i < n; i++)
            w.e[i] = (struct entry){i, logits[i], 0, 0};
        settle(&w);
        for (const char *at = round % 2 ? letters : "edskypmxt"; *at; at++)
            stage(&w, *at);
        assert_int_equal(sampler_run(sampler, logits, &left, test_log()), HTH_OK);
        check_left(&left, &w, round);
    }
    sampler_destroy(sampler);
}

TEST(chains_do_what_they_say)
{
    for (int round = 0; round < 6000; round++)
        check_chain(round);
}

/* --- mirostat --------------------------------------------------------------------------------- */

/* Each pick must be one that µ allows, and µ must move as the paper says. */
TEST(mirostat_keeps_its_mu)
{
    for (int round = 0; round < 30; round++) {
        struct rng rng = rng_seed((uint64_t)round);
        static struct world w;
        float logits[N_MAX], tau = 0.5f + 4 * rng_float(&rng), eta = 0.02f + 0.5f * rng_float(&rng);
        int n = 2 + (int)rng_below(&rng, N_MAX - 2);
        struct hth_sampler_options o = {.seed = (uint64_t)round,
                                        .temp = 0.5f + rng_float(&rng),
                                        .mirostat = 2,
                                        .mirostat_tau = tau,
                                        .mirostat_eta = eta,
                                        .top_k = 1,
                                        .typical_p = 0.1f,
                                        .xtc_probability = 1};
        struct sampler *sampler;
        struct sampler_vocab vocab = {.n_tokens = n};
        double mu = 2 * (double)tau;
        assert_int_equal(sampler_create(&sampler, &vocab, &o, test_log()), HTH_OK);
        for (int step = 0; step < 200; step++) {
            int32_t id;
            int at = 0;
            if (step == 120) {
                sampler_reset(sampler);
                mu = 2 * (double)tau;
            }
            fill_logits(&rng, logits, n);
            w = (struct world){.n = n, .o = o};
            for (int i = 0; i < n; i++)
                w.e[i] = (struct entry){i, logits[i], 0, 0};
            stage(&w, 't');
            assert_int_equal(sampler_pick(sampler, logits, &id, test_log()), HTH_OK);
            while (w.n > 1 && -log2(w.e[w.n - 1].p) > mu)
                w.n--;
            settle(&w);
            while (at < w.n && w.e[at].id != id)
                at++;
            if (at == w.n)
                fail_msg("round %d, step %d: id %d surprises too much", round, step, id);
            mu -= (double)eta * (-log2(w.e[at].p) - (double)tau);
            if (fabs(sampler->mu - mu) > 1e-4)
                fail_msg("round %d, step %d: µ is %g, not %g", round, step, sampler->mu, mu);
        }
        sampler_destroy(sampler);
    }
}

/* The mean surprise comes near to τ, wherever the logits could go. */
TEST(mirostat_reaches_tau)
{
    enum { N = 5000, STEPS = 4000 };
    static float logits[N];
    for (int i = 0; i < N; i++)
        logits[i] = -1.1f * logf((float)i + 1); /* Zipf */
    for (float tau = 1; tau < 7; tau += 2) {
        struct hth_sampler_options o = {.temp = 1, .mirostat = 2, .mirostat_tau = tau};
        struct sampler *sampler;
        struct sampler_vocab vocab = {.n_tokens = N};
        double before = 2 * (double)tau, sum = 0;
        assert_int_equal(sampler_create(&sampler, &vocab, &o, test_log()), HTH_OK);
        for (int step = 0; step < STEPS; step++) {
            int32_t id;
            assert_int_equal(sampler_pick(sampler, logits, &id, test_log()), HTH_OK);
            sum += (before - sampler->mu) / 0.1 + (double)tau; /* S = (µ − µ') / η + τ */
            before = sampler->mu;
        }
        if (fabs(sum / STEPS - (double)tau) > 0.15)
            fail_msg("mean surprise is %g bits, not %g", sum / STEPS, (double)tau);
        sampler_destroy(sampler);
    }
}

/* --- what no model should say ----------------------------------------------------------------- */

/* Logits of one kind: huge, tiny, denormal, constant, alternating, rising, mostly forbidden. */
static void fill_extreme(struct rng *rng, float *logits, int n, int kind)
{
    for (int i = 0; i < n; i++) {
        float x = rng_normal(rng);
        logits[i] = kind == 0   ? 3e38f * tanhf(x)
                    : kind == 1 ? 1e-30f * x
                    : kind == 2 ? 1e-42f * x
                    : kind == 3 ? 7.5f
                    : kind == 4 ? (i % 2 ? 1e30f : -1e30f)
                    : kind == 5 ? (float)i
                    : kind == 6 ? (i % 97 && i ? -INFINITY : x)
                                : -3.4e38f;
    }
}

/* Any chain leaves something, all of it once, and picks one of that. */
TEST(extreme_logits_leave_something)
{
    enum { N = 3001 };
    static float logits[N];
    static bool there[N];
    for (int round = 0; round < 1600; round++) {
        struct rng rng = rng_seed((uint64_t)round + 5);
        struct hth_sampler_options o;
        struct sampler *sampler;
        struct candidates left;
        int n = 1 + (int)rng_below(&rng, N);
        struct sampler_vocab vocab = {n, piece, NULL};
        int32_t id;
        random_options(&rng, &o);
        o.mirostat = round % 5 ? 0 : 2;
        if (round % 3 == 0)
            o.temp = 1e-6f;
        const char *const orders[] = {"edskypmxt", "txmpyksde", "ttyxps"};
        o.sampler_seq = orders[rng_below(&rng, 3)];
        fill_extreme(&rng, logits, n, round % 8);
        assert_int_equal(sampler_create(&sampler, &vocab, &o, test_log()), HTH_OK);
        for (int i = 0; i < 100; i++)
            sampler_accept(sampler, (int32_t)rng_below(&rng, n < 5 ? (uint32_t)n : 5));
        assert_int_equal(sampler_run(sampler, logits, &left, test_log()), HTH_OK);
        assert_in_range(left.count, 1, n);
        memset(there, 0, sizeof there);
        for (size_t i = 0; i < left.count; i++) {
            id = left.items[i].id;
            if (there[id] || !(logits[id] > -INFINITY) || !(left.items[i].logit < INFINITY))
                fail_msg("round %d: id %d is %g", round, id, (double)left.items[i].logit);
            there[id] = true;
        }
        for (int i = 0; i < 3; i++) {
            assert_int_equal(sampler_pick(sampler, logits, &id, test_log()), HTH_OK);
            assert_in_range(id, 0, n - 1);
            assert_true(logits[id] > -INFINITY);
            sampler_accept(sampler, id);
        }
        sampler_destroy(sampler);
    }
}
