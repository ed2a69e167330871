/* q5_k.h — 256 weights in 176 bytes: as Q4_K, with 32 bytes of fifth bits between scales and nibbles:
 * bit s of byte i belongs to weight 32 s + i. */
#define QUANT_ELEMS 256
#define QUANT_BYTES 176
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 1
#define QUANT_HAS_INT 1

#include "quant/k_scales.glsl"

uvec2 quant_columns(uint u)
{
    uint first = 32u * (u & ~1u) + 16u * (u & 1u);
    return uvec2(first, first + 32u);
}

IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    uint at = (block + (u >> 3)) * 11u, g = u >> 1 & 3u;
    k_scales(LOAD_U32X4(ref, at), g, r.d, r.m);
    uvec4 fifth = LOAD_U32X4(ref, at + 1u + (u & 1u)) >> 2u * g;
    uvec4 w = LOAD_U32X4(ref, at + 3u + (u & 7u));
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = int((w[i] & 0x0f0f0f0fu) | (fifth[i] & 0x01010101u) << 4);
        r.q[4u + i] = int((w[i] >> 4 & 0x0f0f0f0fu) | (fifth[i] >> 1 & 0x01010101u) << 4);
    }
    return r;
}

// Both units of a group of 64 have the same scales.
#define QUANT_STEP 2
#define QUANT_STEP_UNIT(s, i) (2u * (s) + (i))

void quant_load_step(uint ref, uint block, uint s, out Unit units[2])
{
    uint at = (block + (s >> 2)) * 11u, g = s & 3u;
    k_scales(LOAD_U32X4(ref, at), g, units[0].d, units[0].m);
    units[1].d = units[0].d;
    units[1].m = units[0].m;
    [[unroll]] for (uint h = 0u; h < 2u; h++) {
        uvec4 fifth = LOAD_U32X4(ref, at + 1u + h) >> 2u * g;
        uvec4 w = LOAD_U32X4(ref, at + 3u + 2u * g + h);
        [[unroll]] for (uint i = 0u; i < 4u; i++) {
            units[h].q[i] = unsigned_bytes((w[i] & 0x0f0f0f0fu) | (fifth[i] & 0x01010101u) << 4);
            units[h].q[4u + i] =
                unsigned_bytes((w[i] >> 4 & 0x0f0f0f0fu) | (fifth[i] >> 1 & 0x01010101u) << 4);
        }
    }
}

Unit quant_load(uint ref, uint block, uint u)
{
    Unit r;
    IntUnit packed = quant_load_int(ref, block, u);
    r.d = packed.d;
    r.m = packed.m;
    [[unroll]] for (uint i = 0u; i < 8u; i++)
        r.q[i] = unsigned_bytes(uint(packed.q[i]));
    return r;
}
