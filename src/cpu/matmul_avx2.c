#include <immintrin.h>

#include "cpu/levels_avx2.h"

/* A panel is 16 rows, two vectors of 8 lanes. There are 16 registers: three columns at a time.
 * Products of bytes are of unsigned by signed ones and meet in 16 bits: weights give their size,
 * and their sign to the activations, so that no pair exceeds 2 × 128 × 127. */
#define PANEL           16
#define LANES           8
#define COLUMNS         3
#define DOT4(acc, w, x) ((acc) + (ivec)dots_of_4((__m256i)(w), (__m256i)(x)))

static inline __m256i dots_of_4(__m256i w, __m256i x)
{
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

#include "cpu/int_body.h"

static float sum_of_8(__m256 x)
{
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

/* Lanes 0–3 hold the first sub-block's value, lanes 4–7 that of the second (of the same, where a
 * block has one). */
static ATTR_INLINE __m256 per_half(const float *values, int block, int halves)
{
    const float *own = values + (block << halves);
    return _mm256_set_m128(_mm_set1_ps(own[halves]), _mm_set1_ps(own[0]));
}

static float int_dot(const struct int_dot *dot)
{
    int halves = dot->sub_elems == 16;
    const __m256i one_bytes = _mm256_set1_epi8(1);
    __m256 sum = _mm256_setzero_ps();
    for (int b = 0; b < dot->k / 32; b++) {
        __m256i x = _mm256_loadu_si256((const void *)(dot->x.q + b * 32));
        __m256i w = _mm256_loadu_si256((const void *)(dot->w->q + b * 32));
        __m256 dots = (__m256) __builtin_convertvector(DOT4((ivec){0}, (ivec)w, (ivec)x), vec);
        dots = _mm256_mul_ps(dots, per_half(dot->w->scale, b, halves));
        if (dot->has_min) {
            ivec total = DOT4((ivec){0}, (ivec)one_bytes, (ivec)x);
            dots = _mm256_fmadd_ps(per_half(dot->w->min, b, halves),
                                   (__m256) __builtin_convertvector(total, vec), dots);
        }
        sum = _mm256_fmadd_ps(dots, _mm256_set1_ps(dot->x.d[b]), sum);
    }
    return sum_of_8(sum);
}

static const struct matmul_kernels kernels = {
    .panel = PANEL,
    .offset = 0,
    .quantize = quantize,
    .pack = matmul_pack_16,
    .int_tile = int_tile,
    .int_dot = int_dot,
    .floats = &float_kernels_avx2,
    .groups = groups_avx2,
    .formats = formats_avx2,
};

const struct cpu_op cpu_op_matmul_avx2 = {
    .name = "matmul_avx2",
    .kind = OP_MATMUL,
    .level = CPU_AVX2,
    .matmul = &kernels,
    .scratch_bytes = matmul_scratch_bytes,
    .run = matmul_run,
};

const struct cpu_op cpu_op_matmul_glu_avx2 = {
    .name = "matmul_glu_avx2",
    .kind = OP_MATMUL_GLU,
    .level = CPU_AVX2,
    .matmul = &kernels,
    .scratch_bytes = matmul_scratch_bytes,
    .run = matmul_run,
};

const struct cpu_op cpu_op_matmul_qkv_avx2 = {
    .name = "matmul_qkv_avx2",
    .kind = OP_MATMUL_QKV,
    .level = CPU_AVX2,
    .matmul = &kernels,
    .scratch_bytes = matmul_scratch_bytes,
    .run = matmul_run,
};
