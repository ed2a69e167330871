#include <immintrin.h>

#define LANES 16
#define WIDTH 32
#include "cpu/float_body.h"
#include "cpu/levels_avx512.h"

/* Which of the next 16 are there, `left` of them in all. */
static __mmask16 there(size_t left)
{
    return left < LANES ? (__mmask16)((1u << left) - 1) : (__mmask16)0xffff;
}

static void decode_f16(const void *in, float *out, size_t n)
{
    const uint16_t *halves = in;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm512_storeu_ps(out + i,
                         _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(halves + i))));
    __m256i h = _mm256_maskz_loadu_epi16(there(n - i), halves + i);
    _mm512_mask_storeu_ps(out + i, there(n - i), _mm512_cvtph_ps(h));
}

static __m512i bits_of_bf16(__m256i h)
{
    return _mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16);
}

static void decode_bf16(const void *in, float *out, size_t n)
{
    const uint16_t *halves = in;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm512_storeu_si512(out + i,
                            bits_of_bf16(_mm256_loadu_si256((const __m256i *)(halves + i))));
    __m256i h = _mm256_maskz_loadu_epi16(there(n - i), halves + i);
    _mm512_mask_storeu_epi32(out + i, there(n - i), bits_of_bf16(h));
}

static void encode_f16(const float *in, void *out, size_t n)
{
    uint16_t *halves = out;
    for (size_t i = 0; i < n; i += LANES) {
        __m512 x = _mm512_maskz_loadu_ps(there(n - i), in + i);
        _mm256_mask_storeu_epi16(halves + i, there(n - i),
                                 _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
    }
}

const struct float_kernels float_kernels_avx512 = {
    .width = WIDTH,
    .tile = float_tile,
    .dot = float_dot,
    .softmax = softmax,
    .few_scores = few_scores,
    .softmax_rows = softmax_rows,
    .glu = glu,
    .rms_norm = rms_norm,
    .layer_norm = layer_norm,
    .decode_f16 = decode_f16,
    .decode_bf16 = decode_bf16,
    .encode_f16 = encode_f16,
};

const struct cpu_op cpu_op_attention_avx512 = {
    .name = "attention_avx512",
    .kind = OP_ATTENTION,
    .level = CPU_AVX512,
    .floats = &float_kernels_avx512,
    .scratch_bytes = attention_scratch_bytes,
    .run = attention_run,
};

const struct cpu_op cpu_op_glu_avx512 = {
    .name = "glu_avx512",
    .kind = OP_GLU,
    .level = CPU_AVX512,
    .floats = &float_kernels_avx512,
    .run = glu_run,
};

const struct cpu_op cpu_op_kv_write_avx512 = {
    .name = "kv_write_avx512",
    .kind = OP_KV_WRITE,
    .level = CPU_AVX512,
    .floats = &float_kernels_avx512,
    .run = kv_write_run,
};

const struct cpu_op cpu_op_rms_norm_avx512 = {
    .name = "rms_norm_avx512",
    .kind = OP_RMS_NORM,
    .level = CPU_AVX512,
    .floats = &float_kernels_avx512,
    .run = rms_norm_run,
};

const struct cpu_op cpu_op_layer_norm_avx512 = {
    .name = "layer_norm_avx512",
    .kind = OP_LAYER_NORM,
    .level = CPU_AVX512,
    .floats = &float_kernels_avx512,
    .run = layer_norm_run,
};
