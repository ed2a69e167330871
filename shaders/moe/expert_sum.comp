// expert_sum.comp: the outputs of a token's experts, weighted and added.
// args: expert_sum_args moe/moe_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/prelude.glsl"
#include "moe/moe_args.h"

layout(local_size_x = 64) in;
layout(push_constant, std430) uniform Args { expert_sum_args a; };

void main()
{
    uint token = gl_WorkGroupID.y, i = gl_GlobalInvocationID.x;
    if (token >= BATCH(a.batch, BATCH_N_TOKENS) || i >= a.n)
        return;
    float sum = 0.0;
    for (uint j = 0u; j < a.n_used; j++)
        sum += LOAD_F32(a.weights, token * a.n_used + j) *
               LOAD_F32(a.x, (token * a.n_used + j) * a.n + i);
    STORE_F32(a.y, token * a.n + i, sum);
}
