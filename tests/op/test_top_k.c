#include "op_test.h"

#include <math.h>

#include "op/top_k.h"

/* The largest of a row, in order: what is equal, what is not finite, and rows of all lengths beside
 * those of slices and workgroups. */

static const struct op_batch batches[] = {
    {.bucket = 1, .n_outputs = 1, .n_seqs = 1, .seqs = {{0, 1}}},
    {.bucket = 33, .n_outputs = 3, .n_seqs = 2, .seqs = {{0, 30}, {70, 3}}},
};

static void run(const struct op_batch *batch, int n, int k, op_test_change_fn *change,
                unsigned skip_kinds)
{
    struct op_test t;
    op_test_begin(&t, batch);
    t.change = change;
    t.skip_kinds = skip_kinds;
    struct tensor *x = op_test_input(&t, "x", n, t.graph.n_outputs, 1, ROWS_OUTPUTS);
    op_top_k(&t.graph, "y", x, k);
    op_test_run(&t);
}

/* Rows that are changed need not be of all kinds before. */
static void lengths(op_test_change_fn *change)
{
    const unsigned skip = change ? ~(1u << INPUT_UNIFORM | 1u << INPUT_ZERO) : 0;
    static const int lengths[] = {1, 3, 64, 257, 2048, 2049, 5003};
    static const int ks[] = {1, 2, 5, TOP_K_MOST};
    for (size_t b = 0; b < ARRAY_LEN(batches); b++)
        for (size_t n = 0; n < ARRAY_LEN(lengths); n++)
            for (size_t k = 0; k < ARRAY_LEN(ks); k++)
                if (ks[k] <= lengths[n])
                    run(&batches[b], lengths[n], ks[k], change, skip);
}

TEST(any_rows)
{
    lengths(NULL);
}

/* Of few values each is there often. */
static void make_ties(struct rng *rng, float *row, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        row[i] = (float)rng_below(rng, 3) - 1;
}

TEST(ties_go_to_the_lower_id)
{
    lengths(make_ties);
}

static void negate_zeros(struct rng *rng, float *row, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        row[i] = rng_below(rng, 2) ? -0.0f : rng_below(rng, 4) ? 0.0f : -1.0f;
    row[n - 1] = -1;
}

TEST(zeros_of_both_signs_are_equal)
{
    lengths(negate_zeros);
}

/* One number that is none, anywhere: its row has no best. */
static void make_nan(struct rng *rng, float *row, int64_t n)
{
    row[rng_below(rng, (uint32_t)n)] = rng_below(rng, 2) ? NAN : -NAN;
}

static void make_infinite(struct rng *rng, float *row, int64_t n)
{
    row[rng_below(rng, (uint32_t)n)] = rng_below(rng, 2) ? INFINITY : -INFINITY;
}

static void forbid_all(struct rng *rng, float *row, int64_t n)
{
    (void)rng;
    for (int64_t i = 0; i < n; i++)
        row[i] = -INFINITY;
}

TEST(what_is_not_finite_has_no_best)
{
    lengths(make_nan);
    lengths(make_infinite);
    lengths(forbid_all);
}

/* Each is the largest so far, and all are negative. */
static void make_ascend(struct rng *rng, float *row, int64_t n)
{
    (void)rng;
    for (int64_t i = 0; i < n; i++)
        row[i] = (float)(i - n);
}

TEST(each_is_larger_than_all_before)
{
    lengths(make_ascend);
}

/* All of the largest lie in the part of the row that one invocation looks through. */
static void make_steps(struct rng *rng, float *row, int64_t n)
{
    (void)rng;
    for (int64_t i = 0; i < n; i++)
        row[i] = i % 64 == 5 ? (float)(n - i) : -(float)i;
}

TEST(all_of_one_invocation)
{
    lengths(make_steps);
}

/* Vocabularies of today. */
TEST(large_vocabularies)
{
    const unsigned skip = ~(1u << INPUT_UNIFORM | 1u << INPUT_CONSTANT | 1u << INPUT_DENORMAL);
    run(&batches[0], 152064, 1, NULL, skip);
    run(&batches[0], 152064, 40, NULL, skip);
    run(&batches[0], 262144, TOP_K_MOST, NULL, skip);
    run(&batches[0], 151936, TOP_K_MOST, make_ties, skip);
    run(&batches[1], 128256, 1, make_nan, skip);
}
