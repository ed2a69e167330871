#include "base/rng.h"
#include "gpu/cut.h"
#include "harness/test.h"

enum { MAX_STEPS = 200 };

/* Every step is in one run, in order; no run of several steps has more than it may; and none could
 * take the first step of the next. */
static void check(const uint64_t *work, size_t n, uint64_t most)
{
    size_t ends[MAX_STEPS], first = 0;
    size_t runs = cut_steps(work, n, most, ends);
    assert_true(runs >= 1 && runs <= n);
    for (size_t i = 0; i < runs; i++) {
        assert_true(ends[i] > first);
        uint64_t sum = 0;
        for (size_t s = first; s < ends[i]; s++)
            sum += work[s];
        assert_true(sum <= most || ends[i] == first + 1);
        if (i + 1 < runs)
            assert_true(sum + work[ends[i]] > most);
        first = ends[i];
    }
    assert_int_equal(first, n);
}

TEST(steps_are_cut_as_late_as_allowed)
{
    struct rng rng = rng_seed(7);
    for (int round = 0; round < 2000; round++) {
        uint64_t work[MAX_STEPS];
        size_t n = 1 + rng_below(&rng, MAX_STEPS);
        for (size_t i = 0; i < n; i++)
            work[i] = 1 + rng_below(&rng, round % 3 ? 100 : 5000);
        check(work, n, 1 + rng_below(&rng, 1000));
    }
}

TEST(a_step_longer_than_a_submit_stands_alone)
{
    const uint64_t work[] = {10, 5000, 10, 20};
    size_t ends[4];
    assert_int_equal(cut_steps(work, 4, 100, ends), 3);
    assert_int_equal(ends[0], 1);
    assert_int_equal(ends[1], 2);
    assert_int_equal(ends[2], 4);
    assert_int_equal(cut_steps(work, 4, UINT64_MAX, ends), 1);
    assert_int_equal(ends[0], 4);
}

/* A device that did 3 GB in a second may do 150 MB in a submit of 50 ms. */
TEST(time_says_how_much_fits)
{
    uint64_t most = cut_most(3000ull << 20, 1000ull * 1000 * 1000);
    assert_in_range(most, (uint64_t)(149.9 * (1 << 20)), (uint64_t)(150.1 * (1 << 20)));
    assert_int_equal(cut_most(12345, 0), cut_most_unknown());
    assert_int_equal(cut_most_unknown(), 400 * 1000 * 1000);
}
