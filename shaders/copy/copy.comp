// copy.comp: the same bytes elsewhere, such as in host memory that another device reads.
// args: copy_args copy/copy_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/prelude.glsl"
#include "copy/copy_args.h"

layout(local_size_x = 64) in;
layout(push_constant, std430) uniform Args { copy_args a; };

void main()
{
    uint token = gl_WorkGroupID.y;
    if (token >= BATCH(a.batch, a.rows_field))
        return;
    uint last = min(a.n, (gl_WorkGroupID.x + 1u) * 256u);
    for (uint i = gl_WorkGroupID.x * 256u + gl_LocalInvocationIndex; i < last; i += 64u)
        STORE_U32(a.y, token * a.y_stride + i, LOAD_U32(a.x, token * a.x_stride + i));
}
