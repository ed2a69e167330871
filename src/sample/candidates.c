#include "sample/stage.h"

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

static const struct candidate *median(const struct candidate *a, const struct candidate *b,
                                      const struct candidate *c)
{
    if (candidate_before(a, b))
        return candidate_before(b, c) ? b : candidate_before(a, c) ? c : a;
    return candidate_before(a, c) ? a : candidate_before(b, c) ? c : b;
}

/* Selection as Hoare's (1961, "Algorithm 65: Find"): afterwards the n likeliest stand first. Ids
 * make all candidates different, so that both scans stop at the pivot at the latest. */
static void select_first(struct candidate *items, size_t count, size_t n)
{
    size_t low = 0, high = count; /* the n-th place lies in [low, high) */
    while (high - low > 1 && n > low && n < high) {
        const struct candidate pivot =
            *median(&items[low], &items[low + (high - low) / 2], &items[high - 1]);
        size_t i = low, j = high - 1;
        for (;;) {
            while (candidate_before(&items[i], &pivot))
                i++;
            while (candidate_before(&pivot, &items[j]))
                j--;
            if (i >= j)
                break;
            swap(&items[i++], &items[j--]);
        }
        /* Before i: before the pivot or it; from i on: the pivot or after it. */
        if (n <= i && i > low)
            high = i;
        else if (n >= i && i > low)
            low = i;
        else
            low++; /* the pivot came first and stands at its place */
    }
}

void candidates_sort_first(struct candidates *left, size_t n)
{
    struct candidate *rest = left->items + left->n_sorted;
    size_t n_rest = left->count - left->n_sorted;
    if (n > left->count)
        n = left->count;
    if (n <= left->n_sorted)
        return;
    n -= left->n_sorted;
    if (n < n_rest)
        select_first(rest, n_rest, n);
    sort(rest, n);
    left->n_sorted += n;
}

float candidates_max(const struct candidates *left)
{
    float max = left->items[0].logit;
    if (left->n_sorted == 0)
        for (size_t i = 1; i < left->count; i++)
            if (left->items[i].logit > max)
                max = left->items[i].logit;
    return max;
}
