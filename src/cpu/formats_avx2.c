#include <immintrin.h>

#include "cpu/levels_avx2.h"
#include "quant/block.h"

/* Rows as they lie in the file, one at a time: sums of a block of 32 are in eight lanes. */

#define INLINE static ATTR_INLINE

enum { AHEAD = 4096 }; /* bytes that memory is asked for before they are read */

INLINE void prefetch(const uint8_t *p, int bytes)
{
    prefetch_bytes(p + AHEAD, bytes);
}

INLINE float sum_of_8(__m256 x)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

/* Σ of four products in each lane: weights from 0 to 63, so that pairs stay within 16 bits. */
INLINE __m256i dot_small(__m256i w, __m256i x)
{
    return _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1));
}

/* The same of signed weights: their sign goes to the activations. */
INLINE __m256i dot_signed(__m256i w, __m256i x)
{
    return dot_small(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
}

INLINE __m256i load_32(const void *p)
{
    return _mm256_loadu_si256(p);
}

/* 16 bytes of two nibbles each: low ones, then high ones. */
INLINE __m256i nibbles(const uint8_t *p)
{
    __m128i q = _mm_loadu_si128((const void *)p);
    __m256i both = _mm256_set_m128i(_mm_srli_epi16(q, 4), q);
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

/* Adds a block's products: scale is d of the weights × d of the activations. */
INLINE __m256 add_scaled(__m256 sum, __m256i dots, float scale)
{
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dots), _mm256_set1_ps(scale), sum);
}

INLINE float q8_0_row(const uint8_t *p, const struct row_dots *dots)
{
    __m256 sum = _mm256_setzero_ps();
    for (int64_t b = 0; b < dots->k / 32; b++, p += 34) {
        prefetch(p, 34);
        __m256i dot = dot_signed(load_32(p + 2), load_32(dots->x.q + b * 32));
        sum = add_scaled(sum, dot, _cvtsh_ss(load_u16(p)) * dots->x.d[b]);
    }
    return sum_of_8(sum);
}

INLINE float q4_0_row(const uint8_t *p, const struct row_dots *dots)
{
    __m256 sum = _mm256_setzero_ps();
    const __m256i eight = _mm256_set1_epi8(8);
    for (int64_t b = 0; b < dots->k / 32; b++, p += 18) {
        prefetch(p, 18);
        __m256i q = _mm256_sub_epi8(nibbles(p + 2), eight);
        __m256i dot = dot_signed(q, load_32(dots->x.q + b * 32));
        sum = add_scaled(sum, dot, _cvtsh_ss(load_u16(p)) * dots->x.d[b]);
    }
    return sum_of_8(sum);
}

INLINE float q4_1_row(const uint8_t *p, const struct row_dots *dots)
{
    __m256 sum = _mm256_setzero_ps();
    float mins = 0;
    for (int64_t b = 0; b < dots->k / 32; b++, p += 20) {
        prefetch(p, 20);
        __m256i dot = dot_small(nibbles(p + 4), load_32(dots->x.q + b * 32));
        sum = add_scaled(sum, dot, _cvtsh_ss(load_u16(p)) * dots->x.d[b]);
        mins += _cvtsh_ss(load_u16(p + 2)) * dots->x.sum[b];
    }
    return sum_of_8(sum) + mins;
}

/* The six-bit scales and minima of a superblock (quant/k_scales.h), in word arithmetic. */
INLINE void k_scales(const uint8_t *p, __m256 *scale, __m256 *min)
{
    uint32_t a = load_u32(p), b = load_u32(p + 4), c = load_u32(p + 8);
    uint64_t s = (a & 0x3f3f3f3f) | (uint64_t)((c & 0x0f0f0f0f) | (a >> 2 & 0x30303030)) << 32;
    uint64_t m = (b & 0x3f3f3f3f) | (uint64_t)((c >> 4 & 0x0f0f0f0f) | (b >> 2 & 0x30303030)) << 32;
    *scale = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)s)));
    *min = _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)m)));
}

/* Fifth bits of a sub-block j, where there are any: bit j of each byte. */
INLINE __m256i fifth_bits(__m256i bits, int j)
{
    __m256i own = _mm256_srl_epi16(bits, _mm_cvtsi32_si128(j));
    return _mm256_slli_epi16(_mm256_and_si256(own, _mm256_set1_epi8(1)), 4);
}

INLINE float k_row(const uint8_t *p, const struct row_dots *dots, bool five)
{
    const int bytes = five ? 176 : 144, quants = five ? 48 : 16;
    const __m256i mask = _mm256_set1_epi8(15);
    __m256 sum = _mm256_setzero_ps(), mins = _mm256_setzero_ps();
    for (int64_t b = 0; b < dots->k / 256; b++, p += bytes) {
        __m256 scale, min;
        float scales[8];
        const int8_t *x = dots->x.q + b * 256;
        prefetch(p, bytes);
        k_scales(p + 4, &scale, &min);
        __m256 d = _mm256_set1_ps(_cvtsh_ss(load_u16(p)));
        __m256 dmin = _mm256_set1_ps(_cvtsh_ss(load_u16(p + 2)));
        mins =
            _mm256_fmadd_ps(_mm256_mul_ps(min, dmin), _mm256_loadu_ps(dots->x.sum + b * 8), mins);
        scale = _mm256_mul_ps(_mm256_mul_ps(scale, d), _mm256_loadu_ps(dots->x.d + b * 8));
        _mm256_storeu_ps(scales, scale);
        __m256i bits = five ? load_32(p + 16) : _mm256_setzero_si256();
        for (int j = 0; j < 8; j += 2) {
            __m256i q = load_32(p + quants + j * 16);
            __m256i low = _mm256_and_si256(q, mask);
            __m256i high = _mm256_and_si256(_mm256_srli_epi16(q, 4), mask);
            if (five) {
                low = _mm256_or_si256(low, fifth_bits(bits, j));
                high = _mm256_or_si256(high, fifth_bits(bits, j + 1));
            }
            sum = add_scaled(sum, dot_small(low, load_32(x + j * 32)), scales[j]);
            sum = add_scaled(sum, dot_small(high, load_32(x + j * 32 + 32)), scales[j + 1]);
        }
    }
    return sum_of_8(_mm256_sub_ps(sum, mins));
}

INLINE float q4_k_row(const uint8_t *p, const struct row_dots *dots)
{
    return k_row(p, dots, false);
}

INLINE float q5_k_row(const uint8_t *p, const struct row_dots *dots)
{
    return k_row(p, dots, true);
}

/* Runs r and r + 2 (of 32 weights) of a half: a byte's low and high nibble, and two of the high
 * bits. Each run has two sub-blocks of 16, in lanes 0–3 and 4–7. */
INLINE __m256 add_q6_k_run(__m256 sum, __m256i q, const int8_t *x, const float *scales)
{
    __m256i w = _mm256_sub_epi8(q, _mm256_set1_epi8(32));
    __m256 scale = _mm256_set_m128(_mm_set1_ps(scales[1]), _mm_set1_ps(scales[0]));
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot_signed(w, load_32(x))), scale, sum);
}

INLINE float q6_k_row(const uint8_t *p, const struct row_dots *dots)
{
    enum { BYTES = 210, HIGH = 128, SCALES = 192, D = 208 };
    const __m256i mask = _mm256_set1_epi8(15), top = _mm256_set1_epi8(0x30);
    __m256 sum = _mm256_setzero_ps();
    for (int64_t b = 0; b < dots->k / 256; b++, p += BYTES) {
        float scales[16], d = _cvtsh_ss(load_u16(p + D));
        prefetch(p, BYTES);
        for (int j = 0; j < 16; j++)
            scales[j] = d * dots->x.d[b * 8 + j / 2] * (float)(int8_t)p[SCALES + j];
        for (int half = 0; half < 2; half++) {
            const int8_t *x = dots->x.q + b * 256 + half * 128;
            __m256i bits = load_32(p + HIGH + half * 32);
            for (int r = 0; r < 2; r++) {
                __m256i q = load_32(p + half * 64 + r * 32);
                __m256i own = _mm256_srl_epi16(bits, _mm_cvtsi32_si128(2 * r));
                __m256i low = _mm256_and_si256(_mm256_slli_epi16(own, 4), top);
                low = _mm256_or_si256(low, _mm256_and_si256(q, mask));
                __m256i high = _mm256_and_si256(_mm256_srli_epi16(q, 4), mask);
                high = _mm256_or_si256(high, _mm256_and_si256(own, top));
                sum = add_q6_k_run(sum, low, x + r * 32, scales + half * 8 + r * 2);
                sum = add_q6_k_run(sum, high, x + 64 + r * 32, scales + half * 8 + 4 + r * 2);
            }
        }
    }
    return sum_of_8(sum);
}

#define ROW_DOTS(name)                                                                             \
    static void name(const struct row_dots *dots)                                                  \
    {                                                                                              \
        for (int r = 0; r < dots->n; r++)                                                          \
            dots->y[r] = name##_row(dots->rows + (uint64_t)r * dots->row_bytes, dots);             \
    }

ROW_DOTS(q8_0)
ROW_DOTS(q4_0)
ROW_DOTS(q4_1)
ROW_DOTS(q4_k)
ROW_DOTS(q5_k)
ROW_DOTS(q6_k)

const struct format_kernel formats_avx2[] = {
    {&dtype_q8_0, q8_0, NULL}, {&dtype_q4_0, q4_0, NULL}, {&dtype_q4_1, q4_1, NULL},
    {&dtype_q4_k, q4_k, NULL}, {&dtype_q5_k, q5_k, NULL}, {&dtype_q6_k, q6_k, NULL},
    {NULL, NULL, NULL},
};
