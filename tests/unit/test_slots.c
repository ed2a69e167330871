/* Which experts have a slot: the policy, and what it brings on a simulated clock. */
#include "harness/test.h"
#include "harness/virtual.h"

#include <stdlib.h>

#include "engine/plan_part.h"

/* --- the policy ------------------------------------------------------------------------------- */

enum { N_EXPERT = 16, N_USED = 2, N_SLOTS = 4 };

static struct slots *make(int n_layers, double price)
{
    struct slots *slots;
    struct slots_options options = {n_layers, N_EXPERT, N_USED, price};
    assert_int_equal(slots_create(&slots, &options, test_log()), HTH_OK);
    for (int layer = 0; layer < n_layers; layer++)
        for (int e = 0; e < N_SLOTS; e++)
            slots_fill(slots, layer, e);
    return slots;
}

static void use(struct slots *slots, int layer, int32_t a, int32_t b, int times)
{
    for (int i = 0; i < times; i++) {
        slots_use(slots, layer, (int32_t[]){a, b}, 1);
        slots_step(slots, 1);
    }
}

TEST(who_is_used_takes_the_slot_of_who_is_not)
{
    struct slots *slots = make(2, 0.1);
    struct slots_swap swap;
    use(slots, 1, 0, 9, 5);
    assert_true(slots_choose(slots, &swap));
    assert_int_equal(swap.layer, 1);
    assert_int_equal(swap.comes, 9);
    assert_true(swap.gone >= 1 && swap.gone < N_SLOTS);
    slots_begin(slots, &swap);
    assert_int_equal(slots_place_of(slots, 1, 9), SLOTS_COMING);
    assert_int_equal(slots_place_of(slots, 1, swap.gone), SLOTS_HOST);
    use(slots, 1, 9, 9, 1); /* not there yet */
    assert_int_equal(slots_get_count(slots).hits, 5);
    slots_arrive(slots, &swap);
    use(slots, 1, 9, 9, 1);
    assert_int_equal(slots_get_count(slots).hits, 7);
    assert_int_equal(slots_get_count(slots).uses, 14);
    assert_false(slots_choose(slots, &swap));
    slots_destroy(slots);
}

TEST(recent_uses_count_more_than_old_ones)
{
    struct slots *slots = make(1, 0.1);
    struct slots_swap swap;
    use(slots, 0, 1, 2, 30);
    use(slots, 0, 0, 3, 200);
    use(slots, 0, 0, 12, 4);
    assert_true(slots_choose(slots, &swap));
    assert_int_equal(swap.comes, 12);
    assert_true(swap.gone == 1 || swap.gone == 2);
    slots_destroy(slots);
}

/* Those who come are used no more: uploads end, but for a try now and then. */
TEST(uploads_that_bring_nothing_end)
{
    struct slots *slots = make(1, 1);
    struct slots_swap swap;
    int early = 0, late = 0;
    for (int t = 0; t < 2000; t++) {
        int32_t e = (t / 2 * 5) % N_EXPERT;
        use(slots, 0, e, e, 1);
        while (slots_choose(slots, &swap)) {
            slots_begin(slots, &swap);
            slots_arrive(slots, &swap);
            *(t < 100 ? &early : &late) += 1;
        }
    }
    assert_true(early > 0);
    assert_true(late <= 1900 / 16 + 1);
    slots_destroy(slots);
}

TEST(a_layer_that_is_whole_or_empty_has_no_cache)
{
    struct slots *slots = make(2, 0);
    struct slots_swap swap;
    for (int e = 0; e < N_EXPERT; e++)
        slots_fill(slots, 0, e);
    use(slots, 0, 9, 10, 20);
    assert_false(slots_choose(slots, &swap));
    assert_int_equal(slots_get_count(slots).uses, 0);
    slots_use(slots, 1, (int32_t[]){-1, N_EXPERT}, 1); /* whom nobody knows */
    assert_int_equal(slots_get_count(slots).uses, 0);
    slots_destroy(slots);
}

static enum hth_status create(void *arg)
{
    struct slots *slots;
    enum hth_status status = slots_create(&slots, arg, test_log());
    slots_destroy(slots);
    return status;
}

TEST(no_memory)
{
    struct slots_options options = {3, N_EXPERT, N_USED, 1};
    test_each_allocation_fails(create, &options);
}

/* --- routing ---------------------------------------------------------------------------------- */

/* The part of choices that an LRU cache of so many slots hits. */
static double lru_hit(int n, int n_used, int n_slots, double skew, double local)
{
    enum { N_TOKENS = 3000 };
    static struct routing r;
    struct rng rng = rng_seed(3);
    int hits = 0;
    routing_start(&r, &rng, n, n_used, skew, local);
    for (int t = 0; t < N_TOKENS; t++) {
        static int32_t before[ROUTING_MOST];
        memcpy(before, r.recent, sizeof before);
        routing_next(&r, &rng);
        for (int k = 0; k < n_used; k++)
            for (int i = 0; i < n_slots; i++)
                hits += before[i] == r.chosen[k];
    }
    return (double)hits / (N_TOKENS * n_used);
}

/* As measured (routing.h). */
TEST(local_routing_is_as_measured)
{
    double hit_64 = lru_hit(512, 10, 64, 0, 1), hit_128 = lru_hit(512, 10, 128, 0, 1);
    print_message("LRU with 64 of 512 slots hits %.3f, with 128 %.3f\n", hit_64, hit_128);
    assert_true(hit_64 > 0.64 && hit_64 < 0.70);
    assert_true(hit_128 > 0.78 && hit_128 < 0.84);
    double uniform = lru_hit(512, 10, 64, 0, 0);
    assert_true(uniform > 0.12 && uniform < 0.13);
}

/* --- on the clock ----------------------------------------------------------------------------- */

struct outcome {
    double tokens_per_s, hit, uploads;
};

/* An answer of many tokens by a machine that knows nothing of who will be used, with experts that
 * change places or with those it began with. */
static struct outcome answer(const struct plan_report *report, const struct plan *plan, double skew,
                             double local, bool fixed)
{
    struct virtual_machine vm;
    struct choice *choices = calloc((size_t)report->units.n_units, sizeof *choices);
    for (int i = 0; i < report->units.n_units; i++)
        choices[i] = plan->items[i].choice;
    struct virtual_job job = {.units = &report->units,
                              .choices = choices,
                              .turn = plan->turn,
                              .stream_device = 1,
                              .local = local,
                              .fixed = fixed,
                              .cold = true};
    job.turn.skew = skew;
    job.turn.n_out = 2000;
    virtual_start(&vm, &report->machine, 7);
    struct virtual_result result = virtual_run(&vm, &job);
    free(choices);
    return (struct outcome){result.answer_tokens_per_s, result.hit, result.uploads};
}

static double gain(const struct plan_report *report, const struct plan *plan, const char *what,
                   double skew, double local)
{
    struct outcome fixed = answer(report, plan, skew, local, true);
    struct outcome cache = answer(report, plan, skew, local, false);
    double times = cache.tokens_per_s / fixed.tokens_per_s;
    print_message("%-22s fixed: hit %.3f, %6.2f tokens/s; cache: hit %.3f, %6.2f tokens/s, %.2f "
                  "uploads with a token; %+.1f %%\n",
                  what, fixed.hit, fixed.tokens_per_s, cache.hit, cache.tokens_per_s, cache.uploads,
                  100 * (times - 1));
    return times;
}

static void hold(const char *machine, const char *model, double least_skewed, double least_local)
{
    char path[512];
    struct plan_report *report;
    struct plan plan;
    snprintf(path, sizeof path, "%s", test_data_path("machines/%s.json", machine));
    struct plan_request request = {.model = model,
                                   .profile = path,
                                   .device = {.session = {.n_ctx = 4096}},
                                   .expert_skew = 0.7};
    assert_int_equal(plan_report_open(&report, &request), HTH_OK);
    struct plan_options options = {.skew = 0.7, .as_run = true, .n_batch = 512};
    assert_int_equal(plan_create(&plan, &report->machine, &report->units, &options, test_log()),
                     HTH_OK);
    print_message("%s on %s\n", model, machine);
    assert_true(gain(report, &plan, "skew 0.7", 0.7, 0) >= least_skewed);
    assert_true(gain(report, &plan, "skew 1", 1, 0) >= least_skewed);
    assert_true(gain(report, &plan, "local, without skew", 0, 1) >= least_local);
    assert_true(gain(report, &plan, "skew 0.7, half local", 0.7, 0.5) >= least_local);
    assert_true(gain(report, &plan, "uniform", 0, 0) >= 0.998);
    plan_free(&plan);
    plan_report_close(report);
}

TEST(a_cache_beats_fixed_experts_where_routing_has_a_pattern)
{
    hold("card-8", "synth:qwen3-30b-a3b:q4_k_m", 1.1, 1.1);
    hold("card-12", "synth:qwen3-30b-a3b:q8_0", 1.1, 1.1);
}

TEST(a_cache_of_few_experts)
{
    hold("card-12", "synth:mixtral-8x7b:q4_k_m", 1.1, 1.05);
}
