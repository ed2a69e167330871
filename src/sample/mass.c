#include "sample/mass.h"

#include "base/cpu_features.h"
#include "sample/same_math.h"

/* The order of floats as one of integers, whose extremes compilers find several at once: floats may
 * be no numbers, and then the order in which they are compared matters. */
static inline int32_t order_of(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits < 0 ? bits ^ INT32_MAX : bits;
}

static float float_of(int32_t order)
{
    float x;
    int32_t bits = order < 0 ? order ^ INT32_MAX : order;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static ATTR_INLINE void bounds_body(const struct candidate *items, size_t count, int32_t *least,
                                    int32_t *most)
{
    int32_t low = INT32_MAX, high = INT32_MIN;
    for (size_t i = 0; i < count; i++) {
        int32_t x = order_of(items[i].logit);
        high = x > high ? x : high;
        low = x < low ? x : low;
    }
    *least = low;
    *most = high;
}

/* same_exp of a whole block. No loop has a branch, so that compilers do several at once. */
static ATTR_INLINE void block_body(const struct candidate *restrict items, float max,
                                   double *restrict out)
{
    double x[MASS_BLOCK];
    for (size_t i = 0; i < MASS_BLOCK; i++)
        x[i] = (double)items[i].logit - max;
    for (size_t i = 0; i < MASS_BLOCK; i++)
        out[i] = same_exp_near(x[i]);
    for (size_t i = 0; i < MASS_BLOCK; i++)
        out[i] = x[i] >= SAME_EXP_LEAST ? out[i] : 0.0;
}

static ATTR_INLINE void stretches_body(const struct candidate *restrict items, size_t n,
                                       struct stretches of, int32_t *restrict out)
{
    double place[MASS_BLOCK], last = of.last;
    for (size_t i = 0; i < n; i++)
        place[i] = stretch_place(&of, items[i].logit);
    for (size_t i = 0; i < n; i++)
        place[i] = place[i] < last ? place[i] : last;
    for (size_t i = 0; i < n; i++)
        out[i] = (int32_t)place[i];
}

/* The bodies for a level of the instruction set: the same operations, more of them at once. */
#define MASS_KERNELS(level, attr)                                                                  \
    attr static void block_##level(const struct candidate *items, float max, double *out)          \
    {                                                                                              \
        block_body(items, max, out);                                                               \
    }                                                                                              \
    attr static void stretches_##level(const struct candidate *items, struct stretches of,         \
                                       int32_t *out)                                               \
    {                                                                                              \
        stretches_body(items, MASS_BLOCK, of, out);                                                \
    }                                                                                              \
    attr static void bounds_##level(const struct candidate *items, size_t count, int32_t *least,   \
                                    int32_t *most)                                                 \
    {                                                                                              \
        bounds_body(items, count, least, most);                                                    \
    }                                                                                              \
    static const struct mass_kernels kernels_##level = {block_##level, stretches_##level,          \
                                                        bounds_##level};

struct mass_kernels {
    void (*block)(const struct candidate *items, float max, double *out);
    void (*stretches)(const struct candidate *items, struct stretches of, int32_t *out);
    void (*bounds)(const struct candidate *items, size_t count, int32_t *least, int32_t *most);
};

MASS_KERNELS(plain, )
#if defined(ATTR_AVX2)
MASS_KERNELS(avx2, ATTR_AVX2)
MASS_KERNELS(avx512, ATTR_AVX512)
#endif

static const struct mass_kernels *kernels(void)
{
#if defined(ATTR_AVX2)
    if (cpu_has_avx512())
        return &kernels_avx512;
    if (cpu_has_avx2())
        return &kernels_avx2;
#endif
    return &kernels_plain;
}

void mass_block(const struct candidate *items, size_t n, float max, double out[MASS_BLOCK])
{
    if (n == MASS_BLOCK)
        kernels()->block(items, max, out);
    else
        for (size_t i = 0; i < MASS_BLOCK; i++)
            out[i] = i < n ? candidate_mass(&items[i], max) : 0.0;
}

void mass_stretches(const struct candidate *items, size_t n, const struct stretches *of,
                    int32_t out[MASS_BLOCK])
{
    if (n == MASS_BLOCK)
        kernels()->stretches(items, *of, out);
    else
        stretches_body(items, n, *of, out);
}

float logits_most(const struct candidate *items, size_t count)
{
    int32_t least, most;
    kernels()->bounds(items, count, &least, &most);
    return float_of(most);
}

void logits_bounds(const struct candidate *items, size_t count, float *least, float *most)
{
    int32_t low, high;
    kernels()->bounds(items, count, &low, &high);
    *most = float_of(high);
    *least = float_of(low);
    if (*least > -INFINITY)
        return;
    *least = INFINITY;
    for (size_t i = 0; i < count; i++) /* seldom */
        if (items[i].logit > -INFINITY && items[i].logit < *least)
            *least = items[i].logit;
}

double mass_sum(const struct candidate *items, size_t count, float max)
{
    double lanes[MASS_LANES] = {0}, masses[MASS_BLOCK];
    for (size_t at = 0, n; at < count; at += n) {
        n = count - at < MASS_BLOCK ? count - at : MASS_BLOCK;
        mass_block(items + at, n, max, masses);
        for (size_t i = 0; i < MASS_BLOCK; i += MASS_LANES)
            for (size_t l = 0; l < MASS_LANES; l++)
                lanes[l] += masses[i + l];
    }
    return lanes_sum(lanes);
}

double candidate_mass(const struct candidate *item, float max)
{
    return same_exp((double)item->logit - max);
}

double candidates_mass(const struct candidates *left, float max)
{
    return mass_sum(left->items, left->count, max);
}

/* Of masses that are 0, the logit may be −∞, and 0 × −∞ is no number. */
double candidates_moment(const struct candidates *left, float max, double *total)
{
    double moments[MASS_LANES] = {0}, sums[MASS_LANES] = {0};
    double masses[MASS_BLOCK], terms[MASS_BLOCK];
    for (size_t at = 0, n; at < left->count; at += n) {
        n = left->count - at < MASS_BLOCK ? left->count - at : MASS_BLOCK;
        mass_block(left->items + at, n, max, masses);
        for (size_t i = 0; i < MASS_BLOCK; i++) {
            double x = i < n ? (double)left->items[at + i].logit - max : 0.0;
            terms[i] = masses[i] * (x >= SAME_EXP_LEAST ? x : 0.0);
        }
        for (size_t i = 0; i < MASS_BLOCK; i += MASS_LANES)
            for (size_t l = 0; l < MASS_LANES; l++) {
                sums[l] += masses[i + l];
                moments[l] += terms[i + l];
            }
    }
    *total = lanes_sum(sums);
    return lanes_sum(moments);
}
