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

const struct float_kernels float_kernels_avx2 = {
    .width = WIDTH,
    .tile = float_tile,
    .dot = float_dot,
    .softmax = softmax,
    .glu = glu,
    .decode_f16 = decode_f16,
    .decode_bf16 = decode_bf16,
};

static void run_attention(const struct op_call *call, const struct cpu_scratch *scratch)
{
    attention_run(call, scratch, &float_kernels_avx2);
}

const struct cpu_op cpu_op_attention_avx2 = {
    .name = "attention_avx2",
    .kind = OP_ATTENTION,
    .level = CPU_AVX2,
    .scratch_bytes = attention_scratch_bytes,
    .run = run_attention,
};

static void run_glu(const struct op_call *call, const struct cpu_scratch *scratch)
{
    glu_run(call, scratch, &float_kernels_avx2);
}

const struct cpu_op cpu_op_glu_avx2 = {
    .name = "glu_avx2", .kind = OP_GLU, .level = CPU_AVX2, .run = run_glu};
