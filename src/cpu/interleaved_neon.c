#include <arm_neon.h>

#include "cpu/levels_neon.h"

#define GROUP_KERNELS   groups_neon
#define LANES           4
#define OFFSET          0
#define DOT4(acc, w, x) ((ivec)vdotq_s32((int32x4_t)(acc), (int8x16_t)(w), (int8x16_t)(x)))
#define DOT4_SMALL      DOT4
#define HALVES(p)       ((vec)vcvt_f32_f16(vld1_f16((const void *)(p))))
#include "cpu/interleaved_body.h"
