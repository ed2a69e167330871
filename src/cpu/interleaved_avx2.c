#include <immintrin.h>

#include "cpu/levels_avx2.h"

/* Products of bytes as in matmul_avx2.c; small weights need not give their sign away. */
#define GROUP_KERNELS groups_avx2
#define LANES         8
#define OFFSET        0
#define DOT4(acc, w, x)                                                                            \
    ((acc) +                                                                                       \
     (ivec)dots_of_4(_mm256_abs_epi8((__m256i)(w)), _mm256_sign_epi8((__m256i)(x), (__m256i)(w))))
#define DOT4_SMALL(acc, w, x) ((acc) + (ivec)dots_of_4((__m256i)(w), (__m256i)(x)))
#define HALVES(p)             ((vec)_mm256_cvtph_ps(_mm_loadu_si128((const void *)(p))))

static inline __m256i dots_of_4(__m256i w, __m256i x)
{
    return _mm256_madd_epi16(_mm256_maddubs_epi16(w, x), _mm256_set1_epi16(1));
}

#include "cpu/interleaved_body.h"
