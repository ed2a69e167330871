#include "cpu/ahead.h"

/* The first runs of a product are compared, later two of every SELDOM, which differ from product to
 * product. */
enum { FIRST = 4, SELDOM = 64, MOST = 32 };

/* Which of two that are compared the next run is (more: neither), and which pair they are. */
struct turn {
    uint32_t turn, pair;
};

static struct turn turn_of(const struct ahead_product *product)
{
    uint32_t later = product->n + product->index;
    if (product->n < FIRST)
        return (struct turn){product->n % 2, product->n / 2};
    return (struct turn){later % SELDOM, FIRST + later / SELDOM};
}

/* Does the first of a pair ask? As often as not, so that what drifts favours neither. */
static bool first_asks(const struct ahead_product *product, uint32_t pair)
{
    return (product->index * 31 + pair) * 2654435761U >> 31; /* Knuth's multiplicative hash */
}

bool ahead_asks(const struct ahead *ahead, int format, const struct ahead_product *product)
{
    struct turn turn = turn_of(product);
    if (turn.turn > 1)
        return ahead->score[format] >= 0;
    return first_asks(product, turn.pair) == (turn.turn == 0);
}

void ahead_learn(struct ahead *ahead, int format, struct ahead_product *product, uint64_t bytes,
                 double seconds)
{
    double s = bytes ? seconds / (double)bytes : 0, first_s = product->first_s;
    struct turn turn = turn_of(product);
    int *score = &ahead->score[format];
    product->first_s = turn.turn == 0 ? s : 0;
    product->n++;
    if (turn.turn != 1 || s <= 0 || first_s <= 0)
        return;
    if ((first_s < s) == first_asks(product, turn.pair))
        *score += *score < MOST;
    else
        *score -= *score > -MOST;
}
