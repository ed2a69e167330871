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
    for (int i = 0; i < bytes; i += 64)
        _mm_prefetch((const char *)p + AHEAD + i, _MM_HINT_T0);
}

INLINE float sum_of_16(__m512 x)
{
    return _mm512_reduce_add_ps(x);
}

/* Rows of a format, by what does one. */
#define ROW_DOTS(name)                                                                             \
    static void name(const struct row_dots *dots)                                                  \
    {                                                                                              \
        for (int r = 0; r < dots->n; r++)                                                          \
            dots->y[r] = name##_row(dots->rows + (uint64_t)r * dots->row_bytes, dots);             \
    }

/* --- Q8_0 ------------------------------------------------------------------------------------- */

INLINE __m512i two_of_32(const uint8_t *first, const uint8_t *second)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256((const void *)first)),
                              _mm256_loadu_si256((const void *)second), 1);
}

/* Lanes 0–7 hold a, lanes 8–15 b. */
INLINE __m512 halves_of(float a, float b)
{
    return _mm512_insertf32x8(_mm512_set1_ps(a), _mm256_set1_ps(b), 1);
}

INLINE float q8_0_row(const uint8_t *row, const struct row_dots *dots)
{
    enum { BYTES = 34 };
    const __m512i flip = _mm512_set1_epi8((char)0x80), zero = _mm512_setzero_si512();
    __m512 sum = _mm512_setzero_ps();
    int64_t blocks = dots->k / 32, b = 0;
    for (; b < blocks; b += 2) {
        bool two = b + 1 < blocks;
        int64_t next = two ? b + 1 : b;
        __m512i x = _mm512_maskz_loadu_epi64(two ? 0xff : 0x0f, dots->x.q + b * 32);
        __m512i start = _mm512_sub_epi32(zero, _mm512_dpbusd_epi32(zero, flip, x));
        __m512 d = halves_of(dots->x.d[b], two ? dots->x.d[next] : 0);
        const uint8_t *p = row;
        const uint8_t *p0 = p + b * BYTES, *p1 = p + next * BYTES;
        prefetch(p0, 68);
        __m512i w = _mm512_xor_si512(two_of_32(p0 + 2, p1 + 2), flip);
        __m512 dot = _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(start, w, x));
        __m512 scale =
            _mm512_mul_ps(d, halves_of(_cvtsh_ss(load_u16(p0)), _cvtsh_ss(load_u16(p1))));
        sum = _mm512_fmadd_ps(dot, scale, sum);
    }
    return sum_of_16(sum);
}

ROW_DOTS(q8_0)

/* --- Q4_1 ------------------------------------------------------------------------------------- */

/* Four blocks are 20 words: words 0, 5, 10, 15 hold d and m, those between them the quants. */
INLINE void q4_1_four(const uint8_t *p, __m512i *quants, __m128 *d, __m128 *m)
{
    const __m512i at = _mm512_setr_epi32(1, 2, 3, 4, 6, 7, 8, 9, 11, 12, 13, 14, 16, 17, 18, 19);
    const __m512i heads = _mm512_setr_epi32(0, 5, 10, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i apart = _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15);
    __m512i low = _mm512_loadu_si512(p);
    __m512i high = _mm512_castsi128_si512(_mm_loadu_si128((const void *)(p + 64)));
    *quants = _mm512_permutex2var_epi32(low, at, high);
    __m128i words = _mm512_castsi512_si128(_mm512_permutexvar_epi32(heads, low));
    __m256 scales = _mm256_cvtph_ps(_mm_shuffle_epi8(words, apart));
    *d = _mm256_castps256_ps128(scales);
    *m = _mm256_extractf128_ps(scales, 1);
}

/* A single value in each of four lanes for each of four blocks. */
INLINE __m512 lanes_of_blocks(__m128 four)
{
    const __m512i each = _mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3);
    return _mm512_permutexvar_ps(each, _mm512_castps128_ps512(four));
}

/* The 16 first (last) activations of each of four blocks. */
INLINE void halves_of_blocks(const int8_t *q, __m512i *first, __m512i *last)
{
    const __m512i evens = _mm512_setr_epi64(0, 1, 4, 5, 8, 9, 12, 13);
    const __m512i odds = _mm512_setr_epi64(2, 3, 6, 7, 10, 11, 14, 15);
    __m512i x0 = _mm512_loadu_si512(q), x1 = _mm512_loadu_si512(q + 64);
    *first = _mm512_permutex2var_epi64(x0, evens, x1);
    *last = _mm512_permutex2var_epi64(x0, odds, x1);
}

INLINE float dot_16_bytes(const uint8_t *codes, const struct act *x, int64_t b)
{
    const __m128i mask = _mm_set1_epi8(15);
    __m128i q = _mm_loadu_si128((const void *)codes);
    __m128i low = _mm_and_si128(q, mask), high = _mm_and_si128(_mm_srli_epi16(q, 4), mask);
    const int8_t *a = x->q + b * 32;
    __m128i dot = _mm_dpbusd_epi32(_mm_setzero_si128(), low, _mm_loadu_si128((const void *)a));
    dot = _mm_dpbusd_epi32(dot, high, _mm_loadu_si128((const void *)(a + 16)));
    dot = _mm_add_epi32(dot, _mm_unpackhi_epi64(dot, dot));
    return (float)(_mm_cvtsi128_si32(dot) + _mm_extract_epi32(dot, 1));
}

INLINE float q4_1_row(const uint8_t *row, const struct row_dots *dots)
{
    enum { BYTES = 20 };
    const __m512i mask = _mm512_set1_epi8(15);
    __m512 sum = _mm512_setzero_ps();
    __m128 mins = _mm_setzero_ps();
    int64_t blocks = dots->k / 32, b = 0;
    for (; b + 4 <= blocks; b += 4) {
        __m512i first, last;
        halves_of_blocks(dots->x.q + b * 32, &first, &last);
        __m128 xd = _mm_loadu_ps(dots->x.d + b), xsum = _mm_loadu_ps(dots->x.sum + b);
        const uint8_t *p = row + b * BYTES;
        __m512i quants;
        __m128 d, m;
        prefetch(p, 80);
        q4_1_four(p, &quants, &d, &m);
        __m512i dot =
            _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_and_si512(quants, mask), first);
        dot = _mm512_dpbusd_epi32(dot, _mm512_and_si512(_mm512_srli_epi16(quants, 4), mask), last);
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), lanes_of_blocks(_mm_mul_ps(d, xd)), sum);
        mins = _mm_fmadd_ps(m, xsum, mins);
    }
    float y = sum_of_16(_mm512_add_ps(sum, _mm512_zextps128_ps512(mins)));
    const uint8_t *p = row;
    for (int64_t left = b; left < blocks; left++) {
        const uint8_t *block = p + left * BYTES;
        y += dots->x.d[left] * _cvtsh_ss(load_u16(block)) * dot_16_bytes(block + 4, &dots->x, left);
        y += dots->x.sum[left] * _cvtsh_ss(load_u16(block + 2));
    }
    return y;
}

ROW_DOTS(q4_1)

/* --- Q4_0 ------------------------------------------------------------------------------------- */

/* Four blocks are 36 half words: 0, 9, 18, 27 hold d, those between them the quants. */
INLINE __m512i q4_0_four(const uint8_t *p, __m128 *d)
{
    const __m512i at = _mm512_set_epi16(35, 34, 33, 32, 31, 30, 29, 28, 26, 25, 24, 23, 22, 21, 20,
                                        19, 17, 16, 15, 14, 13, 12, 11, 10, 8, 7, 6, 5, 4, 3, 2, 1);
    const __m512i heads = _mm512_castsi128_si512(_mm_setr_epi16(0, 9, 18, 27, 0, 0, 0, 0));
    __m512i low = _mm512_loadu_si512(p);
    __m512i high = _mm512_castsi128_si512(_mm_loadl_epi64((const void *)(p + 64)));
    *d = _mm_cvtph_ps(_mm512_castsi512_si128(_mm512_permutexvar_epi16(heads, low)));
    return _mm512_permutex2var_epi16(low, at, high);
}

INLINE float q4_0_row(const uint8_t *row, const struct row_dots *dots)
{
    enum { BYTES = 18 };
    const __m512i mask = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8);
    const __m512i zero = _mm512_setzero_si512();
    __m512 sum = _mm512_setzero_ps();
    int64_t blocks = dots->k / 32, b = 0;
    for (; b + 4 <= blocks; b += 4) {
        __m512i first, last;
        halves_of_blocks(dots->x.q + b * 32, &first, &last);
        __m512i start = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(zero, eight, first), eight, last);
        start = _mm512_sub_epi32(zero, start);
        __m128 xd = _mm_loadu_ps(dots->x.d + b);
        const uint8_t *p = row + b * BYTES;
        __m128 d;
        prefetch(p, 72);
        __m512i quants = q4_0_four(p, &d);
        __m512i dot = _mm512_dpbusd_epi32(start, _mm512_and_si512(quants, mask), first);
        dot = _mm512_dpbusd_epi32(dot, _mm512_and_si512(_mm512_srli_epi16(quants, 4), mask), last);
        sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), lanes_of_blocks(_mm_mul_ps(d, xd)), sum);
    }
    float y = sum_of_16(sum);
    const uint8_t *p = row;
    for (int64_t left = b; left < blocks; left++) {
        float d = _cvtsh_ss(load_u16(p + left * BYTES));
        y += d * dots->x.d[left] * dot_16_bytes(p + left * BYTES + 2, &dots->x, left);
        y -= d * dots->x.sum[left] * 8;
    }
    return y;
}

ROW_DOTS(q4_0)

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

/* The activations of a superblock as nibbles meet them: x[2 i + h] those of sub-blocks 4 i + h and
 * 4 i + h + 2. */
INLINE void acts_of_nibbles(const int8_t *q, __m512i x[4])
{
    for (int i = 0; i < 2; i++) {
        __m512i x0 = _mm512_loadu_si512(q + i * 128), x1 = _mm512_loadu_si512(q + i * 128 + 64);
        x[2 * i] = _mm512_shuffle_i64x2(x0, x1, 0x44);
        x[2 * i + 1] = _mm512_shuffle_i64x2(x0, x1, 0xee);
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

INLINE float k_row(const uint8_t *row, const struct row_dots *dots, bool five)
{
    const int bytes = five ? 176 : 144, quants = five ? 48 : 16;
    const __m512i zero = _mm512_setzero_si512();
    __m512 sum = _mm512_setzero_ps();
    __m256 mins = _mm256_setzero_ps();
    for (int64_t b = 0; b < dots->k / 256; b++) {
        __m512i x[4];
        acts_of_nibbles(dots->x.q + b * 256, x);
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
                __m512i dot = _mm512_dpbusd_epi32(zero, q[h], x[2 * i + h]);
                sum =
                    _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), lanes_of_subs(scales, 4 * i + h), sum);
            }
        }
    }
    return sum_of_16(_mm512_sub_ps(sum, _mm512_zextps256_ps512(mins)));
}

INLINE float q4_k_row(const uint8_t *row, const struct row_dots *dots)
{
    return k_row(row, dots, false);
}

INLINE float q5_k_row(const uint8_t *row, const struct row_dots *dots)
{
    return k_row(row, dots, true);
}

ROW_DOTS(q4_k)
ROW_DOTS(q5_k)

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

INLINE float q6_k_row(const uint8_t *row, const struct row_dots *dots)
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
    return sum_of_16(sum);
}

ROW_DOTS(q6_k)

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
