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
    for (size_t i = 0; i < n; i += LANES) {
        __m256i h = _mm256_maskz_loadu_epi16(there(n - i), halves + i);
        _mm512_mask_storeu_ps(out + i, there(n - i), _mm512_cvtph_ps(h));
    }
}

static void decode_bf16(const void *in, float *out, size_t n)
{
    const uint16_t *halves = in;
    for (size_t i = 0; i < n; i += LANES) {
        __m256i h = _mm256_maskz_loadu_epi16(there(n - i), halves + i);
        __m512i bits = _mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16);
        _mm512_mask_storeu_epi32(out + i, there(n - i), bits);
    }
}

const struct float_kernels float_kernels_avx512 = {
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
    attention_run(call, scratch, &float_kernels_avx512);
}

const struct cpu_op cpu_op_attention_avx512 = {
    .name = "attention_avx512",
    .kind = OP_ATTENTION,
    .level = CPU_AVX512,
    .scratch_bytes = attention_scratch_bytes,
    .run = run_attention,
};

static void run_glu(const struct op_call *call, const struct cpu_scratch *scratch)
{
    glu_run(call, scratch, &float_kernels_avx512);
}

const struct cpu_op cpu_op_glu_avx512 = {
    .name = "glu_avx512", .kind = OP_GLU, .level = CPU_AVX512, .run = run_glu};
