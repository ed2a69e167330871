#include <immintrin.h>

#define LANES 8
#define WIDTH 16
#include "base/half.h"
#include "cpu/float_body.h"
#include "cpu/levels_avx2.h"

static void decode_f16(const void *in, float *out, size_t n)
{
    const uint16_t *halves = in;
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i, _mm256_cvtph_ps(_mm_loadu_si128((const void *)(halves + i))));
    for (; i < n; i++)
        out[i] = _cvtsh_ss(halves[i]);
}

static void decode_bf16(const void *in, float *out, size_t n)
{
    const uint16_t *halves = in;
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i words = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(halves + i)));
        _mm256_storeu_si256((void *)(out + i), _mm256_slli_epi32(words, 16));
    }
    for (; i < n; i++)
        out[i] = bf16_to_f32(halves[i]);
}

static void encode_f16(const float *in, void *out, size_t n)
{
    uint16_t *halves = out;
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm_storeu_si128((void *)(halves + i),
                         _mm256_cvtps_ph(_mm256_loadu_ps(in + i), _MM_FROUND_TO_NEAREST_INT));
    for (; i < n; i++)
        halves[i] = _cvtss_sh(in[i], _MM_FROUND_TO_NEAREST_INT);
}

const struct float_kernels float_kernels_avx2 = {
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

const struct cpu_op cpu_op_attention_avx2 = {
    .name = "attention_avx2",
    .kind = OP_ATTENTION,
    .level = CPU_AVX2,
    .floats = &float_kernels_avx2,
    .scratch_bytes = attention_scratch_bytes,
    .run = attention_run,
};

const struct cpu_op cpu_op_glu_avx2 = {
    .name = "glu_avx2",
    .kind = OP_GLU,
    .level = CPU_AVX2,
    .floats = &float_kernels_avx2,
    .run = glu_run,
};

const struct cpu_op cpu_op_kv_write_avx2 = {
    .name = "kv_write_avx2",
    .kind = OP_KV_WRITE,
    .level = CPU_AVX2,
    .floats = &float_kernels_avx2,
    .run = kv_write_run,
};

const struct cpu_op cpu_op_rms_norm_avx2 = {
    .name = "rms_norm_avx2",
    .kind = OP_RMS_NORM,
    .level = CPU_AVX2,
    .floats = &float_kernels_avx2,
    .run = rms_norm_run,
};

const struct cpu_op cpu_op_layer_norm_avx2 = {
    .name = "layer_norm_avx2",
    .kind = OP_LAYER_NORM,
    .level = CPU_AVX2,
    .floats = &float_kernels_avx2,
    .run = layer_norm_run,
};
