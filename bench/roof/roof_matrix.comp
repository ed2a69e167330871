// roof_matrix.comp: cooperative matrices of ones multiplied, four sums in a subgroup that do not wait for
// each other; each element comes to K for a round. With S8 bytes into integers, else halves into floats.
// args: roof_args roof/roof_args.h
// defines: s8 S8=1
// requires: GL_KHR_cooperative_matrix
#version 460
#extension GL_GOOGLE_include_directive : require
#pragma use_vulkan_memory_model
#include "common/prelude.glsl"
#include "roof/roof_args.h"
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require

layout(constant_id = 0) const uint GROUP = 32;
layout(constant_id = 1) const uint M = 16;
layout(constant_id = 2) const uint N = 16;
layout(constant_id = 3) const uint K = 16;
layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Args { roof_args a; };

#ifdef S8
#define INPUT int8_t
#define SUM int
#else
#define INPUT float16_t
#define SUM float
#endif

void main()
{
    coopmat<INPUT, gl_ScopeSubgroup, M, K, gl_MatrixUseA> x =
        coopmat<INPUT, gl_ScopeSubgroup, M, K, gl_MatrixUseA>(INPUT(a.seed));
    coopmat<INPUT, gl_ScopeSubgroup, K, N, gl_MatrixUseB> w =
        coopmat<INPUT, gl_ScopeSubgroup, K, N, gl_MatrixUseB>(INPUT(a.seed));
    coopmat<SUM, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator> sums[4];
    [[unroll]] for (uint i = 0u; i < 4u; i++)
        sums[i] = coopmat<SUM, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>(SUM(i));
    for (uint k = 0u; k < a.per_lane; k++)
        [[unroll]] for (uint i = 0u; i < 4u; i++)
            sums[i] = coopMatMulAdd(x, w, sums[i]);
    SUM sum = SUM(0);
    [[unroll]] for (uint i = 0u; i < 4u; i++)
        sum += sums[i][0];
    STORE_U32(a.y, gl_GlobalInvocationID.x, uint(sum));
}
