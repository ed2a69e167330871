#include <immintrin.h>
#include <math.h>

#include "cpu/levels_avx512.h"

/* A panel is 32 rows: two vectors of 16 lanes. A tile of six columns keeps 12 sums in integers and
 * 12 in float in the 32 registers; four weights of each lane meet the same four activations, which
 * are broadcast. Weights are the unsigned operand (128 more than they are), so that sums begin at
 * −128 × Σ of the activations. */

enum { PANEL = 32, LANES = 16 };

/* --- tiles ------------------------------------------------------------------------------------ */

struct lanes {
    __m512 low, high;
};

#define INLINE static ATTR_INLINE

/* Products of `k` weights (from 4-weight group `at` on) with each column, in float. */
INLINE void products(const struct int_tile *t, int at, int k, int sub, struct lanes *out, int n)
{
    __m512i low[TILE_MAX], high[TILE_MAX];
    for (int c = 0; c < n; c++)
        low[c] = high[c] = _mm512_set1_epi32(t->start[sub * TILE_MAX + c]);
    const int8_t *w = t->w + at * PANEL, *q = t->q + at * TILE_MAX;
#pragma GCC unroll 8
    for (int i = 0; i < k / 4; i++) {
        __m512i w0 = _mm512_load_si512(w + i * PANEL * 4);
        __m512i w1 = _mm512_load_si512(w + i * PANEL * 4 + 64);
        for (int c = 0; c < n; c++) {
            int32_t four;
            __builtin_memcpy(&four, q + (i * TILE_MAX + c) * 4, 4);
            __m512i x = _mm512_set1_epi32(four);
            low[c] = _mm512_dpbusd_epi32(low[c], w0, x);
            high[c] = _mm512_dpbusd_epi32(high[c], w1, x);
        }
    }
    for (int c = 0; c < n; c++)
        out[c] = (struct lanes){_mm512_cvtepi32_ps(low[c]), _mm512_cvtepi32_ps(high[c])};
}

INLINE void add_mins(const struct int_tile *t, int sub, struct lanes *sums, int n)
{
    __m512 m0 = _mm512_load_ps(t->min + sub * PANEL),
           m1 = _mm512_load_ps(t->min + sub * PANEL + LANES);
    for (int c = 0; c < n; c++) {
        __m512 x = _mm512_set1_ps(t->sum[sub * TILE_MAX + c]);
        sums[c].low = _mm512_fmadd_ps(m0, x, sums[c].low);
        sums[c].high = _mm512_fmadd_ps(m1, x, sums[c].high);
    }
}

/* One block of 32 activations: its products, scaled. */
INLINE void add_block(const struct int_tile *t, int block, bool halves, struct lanes *sums, int n)
{
    struct lanes dots[TILE_MAX], more[TILE_MAX];
    int sub = halves ? 2 * block : block;
    const float *scale = t->scale + sub * PANEL;
    products(t, block * 32, halves ? 16 : 32, sub, dots, n);
    __m512 s0 = _mm512_load_ps(scale), s1 = _mm512_load_ps(scale + LANES);
    for (int c = 0; c < n; c++) {
        dots[c].low = _mm512_mul_ps(dots[c].low, s0);
        dots[c].high = _mm512_mul_ps(dots[c].high, s1);
    }
    if (halves) {
        products(t, block * 32 + 16, 16, sub + 1, more, n);
        s0 = _mm512_load_ps(scale + PANEL);
        s1 = _mm512_load_ps(scale + PANEL + LANES);
        for (int c = 0; c < n; c++) {
            dots[c].low = _mm512_fmadd_ps(more[c].low, s0, dots[c].low);
            dots[c].high = _mm512_fmadd_ps(more[c].high, s1, dots[c].high);
        }
    }
    for (int c = 0; c < n; c++) {
        __m512 d = _mm512_set1_ps(t->d[block * TILE_MAX + c]);
        sums[c].low = _mm512_fmadd_ps(dots[c].low, d, sums[c].low);
        sums[c].high = _mm512_fmadd_ps(dots[c].high, d, sums[c].high);
    }
    if (t->min)
        add_mins(t, sub, sums, n);
    if (t->min && halves)
        add_mins(t, sub + 1, sums, n);
}

INLINE void tile_of(const struct int_tile *t, bool halves, int n)
{
    struct lanes sums[TILE_MAX];
    for (int c = 0; c < n; c++) {
        const float *acc = t->acc + c * PANEL;
        sums[c].low = t->first ? _mm512_setzero_ps() : _mm512_load_ps(acc);
        sums[c].high = t->first ? _mm512_setzero_ps() : _mm512_load_ps(acc + LANES);
    }
    for (int block = 0; block < t->k / 32; block++)
        add_block(t, block, halves, sums, n);
    for (int c = 0; c < n; c++) {
        _mm512_store_ps(t->acc + c * PANEL, sums[c].low);
        _mm512_store_ps(t->acc + c * PANEL + LANES, sums[c].high);
    }
}

/* Its own code for each number of columns, so that all loops over columns are unrolled. */
INLINE void any_tile(const struct int_tile *t, bool halves)
{
    switch (t->n) {
    case 1: tile_of(t, halves, 1); break;
    case 2: tile_of(t, halves, 2); break;
    case 3: tile_of(t, halves, 3); break;
    case 4: tile_of(t, halves, 4); break;
    case 5: tile_of(t, halves, 5); break;
    default: tile_of(t, halves, 6); break;
    }
}

static void tile_subs_of_32(const struct int_tile *t)
{
    any_tile(t, false);
}

static void tile_subs_of_16(const struct int_tile *t)
{
    any_tile(t, true);
}

static void int_tile(const struct int_tile *t)
{
    if (t->sub_elems == 16)
        tile_subs_of_16(t);
    else
        tile_subs_of_32(t);
}

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

/* --- activations ------------------------------------------------------------------------------ */

/* As q8_act_quantize has it, but that ties go to the even neighbour. */
static void quantize(const float *x, int64_t k, const struct act *out)
{
    const __m512 largest = _mm512_set1_ps(0x1.fffffep127f);
    for (int64_t b = 0; b < k / Q8_ACT_ELEMS; b++) {
        __m512 x0 = _mm512_loadu_ps(x + b * 32), x1 = _mm512_loadu_ps(x + b * 32 + 16);
        __m512 a0 = _mm512_abs_ps(x0), a1 = _mm512_abs_ps(x1);
        bool finite = (_mm512_cmp_ps_mask(a0, largest, _CMP_LE_OQ) &
                       _mm512_cmp_ps_mask(a1, largest, _CMP_LE_OQ)) == 0xffff;
        float d = _mm512_reduce_max_ps(_mm512_max_ps(a0, a1)) / 127.0f;
        __m512 inverse = _mm512_set1_ps(finite && d >= 0x1p-126f ? 1.0f / d : 0);
        if (!finite)
            x0 = x1 = _mm512_setzero_ps();
        __m512i q0 = _mm512_cvtps_epi32(_mm512_mul_ps(x0, inverse));
        __m512i q1 = _mm512_cvtps_epi32(_mm512_mul_ps(x1, inverse));
        _mm_storeu_si128((void *)(out->q + b * 32), _mm512_cvtepi32_epi8(q0));
        _mm_storeu_si128((void *)(out->q + b * 32 + 16), _mm512_cvtepi32_epi8(q1));
        d = !finite ? NAN : d >= 0x1p-126f ? d : 0;
        out->d[b] = d;
        out->sum[b] = d * (float)_mm512_reduce_add_epi32(_mm512_add_epi32(q0, q1));
    }
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
    .row_dots = row_dots_avx512,
};

static void run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    matmul_run(call, scratch, &kernels);
}

const struct cpu_op cpu_op_matmul_avx512 = {
    .name = "matmul_avx512",
    .kind = OP_MATMUL,
    .level = CPU_AVX512,
    .scratch_bytes = matmul_scratch_bytes,
    .run = run,
};
