// halve.glsl: activations to halves or (HALVE_BF16) to bfloat16, a workgroup per row.
//
// Every row of halves is multiplied by the power of two that takes its largest number to 2^5 … 2^6: nothing
// overflows, whatever a model's activations are, and only what is 2^-19 of the largest is denormal. Nor do eight
// products that are summed up in halves (matmul.glsl), as long as no weight is larger than 127: 8 × 2^6 × 127 is less
// than 65504. Of weights of a hundredth, products with what is 2^-12 of the largest are still normal numbers. The
// power is exact. Numbers of bfloat16 may be as large as floats, and are only rounded.
#include "common/prelude.glsl"
#ifdef HALVE_BF16
#extension GL_EXT_bfloat16 : require
#endif
#include "matmul/halve_args.h"

const uint GROUP = 128u;
layout(local_size_x = 128) in;
layout(push_constant, std430) uniform Args { halve_args a; };

#ifdef HALVE_BF16
uint two_of(vec2 x)
{
    return packUint2x16(bfloat16BitsToUintEXT(bf16vec2(x)));
}

float power_of(uint row, uint from, uint fours, uint tid)
{
    return 1.0;
}
#else
#include "common/reduce.glsl"

const int TO = 5;

uint two_of(vec2 x)
{
    return packFloat2x16(f16vec2(x));
}

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

// What a row is multiplied by; what takes its products back is kept.
float power_of(uint row, uint from, uint fours, uint tid)
{
    float largest = 0.0;
    for (uint i = tid; i < fours; i += GROUP) {
        vec4 size = abs(LOAD_F32X4(a.x, from + i));
        largest = max(largest, max(max(size.x, size.y), max(size.z, size.w)));
    }
    int shift = shift_of(group_max(largest));
    if (tid == 0u)
        STORE_F32(a.scales, row, power_of_two(-shift));
    return power_of_two(shift);
}
#endif

void main()
{
    uint row = gl_WorkGroupID.x, tid = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    if (row >= BATCH(a.batch, a.rows_field) * a.per_row)
        return;
    uint from = row * a.x_stride >> 2, fours = a.k >> 2, words = a.k + 31u >> 5 << 4;
    float power = power_of(row, from, fours, tid);
    for (uint i = tid; i < words >> 1; i += GROUP) {
        vec4 x = vec4(0.0);
        if (i < fours)
            x = LOAD_F32X4(a.x, from + i) * power;
        STORE_U32(a.halves, row * words + 2u * i, two_of(x.xy));
        STORE_U32(a.halves, row * words + 2u * i + 1u, two_of(x.zw));
    }
}
