// elementwise.comp: add, multiply, scale (also by position), gated activations.
// args: elementwise_args elementwise/elementwise_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/prelude.glsl"
#include "elementwise/elementwise_args.h"

layout(local_size_x = 64) in;
layout(constant_id = 0) const uint MODE = 0u; // 0: add, 1: multiply, 2: scale, 3: gated
layout(constant_id = 1) const uint GLU = 0u;  // 1: silu, 2: gelu (tanh), 3: gelu (erf)
layout(push_constant, std430) uniform Args { elementwise_args a; };

#include "common/activation.glsl"

void main()
{
    uint token = gl_WorkGroupID.y;
    if (token >= BATCH(a.batch, a.rows_field))
        return;
    uint last = min(a.n, (gl_WorkGroupID.x + 1u) * 256u);
    for (uint i = gl_WorkGroupID.x * 256u + gl_LocalInvocationIndex; i < last; i += 64u) {
        float x = LOAD_F32(a.x, token * a.x_stride + i), value;
        if (MODE == 2u) {
            value = x * a.scale;
            if (a.log_length != 0u) {
                uint periods = BATCH_AT(a.batch, BATCH_POS, token) / a.log_length;
                value *= 1.0 + a.log_scale * log(1.0 + float(periods));
            }
        } else {
            float b = LOAD_F32(a.b, a.b_is_row != 0u ? i % a.row : token * a.b_stride + i);
            value = MODE == 0u ? x + b : MODE == 1u ? x * b : glu(x, b);
        }
        STORE_F32(a.y, token * a.y_stride + i, value);
    }
}
