#include <arm_neon.h>

#define LANES 4
#define WIDTH 16
#include "base/half.h"
#include "cpu/float_body.h"
#include "cpu/levels_neon.h"

static void decode_f16(const void *in, float *out, size_t n)
{
    const float16_t *halves = in;
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(out + i, vcvt_f32_f16(vld1_f16(halves + i)));
    for (; i < n; i++)
        out[i] = (float)halves[i];
}

static void decode_bf16(const void *in, float *out, size_t n)
{
    const uint16_t *halves = in;
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1q_f32(out + i, vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(halves + i), 16)));
    for (; i < n; i++)
        out[i] = bf16_to_f32(halves[i]);
}

const struct float_kernels float_kernels_neon = {
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
    attention_run(call, scratch, &float_kernels_neon);
}

const struct cpu_op cpu_op_attention_neon = {
    .name = "attention_neon",
    .kind = OP_ATTENTION,
    .level = CPU_NEON,
    .scratch_bytes = attention_scratch_bytes,
    .run = run_attention,
};

static void run_glu(const struct op_call *call, const struct cpu_scratch *scratch)
{
    glu_run(call, scratch, &float_kernels_neon);
}

const struct cpu_op cpu_op_glu_neon = {
    .name = "glu_neon", .kind = OP_GLU, .level = CPU_NEON, .run = run_glu};
