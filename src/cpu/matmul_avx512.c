#include <immintrin.h>

#include "cpu/levels_avx512.h"

/* A panel is 32 rows, two vectors of 16 lanes. Six columns keep 12 sums in integers and 12 in float
 * in the 32 registers; four weights of each lane meet the same four activations, which are
 * broadcast. Weights are the unsigned operand (128 more than they are), so that sums begin at
 * −128 × Σ of the activations. */
#define PANEL           32
#define LANES           16
#define COLUMNS         6
#define DOT4(acc, w, x) ((ivec)_mm512_dpbusd_epi32((__m512i)(acc), (__m512i)(w), (__m512i)(x)))
#include "cpu/int_body.h"

/* 16 rows of 16 groups of four bytes: columns become rows. */
static void transpose(const int8_t *rows, int8_t *out)
{
    __m512i a[16], b[16];
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    for (int i = 0; i < 16; i++)
        a[i] = _mm512_xor_si512(_mm512_loadu_si512(rows + i * PART), flip);
    for (int i = 0; i < 16; i += 4) {
        __m512i t0 = _mm512_unpacklo_epi32(a[i], a[i + 1]);
        __m512i t1 = _mm512_unpackhi_epi32(a[i], a[i + 1]);
        __m512i t2 = _mm512_unpacklo_epi32(a[i + 2], a[i + 3]);
        __m512i t3 = _mm512_unpackhi_epi32(a[i + 2], a[i + 3]);
        b[i] = _mm512_unpacklo_epi64(t0, t2);
        b[i + 1] = _mm512_unpackhi_epi64(t0, t2);
        b[i + 2] = _mm512_unpacklo_epi64(t1, t3);
        b[i + 3] = _mm512_unpackhi_epi64(t1, t3);
    }
    /* b[4 r + c] has of each quarter q column 4 q + c, rows 4 r … 4 r + 3. */
    for (int c = 0; c < 4; c++) {
        __m512i t0 = _mm512_shuffle_i32x4(b[c], b[4 + c], 0x44);
        __m512i t1 = _mm512_shuffle_i32x4(b[c], b[4 + c], 0xee);
        __m512i t2 = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0x44);
        __m512i t3 = _mm512_shuffle_i32x4(b[8 + c], b[12 + c], 0xee);
        _mm512_store_si512(out + c * PANEL * 4, _mm512_shuffle_i32x4(t0, t2, 0x88));
        _mm512_store_si512(out + (4 + c) * PANEL * 4, _mm512_shuffle_i32x4(t0, t2, 0xdd));
        _mm512_store_si512(out + (8 + c) * PANEL * 4, _mm512_shuffle_i32x4(t1, t3, 0x88));
        _mm512_store_si512(out + (12 + c) * PANEL * 4, _mm512_shuffle_i32x4(t1, t3, 0xdd));
    }
}

/* A part that is no multiple of 64 is packed with what lies behind it; nobody reads that. */
static void pack(const int8_t *rows, int k, int8_t *out)
{
    for (int i = 0; i < k; i += 64)
        for (int half = 0; half < 2; half++)
            transpose(rows + half * LANES * PART + i, out + i * PANEL + half * LANES * 4);
}

/* --- a row that was unpacked, times a vector -------------------------------------------------- */

static float int_dot(const struct int_dot *dot)
{
    const __m256i flip = _mm256_set1_epi8((char)0x80);
    int halves = dot->sub_elems == 16;
    __m256 sum = _mm256_setzero_ps();
    for (int b = 0; b < dot->k / 32; b++) {
        __m256i x = _mm256_loadu_si256((const void *)(dot->x.q + b * 32));
        __m256i w = _mm256_loadu_si256((const void *)(dot->w->q + b * 32));
        __m256i start = _mm256_dpbusd_epi32(_mm256_setzero_si256(), flip, x);
        __m256i products =
            _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_xor_si256(w, flip), x);
        __m256 dots = _mm256_cvtepi32_ps(_mm256_sub_epi32(products, start));
        int sub = b << halves;
        __m256 scale = _mm256_set_m128(_mm_set1_ps(dot->w->scale[sub + halves]),
                                       _mm_set1_ps(dot->w->scale[sub]));
        dots = _mm256_mul_ps(dots, scale);
        if (dot->has_min) {
            /* start is 128 × Σ of the activations of each lane */
            __m256 min = _mm256_set_m128(_mm_set1_ps(dot->w->min[sub + halves]),
                                         _mm_set1_ps(dot->w->min[sub]));
            __m256 total = _mm256_mul_ps(_mm256_cvtepi32_ps(start), _mm256_set1_ps(1.0f / 128));
            dots = _mm256_fmadd_ps(min, total, dots);
        }
        sum = _mm256_fmadd_ps(dots, _mm256_set1_ps(dot->x.d[b]), sum);
    }
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(sum), _mm256_extractf128_ps(sum, 1));
    four = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(four, _mm_movehdup_ps(four)));
}

static const struct matmul_kernels kernels = {
    .panel = PANEL,
    .offset = 128,
    .quantize = quantize,
    .pack = pack,
    .int_tile = int_tile,
    .int_dot = int_dot,
    .floats = &float_kernels_avx512,
    .groups = groups_avx512,
    .formats = formats_avx512,
};

const struct cpu_op cpu_op_matmul_avx512 = {
    .name = "matmul_avx512",
    .kind = OP_MATMUL,
    .level = CPU_AVX512,
    .matmul = &kernels,
    .scratch_bytes = matmul_scratch_bytes,
    .run = matmul_run,
};

const struct cpu_op cpu_op_matmul_glu_avx512 = {
    .name = "matmul_glu_avx512",
    .kind = OP_MATMUL_GLU,
    .level = CPU_AVX512,
    .matmul = &kernels,
    .scratch_bytes = matmul_scratch_bytes,
    .run = matmul_run,
};

const struct cpu_op cpu_op_matmul_qkv_avx512 = {
    .name = "matmul_qkv_avx512",
    .kind = OP_MATMUL_QKV,
    .level = CPU_AVX512,
    .matmul = &kernels,
    .scratch_bytes = matmul_scratch_bytes,
    .run = matmul_run,
};
