/* What a sampler picks by the likeliest tokens alone is what it picks by all logits. */
#include "harness/test.h"

#include <math.h>

#include "base/rng.h"
#include "op/top_k.h"
#include "sample/sampler.h"

enum { N_VOCAB = 500, N_PICKS = 300 };

static struct sampler *create(struct hth_sampler_options options)
{
    struct sampler *sampler;
    struct sampler_vocab vocab = {.n_tokens = N_VOCAB};
    if (sampler_create(&sampler, &vocab, &options, test_log()))
        fail_msg("%s", test_log_text());
    return sampler;
}

static void check_best(struct hth_sampler_options options, int want)
{
    struct sampler *sampler = create(options);
    assert_int_equal(sampler_best(sampler), want);
    sampler_destroy(sampler);
}

/* Greedy looks at one wherever the likeliest always stays as it is; others at what a top-k leaves
 * that nothing comes before. */
TEST(how_many_are_enough)
{
    static const struct hth_logit_bias bias = {3, 1};
    check_best((struct hth_sampler_options){0}, 1);
    check_best((struct hth_sampler_options){.top_k = 40, .top_p = 0.9f, .min_p = 0.1f}, 1);
    check_best((struct hth_sampler_options){.top_n_sigma = 1}, 1);
    check_best((struct hth_sampler_options){.repeat_penalty = 1}, 1);
    check_best((struct hth_sampler_options){.repeat_penalty = 1.1f}, 0);
    check_best((struct hth_sampler_options){.presence_penalty = 1}, 0);
    check_best((struct hth_sampler_options){.dry_multiplier = 1}, 0);
    check_best((struct hth_sampler_options){.typical_p = 0.5f}, 0);
    check_best((struct hth_sampler_options){.xtc_probability = 0.5f}, 0);
    check_best((struct hth_sampler_options){.logit_bias = &bias, .n_logit_bias = 1}, 0);
    check_best((struct hth_sampler_options){.temp = 1}, 0);
    check_best((struct hth_sampler_options){.temp = 1, .top_p = 0.9f}, 0);
    check_best((struct hth_sampler_options){.temp = 1, .top_k = 40}, 40);
    check_best((struct hth_sampler_options){.temp = 1, .top_k = 1}, 1);
    check_best((struct hth_sampler_options){.temp = 1, .top_k = 300, .typical_p = 0.5f}, 300);
    check_best((struct hth_sampler_options){.temp = 1, .top_k = 40, .top_n_sigma = 1}, 0);
    check_best((struct hth_sampler_options){.temp = 2, .top_k = 4, .sampler_seq = "tk"}, 0);
    check_best((struct hth_sampler_options){.temp = 2, .top_k = 4, .sampler_seq = "kt"}, 4);
    check_best((struct hth_sampler_options){.temp = 2, .top_k = 4, .sampler_seq = "t"}, 0);
    check_best((struct hth_sampler_options){.temp = 1, .top_k = 40, .mirostat = 2}, 0);
    check_best(
        (struct hth_sampler_options){
            .temp = 1, .top_k = 40, .logit_bias = &bias, .n_logit_bias = 1},
        0);
}

/* Some of them equal. */
static void make_logits(struct rng *rng, float *logits)
{
    for (int i = 0; i < N_VOCAB; i++)
        logits[i] = rng_below(rng, 3) ? 3 * rng_normal(rng) : (float)rng_below(rng, 5);
}

static void check_same(struct hth_sampler_options options)
{
    struct sampler *all = create(options), *best = create(options);
    int k = sampler_best(all);
    struct rng rng = rng_seed(options.seed + 5);
    assert_in_range(k, 1, TOP_K_MOST);
    for (int i = 0; i < N_PICKS; i++) {
        float logits[N_VOCAB], values[TOP_K_MOST];
        int32_t ids[2 * TOP_K_MOST], id;
        make_logits(&rng, logits);
        int more = k + (int)rng_below(&rng, (uint32_t)(TOP_K_MOST - k + 1)); /* than needed */
        int count = i % 2 ? more : k;
        top_k_row(logits, N_VOCAB, count, ids);
        memcpy(values, ids + count, (size_t)count * sizeof *values);
        assert_int_equal(sampler_pick(all, logits, &id, test_log()), HTH_OK);
        int32_t got = sampler_pick_best(best, ids, count > 1 ? values : NULL, count);
        if (got != id)
            fail_msg("pick %d of the best %d: %d instead of %d", i, count, got, id);
        sampler_accept(all, id);
        sampler_accept(best, id);
    }
    sampler_destroy(all);
    sampler_destroy(best);
}

TEST(the_same_is_picked)
{
    check_same((struct hth_sampler_options){0});
    check_same((struct hth_sampler_options){.top_p = 0.9f, .min_p = 0.1f, .top_n_sigma = 0.1f});
    check_same((struct hth_sampler_options){.temp = 0.8f, .top_k = 1, .seed = 1});
    check_same((struct hth_sampler_options){.temp = 0.8f, .top_k = 40, .seed = 2});
    check_same((struct hth_sampler_options){.temp = 3, .top_k = 64, .top_p = 0.8f, .seed = 3});
    check_same((struct hth_sampler_options){.temp = 3, .top_k = 7, .typical_p = 0.6f, .seed = 4});
    check_same((struct hth_sampler_options){.temp = 2,
                                            .top_k = 30,
                                            .xtc_probability = 0.5f,
                                            .xtc_threshold = 0.02f,
                                            .dynatemp_range = 0.5f,
                                            .min_p = 0.01f,
                                            .seed = 5});
    check_same((struct hth_sampler_options){
        .temp = 2, .top_k = 20, .repeat_penalty = 1.5f, .sampler_seq = "ket", .seed = 6});
}
