#include "cpu/levels_avx512.h"

#include <immintrin.h>

#include "quant/block.h"

/* One row after the other, so that a thread reads one stream of memory: four rows at a time share
 * what comes of the activations, and were slower by half. Numbers stay in lanes until a row's end.
 * Memory is asked for some KB ahead: the processor's own prefetching stops at each page. */

enum { AHEAD = 4096 };

#define INLINE static ATTR_INLINE

INLINE void prefetch(const uint8_t *p, int bytes)
{
    prefetch_bytes(p + AHEAD, bytes);
}

/* Sums over the lanes of each of four vectors. */
INLINE __m128 sums_of_16(const __m512 v[4])
{
    __m512 a = _mm512_add_ps(_mm512_unpacklo_ps(v[0], v[1]), _mm512_unpackhi_ps(v[0], v[1]));
    __m512 b = _mm512_add_ps(_mm512_unpacklo_ps(v[2], v[3]), _mm512_unpackhi_ps(v[2], v[3]));
    __m512 c = _mm512_add_ps(_mm512_shuffle_ps(a, b, 0x44), _mm512_shuffle_ps(a, b, 0xee));
    __m256 d = _mm256_add_ps(_mm512_castps512_ps256(c), _mm512_extractf32x8_ps(c, 1));
    return _mm_add_ps(_mm256_castps256_ps128(d), _mm256_extractf128_ps(d, 1));
}

/* Rows of a format, by what does one and leaves its sum in lanes; `order` is what puts activations
 * where weights meet them, once for all rows. */
#define ROW_DOTS(name, order)                                                                      \
    static void name(const struct row_dots *dots)                                                  \
    {                                                                                              \
        order(dots);                                                                               \
        for (int r = 0; r < dots->n; r += 4) {                                                     \
            int n = dots->n - r < 4 ? dots->n - r : 4;                                             \
            const uint8_t *rows = dots->rows + (uint64_t)r * dots->row_bytes;                      \
            __m512 sums[4] = {0};                                                                  \
            for (int i = 0; i < n; i++)                                                            \
                sums[i] = name##_row(rows + (uint64_t)i * dots->row_bytes, dots);                  \
            _mm_mask_storeu_ps(dots->y + r, (__mmask8)((1u << n) - 1), sums_of_16(sums));          \
        }                                                                                          \
    }

/* --- blocks of 32, four at a time ------------------------------------------------------------- */

/* A row may end within a step: what is beyond its n bytes is not read and 0. */
INLINE __m512i load_first(const void *p, int n)
{
    if (n >= 64)
        return _mm512_loadu_si512(p);
    return _mm512_maskz_loadu_epi8(n > 0 ? (1ull << n) - 1 : 0, p);
}

INLINE __m128 load_floats(const float *p, int n)
{
    return n == 4 ? _mm_loadu_ps(p) : _mm_maskz_loadu_ps((__mmask8)((1u << n) - 1), p);
}

INLINE void as_they_are(const struct row_dots *dots)
{
    (void)dots;
}

/* Of four blocks the 16 first activations each, then the 16 last: word j of block b at 4 j + b. */
INLINE void by_fours(const struct row_dots *dots)
{
    const __m512i first =
        _mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);
    const __m512i last = _mm512_add_epi32(first, _mm512_set1_epi32(4));
    for (int64_t i = 0; i < dots->k; i += 128) {
        int n = dots->k - i < 128 ? (int)(dots->k - i) : 128;
        __m512i x0 = load_first(dots->x.q + i, n), x1 = load_first(dots->x.q + i + 64, n - 64);
        _mm512_storeu_si512(dots->own + i, _mm512_permutex2var_epi32(x0, first, x1));
        _mm512_storeu_si512(dots->own + i + 64, _mm512_permutex2var_epi32(x0, last, x1));
    }
}

/* What a row comes to: products of quants, and of what stands for whole blocks (minima, or what an
 * unsigned quant is too large by) with sums of activations. */
struct row_sums {
    __m512 dots;
    __m128 blocks;
};

INLINE __m512 lanes_of_row(const struct row_sums *sums)
{
    return _mm512_add_ps(sums->dots, _mm512_zextps128_ps512(sums->blocks));
}

/* A row by steps of four blocks, n of them in the last. */
#define ROW_OF_FOURS(name, bytes)                                                                  \
    INLINE __m512 name##_row(const uint8_t *row, const struct row_dots *dots)                      \
    {                                                                                              \
        struct row_sums sums = {_mm512_setzero_ps(), _mm_setzero_ps()};                            \
        int64_t blocks = dots->k / 32, b = 0;                                                      \
        for (; b + 4 <= blocks; b += 4)                                                            \
            name##_step(row + b * (bytes), dots, b, 4, &sums);                                     \
        if (b < blocks)                                                                            \
            name##_step(row + b * (bytes), dots, b, (int)(blocks - b), &sums);                     \
        return lanes_of_row(&sums);                                                                \
    }

/* Nibbles of four blocks, word j of block b at 4 j + b, times their activations. */
INLINE void add_nibbles(__m512i quants, __m128 scales, const int8_t *x, struct row_sums *sums)
{
    const __m512i mask = _mm512_set1_epi8(15);
    __m512i low = _mm512_and_si512(quants, mask);
    __m512i high = _mm512_and_si512(_mm512_srli_epi16(quants, 4), mask);
    __m512i dot = _mm512_dpbusd_epi32(_mm512_setzero_si512(), low, _mm512_loadu_si512(x));
    dot = _mm512_dpbusd_epi32(dot, high, _mm512_loadu_si512(x + 64));
    sums->dots =
        _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_broadcast_f32x4(scales), sums->dots);
}

/* --- Q8_0 ------------------------------------------------------------------------------------- */

/* Two blocks without their heads, the second of which may not be there. */
INLINE __m512i q8_0_two(const uint8_t *p, bool second)
{
    __m256i q = _mm256_loadu_si256((const void *)(p + 2));
    __m256i more = second ? _mm256_loadu_si256((const void *)(p + 36)) : _mm256_setzero_si256();
    return _mm512_inserti64x4(_mm512_castsi256_si512(q), more, 1);
}

/* The scales of up to four blocks. */
INLINE __m128 q8_0_scales(const uint8_t *p, int n)
{
    __m128i d = _mm_cvtsi32_si128(load_u16(p));
    if (n > 1)
        d = _mm_insert_epi16(d, load_u16(p + 34), 1);
    if (n > 2)
        d = _mm_insert_epi16(d, load_u16(p + 68), 2);
    if (n > 3)
        d = _mm_insert_epi16(d, load_u16(p + 102), 3);
    return _mm_cvtph_ps(d);
}

/* Weights are taken unsigned, 128 larger. */
INLINE void q8_0_step(const uint8_t *p, const struct row_dots *dots, int64_t b, int n,
                      struct row_sums *sums)
{
    const struct act *x = &dots->x;
    const __m512i pair = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1);
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    prefetch(p, 136);
    __m128 d = q8_0_scales(p, n);
    sums->blocks =
        _mm_fmadd_ps(_mm_mul_ps(d, _mm_set1_ps(-128)), load_floats(x->sum + b, n), sums->blocks);
    __m512 scales = _mm512_castps128_ps512(_mm_mul_ps(d, load_floats(x->d + b, n)));
    for (int i = 0; i < n; i += 2) {
        __m512i w = _mm512_xor_si512(q8_0_two(p + i * 34, n > i + 1), flip);
        __m512i dot = _mm512_dpbusd_epi32(_mm512_setzero_si512(), w,
                                          load_first(x->q + (b + i) * 32, (n - i) * 32));
        __m512 scale = _mm512_permutexvar_ps(_mm512_add_epi32(pair, _mm512_set1_epi32(i)), scales);
        sums->dots = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), scale, sums->dots);
    }
}

ROW_OF_FOURS(q8_0, 34)
ROW_DOTS(q8_0, as_they_are)

/* --- Q4_1 ------------------------------------------------------------------------------------- */

/* Four blocks are 20 words: words 0, 5, 10, 15 hold d and m, those between them the quants. */
INLINE void q4_1_step(const uint8_t *p, const struct row_dots *dots, int64_t b, int n,
                      struct row_sums *sums)
{
    const struct act *x = &dots->x;
    const __m512i at = _mm512_setr_epi32(1, 6, 11, 16, 2, 7, 12, 17, 3, 8, 13, 18, 4, 9, 14, 19);
    const __m512i heads = _mm512_setr_epi32(0, 5, 10, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i apart = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    _mm_prefetch((const char *)p + AHEAD, _MM_HINT_T0);
    __m512i low = load_first(p, n * 20);
    __asm__("" : "+v"(low));
    __m128i high = n == 4 ? _mm_loadu_si128((const void *)(p + 64)) : _mm_setzero_si128();
    __m512i quants = _mm512_permutex2var_epi32(low, at, _mm512_castsi128_si512(high));
    __m128i words = _mm512_castsi512_si128(_mm512_permutexvar_epi32(heads, low));
    __m256 halves = _mm256_cvtph_ps(_mm_shuffle_epi8(words, apart));
    __m128 d = _mm256_castps256_ps128(halves), m = _mm256_extractf128_ps(halves, 1);
    sums->blocks = _mm_fmadd_ps(m, load_floats(x->sum + b, n), sums->blocks);
    add_nibbles(quants, _mm_mul_ps(d, load_floats(x->d + b, n)), dots->own + b * 32, sums);
}

ROW_OF_FOURS(q4_1, 20)
ROW_DOTS(q4_1, by_fours)

/* --- Q4_0 ------------------------------------------------------------------------------------- */

/* Four blocks are 36 half words: 0, 9, 18, 27 hold d, those between them the quants, 8 too large.
 */
INLINE void q4_0_step(const uint8_t *p, const struct row_dots *dots, int64_t b, int n,
                      struct row_sums *sums)
{
    const struct act *x = &dots->x;
    const __m512i at = _mm512_set_epi16(35, 34, 26, 25, 17, 16, 8, 7, 33, 32, 24, 23, 15, 14, 6, 5,
                                        31, 30, 22, 21, 13, 12, 4, 3, 29, 28, 20, 19, 11, 10, 2, 1);
    const __m512i heads = _mm512_castsi128_si512(_mm_setr_epi16(0, 9, 18, 27, 0, 0, 0, 0));
    prefetch(p, 72);
    __m512i low = load_first(p, n * 18);
    __m128i high = n == 4 ? _mm_loadl_epi64((const void *)(p + 64)) : _mm_setzero_si128();
    __m512i quants = _mm512_permutex2var_epi16(low, at, _mm512_castsi128_si512(high));
    __m128 d = _mm_cvtph_ps(_mm512_castsi512_si128(_mm512_permutexvar_epi16(heads, low)));
    sums->blocks =
        _mm_fmadd_ps(_mm_mul_ps(d, _mm_set1_ps(-8)), load_floats(x->sum + b, n), sums->blocks);
    add_nibbles(quants, _mm_mul_ps(d, load_floats(x->d + b, n)), dots->own + b * 32, sums);
}

ROW_OF_FOURS(q4_0, 18)
ROW_DOTS(q4_0, by_fours)

/* --- Q4_K, Q5_K ------------------------------------------------------------------------------- */

/* The six-bit scales and minima of a superblock (quant/k_scales.h), in word arithmetic. */
INLINE void k_scales(const uint8_t *p, __m256 *scale, __m256 *min)
{
    uint32_t a = load_u32(p), b = load_u32(p + 4), c = load_u32(p + 8);
    uint64_t s = (a & 0x3f3f3f3f) | (uint64_t)((c & 0x0f0f0f0f) | (a >> 2 & 0x30303030)) << 32;
    uint64_t m = (b & 0x3f3f3f3f) | (uint64_t)((c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030)) << 32;
    *scale = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)s)));
    *min = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)m)));
}

/* Lanes 0–7 hold value i of eight, lanes 8–15 value i + 2. */
INLINE __m512 lanes_of_subs(__m512 eight, int i)
{
    __m512i at = _mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 2, 2, 2, 2, 2, 2, 2, 2);
    return _mm512_permutexvar_ps(_mm512_add_epi32(at, _mm512_set1_epi32(i)), eight);
}

/* Of each 128 activations sub-blocks 0, 2, 1, 3. */
INLINE void by_pairs(const struct row_dots *dots)
{
    for (int64_t i = 0; i < dots->k; i += 128) {
        __m512i x0 = _mm512_loadu_si512(dots->x.q + i), x1 = _mm512_loadu_si512(dots->x.q + i + 64);
        _mm512_storeu_si512(dots->own + i, _mm512_shuffle_i64x2(x0, x1, 0x44));
        _mm512_storeu_si512(dots->own + i + 64, _mm512_shuffle_i64x2(x0, x1, 0xee));
    }
}

/* The quants of half a superblock, sub-blocks 4 i + {0, 2} and {1, 3}; of Q5_K with their fifth
 * bits: bit j of byte w is that of weight w of sub-block j. */
INLINE void k_nibbles(const uint8_t *quants, const uint8_t *fifth, int i, __m512i out[2])
{
    const __m512i mask = _mm512_set1_epi8(15), bit = _mm512_set1_epi8(16);
    __m512i q = _mm512_loadu_si512(quants + i * 64);
    out[0] = _mm512_and_si512(q, mask);
    out[1] = _mm512_and_si512(_mm512_srli_epi16(q, 4), mask);
    if (!fifth)
        return;
    __m512i bits = _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)fifth));
    for (int h = 0; h < 2; h++) {
        __m512i by = _mm512_add_epi64(_mm512_setr_epi64(0, 0, 0, 0, 2, 2, 2, 2),
                                      _mm512_set1_epi64(4 * i + h));
        __m512i own = _mm512_slli_epi16(_mm512_srlv_epi64(bits, by), 4);
        out[h] = _mm512_or_si512(out[h], _mm512_and_si512(own, bit));
    }
}

INLINE __m512 k_row(const uint8_t *row, const struct row_dots *dots, bool five)
{
    const int bytes = five ? 176 : 144, quants = five ? 48 : 16;
    const __m512i zero = _mm512_setzero_si512();
    __m512 sum = _mm512_setzero_ps();
    __m256 mins = _mm256_setzero_ps();
    for (int64_t b = 0; b < dots->k / 256; b++) {
        __m256 xd = _mm256_loadu_ps(dots->x.d + b * 8), xsum = _mm256_loadu_ps(dots->x.sum + b * 8);
        const uint8_t *p = row + b * bytes;
        __m256 scale, min;
        prefetch(p, bytes);
        k_scales(p + 4, &scale, &min);
        __m256 d = _mm256_set1_ps(_cvtsh_ss(load_u16(p)));
        __m256 dmin = _mm256_set1_ps(_cvtsh_ss(load_u16(p + 2)));
        mins = _mm256_fmadd_ps(_mm256_mul_ps(min, dmin), xsum, mins);
        __m512 scales = _mm512_castps256_ps512(_mm256_mul_ps(_mm256_mul_ps(scale, d), xd));
        for (int i = 0; i < 2; i++) {
            __m512i q[2];
            k_nibbles(p + quants, five ? p + 16 : NULL, i, q);
            for (int h = 0; h < 2; h++) {
                __m512i x = _mm512_loadu_si512(dots->own + b * 256 + i * 128 + h * 64);
                __m512i dot = _mm512_dpbusd_epi32(zero, q[h], x);
                sum =
                    _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), lanes_of_subs(scales, 4 * i + h), sum);
            }
        }
    }
    return _mm512_sub_ps(sum, _mm512_zextps256_ps512(mins));
}

INLINE __m512 q4_k_row(const uint8_t *row, const struct row_dots *dots)
{
    return k_row(row, dots, false);
}

INLINE __m512 q5_k_row(const uint8_t *row, const struct row_dots *dots)
{
    return k_row(row, dots, true);
}

ROW_DOTS(q4_k, by_pairs)
ROW_DOTS(q5_k, by_pairs)

INLINE void k_to_int(const uint8_t *p, const struct int_form *out, size_t n, bool five)
{
    const int bytes = five ? 176 : 144, quants = five ? 48 : 16;
    for (size_t b = 0; b < n / 256; b++, p += bytes) {
        __m256 scale, min;
        k_scales(p + 4, &scale, &min);
        __m256 d = _mm256_set1_ps(_cvtsh_ss(load_u16(p)));
        __m256 dmin = _mm256_set1_ps(-_cvtsh_ss(load_u16(p + 2)));
        _mm256_storeu_ps(out->scale + b * 8, _mm256_mul_ps(scale, d));
        _mm256_storeu_ps(out->min + b * 8, _mm256_mul_ps(min, dmin));
        for (int i = 0; i < 2; i++) {
            __m512i q[2];
            int8_t *to = out->q + b * 256 + i * 128;
            k_nibbles(p + quants, five ? p + 16 : NULL, i, q);
            _mm512_storeu_si512(to, _mm512_shuffle_i64x2(q[0], q[1], 0x44));
            _mm512_storeu_si512(to + 64, _mm512_shuffle_i64x2(q[0], q[1], 0xee));
        }
    }
}

static void q4_k_to_int(const void *blocks, const struct int_form *out, size_t n)
{
    k_to_int(blocks, out, n, false);
}

static void q5_k_to_int(const void *blocks, const struct int_form *out, size_t n)
{
    k_to_int(blocks, out, n, true);
}

/* --- Q6_K ------------------------------------------------------------------------------------- */

/* Four values from `first` on, each in four lanes. */
INLINE __m512 lanes_of_four(__m512 values, int first)
{
    const __m512i each = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    return _mm512_permutexvar_ps(_mm512_add_epi32(each, _mm512_set1_epi32(first)), values);
}

/* A half of a superblock: weights 0–63 and 64–127 of it, from 0 to 63. */
INLINE void q6_k_half(const uint8_t *p, int half, __m512i out[2])
{
    const __m512i low = _mm512_set1_epi8(15), high = _mm512_set1_epi8(0x30);
    __m512i q = _mm512_loadu_si512(p + half * 64);
    __m512i bits = _mm512_broadcast_i64x4(_mm256_loadu_si256((const void *)(p + 128 + half * 32)));
    bits = _mm512_srlv_epi64(bits, _mm512_setr_epi64(0, 0, 0, 0, 2, 2, 2, 2));
    out[0] = _mm512_or_si512(_mm512_and_si512(q, low),
                             _mm512_and_si512(_mm512_slli_epi16(bits, 4), high));
    out[1] = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(q, 4), low),
                             _mm512_and_si512(bits, high));
}

INLINE __m512 q6_k_row(const uint8_t *row, const struct row_dots *dots)
{
    enum { BYTES = 210, SCALES = 192, D = 208 };
    const __m512i zero = _mm512_setzero_si512(), offset = _mm512_set1_epi8(32);
    const __m512i pairs = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    __m512 sum = _mm512_setzero_ps();
    for (int64_t b = 0; b < dots->k / 256; b++) {
        __m512i x[4], start[4];
        for (int i = 0; i < 4; i++) {
            x[i] = _mm512_loadu_si512(dots->x.q + b * 256 + i * 64);
            start[i] = _mm512_sub_epi32(zero, _mm512_dpbusd_epi32(zero, offset, x[i]));
        }
        __m512 xd = _mm512_castps256_ps512(_mm256_loadu_ps(dots->x.d + b * 8));
        xd = _mm512_permutexvar_ps(pairs, xd);
        const uint8_t *p = row + b * BYTES;
        prefetch(p, BYTES);
        __m512i whole = _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(p + SCALES)));
        __m512 scales =
            _mm512_mul_ps(_mm512_cvtepi32_ps(whole), _mm512_set1_ps(_cvtsh_ss(load_u16(p + D))));
        scales = _mm512_mul_ps(scales, xd);
        for (int i = 0; i < 4; i += 2) {
            __m512i q[2];
            q6_k_half(p, i / 2, q);
            for (int h = 0; h < 2; h++) {
                __m512i dot = _mm512_dpbusd_epi32(start[i + h], q[h], x[i + h]);
                sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), lanes_of_four(scales, 4 * (i + h)),
                                      sum);
            }
        }
    }
    return sum;
}

ROW_DOTS(q6_k, as_they_are)

static void q6_k_to_int(const void *blocks, const struct int_form *out, size_t n)
{
    enum { BYTES = 210, SCALES = 192, D = 208 };
    const uint8_t *p = blocks;
    for (size_t b = 0; b < n / 256; b++, p += BYTES) {
        __m512i whole = _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(p + SCALES)));
        __m512 d = _mm512_set1_ps(_cvtsh_ss(load_u16(p + D)));
        _mm512_storeu_ps(out->scale + b * 16, _mm512_mul_ps(_mm512_cvtepi32_ps(whole), d));
        for (int half = 0; half < 2; half++) {
            __m512i q[2];
            q6_k_half(p, half, q);
            for (int h = 0; h < 2; h++)
                _mm512_storeu_si512(out->q + b * 256 + half * 128 + h * 64,
                                    _mm512_sub_epi8(q[h], _mm512_set1_epi8(32)));
        }
    }
}

const struct format_kernel formats_avx512[] = {
    {&dtype_q8_0, q8_0, NULL},
    {&dtype_q4_0, q4_0, NULL},
    {&dtype_q4_1, q4_1, NULL},
    {&dtype_q4_k, q4_k, q4_k_to_int},
    {&dtype_q5_k, q5_k, q5_k_to_int},
    {&dtype_q6_k, q6_k, q6_k_to_int},
    {NULL, NULL, NULL},
};
