#include "sample/stage.h"

#include <float.h>
#include <math.h>

#include "sample/mass.h"

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
    return logits_most(left->items, left->n_sorted ? 1 : left->count);
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
    for (size_t i = 0; i < left->count; i++) { /* without a branch that nobody could predict */
        bool stays = (double)left->items[i].logit >= least;
        sorted += stays && i < left->n_sorted;
        left->items[kept] = left->items[i];
        kept += stays;
    }
    left->count = kept;
    left->n_sorted = sorted;
}

/* --- as many as are wanted, or have a share of all mass ----------------------------------------
 */

enum { BINS = 1024, MAX_PASSES = 3, FEW_LEFT = 128 };

/* The last to be kept lies in [low, high); all before `low` are kept and have `reached` together.
 */
struct search {
    struct candidate *items;
    size_t low, high;
    float max;
    double center; /* INFINITY: the order is of likelihood */
    double reached, target;
    bool counts; /* each counts as 1, whatever its mass */
    bool equal;  /* all that is left is equally far */
};

/* Adds up masses by stretch; returns their sum. */
static double fill_bins(const struct search *search, const struct stretches *of, double bins[BINS])
{
    double total = 0.0, masses[MASS_BLOCK];
    int32_t at_bin[MASS_BLOCK];
    for (size_t at = search->low, n; at < search->high; at += n) {
        n = search->high - at < MASS_BLOCK ? search->high - at : MASS_BLOCK;
        if (!search->counts)
            mass_block(search->items + at, n, search->max, masses);
        mass_stretches(search->items + at, n, of, at_bin);
        for (size_t i = 0; i < n; i++)
            bins[at_bin[i]] += search->counts ? 1.0 : masses[i];
    }
    for (size_t i = 0; i < BINS; i++)
        total += bins[i];
    return total;
}

/* Bins of the items up to one, which the next to be asked for comes before. */
struct from_back {
    size_t first; /* whose bin is bins[0] */
    int32_t bins[MASS_BLOCK];
};

static int32_t bin_from_back(struct from_back *back, const struct search *search,
                             const struct stretches *of, size_t at)
{
    if (at < back->first) {
        size_t n = at + 1 < MASS_BLOCK ? at + 1 : MASS_BLOCK;
        back->first = at + 1 - n;
        mass_stretches(search->items + back->first, n, of, back->bins);
    }
    return back->bins[at - back->first];
}

/* Those of earlier bins to the front; those of later ones go, and items from the back take their
 * places. */
static void keep_bin(struct search *search, const struct stretches *of, int32_t bin)
{
    struct candidate *items = search->items;
    size_t low = search->low, high = search->high;
    struct from_back back = {.first = high};
    int32_t at_bin[MASS_BLOCK];
    for (size_t at = low, n; at < high; at += n) {
        n = high - at < MASS_BLOCK ? high - at : MASS_BLOCK;
        mass_stretches(items + at, n, of, at_bin);
        for (size_t i = at; i < at + n && i < high; i++) {
            int32_t b = at_bin[i - at];
            while (b > bin && i < --high) {
                items[i] = items[high];
                b = bin_from_back(&back, search, of, high);
            }
            if (b < bin)
                swap(&items[i], &items[low++]);
        }
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

/* Stretches from the nearest to the furthest item of the search; false if they are none. */
static bool spread(struct search *search, struct stretches *of)
{
    const struct candidate *items = search->items + search->low;
    size_t count = search->high - search->low;
    float least, most;
    logits_bounds(items, count, &least, &most);
    double center = search->center < INFINITY ? search->center : (double)search->max;
    double from = center > (double)most    ? center - (double)most
                  : center < (double)least ? (double)least - center
                                           : 0.0;
    double to = fmax(center - (double)least, (double)most - center),
           scale = (BINS - 1) / (to - from);
    *of = (struct stretches){center, from, scale, BINS - 1};
    search->equal = !(least < most);
    return !search->equal && scale < INFINITY && scale > 0.0;
}

/* Narrows to the one bin in which the target is reached. `share`, if not 0, gives the target: that
 * much of what is summed here. False when a bin cannot tell items apart. */
static bool narrow(struct search *search, double share)
{
    struct stretches of;
    double bins[BINS] = {0}, total;
    int32_t bin = 0;
    if (!spread(search, &of))
        return false;
    total = fill_bins(search, &of, bins);
    if (share > 0.0)
        search->target = share * total;
    while (bin + 1 < BINS && search->reached + bins[bin] < search->target)
        search->reached += bins[bin++];
    keep_bin(search, &of, bin);
    return true;
}

/* Selection by mass in place of by count, for the few that are left. */
static void split_by_mass(struct search *search)
{
    while (search->high - search->low > 1) {
        struct candidate *rest = search->items + search->low;
        size_t n = split(rest, search->high - search->low, search->center);
        double mass = mass_sum(rest, n, search->max);
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

void candidates_keep_first(struct candidates *left, size_t n)
{
    enum { MOST_SORTED = 1024 }; /* of more only who they are is worth its time */
    if (n >= left->count)
        return;
    if (n <= left->n_sorted + MOST_SORTED) {
        candidates_sort_first(left, n);
        left->count = left->n_sorted = n;
        return;
    }
    struct search search = {.items = left->items,
                            .low = left->n_sorted,
                            .high = left->count,
                            .max = candidates_max(left),
                            .center = INFINITY,
                            .reached = (double)left->n_sorted,
                            .target = (double)n,
                            .counts = true};
    for (int pass = 0; pass < MAX_PASSES && search.high - search.low > FEW_LEFT; pass++)
        if (!narrow(&search, 0.0))
            break;
    select_first(search.items + search.low, search.high - search.low, n - search.low);
    left->count = n;
}

/* --- a draw ----------------------------------------------------------------------------------- */

/* Sums of up to MAX_SPANS stretches are kept, so that only one of them is looked at again. */
size_t candidates_draw(const struct candidates *left, float max, struct rng *rng)
{
    enum { MAX_SPANS = 1024 };
    double sums[MAX_SPANS], total = 0.0;
    size_t span = (left->count / MAX_SPANS + 1) * MASS_BLOCK, n_spans = 0;
    for (size_t at = 0; at < left->count; at += span) {
        size_t n = left->count - at < span ? left->count - at : span;
        total += sums[n_spans++] = mass_sum(left->items + at, n, max);
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
