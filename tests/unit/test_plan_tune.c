/* Looking around a plan, on machines whose speed is a formula. */
#include "harness/test.h"

#include <stdio.h>

#include "base/rng.h"
#include "plan/tune.h"

enum { THREADS = 16, BATCH = 512, MOST = 4096 };

struct invented {
    double (*seconds)(const struct tune_setting *setting);
    double noise;        /* a measurement is off by up to so much of itself */
    int fail_at;         /* this measurement, from 1 on; 0: none */
    enum hth_status how; /* so */
    int n_measured, n_told;
    double least_gain;
    struct rng rng;
};

static int threads_of(const struct tune_setting *setting)
{
    return setting->n_threads ? setting->n_threads : THREADS;
}

static int batch_of(const struct tune_setting *setting)
{
    return setting->n_batch ? setting->n_batch : BATCH;
}

static enum hth_status measure(void *user, const struct tune_setting *setting, double *seconds)
{
    struct invented *invented = user;
    assert_in_range(threads_of(setting), 1, THREADS);
    assert_in_range(batch_of(setting), 1, MOST);
    assert_true(setting->vram_percent >= TUNE_NO_VRAM && setting->vram_percent < 100);
    double off = 2 * rng_double(&invented->rng) - 1;
    *seconds = invented->seconds(setting) * (1 + invented->noise * off);
    return ++invented->n_measured == invented->fail_at ? invented->how : HTH_OK;
}

static void tell(void *user, const struct tune_setting *setting, double gain)
{
    struct invented *invented = user;
    (void)setting;
    invented->n_told++;
    if (gain < invented->least_gain)
        invented->least_gain = gain;
}

static enum hth_status look(struct invented *invented, bool has_gpu, struct tune_result *result)
{
    const struct tune_options options = {.measure = measure,
                                         .tell = tell,
                                         .user = invented,
                                         .n_threads = THREADS,
                                         .n_batch = BATCH,
                                         .most_batch = MOST,
                                         .has_gpu = has_gpu};
    invented->n_measured = invented->n_told = 0;
    invented->least_gain = 1;
    invented->rng = rng_seed(7);
    return tune(&options, result);
}

static void finds(double (*seconds)(const struct tune_setting *), bool has_gpu,
                  struct tune_setting best)
{
    struct invented invented = {.seconds = seconds};
    struct tune_result result;
    assert_int_equal(look(&invented, has_gpu, &result), HTH_OK);
    assert_int_equal(result.best.n_threads, best.n_threads);
    assert_int_equal(result.best.n_batch, best.n_batch);
    assert_int_equal(result.best.vram_percent, best.vram_percent);
    assert_true(result.planned_s == seconds(&(struct tune_setting){0}));
    assert_true(result.best_s == seconds(&best));
    assert_int_equal(result.n_measured, invented.n_measured);
    assert_true(result.n_measured <= 40);
}

static double flat(const struct tune_setting *setting)
{
    (void)setting;
    return 3;
}

static double best_with_half_the_threads(const struct tune_setting *setting)
{
    int away = threads_of(setting) - THREADS / 2;
    return 10 + (away < 0 ? -away : away);
}

static double best_with_large_batches(const struct tune_setting *setting)
{
    return 5 + 4096.0 / batch_of(setting);
}

static double best_with_small_batches(const struct tune_setting *setting)
{
    return 5 + batch_of(setting) / 100.0;
}

static double best_without_gpu(const struct tune_setting *setting)
{
    return setting->vram_percent == TUNE_NO_VRAM ? 1 : 2 + setting->vram_percent / 1000.0;
}

static double best_with_three_quarters(const struct tune_setting *setting)
{
    int percent = setting->vram_percent ? setting->vram_percent : 100;
    return percent < 0 ? 9 : 5 + (percent < 75 ? 75 - percent : percent - 75) / 20.0;
}

static double all_of_these(const struct tune_setting *setting)
{
    return best_with_three_quarters(setting) * best_with_half_the_threads(setting) *
           best_with_large_batches(setting);
}

TEST(what_is_best_is_found)
{
    finds(flat, true, (struct tune_setting){0});
    finds(best_with_half_the_threads, true, (struct tune_setting){.n_threads = 8});
    finds(best_with_large_batches, false, (struct tune_setting){.n_batch = MOST});
    finds(best_with_small_batches, false, (struct tune_setting){.n_batch = 128});
    finds(best_without_gpu, true, (struct tune_setting){.vram_percent = TUNE_NO_VRAM});
    finds(best_with_three_quarters, true, (struct tune_setting){.vram_percent = 75});
    finds(all_of_these, true, (struct tune_setting){8, MOST, 75});
}

/* All tokens in one batch, too, where no power of two of the planned batch holds just them. */
TEST(one_batch_for_all_is_tried)
{
    static const int most[][2] = {{BATCH, 0}, {BATCH + 1, 1024}, {1000, 1024}, {1025, 2048}};
    for (int i = 0; i < 4; i++) {
        struct invented invented = {.seconds = best_with_large_batches};
        struct tune_result result;
        const struct tune_options options = {
            .measure = measure, .user = &invented, .n_batch = BATCH, .most_batch = most[i][0]};
        assert_int_equal(tune(&options, &result), HTH_OK);
        assert_int_equal(result.best.n_batch, most[i][1]);
    }
}

TEST(without_a_gpu_none_is_asked_for)
{
    finds(best_without_gpu, false, (struct tune_setting){0});
}

/* A machine that is no faster whatever is done, but measured badly: what is said to be better was
 * so three times in turn. */
TEST(noise_is_seldom_believed)
{
    int n_believed = 0;
    for (unsigned seed = 1; seed <= 200; seed++) {
        struct invented invented = {.seconds = flat, .noise = 0.05};
        const struct tune_options options = {.measure = measure,
                                             .user = &invented,
                                             .n_threads = THREADS,
                                             .n_batch = BATCH,
                                             .most_batch = MOST,
                                             .has_gpu = true};
        struct tune_result result;
        invented.rng = rng_seed(seed);
        assert_int_equal(tune(&options, &result), HTH_OK);
        n_believed += result.best.n_threads || result.best.n_batch || result.best.vram_percent;
    }
    printf("believed %d times of 200\n", n_believed);
    assert_true(n_believed <= 30);
}

static double large_batches_cannot_be_run(const struct tune_setting *setting)
{
    return batch_of(setting) > 1024 ? 0 : best_with_large_batches(setting);
}

static enum hth_status measure_limited(void *user, const struct tune_setting *setting,
                                       double *seconds)
{
    enum hth_status status = measure(user, setting, seconds);
    return batch_of(setting) > 1024 ? HTH_ERROR_LIMIT : status;
}

TEST(what_cannot_be_run_is_not_the_best)
{
    struct invented invented = {.seconds = large_batches_cannot_be_run, .least_gain = 1};
    struct tune_result result;
    const struct tune_options options = {.measure = measure_limited,
                                         .tell = tell,
                                         .user = &invented,
                                         .n_batch = BATCH,
                                         .most_batch = MOST};
    assert_int_equal(tune(&options, &result), HTH_OK);
    assert_int_equal(result.best.n_batch, 1024);
    assert_true(invented.least_gain == 0);
}

/* Whenever it is ended, what was found until then is there, and is not slower than the plan. */
TEST(ends_at_any_measurement)
{
    struct invented invented = {.seconds = all_of_these};
    struct tune_result result;
    assert_int_equal(look(&invented, true, &result), HTH_OK);
    int n = invented.n_measured, n_better = 0;
    for (int at = 1; at <= n; at++) {
        invented.fail_at = at;
        invented.how = at % 2 ? HTH_ERROR_CANCELLED : HTH_ERROR_DEVICE;
        assert_int_equal(look(&invented, true, &result), invented.how);
        assert_int_equal(invented.n_measured, at);
        assert_true(at == 1 || result.best_s <= result.planned_s);
        assert_true(at == 1 || result.best_s == all_of_these(&result.best));
        n_better += result.best_s < result.planned_s;
    }
    assert_true(n_better > n / 3);
}
