/* iq1_m.h — 256 weights in 56 bytes: 32 bytes with low bits of the indices of groups of 8 (iq_grid.glsl), 16
 * bytes with four bits per group (the upper three of the index, the sign of the eighth), four times 16 bits:
 * four 3-bit scales, one per 16 weights, and on top a quarter of d (binary16); weight = d × (2 scale + 1) ×
 * (g ± 1/8), g of −1, 0, 1. */
#define QUANT_ELEMS 256
#define QUANT_BYTES 56
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 1
#define QUANT_HAS_INT 1

#include "quant/iq_grid.glsl"

uvec2 quant_columns(uint u)
{
    return uvec2(32u * u, 32u * u + 16u);
}

// With an eighth of d all is whole: 8 g ± 1 = q − 9, where q = 8 × code + 0 or 2.
IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    uint at = (block + (u >> 3)) * 7u, j = u & 7u; // in pairs of words
    uvec2 tail = LOAD_U32X2(ref, at + 6u), low_pair = LOAD_U32X2(ref, at + (j >> 1));
    uint high = LOAD_U32X2(ref, at + 4u + (j >> 2))[j >> 1 & 1u] >> 16u * (j & 1u);
    uint low = (j & 1u) == 0u ? low_pair.x : low_pair.y;
    uint bits = (j < 4u ? tail.x : tail.y) >> 16u * (j >> 1 & 1u) >> 6u * (j & 1u);
    float d = 0.125 * half_to_float(tail.x >> 12 & 15u | tail.x >> 24 & 0xf0u | tail.y >> 4 & 0xf00u |
                                    tail.y >> 16 & 0xf000u);
    r.d = d * vec2(2u * (bits & 7u) + 1u, 2u * (bits >> 3 & 7u) + 1u);
    r.m = -9.0 * r.d;
    [[unroll]] for (uint g = 0u; g < 4u; g++) {
        uint part = high >> 4u * g, index = low >> 8u * g & 255u | (part & 7u) << 8;
        uint codes = iq_nibbles(iq_entry(IQ1_GRID_AT, index)), eighth = (part & 8u) == 0u ? 0x02020202u : 0u;
        r.q[2u * g] = int(((codes & 0x03030303u) << 3) + eighth);
        r.q[2u * g + 1u] = int(((codes & 0x0c0c0c0cu) << 1) + eighth);
    }
    return r;
}

Unit quant_load(uint ref, uint block, uint u)
{
    IntUnit packed = quant_load_int(ref, block, u);
    Unit r;
    r.d = packed.d;
    r.m = packed.m;
    [[unroll]] for (uint i = 0u; i < 8u; i++)
        r.q[i] = unsigned_bytes(uint(packed.q[i]));
    return r;
}
