// roof_read_lanes.comp: memory is read once, 16 bytes per load, each lane a piece of its own; a word of each cache line
// before, in order. That is how a processor reads fastest whose loads are gathered lane by lane.
// args: roof_args roof/roof_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/prelude.glsl"
#include "roof/roof_args.h"

const uint LANES = 8u;
layout(local_size_x = 8) in;
layout(push_constant, std430) uniform Args { roof_args a; };
shared uint total;

void main()
{
    uint first = gl_WorkGroupID.x * LANES * a.per_lane, found = 0u;
    for (uint line = gl_LocalInvocationIndex; line < LANES * a.per_lane / 4u; line += LANES)
        found |= LOAD_U32(a.x, 4u * first + 16u * line);
    uvec4 sum = uvec4(a.per_lane == 0xffffffffu ? found : 0u); // which looks needed
    uint at = first + gl_LocalInvocationIndex * a.per_lane;
    for (uint k = 0u; k < a.per_lane; k += 8u)
        [[unroll]] for (uint i = 0u; i < 8u; i++)
            sum += LOAD_U32X4(a.x, at + k + i);
    if (gl_LocalInvocationIndex == 0u)
        total = 0u;
    barrier();
    atomicAdd(total, sum.x + sum.y + sum.z + sum.w);
    barrier();
    if (gl_LocalInvocationIndex == 0u)
        STORE_U32(a.y, gl_WorkGroupID.x, total);
}
