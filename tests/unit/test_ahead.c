#include "base/rng.h"
#include "cpu/ahead.h"
#include "harness/test.h"

enum { PRODUCTS = 64 };

/* A machine on which runs that ask take `asking` as long as others. Products differ more than that,
 * and time flows as it likes. */
struct machine {
    double asking;
    bool disturbed; /* every tenth run takes twenty times as long */
    struct rng rng;
    struct ahead ahead;
    struct ahead_product products[PRODUCTS];
};

static void start(struct machine *machine, double asking, bool disturbed)
{
    *machine = (struct machine){.asking = asking, .disturbed = disturbed, .rng = rng_seed(7)};
    for (uint32_t i = 0; i < PRODUCTS; i++)
        machine->products[i].index = i;
}

/* Answers with n tokens, of products all of one format; how many in a thousand of the runs asked.
 */
static int answer(struct machine *machine, int format, int n)
{
    int asked = 0;
    for (int token = 0; token < n; token++)
        for (int i = 0; i < PRODUCTS; i++) {
            struct ahead_product *product = &machine->products[i];
            uint64_t bytes = (uint64_t)(1 + i % 5) << 20;
            bool asks = ahead_asks(&machine->ahead, format, product);
            double s = (double)bytes * 1e-10 * (1 + i % 4) * (token % 3 ? 1 : 1.5);
            if (asks)
                s *= machine->asking;
            if (machine->disturbed && rng_below(&machine->rng, 10) == 0)
                s *= 20;
            ahead_learn(&machine->ahead, format, product, bytes, s);
            asked += asks;
        }
    return asked * 1000 / (n * PRODUCTS);
}

TEST(what_is_faster_is_done)
{
    static const double faster[] = {0.4, 0.6, 0.95}, slower[] = {1.06, 1.7, 2.5};
    for (int i = 0; i < 3; i++)
        for (int disturbed = 0; disturbed < 2; disturbed++) {
            struct machine machine;
            start(&machine, faster[i], disturbed);
            answer(&machine, 0, 4);
            assert_in_range(answer(&machine, 0, 200), 940, 1000);
            start(&machine, slower[i], disturbed);
            answer(&machine, 1, 4);
            assert_in_range(answer(&machine, 1, 200), 0, 60);
        }
}

/* Each of the first four tokens has both ways in it, about as often. */
TEST(first_tokens_learn)
{
    struct machine machine;
    start(&machine, 1.7, false);
    for (int token = 0; token < 4; token++)
        assert_in_range(answer(&machine, 0, 1), 300, 700);
    assert_in_range(answer(&machine, 0, 40), 0, 40);
}

/* Memory that becomes another. */
TEST(what_changes_is_noticed)
{
    struct machine machine;
    start(&machine, 0.6, false);
    answer(&machine, 0, 1000);
    machine.asking = 1.7;
    answer(&machine, 0, 80);
    assert_in_range(answer(&machine, 0, 100), 0, 40);
    machine.asking = 0.6;
    answer(&machine, 0, 160);
    assert_in_range(answer(&machine, 0, 100), 960, 1000);
}

TEST(formats_learn_apart)
{
    struct machine one, other;
    start(&one, 0.6, false);
    start(&other, 1.7, false);
    for (int token = 0; token < 4; token++) {
        answer(&one, 0, 1);
        other.ahead = one.ahead;
        answer(&other, 1, 1);
        one.ahead = other.ahead;
    }
    assert_true(one.ahead.score[0] > 0 && one.ahead.score[1] < 0);
}

/* A clock that stands still, or no bytes, teach nothing and divide by nothing. */
TEST(nothing_measured)
{
    struct ahead ahead = {0};
    struct ahead_product products[2] = {{0}};
    for (int i = 0; i < 1000; i++) {
        ahead_learn(&ahead, 2, &products[0], i % 2 ? 0 : 100, 0);
        ahead_learn(&ahead, 3, &products[1], 0, 1);
    }
    assert_int_equal(ahead.score[2], 0);
    assert_int_equal(ahead.score[3], 0);
}
