// softmax.comp: softmax over each row.
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
    float largest = -3.4e38, sum = 0.0;
    for (uint i = gl_LocalInvocationIndex; i < a.n; i += GROUP)
        largest = max(largest, LOAD_F32(a.x, x + i));
    largest = group_max(largest);
    for (uint i = gl_LocalInvocationIndex; i < a.n; i += GROUP)
        sum += exp(LOAD_F32(a.x, x + i) - largest);
    float factor = 1.0 / group_add(sum);
    for (uint i = gl_LocalInvocationIndex; i < a.n; i += GROUP)
        STORE_F32(a.y, y + i, exp(LOAD_F32(a.x, x + i) - largest) * factor);
}
