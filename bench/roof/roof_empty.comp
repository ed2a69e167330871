// roof_empty.comp: nothing; what is left is the price of a dispatch.
// args: roof_args roof/roof_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/prelude.glsl"
#include "roof/roof_args.h"

layout(local_size_x = 64) in;
layout(push_constant, std430) uniform Args { roof_args a; };

void main()
{
    if (a.per_lane != 0u)
        STORE_U32(a.y, gl_WorkGroupID.x, a.plus);
}
