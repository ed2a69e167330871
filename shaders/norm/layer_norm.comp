// layer_norm.comp: y = (x − mean) / √(mean (x − mean)² + eps) × w + bias over each row.
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
    uint x = token * a.x_stride + part, y = token * a.y_stride + part;
    // Counted from the row's first value: of equal numbers nothing is left, however large they are.
    float first = LOAD_F32(a.x, x), sum = 0.0, squares = 0.0;
    for (uint i = gl_LocalInvocationIndex; i < a.n; i += GROUP)
        sum += LOAD_F32(a.x, x + i) - first;
    float mean = group_add(sum) / float(a.n);
    for (uint i = gl_LocalInvocationIndex; i < a.n; i += GROUP) {
        float value = LOAD_F32(a.x, x + i) - first - mean;
        squares += value * value;
    }
    float scale = inversesqrt(group_add(squares) / float(a.n) + a.eps);
    for (uint i = gl_LocalInvocationIndex; i < a.n; i += GROUP) {
        float value = (LOAD_F32(a.x, x + i) - first - mean) * scale;
        if (a.w != REF_NONE)
            value *= LOAD_F32(a.w, i);
        if (a.bias != REF_NONE)
            value += LOAD_F32(a.bias, i);
        STORE_F32(a.y, y + i, value);
    }
}
