/*
 * int_body.h — the integer tile of a level: a panel of PANEL rows, in vectors of LANES, times up to
 * COLUMNS columns at a time.
 *
 * The file of each level defines the three, and DOT4(acc, w, x), which adds to each lane the
 * products of its four weights with four activations; and includes this once. How many sums fit
 * into registers is what COLUMNS says. Owns nothing. Any thread.
 */
#ifndef CPU_INT_BODY_H
#define CPU_INT_BODY_H

#include <math.h>
#include <string.h>

#include "base/attr.h"
#include "cpu/matmul_kernels.h"

#ifndef LANES /* compiled alone, by what looks at headers */
#define PANEL           16
#define LANES           4
#define COLUMNS         3
#define DOT4(acc, w, x) ((acc) + (w) * (x))
#endif

enum { VECTORS = PANEL / LANES };

typedef float vec ATTR_VECTOR(LANES * 4);
typedef int32_t ivec ATTR_VECTOR(LANES * 4);

static ATTR_INLINE vec load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static ATTR_INLINE ivec load_weights(const int8_t *p)
{
    ivec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static ATTR_INLINE ivec splat(const void *four_bytes)
{
    int32_t x;
    memcpy(&x, four_bytes, sizeof x);
    return x - (ivec){0};
}

/* What lanes of n columns hold. */
struct sums {
    vec v[COLUMNS][VECTORS];
};

/* Products of k weights, from element `at` on, with n columns. */
static ATTR_INLINE struct sums products(const struct int_tile *t, int at, int k, int n)
{
    ivec dots[COLUMNS][VECTORS];
    const int32_t *start = t->start + at / t->sub_elems * TILE_MAX;
    const int8_t *w = t->w + at * PANEL, *q = t->q + at * TILE_MAX;
    struct sums sums;
    for (int c = 0; c < n; c++)
        for (int v = 0; v < VECTORS; v++)
            dots[c][v] = splat(start + c);
#pragma GCC unroll 8
    for (int i = 0; i < k / 4; i++) {
        ivec weights[VECTORS];
        for (int v = 0; v < VECTORS; v++)
            weights[v] = load_weights(w + (i * PANEL + v * LANES) * 4);
        for (int c = 0; c < n; c++) {
            ivec x = splat(q + (i * TILE_MAX + c) * 4);
            for (int v = 0; v < VECTORS; v++)
                dots[c][v] = DOT4(dots[c][v], weights[v], x);
        }
    }
    for (int c = 0; c < n; c++)
        for (int v = 0; v < VECTORS; v++)
            sums.v[c][v] = __builtin_convertvector(dots[c][v], vec);
    return sums;
}

static ATTR_INLINE void add_mins(const struct int_tile *t, int sub, struct sums *sums, int n)
{
    for (int v = 0; v < VECTORS; v++) {
        vec min = load(t->min + sub * PANEL + v * LANES);
        for (int c = 0; c < n; c++)
            sums->v[c][v] += min * t->sum[sub * TILE_MAX + c];
    }
}

/* One block of 32 activations, with one scale for each row or (halves) two. */
static ATTR_INLINE void add_block(const struct int_tile *t, int block, bool halves,
                                  struct sums *sums, int n)
{
    int sub = halves ? 2 * block : block;
    const float *scale = t->scale + sub * PANEL;
    struct sums dots = products(t, block * 32, halves ? 16 : 32, n), more;
    for (int v = 0; v < VECTORS; v++)
        for (int c = 0; c < n; c++)
            dots.v[c][v] *= load(scale + v * LANES);
    if (halves) {
        more = products(t, block * 32 + 16, 16, n);
        for (int v = 0; v < VECTORS; v++)
            for (int c = 0; c < n; c++)
                dots.v[c][v] += more.v[c][v] * load(scale + PANEL + v * LANES);
    }
    for (int c = 0; c < n; c++)
        for (int v = 0; v < VECTORS; v++)
            sums->v[c][v] += dots.v[c][v] * t->d[block * TILE_MAX + c];
    if (t->min)
        add_mins(t, sub, sums, n);
    if (t->min && halves)
        add_mins(t, sub + 1, sums, n);
}

static ATTR_INLINE void columns_of(const struct int_tile *t, bool halves, int n)
{
    struct sums sums;
    vec zero = {0};
    for (int c = 0; c < n; c++)
        for (int v = 0; v < VECTORS; v++)
            sums.v[c][v] = t->first ? zero : load(t->acc + c * PANEL + v * LANES);
    for (int block = 0; block < t->k / 32; block++)
        add_block(t, block, halves, &sums, n);
    for (int c = 0; c < n; c++)
        for (int v = 0; v < VECTORS; v++)
            memcpy(t->acc + c * PANEL + v * LANES, &sums.v[c][v], sizeof sums.v[c][v]);
}

/* Its own code for each number of columns, so that all loops over columns are unrolled. */
static ATTR_INLINE void some_columns(const struct int_tile *t, bool halves)
{
    switch (t->n) {
    case 1: columns_of(t, halves, 1); break;
    case 2: columns_of(t, halves, 2); break;
    case 3: columns_of(t, halves, 3); break;
#if COLUMNS > 3
    case 4: columns_of(t, halves, 4); break;
    case 5: columns_of(t, halves, 5); break;
    default: columns_of(t, halves, 6); break;
#endif
    }
}

static ATTR_INLINE void all_columns(const struct int_tile *t, bool halves)
{
    struct int_tile part = *t;
    for (int c = 0; c < t->n; c += COLUMNS) {
        part.n = t->n - c < COLUMNS ? t->n - c : COLUMNS;
        part.q = t->q + c * 4;
        part.d = t->d + c;
        part.sum = t->sum + c;
        part.start = t->start + c;
        part.acc = t->acc + c * PANEL;
        some_columns(&part, halves);
    }
}

static void tile_subs_of_32(const struct int_tile *t)
{
    all_columns(t, false);
}

static void tile_subs_of_16(const struct int_tile *t)
{
    all_columns(t, true);
}

static void int_tile(const struct int_tile *t)
{
    if (t->sub_elems == 16)
        tile_subs_of_16(t);
    else
        tile_subs_of_32(t);
}

/* A block in signed bytes, as q8_act_quantize has it, but that ties go to the even neighbour. */
static ATTR_INLINE void quantize_block(const float *x, const struct act *out, int64_t b)
{
    enum { N = Q8_ACT_ELEMS / LANES };
    typedef int8_t bytes ATTR_VECTOR(LANES);
    vec values[N], largest = {0};
    for (int v = 0; v < N; v++) {
        values[v] = load(x + v * LANES);
        vec size = (vec)((ivec)values[v] & 0x7fffffff);
        /* As integers, sizes of floats are in order, and NaN is above infinity. */
        ivec more = (ivec)size > (ivec)largest;
        largest = (vec)((more & (ivec)size) | (~more & (ivec)largest));
    }
    float max = 0;
    for (int i = 0; i < LANES; i++)
        max = largest[i] <= max || max != max ? max : largest[i]; /* a NaN stays */
    bool finite = max <= 0x1.fffffep127f;
    float d = max / 127.0f, inverse = finite && d >= 0x1p-126f ? 1.0f / d : 0;
    ivec total = {0};
    for (int v = 0; v < N; v++) {
        const float magic = 12582912.0f; /* 1.5 × 2^23: adding it rounds to whole numbers */
        vec scaled = finite ? values[v] * inverse : (vec){0};
        ivec q = (ivec)(scaled + magic) - 0x4b400000;
        bytes narrow = __builtin_convertvector(q, bytes);
        memcpy(out->q + b * Q8_ACT_ELEMS + v * LANES, &narrow, sizeof narrow);
        total += q;
    }
    int sum = 0;
    for (int i = 0; i < LANES; i++)
        sum += total[i];
    out->d[b] = finite ? (inverse > 0 ? d : 0) : NAN;
    out->sum[b] = out->d[b] * (float)sum;
}

static void quantize(const float *x, int64_t k, const struct act *out)
{
    for (int64_t b = 0; b < k / Q8_ACT_ELEMS; b++)
        quantize_block(x + b * Q8_ACT_ELEMS, out, b);
}

#endif
