// halve.comp: activations to halves, a workgroup per row.
//
// Every row is multiplied by the power of two that takes its largest number to 2^5 … 2^6: nothing overflows, whatever
// a model's activations are, and only what is 2^-19 of the largest is denormal. Nor do eight products that are summed
// up in halves (matmul.glsl), as long as no weight is larger than 127: 8 × 2^6 × 127 is less than 65504. Of weights of
// a hundredth, products with what is 2^-12 of the largest are still normal numbers. The power is exact.
// args: halve_args matmul/halve_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/prelude.glsl"
#include "matmul/halve_args.h"

const uint GROUP = 128u;
layout(local_size_x = 128) in;
layout(push_constant, std430) uniform Args { halve_args a; };

#include "common/reduce.glsl"

const int TO = 5;

// The exponent that takes `largest` to 2^TO and more, as far as it and its negative are exponents of normal
// numbers. What is not finite stays so.
int shift_of(float largest)
{
    int exponent = int(floatBitsToUint(largest) >> 23) - 127;
    return exponent == 128 ? 0 : min(TO - exponent, 126);
}

float power_of_two(int exponent)
{
    return uintBitsToFloat(uint(exponent + 127) << 23);
}

void main()
{
    uint row = gl_WorkGroupID.x, tid = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    if (row >= BATCH(a.batch, a.rows_field) * a.per_row)
        return;
    uint from = row * a.x_stride >> 2, fours = a.k >> 2, words = a.k + 31u >> 5 << 4;
    float largest = 0.0;
    for (uint i = tid; i < fours; i += GROUP) {
        vec4 size = abs(LOAD_F32X4(a.x, from + i));
        largest = max(largest, max(max(size.x, size.y), max(size.z, size.w)));
    }
    int shift = shift_of(group_max(largest));
    float power = power_of_two(shift);
    for (uint i = tid; i < words >> 1; i += GROUP) {
        vec4 x = vec4(0.0);
        if (i < fours)
            x = LOAD_F32X4(a.x, from + i) * power;
        STORE_U32(a.halves, row * words + 2u * i, packFloat2x16(f16vec2(x.xy)));
        STORE_U32(a.halves, row * words + 2u * i + 1u, packFloat2x16(f16vec2(x.zw)));
    }
    if (tid == 0u)
        STORE_F32(a.scales, row, power_of_two(-shift));
}
