/*
 * float_body.h — the float kernels of a level, in vectors of LANES floats; the file of each level
 * defines LANES and WIDTH, the columns of its widest tile, and includes this once.
 *
 * Vectors are the compiler's own (ATTR_VECTOR), so that one text serves every instruction set.
 * Owns nothing. Any thread.
 */
#ifndef CPU_FLOAT_BODY_H
#define CPU_FLOAT_BODY_H

#include <math.h>
#include <string.h>

#include "base/attr.h"
#include "cpu/float_kernels.h"

#ifndef LANES /* compiled alone, by what looks at headers */
#define LANES 4
#define WIDTH 16
#endif

typedef float vec ATTR_VECTOR(LANES * 4);
typedef int32_t ivec ATTR_VECTOR(LANES * 4);
typedef double dvec ATTR_VECTOR(LANES * 8);
typedef float vec8 ATTR_VECTOR(32);
typedef float vec4 ATTR_VECTOR(16);

static ATTR_INLINE vec load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

static ATTR_INLINE void store(float *p, vec v)
{
    memcpy(p, &v, sizeof v);
}

static ATTR_INLINE vec splat(float x)
{
    return x - (vec){0};
}

/* Lanes of a where the mask is set, of b elsewhere. */
static ATTR_INLINE vec select(ivec mask, vec a, vec b)
{
    return (vec)((mask & (ivec)a) | (~mask & (ivec)b));
}

/* e^x = 2^n × e^r with |r| ≤ ln 2 / 2 and e^r by its Taylor polynomial of degree 7 (5e-9), so that
 * rounding is what remains: at most 2e-7 of the value (unit.cpu measures it). 2^n is put together
 * from two halves: denormals come out rounded, from 89 on infinity. */
static ATTR_INLINE vec exp_of(vec x)
{
    x = select(x < -105.0f, splat(-105.0f), select(x > 89.0f, splat(89.0f), x));
    const float magic = 12582912.0f; /* 1.5 × 2^23: the sum's last bits are the whole part */
    vec shifted = x * 1.44269504088896341f + magic;
    vec n = shifted - magic;
    vec r = x - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    vec p = r * (1.0f / 5040) + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    ivec whole = (ivec)shifted - 0x4b400000, half = whole >> 1;
    vec low = (vec)((half + 127) << 23), high = (vec)((whole - half + 127) << 23);
    return p * low * high;
}

/* --- tiles ------------------------------------------------------------------------------------ */

/* n and the vectors of a row are constants where this is called: all but the loop over k unrolls,
 * and the sums stay in registers (no pointer to them may exist, or gcc keeps them in memory). */
#define TILE_BODY(name, type, vectors)                                                             \
    static ATTR_INLINE type name##_load(const float *p)                                            \
    {                                                                                              \
        type v;                                                                                    \
        memcpy(&v, p, sizeof v);                                                                   \
        return v;                                                                                  \
    }                                                                                              \
    static ATTR_INLINE void name(const struct float_tile *t, int n)                                \
    {                                                                                              \
        enum { STEP = (int)(sizeof(type) / sizeof(float)) };                                       \
        const float *a[TILE_MAX], *b = t->b;                                                       \
        int64_t k = t->k, a_step = t->a_step, b_stride = t->b_stride;                              \
        type sums[TILE_MAX][vectors], zero = {0};                                                  \
        for (int i = 0; i < n; i++) {                                                              \
            a[i] = t->a[i];                                                                        \
            for (int v = 0; v < (vectors); v++)                                                    \
                sums[i][v] = t->first ? zero : name##_load(t->y + i * t->y_stride + v * STEP);     \
        }                                                                                          \
        for (int64_t l = 0; l < k; l++, b += b_stride) {                                           \
            type w[vectors];                                                                       \
            for (int v = 0; v < (vectors); v++)                                                    \
                w[v] = name##_load(b + v * STEP);                                                  \
            for (int i = 0; i < n; i++)                                                            \
                for (int v = 0; v < (vectors); v++)                                                \
                    sums[i][v] += a[i][l * a_step] * w[v];                                         \
        }                                                                                          \
        for (int i = 0; i < n; i++)                                                                \
            for (int v = 0; v < (vectors); v++)                                                    \
                memcpy(t->y + i * t->y_stride + v * STEP, &sums[i][v], sizeof sums[i][v]);         \
    }                                                                                              \
    static void name##_any(const struct float_tile *t)                                             \
    {                                                                                              \
        switch (t->n) {                                                                            \
        case 1: name(t, 1); break;                                                                 \
        case 2: name(t, 2); break;                                                                 \
        case 3: name(t, 3); break;                                                                 \
        case 4: name(t, 4); break;                                                                 \
        case 5: name(t, 5); break;                                                                 \
        default: name(t, 6); break;                                                                \
        }                                                                                          \
    }

TILE_BODY(tile_wide, vec, WIDTH / LANES)
#if WIDTH != 16
TILE_BODY(tile_16, vec, 16 / LANES)
#endif
#if LANES < 8
TILE_BODY(tile_8, vec, 8 / LANES)
#else
TILE_BODY(tile_8, vec8, 1)
#endif

static void float_tile(const struct float_tile *t)
{
    if (t->width == WIDTH)
        tile_wide_any(t);
#if WIDTH != 16
    else if (t->width == 16)
        tile_16_any(t);
#endif
    else
        tile_8_any(t);
}

static float float_dot(const float *a, const float *b, int64_t n)
{
    vec sums[4] = {{0}};
    int64_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        for (int j = 0; j < 4; j++)
            sums[j] += load(a + i + j * LANES) * load(b + i + j * LANES);
    for (; i + LANES <= n; i += LANES)
        sums[0] += load(a + i) * load(b + i);
    vec all = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    float sum = 0;
    for (int j = 0; j < LANES; j++)
        sum += all[j];
    for (; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

/* --- RMS norm --------------------------------------------------------------------------------- */

/* Σ (x − from)^power, power 1 or 2. In double: squares of large finite floats must not overflow. */
static ATTR_INLINE double row_moment(const float *x, double from, int power, int64_t n)
{
    dvec lanes = {0};
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        dvec v = __builtin_convertvector(load(x + i), dvec) - from;
        lanes += power == 2 ? v * v : v;
    }
    double sum = 0;
    for (int j = 0; j < LANES; j++)
        sum += lanes[j];
    for (; i < n; i++)
        sum += power == 2 ? (x[i] - from) * (x[i] - from) : x[i] - from;
    return sum;
}

static void rms_norm(const float *x, const float *w, float eps, float *y, int64_t n)
{
    float scale = (float)(1 / sqrt(row_moment(x, 0, 2, n) / (double)n + (double)eps));
    int64_t i;
    for (i = 0; i + LANES <= n; i += LANES)
        store(y + i, w ? load(x + i) * scale * load(w + i) : load(x + i) * scale);
    for (; i < n; i++)
        y[i] = w ? x[i] * scale * w[i] : x[i] * scale;
}

/* What is left of a row of nearly equal numbers without their mean is exact in double. */
static void layer_norm(const struct layer_norm_row *row)
{
    const float *x = row->x, *w = row->w, *bias = row->bias;
    int64_t i, n = row->n;
    double mean = row_moment(x, 0, 1, n) / (double)n;
    double scale = 1 / sqrt(row_moment(x, mean, 2, n) / (double)n + (double)row->eps);
    for (i = 0; i + LANES <= n; i += LANES) {
        dvec v = (__builtin_convertvector(load(x + i), dvec) - mean) * scale;
        vec y = __builtin_convertvector(v, vec);
        y = w ? y * load(w + i) : y;
        store(row->y + i, bias ? y + load(bias + i) : y);
    }
    for (; i < n; i++) {
        float y = (float)((x[i] - mean) * scale);
        y = w ? y * w[i] : y;
        row->y[i] = bias ? y + bias[i] : y;
    }
}

/* --- softmax ---------------------------------------------------------------------------------- */

/* A column none of whose scores is above −∞ yet has no maximum to be measured from: 0 does. */
static ATTR_INLINE void softmax_lanes(const struct softmax_columns *c, int at)
{
    vec old = load(c->max + at), max = old;
    for (int i = 0; i < c->n; i++) {
        vec score = load(c->scores + i * c->stride + at);
        max = select(score > max, score, max);
    }
    vec from = select(max == -INFINITY, splat(0), max);
    vec shrink = exp_of(old - from), total = load(c->total + at) * shrink;
    for (int i = 0; i < c->n; i++) {
        float *score = c->scores + i * c->stride + at;
        vec weight = exp_of(load(score) - from);
        /* exp_of ends at its smallest number; what is masked has no weight at all. */
        weight = select(load(score) == -INFINITY, splat(0), weight);
        store(score, weight);
        total += weight;
    }
    store(c->max + at, max);
    store(c->total + at, total);
    store(c->shrink + at, shrink);
}

/* Columns come in eights, lanes perhaps in sixteens: the arrays of a caller have room for whole
 * vectors, rows of scores have not. */
static void softmax(const struct softmax_columns *columns)
{
    if (columns->stride % LANES == 0) {
        for (int at = 0; at < columns->stride; at += LANES)
            softmax_lanes(columns, at);
        return;
    }
    float wide[KV_PAGE * LANES];
    struct softmax_columns padded = *columns;
    padded.scores = wide;
    padded.stride = LANES;
    memset(wide, 0, sizeof wide);
    for (int i = 0; i < columns->n; i++)
        memcpy(wide + i * LANES, columns->scores + i * 8, 8 * sizeof(float));
    softmax_lanes(&padded, 0);
    for (int i = 0; i < columns->n; i++)
        memcpy(columns->scores + i * 8, wide + i * LANES, 8 * sizeof(float));
}

/* --- few queries ------------------------------------------------------------------------------ */

/* The sums over the lanes of each of four vectors. */
static ATTR_INLINE vec4 sums_of_four(const vec v[4])
{
    vec4 f[4];
    for (int i = 0; i < 4; i++) {
        vec4 parts[LANES / 4];
        memcpy(parts, &v[i], sizeof parts);
        f[i] = parts[0];
        for (int p = 1; p < LANES / 4; p++)
            f[i] += parts[p];
    }
    vec4 a = __builtin_shufflevector(f[0], f[1], 0, 4, 1, 5) +
             __builtin_shufflevector(f[0], f[1], 2, 6, 3, 7);
    vec4 b = __builtin_shufflevector(f[2], f[3], 0, 4, 1, 5) +
             __builtin_shufflevector(f[2], f[3], 2, 6, 3, 7);
    return __builtin_shufflevector(a, b, 0, 1, 4, 5) + __builtin_shufflevector(a, b, 2, 3, 6, 7);
}

/* Four keys at a time; behind the last one it stands in for those that are missing. */
static void few_scores(const struct few_scores *few)
{
    for (int i = 0; i < few->n; i += 4) {
        const float *keys[4];
        for (int j = 0; j < 4; j++)
            keys[j] = few->keys + (int64_t)(i + j < few->n ? i + j : few->n - 1) * few->dim;
        for (int q = 0; q < few->n_queries; q++) {
            const float *query = few->queries + (int64_t)q * few->dim;
            vec sums[4] = {{0}};
            for (int l = 0; l < few->dim; l += LANES)
                for (int j = 0; j < 4; j++)
                    sums[j] += load(query + l) * load(keys[j] + l);
            vec4 four = sums_of_four(sums);
            memcpy(few->scores + q * few->stride + i, &four, sizeof four);
        }
    }
}

static ATTR_INLINE float largest(vec v)
{
    float max = v[0];
    for (int i = 1; i < LANES; i++)
        max = v[i] > max ? v[i] : max;
    return max;
}

static ATTR_INLINE float sum_of(vec v)
{
    const vec four[4] = {v};
    return sums_of_four(four)[0];
}

static void softmax_rows(const struct softmax_rows *rows)
{
    for (int q = 0; q < rows->rows; q++) {
        float *scores = rows->scores + q * rows->stride;
        vec max = splat(rows->max[q]), total = {0};
        for (int i = rows->n; i % FEW_DIM != 0; i++)
            scores[i] = -INFINITY;
        for (int i = 0; i < rows->n; i += LANES)
            max = select(load(scores + i) > max, load(scores + i), max);
        float old = rows->max[q], top = largest(max), from = top == -INFINITY ? 0 : top;
        for (int i = 0; i < rows->n; i += LANES) {
            vec score = load(scores + i);
            vec weight = select(score == -INFINITY, splat(0), exp_of(score - from));
            store(scores + i, weight);
            total += weight;
        }
        rows->max[q] = top;
        rows->shrink[q] = exp_of(splat(old - from))[0];
        rows->total[q] = rows->total[q] * rows->shrink[q] + sum_of(total);
    }
}

/* --- GLU -------------------------------------------------------------------------------------- */

static ATTR_INLINE vec silu_of(vec gate, vec up)
{
    return gate / (1 + exp_of(-gate)) * up;
}

/* 1 + tanh(u) = 2 / (1 + exp(−2u)), which keeps its precision where tanh nears −1. */
static ATTR_INLINE vec gelu_tanh_of(vec gate, vec up)
{
    vec u = 0.79788456080286535588f * (gate + 0.044715f * gate * gate * gate);
    return gate / (1 + exp_of(-2 * u)) * up;
}

static ATTR_INLINE vec glu_of(enum glu_kind kind, vec gate, vec up)
{
    return kind == GLU_SILU ? silu_of(gate, up) : gelu_tanh_of(gate, up);
}

static void gelu_erf(const float *gate, const float *up, float *y, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        y[i] = 0.5f * gate[i] * erfcf(-0.70710678118654752440f * gate[i]) * up[i];
}

static void glu(enum glu_kind kind, const float *const gate_up[2], float *y, int64_t n)
{
    const float *gate = gate_up[0], *up = gate_up[1];
    if (kind == GLU_GELU_ERF) {
        gelu_erf(gate, up, y, n);
        return;
    }
    int64_t i = 0;
    for (; i + LANES <= n; i += LANES)
        store(y + i, glu_of(kind, load(gate + i), load(up + i)));
    if (i < n) {
        vec rest[3] = {{0}};
        memcpy(&rest[0], gate + i, (size_t)(n - i) * sizeof(float));
        memcpy(&rest[1], up + i, (size_t)(n - i) * sizeof(float));
        rest[2] = glu_of(kind, rest[0], rest[1]);
        memcpy(y + i, &rest[2], (size_t)(n - i) * sizeof(float));
    }
}

#endif
