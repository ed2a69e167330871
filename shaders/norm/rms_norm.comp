// rms_norm.comp: y = x / √(mean x² + eps) × w over each row, x = a + b where there is a residual.
// args: norm_args norm/norm_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/prelude.glsl"
#include "norm/norm_args.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint GROUP = 128u;
layout(push_constant, std430) uniform Args { norm_args a; };

#include "common/reduce.glsl"

void main()
{
    uint row = gl_WorkGroupID.x, token = row / a.per_row, part = row % a.per_row * a.n;
    if (token >= BATCH(a.batch, a.rows_field))
        return;
    uint x = token * a.x_stride + part, add = token * a.add_stride + part;
    uint sum = token * a.sum_stride + part, y = token * a.y_stride + part;
    bool adds = a.add != REF_NONE;
    float squares = 0.0;
    for (uint i = gl_LocalInvocationIndex; i < a.n; i += GROUP) {
        float value = LOAD_F32(a.x, x + i);
        if (adds) {
            value += LOAD_F32(a.add, add + i);
            STORE_F32(a.sum, sum + i, value);
        }
        squares += value * value;
    }
    float scale = inversesqrt(group_add(squares) / float(a.n) + a.eps);
    for (uint i = gl_LocalInvocationIndex; i < a.n; i += GROUP) {
        float value = LOAD_F32(a.x, x + i);
        if (adds)
            value += LOAD_F32(a.add, add + i);
        if (a.w != REF_NONE)
            value *= LOAD_F32(a.w, i);
        STORE_F32(a.y, y + i, value * scale);
    }
}
