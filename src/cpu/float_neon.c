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

static void encode_f16(const float *in, void *out, size_t n)
{
    float16_t *halves = out;
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        vst1_f16(halves + i, vcvt_f16_f32(vld1q_f32(in + i)));
    for (; i < n; i++)
        halves[i] = (float16_t)in[i];
}

const struct float_kernels float_kernels_neon = {
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

const struct cpu_op cpu_op_attention_neon = {
    .name = "attention_neon",
    .kind = OP_ATTENTION,
    .level = CPU_NEON,
    .floats = &float_kernels_neon,
    .scratch_bytes = attention_scratch_bytes,
    .run = attention_run,
};

const struct cpu_op cpu_op_glu_neon = {
    .name = "glu_neon",
    .kind = OP_GLU,
    .level = CPU_NEON,
    .floats = &float_kernels_neon,
    .run = glu_run,
};

const struct cpu_op cpu_op_kv_write_neon = {
    .name = "kv_write_neon",
    .kind = OP_KV_WRITE,
    .level = CPU_NEON,
    .floats = &float_kernels_neon,
    .run = kv_write_run,
};

const struct cpu_op cpu_op_rms_norm_neon = {
    .name = "rms_norm_neon",
    .kind = OP_RMS_NORM,
    .level = CPU_NEON,
    .floats = &float_kernels_neon,
    .run = rms_norm_run,
};

const struct cpu_op cpu_op_layer_norm_neon = {
    .name = "layer_norm_neon",
    .kind = OP_LAYER_NORM,
    .level = CPU_NEON,
    .floats = &float_kernels_neon,
    .run = layer_norm_run,
};
