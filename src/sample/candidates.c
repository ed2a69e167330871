#include "sample/stage.h"

#include <float.h>

#include "sample/same_math.h"

static void swap(struct candidate *a, struct candidate *b)
{
    struct candidate t = *a;
    *a = *b;
    *b = t;
}

/* Lets items[root] sink in a heap whose top is the last in order. */
static void sink(struct candidate *items, size_t root, size_t count)
{
    for (;;) {
        size_t child = 2 * root + 1;
        if (child >= count)
            return;
        if (child + 1 < count && candidate_before(&items[child], &items[child + 1]))
            child++;
        if (!candidate_before(&items[root], &items[child]))
            return;
        swap(&items[root], &items[child]);
        root = child;
    }
}

/* Heapsort (Williams 1964): qsort of the C library may allocate. */
static void sort(struct candidate *items, size_t count)
{
    for (size_t i = count / 2; i-- > 0;)
        sink(items, i, count);
    while (count > 1) {
        swap(&items[0], &items[--count]);
        sink(items, 0, count);
    }
}

/* The order of likelihood, or of the distance from `center` if that is finite. */
static inline bool before(const struct candidate *a, const struct candidate *b, double center)
{
    if (center < INFINITY) {
        double x = fabs(a->logit - center), y = fabs(b->logit - center);
        if (x != y)
            return x < y;
    }
    return candidate_before(a, b);
}

static const struct candidate *median(const struct candidate *a, const struct candidate *b,
                                      const struct candidate *c, double center)
{
    if (before(a, b, center))
        return before(b, c, center) ? b : before(a, c, center) ? c : a;
    return before(a, c, center) ? a : before(b, c, center) ? c : b;
}

/* Splits items[count], two at least, as Hoare did (1961, "Algorithm 64: Quicksort"): returns an i
 * above 0 and below count such that all before i come before all from i on. Ids make all candidates
 * different, so that both scans stop at the pivot at the latest; and the median of three has one
 * before it and one after it, so that neither side is empty (of two, the pivot is the second). */
static inline size_t split(struct candidate *items, size_t count, double center)
{
    const struct candidate pivot = *median(&items[0], &items[count / 2], &items[count - 1], center);
    size_t i = 0, j = count - 1;
    for (;;) {
        while (before(&items[i], &pivot, center))
            i++;
        while (before(&pivot, &items[j], center))
            j--;
        if (i >= j)
            return i;
        swap(&items[i++], &items[j--]);
    }
}

/* Selection ("Algorithm 65: Find"): afterwards the n likeliest stand first. */
static void select_first(struct candidate *items, size_t count, size_t n)
{
    size_t low = 0, high = count; /* the n-th place lies in [low, high) */
    while (n > low && n < high) {
        size_t i = low + split(items + low, high - low, INFINITY);
        if (n <= i)
            high = i;
        else
            low = i;
    }
}

/* The n likeliest of few: one pass with a heap of those found so far. */
static void select_few(struct candidate *items, size_t count, size_t n)
{
    for (size_t i = n / 2; i-- > 0;)
        sink(items, i, n);
    for (size_t i = n; i < count; i++)
        if (candidate_before(&items[i], &items[0])) {
            swap(&items[i], &items[0]);
            sink(items, 0, n);
        }
}

void candidates_sort_first(struct candidates *left, size_t n)
{
    enum { FEW = 256 };
    struct candidate *rest = left->items + left->n_sorted;
    size_t n_rest = left->count - left->n_sorted;
    if (n > left->count)
        n = left->count;
    if (n <= left->n_sorted)
        return;
    n -= left->n_sorted;
    if (n <= FEW)
        select_few(rest, n_rest, n);
    else if (n < n_rest)
        select_first(rest, n_rest, n);
    sort(rest, n);
    left->n_sorted += n;
}

float candidates_max(const struct candidates *left)
{
    float max = left->items[0].logit;
    if (left->n_sorted == 0)
        for (size_t i = 1; i < left->count; i++)
            max = left->items[i].logit > max ? left->items[i].logit : max;
    return max;
}

double candidate_mass(const struct candidate *item, float max)
{
    return same_exp((double)item->logit - max);
}

double candidates_mass(const struct candidates *left, float max)
{
    double total = 0.0;
    for (size_t i = 0; i < left->count; i++)
        total += candidate_mass(&left->items[i], max);
    return total;
}

void candidates_keep_likeliest(struct candidates *left)
{
    candidates_sort_first(left, 1);
    left->count = left->n_sorted = 1;
}

void candidates_keep_from(struct candidates *left, double least)
{
    size_t kept = 0, sorted = 0;
    if (!((double)candidates_max(left) >= least)) {
        candidates_keep_likeliest(left);
        return;
    }
    for (size_t i = 0; i < left->count; i++) {
        if ((double)left->items[i].logit < least)
            continue;
        sorted += i < left->n_sorted;
        left->items[kept++] = left->items[i];
    }
    left->count = kept;
    left->n_sorted = sorted;
}

/* Splits like `split`, at a guess: most often all that is to be kept has logits within 8 of the
 * first in order, and is a small part of the vocabulary. Both sides may be empty. */
static size_t split_near(struct candidate *items, size_t count, float max, double center)
{
    const double first = center < INFINITY ? center : (double)max, near = 8.0;
    size_t n = 0;
    for (size_t i = 0; i < count; i++)
        if (fabs(items[i].logit - first) <= near)
            swap(&items[n++], &items[i]);
    return n;
}

void candidates_keep_mass(struct candidates *left, float max, double target, double center)
{
    size_t low = 0, high = left->count;
    double reached = 0.0; /* by all before `low` */
    bool guess = true;
    if (center < INFINITY)
        left->n_sorted = 0;
    while (low < left->n_sorted) {
        reached += candidate_mass(&left->items[low++], max);
        if (reached >= target) {
            left->count = left->n_sorted = low;
            return;
        }
    }
    /* Selection by mass in place of by count: the last to be kept lies in [low, high). */
    for (; high - low > 1; guess = false) {
        struct candidate *rest = left->items + low;
        size_t n =
            guess ? split_near(rest, high - low, max, center) : split(rest, high - low, center);
        struct candidates first = {rest, n, 0};
        double mass = candidates_mass(&first, max);
        if (n && reached + mass >= target) {
            high = low + n;
        } else {
            reached += mass;
            low += n;
        }
    }
    left->count = high;
}

size_t candidates_draw(const struct candidates *left, float max, struct rng *rng)
{
    double u = rng_double(rng) * candidates_mass(left, max);
    for (size_t i = 0; i < left->count; i++) {
        u -= candidate_mass(&left->items[i], max);
        if (u < 0.0)
            return i;
    }
    return 0; /* only by rounding */
}

float clamp_logit(double logit)
{
    return (float)fmax(fmin(logit, FLT_MAX), -FLT_MAX); /* a softmax of ∞ is NaN */
}
