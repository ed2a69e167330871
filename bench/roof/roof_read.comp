// roof_read.comp: memory is read once, 16 bytes per load, neighbouring lanes side by side, eight loads at a
// time; the sum of all words proves that it was.
// args: roof_args roof/roof_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/prelude.glsl"
#include "roof/roof_args.h"

layout(local_size_x = 256) in;
layout(push_constant, std430) uniform Args { roof_args a; };
shared uint total;

void main()
{
    uvec4 sum = uvec4(0u);
    uint at = gl_WorkGroupID.x * a.first + gl_LocalInvocationIndex;
    for (uint k = 0u; k < a.per_lane; k += 8u)
        [[unroll]] for (uint i = 0u; i < 8u; i++, at += a.stride)
            sum += LOAD_U32X4(a.x, at);
    if (gl_LocalInvocationIndex == 0u)
        total = 0u;
    barrier();
    uint all = subgroupAdd(sum.x + sum.y + sum.z + sum.w);
    if (subgroupElect())
        atomicAdd(total, all);
    barrier();
    if (gl_LocalInvocationIndex == 0u)
        STORE_U32(a.y, gl_WorkGroupID.x, total);
}
