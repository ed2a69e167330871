// quantize.comp: activations to signed bytes, one invocation per block of 32.
// args: quantize_args matmul/quantize_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/prelude.glsl"
#include "matmul/quantize_args.h"

layout(local_size_x = 32) in;
layout(push_constant, std430) uniform Args { quantize_args a; };

void main()
{
    uint row = gl_WorkGroupID.y, block = gl_GlobalInvocationID.x;
    if (row >= BATCH(a.batch, a.rows_field) * a.per_row || block >= a.k >> 5)
        return;
    vec4 x[8];
    float largest = 0.0;
    [[unroll]] for (uint i = 0u; i < 8u; i++) {
        x[i] = LOAD_F32X4(a.x, (row * a.x_stride >> 2) + 8u * block + i);
        vec4 size = abs(x[i]);
        largest = max(largest, max(max(size.x, size.y), max(size.z, size.w)));
    }
    float d = largest / 127.0, inverse = d > 0.0 ? 1.0 / d : 0.0;
    uint at = row * (a.k >> 5) + block;
    ivec2 sum = ivec2(0);
    [[unroll]] for (uint i = 0u; i < 8u; i++) {
        vec4 scaled = x[i] * inverse;
        ivec4 q = ivec4(sign(scaled) * floor(abs(scaled) + 0.5)); // ties away from zero
        sum[i >> 2] += q.x + q.y + q.z + q.w;
        q &= 255;
        STORE_U32(a.q, 8u * at + i, uint(q.x | q.y << 8 | q.z << 16 | q.w << 24));
    }
    STORE_F32(a.scales, 4u * at, d);
    STORE_F32(a.scales, 4u * at + 1u, d * float(sum.x));
    STORE_F32(a.scales, 4u * at + 2u, d * float(sum.y));
}
