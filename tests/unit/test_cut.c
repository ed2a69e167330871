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

/* What steps took together is theirs by what they were thought to take, and nothing is forgotten.
 */
TEST(times_keep_their_shares)
{
    uint64_t times[] = {100, 300, 0, 600};
    cut_fit(times, 4, 50000);
    assert_int_equal(times[0], 5000);
    assert_int_equal(times[1], 15000);
    assert_int_equal(times[2], 1);
    assert_int_equal(times[3], 30000);
    cut_fit(times, 4, 0);
    for (int i = 0; i < 4; i++)
        assert_int_equal(times[i], 1);
    cut_fit(times, 4, 4000);
    for (int i = 0; i < 4; i++)
        assert_int_equal(times[i], 1000);
    assert_true(cut_unknown_ns(8000) == 1000);
}

/* As few parts as keep to the aim, and never more than there are workgroups. */
TEST(a_long_step_is_done_in_parts)
{
    assert_int_equal(cut_parts(0, 10), 1);
    assert_int_equal(cut_parts(CUT_AIM_NS, 10), 1);
    assert_int_equal(cut_parts(CUT_AIM_NS + 1, 10), 2);
    assert_int_equal(cut_parts(7ull * CUT_AIM_NS, 10), 7);
    assert_int_equal(cut_parts(1000ull * CUT_AIM_NS, 10), 10);
    assert_true(CUT_AIM_NS < CUT_MOST_NS);
}

/* Where there are most workgroups, if that may be. */
TEST(steps_are_divided_where_they_are_wide)
{
    const uint32_t groups[3] = {4, 30, 20}, one[3] = {1, 1, 1};
    assert_int_equal(cut_axis(groups, 0), 1);
    assert_int_equal(cut_axis(groups, 1 << 1), 2);
    assert_int_equal(cut_axis(groups, 1 << 1 | 1 << 2), 0);
    assert_int_equal(cut_axis(groups, 7), -1);
    assert_int_equal(cut_axis(one, 0), -1);
}
