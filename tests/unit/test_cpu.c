#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "cpu/cpu_op.h"
#include "cpu/float_kernels.h"
#include "harness/test.h"

/* Levels of the instruction set, and what float kernels state about themselves. */

#if defined(__x86_64__)
#include "cpu/levels_avx2.h"
#include "cpu/levels_avx512.h"
#elif defined(__aarch64__)
#include "cpu/levels_neon.h"
#endif

static const struct float_kernels *kernels_of(enum cpu_level level)
{
#if defined(__x86_64__)
    if (level == CPU_AVX2)
        return &float_kernels_avx2;
    if (level == CPU_AVX512)
        return &float_kernels_avx512;
#elif defined(__aarch64__)
    if (level == CPU_NEON)
        return &float_kernels_neon;
#endif
    return level == CPU_SCALAR ? &float_kernels_scalar : NULL;
}

/* exp of numbers from −87 to 0, as softmax has it, within 2e-7; beyond −105 nothing is left, and
 * what is masked has no weight. */
TEST(exp_is_as_near_as_stated)
{
    enum { COLUMNS = 16 };
    struct rng rng = rng_seed(7);
    for (enum cpu_level level = CPU_SCALAR; level < CPU_LEVELS; level++) {
        if (!cpu_level_runs(level))
            continue;
        for (int repeat = 0; repeat < 200; repeat++) {
            float scores[KV_PAGE * COLUMNS], given[KV_PAGE * COLUMNS], max[COLUMNS],
                total[COLUMNS] = {0}, shrink[COLUMNS];
            double sums[COLUMNS] = {0};
            for (int i = 0; i < KV_PAGE * COLUMNS; i++)
                given[i] = scores[i] = i < COLUMNS ? 0 : -87 * rng_float(&rng);
            scores[2 * COLUMNS] = given[2 * COLUMNS] = -INFINITY;
            scores[3 * COLUMNS] = given[3 * COLUMNS] = -200;
            for (int c = 0; c < COLUMNS; c++)
                max[c] = -INFINITY;
            kernels_of(level)->softmax(
                &(struct softmax_columns){scores, KV_PAGE, COLUMNS, max, total, shrink});
            for (int i = 0; i < KV_PAGE * COLUMNS; i++) {
                double want = exp((double)given[i]);
                sums[i % COLUMNS] += want;
                if (given[i] >= -87 && !(fabs(scores[i] - want) <= 2e-7 * want))
                    fail_msg("%s: exp(%.9g) is %.9g, not %.9g", cpu_level_name(level),
                             (double)given[i], (double)scores[i], want);
            }
            assert_true(scores[2 * COLUMNS] == 0 && scores[3 * COLUMNS] < 1e-44f);
            for (int c = 0; c < COLUMNS; c++)
                assert_true(max[c] == 0 && fabs(total[c] - sums[c]) <= 1e-6 * sums[c]);
        }
    }
}

/* Columns without any score yet have weights of zero and no NaN. */
TEST(softmax_of_nothing)
{
    for (enum cpu_level level = CPU_SCALAR; level < CPU_LEVELS; level++) {
        float scores[16], max[16], total[16], shrink[16];
        if (!cpu_level_runs(level))
            continue;
        for (int c = 0; c < 16; c++) {
            scores[c] = max[c] = -INFINITY;
            total[c] = 0;
        }
        kernels_of(level)->softmax(&(struct softmax_columns){scores, 2, 8, max, total, shrink});
        for (int c = 0; c < 16; c++)
            assert_true(scores[c] == 0);
        for (int c = 0; c < 8; c++)
            assert_true(max[c] == -INFINITY && total[c] == 0 && !isnan(shrink[c]));
    }
}

static const struct cpu_op *selected(void)
{
    static const struct weight weight = {
        .name = "w", .dtype = &dtype_q8_0, .ne = {64, 48, 1, 1}, .layout = LAYOUT_FILE};
    struct graph g;
    graph_init(&g, 1, 1, test_log());
    struct tensor *x =
        graph_activation(&g, "x", &dtype_f32, (const int64_t[]){64, 1, 1, 1}, ROWS_TOKENS);
    op_matmul(&g, "y", graph_weight(&g, &weight), x, NULL);
    const struct cpu_op *row = cpu_op_select(g.ops[0], NULL);
    graph_free(&g);
    return row;
}

/* The best level that the machine has is taken, unless a lower one is named. */
TEST(levels_are_kept_below_the_one_named)
{
    const char *before = getenv("HEARTH_CPU_LEVEL");
    char *kept = before ? mem_strdup(before) : NULL;
    test_set_env("HEARTH_CPU_LEVEL", NULL);
    enum cpu_level best = CPU_SCALAR;
    for (enum cpu_level level = CPU_SCALAR; level < CPU_LEVELS; level++)
        if (cpu_level_runs(level))
            best = level;
    assert_int_equal(selected()->level, best);
    for (enum cpu_level level = CPU_SCALAR; level < CPU_LEVELS; level++) {
        test_set_env("HEARTH_CPU_LEVEL", cpu_level_name(level));
        if (cpu_level_runs(level))
            assert_int_equal(selected()->level, level);
        else
            assert_true(selected()->level < level);
    }
    test_set_env("HEARTH_CPU_LEVEL", "sse");
    assert_int_equal(selected()->level, best);
    if (kept)
        test_set_env("HEARTH_CPU_LEVEL", kept);
    else
        test_set_env("HEARTH_CPU_LEVEL", NULL);
    mem_free(kept);
}
