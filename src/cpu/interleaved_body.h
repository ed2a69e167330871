/*
 * interleaved_body.h — products with interleaved weights (interleave.h) of a level, in vectors of
 * LANES; a lane has a row, so that no sum crosses lanes and a thread reads one stream.
 *
 * The file of each level defines GROUP_KERNELS, the table's name; LANES; DOT4(acc, w, x), which
 * adds to each lane the products of its four signed weights with four activations; DOT4_SMALL, the
 * same for weights from 0 to 63; HALVES(p), a vector of the half floats at p; OFFSET, by how much a
 * panel's weights are larger than they are (128, or 0); and includes this once. Owns nothing. Any
 * thread.
 */
#ifndef CPU_INTERLEAVED_BODY_H
#define CPU_INTERLEAVED_BODY_H

#include <string.h>

#include "base/attr.h"
#include "cpu/matmul_kernels.h"

#ifndef LANES /* compiled alone, by what looks at headers */
#define GROUP_KERNELS         groups_of_none
#define LANES                 4
#define OFFSET                0
#define DOT4(acc, w, x)       ((acc) + (w) * (x))
#define DOT4_SMALL(acc, w, x) ((acc) + (w) * (x))
#define HALVES(p)             ((vec){*(const float *)(p)})
#endif

enum { VECTORS = GROUP_ROWS / LANES, WORD = GROUP_ROWS * 4, HALF = GROUP_ROWS * 2 };

typedef float vec ATTR_VECTOR(LANES * 4);
typedef int32_t ivec ATTR_VECTOR(LANES * 4);
typedef uint32_t uvec ATTR_VECTOR(LANES * 4);

/* What the rows of a group have of something. */
struct rows {
    vec v[VECTORS];
};
struct words {
    ivec v[VECTORS];
};

static ATTR_INLINE ivec load_word(const void *p, int v)
{
    ivec word;
    memcpy(&word, (const char *)p + v * LANES * 4, sizeof word);
    return word;
}

static ATTR_INLINE struct rows load_halves(const uint8_t *p)
{
    struct rows rows;
    for (int v = 0; v < VECTORS; v++)
        rows.v[v] = HALVES(p + v * LANES * 2);
    return rows;
}

static ATTR_INLINE ivec splat4(const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    return four - (ivec){0};
}

static ATTR_INLINE vec to_float(ivec v)
{
    return __builtin_convertvector(v, vec);
}

static ATTR_INLINE void put_sums(float *y, const struct rows *sums)
{
    memcpy(y, sums, sizeof *sums);
}

/* Asks for what is read `ahead` bytes later, unless that is 0 (ahead.h). */
static ATTR_INLINE void ask(const uint8_t *p, int bytes, int ahead)
{
    if (ahead)
        prefetch_bytes(p + ahead, bytes);
}

/* The groups of a format, by what does one. */
#define GROUPS(name)                                                                               \
    static void name##_dots(const struct row_dots *dots)                                           \
    {                                                                                              \
        for (int r = 0; r < dots->n; r += GROUP_ROWS)                                              \
            name##_group(dots->rows + (uint64_t)r * dots->row_bytes, dots, dots->y + r);           \
    }

#define NIBBLES 0x0f0f0f0f
/* Of each byte. Signed ones are flipped where products take them unsigned. */
#define HIGH_BITS ((int32_t)0x80808080)
#define FLIP      (OFFSET ? HIGH_BITS : 0)

/* --- Q4_0, Q4_1, Q8_0 ------------------------------------------------------------------------- */

/* Four words of nibbles: weights 4 i … in their low halves, 16 + 4 i … in the high ones. */
static ATTR_INLINE struct rows dots_of_nibbles(const uint8_t *p, const int8_t *x)
{
    struct words sums = {{{0}}};
    struct rows dots;
    for (int i = 0; i < 4; i++) {
        ivec low = splat4(x + 4 * i), high = splat4(x + 16 + 4 * i);
        for (int v = 0; v < VECTORS; v++) {
            ivec w = load_word(p + i * WORD, v);
            sums.v[v] = DOT4_SMALL(sums.v[v], w & NIBBLES, low);
            sums.v[v] = DOT4_SMALL(sums.v[v], w >> 4 & NIBBLES, high);
        }
    }
    for (int v = 0; v < VECTORS; v++)
        dots.v[v] = to_float(sums.v[v]);
    return dots;
}

/* Quants are 8 too large. */
static ATTR_INLINE void q4_0_group(const uint8_t *p, const struct row_dots *dots, float *y)
{
    const struct act *x = &dots->x;
    struct rows sums = {{{0}}};
    for (int64_t b = 0; b < dots->k / 32; b++, p += HALF + 4 * WORD) {
        ask(p, HALF + 4 * WORD, dots->ahead);
        struct rows d = load_halves(p), own = dots_of_nibbles(p + HALF, x->q + b * 32);
        for (int v = 0; v < VECTORS; v++)
            sums.v[v] += d.v[v] * (own.v[v] * x->d[b] - 8 * x->sum[b]);
    }
    put_sums(y, &sums);
}

static ATTR_INLINE void q4_1_group(const uint8_t *p, const struct row_dots *dots, float *y)
{
    const struct act *x = &dots->x;
    struct rows sums = {{{0}}};
    for (int64_t b = 0; b < dots->k / 32; b++, p += 2 * HALF + 4 * WORD) {
        ask(p, 2 * HALF + 4 * WORD, dots->ahead);
        struct rows d = load_halves(p), m = load_halves(p + HALF);
        struct rows own = dots_of_nibbles(p + 2 * HALF, x->q + b * 32);
        for (int v = 0; v < VECTORS; v++)
            sums.v[v] += d.v[v] * (own.v[v] * x->d[b]) + m.v[v] * x->sum[b];
    }
    put_sums(y, &sums);
}

static ATTR_INLINE void q8_0_group(const uint8_t *p, const struct row_dots *dots, float *y)
{
    const struct act *x = &dots->x;
    struct rows sums = {{{0}}};
    for (int64_t b = 0; b < dots->k / 32; b++, p += HALF + 8 * WORD) {
        ask(p, HALF + 8 * WORD, dots->ahead);
        struct rows d = load_halves(p);
        struct words own = {{{0}}};
        for (int i = 0; i < 8; i++) {
            ivec four = splat4(x->q + b * 32 + 4 * i);
            for (int v = 0; v < VECTORS; v++)
                own.v[v] = DOT4(own.v[v], load_word(p + HALF + i * WORD, v) ^ FLIP, four);
        }
        for (int v = 0; v < VECTORS; v++)
            sums.v[v] += d.v[v] * (to_float(own.v[v]) * x->d[b] - OFFSET * x->sum[b]);
    }
    put_sums(y, &sums);
}

GROUPS(q4_0)
GROUPS(q4_1)
GROUPS(q8_0)

/* --- Q4_K, Q5_K ------------------------------------------------------------------------------- */

/* The scales and minima of eight sub-blocks (quant/k_scales.h), four to a word. */
struct k_words {
    struct words scale[2], min[2];
};

static ATTR_INLINE struct k_words load_k_words(const uint8_t *p)
{
    struct k_words k;
    for (int v = 0; v < VECTORS; v++) {
        ivec a = load_word(p, v), b = load_word(p + WORD, v), c = load_word(p + 2 * WORD, v);
        k.scale[0].v[v] = a & 0x3f3f3f3f;
        k.scale[1].v[v] = (c & NIBBLES) | (a >> 2 & 0x30303030);
        k.min[0].v[v] = b & 0x3f3f3f3f;
        k.min[1].v[v] = (c >> 4 & NIBBLES) | (b >> 2 & 0x30303030);
    }
    return k;
}

/* Value j of eight. */
static ATTR_INLINE vec k_value(const struct words pair[2], int j, int v)
{
    return to_float(pair[j / 4].v[v] >> j % 4 * 8 & 0xff);
}

/* Four weights each of sub-blocks 2 j and 2 j + 1; of Q5_K with their fifth bits, of which bit s of
 * byte w is that of weight w of sub-block s. */
struct pair {
    ivec even, odd;
};

static ATTR_INLINE struct pair k_quants(const uint8_t *quants, const uint8_t *fifth, int j, int i,
                                        int v)
{
    ivec w = load_word(quants + (j * 8 + i) * WORD, v);
    struct pair q = {w & NIBBLES, w >> 4 & NIBBLES};
    if (fifth) {
        ivec bits = load_word(fifth + i * WORD, v) >> 2 * j;
        q.even |= (bits & 0x01010101) << 4;
        q.odd |= (bits & 0x02020202) << 3;
    }
    return q;
}

static ATTR_INLINE void k_group(const uint8_t *p, const struct row_dots *dots, float *y, bool five)
{
    const int bytes = GROUP_ROWS * (five ? 176 : 144);
    struct rows sums = {{{0}}};
    for (int64_t b = 0; b < dots->k / 256; b++, p += bytes) {
        ask(p, bytes, dots->ahead);
        const int8_t *q = dots->x.q + b * 256;
        const float *xd = dots->x.d + b * 8, *xsum = dots->x.sum + b * 8;
        const uint8_t *fifth = five ? p + 2 * HALF + 3 * WORD : NULL;
        const uint8_t *quants = p + 2 * HALF + (five ? 11 : 3) * WORD;
        struct rows d = load_halves(p), dmin = load_halves(p + HALF);
        struct k_words k = load_k_words(p + 2 * HALF);
        struct rows block = {{{0}}}, mins = {{{0}}};
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            struct words even = {{{0}}}, odd = {{{0}}};
#pragma GCC unroll 8
            for (int i = 0; i < 8; i++) {
                ivec x0 = splat4(q + j * 64 + 4 * i), x1 = splat4(q + j * 64 + 32 + 4 * i);
                for (int v = 0; v < VECTORS; v++) {
                    struct pair w = k_quants(quants, fifth, j, i, v);
                    even.v[v] = DOT4_SMALL(even.v[v], w.even, x0);
                    odd.v[v] = DOT4_SMALL(odd.v[v], w.odd, x1);
                }
            }
            for (int v = 0; v < VECTORS; v++) {
                int s = 2 * j;
                block.v[v] += to_float(even.v[v]) * (k_value(k.scale, s, v) * xd[s]) +
                              to_float(odd.v[v]) * (k_value(k.scale, s + 1, v) * xd[s + 1]);
                mins.v[v] +=
                    k_value(k.min, s, v) * xsum[s] + k_value(k.min, s + 1, v) * xsum[s + 1];
            }
        }
        for (int v = 0; v < VECTORS; v++)
            sums.v[v] += d.v[v] * block.v[v] - dmin.v[v] * mins.v[v];
    }
    put_sums(y, &sums);
}

static ATTR_INLINE void q4_k_group(const uint8_t *p, const struct row_dots *dots, float *y)
{
    k_group(p, dots, y, false);
}

static ATTR_INLINE void q5_k_group(const uint8_t *p, const struct row_dots *dots, float *y)
{
    k_group(p, dots, y, true);
}

GROUPS(q4_k)
GROUPS(q5_k)

/* --- Q6_K ------------------------------------------------------------------------------------- */

/* Its words stand in the order in which they are read (interleave.c): scales, then for every four
 * weights of a half's sub-blocks two words with their low bits and one with their high bits. */
enum { Q6_K_BYTES = HALF + 52 * WORD, Q6_K_SCALES = HALF, Q6_K_QUANTS = HALF + 4 * WORD };

/* Weights 4 i … of the four runs of 32 in a half of a superblock (quant/q6_k.c), 32 too large. */
struct four {
    ivec run[4];
};

static ATTR_INLINE struct four q6_k_quants(const uint8_t *p, int half, int i, int v)
{
    const uint8_t *words = p + Q6_K_QUANTS + (half * 24 + i * 3) * WORD;
    ivec low = load_word(words, v), next = load_word(words + WORD, v);
    ivec high = load_word(words + 2 * WORD, v);
    return (struct four){{(low & NIBBLES) | (high & 0x03030303) << 4,
                          (next & NIBBLES) | (high & 0x0c0c0c0c) << 2,
                          (low >> 4 & NIBBLES) | (high & 0x30303030),
                          (next >> 4 & NIBBLES) | (high >> 2 & 0x30303030)}};
}

/* The signed scale of 16 weights. */
static ATTR_INLINE vec q6_k_scale(const uint8_t *p, int s, int v)
{
    uvec four = (uvec)load_word(p + Q6_K_SCALES + s / 4 * WORD, v);
    return to_float((ivec)(four << (3 - s % 4) * 8) >> 24);
}

/* 16 weights of each run of a half; `start` has −32 × Σ of each 16 activations. */
static ATTR_INLINE void q6_k_quarter(const uint8_t *p, const struct act *x, const int32_t *start,
                                     int half, int part, struct rows *sums)
{
    struct words own[4];
    for (int run = 0; run < 4; run++)
        for (int v = 0; v < VECTORS; v++)
            own[run].v[v] = start[half * 8 + run * 2 + part] - (ivec){0};
#pragma GCC unroll 4
    for (int i = part * 4; i < part * 4 + 4; i++)
        for (int v = 0; v < VECTORS; v++) {
            struct four w = q6_k_quants(p, half, i, v);
#pragma GCC unroll 4
            for (int run = 0; run < 4; run++)
                own[run].v[v] = DOT4_SMALL(own[run].v[v], w.run[run],
                                           splat4(x->q + half * 128 + run * 32 + i * 4));
        }
#pragma GCC unroll 4
    for (int run = 0; run < 4; run++)
        for (int v = 0; v < VECTORS; v++)
            sums->v[v] += to_float(own[run].v[v]) *
                          (q6_k_scale(p, half * 8 + run * 2 + part, v) * x->d[half * 4 + run]);
}

static ATTR_INLINE void q6_k_group(const uint8_t *p, const struct row_dots *dots,
                                   const int32_t *start, float *y)
{
    struct rows sums = {{{0}}};
    for (int64_t b = 0; b < dots->k / 256; b++, p += Q6_K_BYTES) {
        ask(p, Q6_K_BYTES, dots->ahead);
        const struct act x = {dots->x.q + b * 256, dots->x.d + b * 8, NULL};
        struct rows d = load_halves(p), block = {{{0}}};
#pragma GCC unroll 4
        for (int quarter = 0; quarter < 4; quarter++)
            q6_k_quarter(p, &x, start + b * 16, quarter / 2, quarter % 2, &block);
        for (int v = 0; v < VECTORS; v++)
            sums.v[v] += d.v[v] * block.v[v];
    }
    put_sums(y, &sums);
}

static void q6_k_dots(const struct row_dots *dots)
{
    int32_t *start = (void *)dots->own;
    for (int64_t s = 0; s < dots->k / 16; s++) {
        int32_t sum = 0;
        for (int i = 0; i < 16; i++)
            sum += dots->x.q[s * 16 + i];
        start[s] = -32 * sum;
    }
    for (int r = 0; r < dots->n; r += GROUP_ROWS)
        q6_k_group(dots->rows + (uint64_t)r * dots->row_bytes, dots, start, dots->y + r);
}

/* --- panels ----------------------------------------------------------------------------------- */

/* Bytes, `add` to each of which makes them 128 too large, as a panel has them. */
static ATTR_INLINE void put_word(const struct group_form *out, int i, int v, ivec bytes,
                                 uint32_t add)
{
    uvec w = ((uvec)bytes + add) ^ (OFFSET ? 0 : 0x80808080);
    memcpy(out->w + (i * out->panel + v * LANES) * 4, &w, sizeof w);
}

static ATTR_INLINE void put_value(const struct group_form *out, float *values, int s, int v, vec x)
{
    memcpy(values + s * out->panel + v * LANES, &x, sizeof x);
}

/* Blocks of 32 with nibbles. */
static ATTR_INLINE void nibbles_to_panel(const uint8_t *p, int n, bool min,
                                         const struct group_form *out)
{
    for (int b = 0; b < n / 32; b++, p += (min ? 2 : 1) * HALF + 4 * WORD)
        for (int v = 0; v < VECTORS; v++) {
            const uint8_t *words = p + (min ? 2 : 1) * HALF;
            uint32_t add = min ? 0x80808080 : 0x78787878;
            put_value(out, out->scale, b, v, HALVES(p + v * LANES * 2));
            if (min)
                put_value(out, out->min, b, v, HALVES(p + HALF + v * LANES * 2));
            for (int i = 0; i < 4; i++) {
                ivec w = load_word(words + i * WORD, v);
                put_word(out, b * 8 + i, v, w & NIBBLES, add);
                put_word(out, b * 8 + 4 + i, v, w >> 4 & NIBBLES, add);
            }
        }
}

static void q4_0_to_panel(const uint8_t *p, int n, const struct group_form *out)
{
    nibbles_to_panel(p, n, false, out);
}

static void q4_1_to_panel(const uint8_t *p, int n, const struct group_form *out)
{
    nibbles_to_panel(p, n, true, out);
}

static void q8_0_to_panel(const uint8_t *p, int n, const struct group_form *out)
{
    for (int b = 0; b < n / 32; b++, p += HALF + 8 * WORD)
        for (int v = 0; v < VECTORS; v++) {
            put_value(out, out->scale, b, v, HALVES(p + v * LANES * 2));
            for (int i = 0; i < 8; i++)
                put_word(out, b * 8 + i, v, load_word(p + HALF + i * WORD, v) ^ HIGH_BITS, 0);
        }
}

static ATTR_INLINE void k_to_panel(const uint8_t *p, const struct group_form *out, bool five)
{
    const uint8_t *fifth = five ? p + 2 * HALF + 3 * WORD : NULL;
    const uint8_t *quants = p + 2 * HALF + (five ? 11 : 3) * WORD;
    struct rows d = load_halves(p), dmin = load_halves(p + HALF);
    struct k_words k = load_k_words(p + 2 * HALF);
    for (int s = 0; s < 8; s++)
        for (int v = 0; v < VECTORS; v++) {
            put_value(out, out->scale, s, v, d.v[v] * k_value(k.scale, s, v));
            put_value(out, out->min, s, v, -(dmin.v[v] * k_value(k.min, s, v)));
        }
    for (int j = 0; j < 4; j++)
        for (int i = 0; i < 8; i++)
            for (int v = 0; v < VECTORS; v++) {
                struct pair w = k_quants(quants, fifth, j, i, v);
                put_word(out, j * 16 + i, v, w.even, 0x80808080);
                put_word(out, j * 16 + 8 + i, v, w.odd, 0x80808080);
            }
}

/* Parts of K-quants are whole superblocks. */
static void q4_k_to_panel(const uint8_t *p, int n, const struct group_form *out)
{
    (void)n;
    k_to_panel(p, out, false);
}

static void q5_k_to_panel(const uint8_t *p, int n, const struct group_form *out)
{
    (void)n;
    k_to_panel(p, out, true);
}

static void q6_k_to_panel(const uint8_t *p, int n, const struct group_form *out)
{
    (void)n;
    struct rows d = load_halves(p);
    for (int s = 0; s < 16; s++)
        for (int v = 0; v < VECTORS; v++)
            put_value(out, out->scale, s, v, d.v[v] * q6_k_scale(p, s, v));
    for (int at = 0; at < 16; at++)
        for (int v = 0; v < VECTORS; v++) {
            int half = at / 8, i = at % 8;
            struct four w = q6_k_quants(p, half, i, v);
            for (int run = 0; run < 4; run++)
                put_word(out, half * 32 + run * 8 + i, v, w.run[run], 0x60606060);
        }
}

const struct group_kernel GROUP_KERNELS[] = {
    {&dtype_q4_0, q4_0_dots, q4_0_to_panel},
    {&dtype_q4_1, q4_1_dots, q4_1_to_panel},
    {&dtype_q8_0, q8_0_dots, q8_0_to_panel},
    {&dtype_q4_k, q4_k_dots, q4_k_to_panel},
    {&dtype_q5_k, q5_k_dots, q5_k_to_panel},
    {&dtype_q6_k, q6_k_dots, q6_k_to_panel},
    {NULL, NULL, NULL},
};
_Static_assert(sizeof GROUP_KERNELS / sizeof *GROUP_KERNELS - 1 <= AHEAD_FORMATS, "see ahead.h");

#endif
