/* nvfp4.h — 64 weights in 36 bytes: four scales (UE4M3, one per 16 weights), 32 bytes of codes (e2m1.glsl);
 * weight = scale / 2 × doubled value. Byte 8 j + i holds weight 16 j + i (low nibble) and 16 j + 8 + i (high). */
#define QUANT_ELEMS 64
#define QUANT_BYTES 36
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 0
#define QUANT_HAS_INT 1

#include "quant/e2m1.glsl"

uvec2 quant_columns(uint u)
{
    return uvec2(32u * u, 32u * u + 16u);
}

// Half of a number of 4 bits of exponent (bias 7) and 3 of fraction; bit 7 does not count, NaN (127) is 0.
float half_ue4m3(uint code)
{
    uint exponent = code >> 3 & 15u, fraction = code & 7u;
    if (exponent == 0u)
        return float(fraction) * 0.0009765625;
    return (code & 127u) == 127u ? 0.0 : uintBitsToFloat(exponent + 119u << 23 | fraction << 20);
}

IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    uint at = (block + (u >> 1)) * 9u, h = u & 1u, scales = LOAD_U32(ref, at) >> 16u * h;
    r.d = vec2(half_ue4m3(scales), half_ue4m3(scales >> 8));
    [[unroll]] for (uint run = 0u; run < 2u; run++) {
        uint first = at + 1u + 4u * h + 2u * run;
        [[unroll]] for (uint i = 0u; i < 2u; i++) {
            uint w = LOAD_U32(ref, first + i), magnitudes = e2m1_magnitudes(w);
            r.q[4u * run + i] = e2m1_bytes(w, magnitudes, 0u);
            r.q[4u * run + 2u + i] = e2m1_bytes(w, magnitudes, 4u);
        }
    }
    return r;
}

Unit quant_load(uint ref, uint block, uint u)
{
    IntUnit packed = quant_load_int(ref, block, u);
    Unit r;
    r.d = packed.d;
    [[unroll]] for (uint i = 0u; i < 8u; i++)
        r.q[i] = signed_bytes(uint(packed.q[i]));
    return r;
}
