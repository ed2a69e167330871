// roof_matrix.glsl: SUMS cooperative matrices of a subgroup to which products are added that do not wait for each other, each of another
// pair of operands. INPUT and SUM are the types that are multiplied and added up. A round adds K to each element and the next takes
// 15/16 of that away (or, of bytes, 16 K and 15 K): operands that all types hold exactly.
//
// Where matrices are a program, its compiler multiplies once what is multiplied again, so there one round is written out, and
// operands change places behind it; compilers of true ones move all sums where a loop goes back, so there 8 are.
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
layout(constant_id = 4) const uint SUMS = 4;        // 2, 4 or MOST
layout(constant_id = 5) const uint WRITTEN_OUT = 8; // rounds, 1 or at most MOST and even
layout(local_size_x_id = 0) in;
layout(push_constant, std430) uniform Args { roof_args a; };

#define MOST 8u
#define A coopmat<INPUT, gl_ScopeSubgroup, M, K, gl_MatrixUseA>
#define B coopmat<INPUT, gl_ScopeSubgroup, K, N, gl_MatrixUseB>
#define C coopmat<SUM, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>

void main()
{
    A x[2];
    x[0] = A(NUMBER(a.plus));
    x[1] = A(NUMBER(a.minus));
    B w[MOST / 2u];
    [[unroll]] for (uint i = 0u; i < MOST / 2u; i++)
        w[i] = B(NUMBER(a.ones[i]));
    C sums[MOST];
    [[unroll]] for (uint i = 0u; i < MOST; i++)
        sums[i] = C(SUM(i));
    for (uint k = 0u; k < a.per_lane; k += WRITTEN_OUT) {
        [[unroll]] for (uint round = 0u; round < MOST; round++)
            [[unroll]] for (uint i = 0u; i < MOST; i++)
                if (round < WRITTEN_OUT && i < SUMS) {
                    // more operands would leave too few registers for eight sums on Xe-HPG
                    if (WRITTEN_OUT > 1u)
                        sums[i] = coopMatMulAdd(x[(i + round) % 2u], w[i / 2u % 2u], sums[i]);
                    else
                        sums[i] = coopMatMulAdd(x[(i + round) % 2u], w[i / 2u], sums[i]);
                }
        if (WRITTEN_OUT % 2u == 1u) {
            A first = x[0];
            x[0] = x[1];
            x[1] = first;
        }
    }
    // how many elements a lane has is the device's affair
    float total = 0.0;
    [[unroll]] for (uint i = 0u; i < MOST; i++)
        if (i < SUMS)
            for (uint e = 0u; e < sums[i].length(); e++)
                total += float(sums[i][e]);
    STORE_F32(a.y, 2u * gl_GlobalInvocationID.x, total);
    STORE_F32(a.y, 2u * gl_GlobalInvocationID.x + 1u, float(sums[0].length()));
}
