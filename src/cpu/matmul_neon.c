#include <arm_neon.h>

#include "cpu/levels_neon.h"

/* A panel is 16 rows, four vectors of 4 lanes; six columns keep 24 sums in the 32 registers. */
#define PANEL           16
#define LANES           4
#define COLUMNS         6
#define DOT4(acc, w, x) ((ivec)vdotq_s32((int32x4_t)(acc), (int8x16_t)(w), (int8x16_t)(x)))
#include "cpu/int_body.h"

static float int_dot(const struct int_dot *dot)
{
    int halves = dot->sub_elems == 16;
    const int8x16_t ones = vdupq_n_s8(1);
    float32x4_t sum = vdupq_n_f32(0);
    for (int b = 0; b < dot->k / 32; b++) {
        float32x4_t block = vdupq_n_f32(0);
        for (int half = 0; half < 2; half++) {
            int8x16_t w = vld1q_s8(dot->w->q + b * 32 + half * 16);
            int8x16_t x = vld1q_s8(dot->x.q + b * 32 + half * 16);
            int sub = halves ? 2 * b + half : b;
            float32x4_t dots = vcvtq_f32_s32(vdotq_s32(vdupq_n_s32(0), w, x));
            block = vfmaq_n_f32(block, dots, dot->w->scale[sub]);
            if (dot->has_min) {
                float32x4_t total = vcvtq_f32_s32(vdotq_s32(vdupq_n_s32(0), ones, x));
                block = vfmaq_n_f32(block, total, dot->w->min[sub]);
            }
        }
        sum = vfmaq_n_f32(sum, block, dot->x.d[b]);
    }
    return vaddvq_f32(sum);
}

static const struct matmul_kernels kernels = {
    .panel = PANEL,
    .offset = 0,
    .quantize = quantize,
    .pack = matmul_pack_16,
    .int_tile = int_tile,
    .int_dot = int_dot,
    .floats = &float_kernels_neon,
    .groups = groups_neon,
};

const struct cpu_op cpu_op_matmul_neon = {
    .name = "matmul_neon",
    .kind = OP_MATMUL,
    .level = CPU_NEON,
    .matmul = &kernels,
    .scratch_bytes = matmul_scratch_bytes,
    .run = matmul_run,
};

const struct cpu_op cpu_op_matmul_glu_neon = {
    .name = "matmul_glu_neon",
    .kind = OP_MATMUL_GLU,
    .level = CPU_NEON,
    .matmul = &kernels,
    .scratch_bytes = matmul_scratch_bytes,
    .run = matmul_run,
};

const struct cpu_op cpu_op_matmul_qkv_neon = {
    .name = "matmul_qkv_neon",
    .kind = OP_MATMUL_QKV,
    .level = CPU_NEON,
    .matmul = &kernels,
    .scratch_bytes = matmul_scratch_bytes,
    .run = matmul_run,
};
