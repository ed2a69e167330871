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

enum { BLOCK = 64 };

/* The masses of up to BLOCK items. Whole blocks above −700 are computed several at once. */
static void block_masses(const struct candidate *restrict items, size_t n, float max,
                         double *restrict out)
{
    double x[BLOCK], least = 0.0;
    for (size_t i = 0; i < n; i++) {
        x[i] = (double)items[i].logit - max;
        least = x[i] < least ? x[i] : least;
    }
    if (n == BLOCK && least >= -700.0)
        for (size_t i = 0; i < BLOCK; i++)
            out[i] = same_exp_near(x[i]);
    else
        for (size_t i = 0; i < n; i++)
            out[i] = same_exp(x[i]);
}

static double sum_masses(const struct candidate *items, size_t count, float max)
{
    double total = 0.0, masses[BLOCK];
    for (size_t at = 0, n; at < count; at += n) {
        n = count - at < BLOCK ? count - at : BLOCK;
        block_masses(items + at, n, max, masses);
        for (size_t i = 0; i < n; i++)
            total += masses[i];
    }
    return total;
}

double candidates_moment(const struct candidates *left, float max, double *total)
{
    double moment = 0.0, masses[BLOCK];
    *total = 0.0;
    for (size_t at = 0, n; at < left->count; at += n) {
        n = left->count - at < BLOCK ? left->count - at : BLOCK;
        block_masses(left->items + at, n, max, masses);
        for (size_t i = 0; i < n; i++) {
            *total += masses[i];
            if (masses[i] > 0.0) /* 0 × −∞ is no number */
                moment += masses[i] * ((double)left->items[at + i].logit - max);
        }
    }
    return moment;
}

double candidates_mass(const struct candidates *left, float max)
{
    return sum_masses(left->items, left->count, max);
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

/* --- as many as have a share of all mass ------------------------------------------------------ */

enum { BINS = 1024, MAX_PASSES = 3, FEW_LEFT = 128 };

/* The last to be kept lies in [low, high); all before `low` are kept and have `reached` together.
 */
struct search {
    struct candidate *items;
    size_t low, high;
    float max;
    double center; /* INFINITY: the order is of likelihood */
    double reached, target;
    bool equal; /* all that is left is equally far */
};

/* A distance that grows along the order. */
static inline double distance(const struct search *search, const struct candidate *item)
{
    return fabs((search->center < INFINITY ? search->center : (double)search->max) - item->logit);
}

/* Which of BINS stretches of the distance an item is in; the last has what is infinitely far, too.
 */
static inline size_t bin_of(const struct search *search, const struct candidate *item, double from,
                            double scale)
{
    double bin = (distance(search, item) - from) * scale;
    return bin < BINS - 1 ? (size_t)bin : BINS - 1;
}

/* Adds up masses by bin; returns their sum. */
static double fill_bins(const struct search *search, double from, double scale, double bins[BINS])
{
    double total = 0.0, masses[BLOCK];
    for (size_t at = search->low, n; at < search->high; at += n) {
        n = search->high - at < BLOCK ? search->high - at : BLOCK;
        block_masses(search->items + at, n, search->max, masses);
        for (size_t i = 0; i < n; i++) {
            bins[bin_of(search, &search->items[at + i], from, scale)] += masses[i];
            total += masses[i];
        }
    }
    return total;
}

/* Those of earlier bins to the front, those of later ones to the back. */
static void keep_bin(struct search *search, size_t bin, double from, double scale)
{
    struct candidate *items = search->items;
    size_t low = search->low, high = search->high;
    for (size_t i = low; i < high;) {
        size_t b = bin_of(search, &items[i], from, scale);
        if (b > bin)
            swap(&items[i], &items[--high]);
        else if (b < bin)
            swap(&items[i++], &items[low++]);
        else
            i++;
    }
    search->low = low;
    search->high = high;
}

/* Of equal logits the lowest ids come first, as many as it takes: no selection by mass is needed.
 */
static void keep_equal(struct search *search)
{
    double mass = candidate_mass(&search->items[search->low], search->max);
    size_t n = 0, count = search->high - search->low;
    while (n < count && search->reached < search->target) {
        search->reached += mass;
        n++;
    }
    select_first(search->items + search->low, count, n ? n : 1);
    search->high = search->low + (n ? n : 1);
    search->low = search->high - 1;
}

/* Narrows to the one bin in which the target is reached. `share`, if not 0, gives the target: that
 * much of what is summed here. False when a bin cannot tell items apart. */
static bool narrow(struct search *search, double share)
{
    double bins[BINS] = {0}, from = INFINITY, to = 0.0;
    for (size_t i = search->low; i < search->high; i++) {
        double d = distance(search, &search->items[i]);
        from = d < from ? d : from;
        to = d > to && d < INFINITY ? d : to;
    }
    search->equal = to == from;
    double scale = (BINS - 1) / (to - from), total;
    if (!(scale < INFINITY) || !(scale > 0.0))
        return false;
    total = fill_bins(search, from, scale, bins);
    if (share > 0.0)
        search->target = share * total;
    size_t bin = 0;
    while (bin + 1 < BINS && search->reached + bins[bin] < search->target)
        search->reached += bins[bin++];
    keep_bin(search, bin, from, scale);
    return true;
}

/* Selection by mass in place of by count, for the few that are left. */
static void split_by_mass(struct search *search)
{
    while (search->high - search->low > 1) {
        struct candidate *rest = search->items + search->low;
        size_t n = split(rest, search->high - search->low, search->center);
        double mass = sum_masses(rest, n, search->max);
        if (search->reached + mass >= search->target) {
            search->high = search->low + n;
        } else {
            search->reached += mass;
            search->low += n;
        }
    }
}

void candidates_keep_share(struct candidates *left, float max, double share, double total,
                           double center)
{
    struct search search = {
        .items = left->items, .high = left->count, .max = max, .center = center};
    if (total == 0.0 && (left->n_sorted || left->count <= FEW_LEFT))
        total = candidates_mass(left, max);
    search.target = share * total;
    if (center < INFINITY)
        left->n_sorted = 0;
    while (search.low < left->n_sorted) {
        search.reached += candidate_mass(&left->items[search.low++], max);
        if (search.reached >= search.target) {
            left->count = left->n_sorted = search.low;
            return;
        }
    }
    bool summed = total != 0.0;
    for (int pass = 0; pass < MAX_PASSES && search.high - search.low > FEW_LEFT; pass++) {
        if (!narrow(&search, summed ? 0.0 : share))
            break;
        summed = true;
    }
    if (!summed)
        search.target = share * candidates_mass(left, max);
    if (search.equal && !(center < INFINITY))
        keep_equal(&search);
    split_by_mass(&search);
    left->count = search.high;
}

/* --- a draw ----------------------------------------------------------------------------------- */

/* Sums of up to MAX_SPANS stretches are kept, so that only one of them is looked at again. */
size_t candidates_draw(const struct candidates *left, float max, struct rng *rng)
{
    enum { MAX_SPANS = 1024 };
    double sums[MAX_SPANS], total = 0.0;
    size_t span = (left->count / MAX_SPANS + 1) * BLOCK, n_spans = 0;
    for (size_t at = 0; at < left->count; at += span) {
        size_t n = left->count - at < span ? left->count - at : span;
        total += sums[n_spans++] = sum_masses(left->items + at, n, max);
    }
    double u = rng_double(rng) * total;
    size_t at = 0;
    for (size_t s = 0; s + 1 < n_spans && u >= sums[s]; s++, at += span)
        u -= sums[s];
    for (; at < left->count; at++) {
        u -= candidate_mass(&left->items[at], max);
        if (u < 0.0)
            return at;
    }
    return 0; /* only by rounding */
}

float clamp_logit(double logit)
{
    return (float)fmax(fmin(logit, FLT_MAX), -FLT_MAX); /* a softmax of ∞ is NaN */
}
