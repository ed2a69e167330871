/* q4_k.h — 256 weights in 144 bytes: d, dmin (binary16), 12 bytes with eight 6-bit scales and minima,
 * 128 bytes of nibbles; weight = d × scale × q − dmin × min. Byte 32 g + i holds weight 64 g + i (low
 * nibble, sub-block 2 g) and 64 g + 32 + i (high, sub-block 2 g + 1). */
#define QUANT_ELEMS 256
#define QUANT_BYTES 144
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
    uint at = (block + (u >> 3)) * 9u;
    k_scales(LOAD_U32X4(ref, at), u >> 1 & 3u, r.d, r.m);
    uvec4 w = LOAD_U32X4(ref, at + 1u + (u & 7u));
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = int(w[i] & 0x0f0f0f0fu);
        r.q[4u + i] = int(w[i] >> 4 & 0x0f0f0f0fu);
    }
    return r;
}

// Both units of a group of 64 have the same scales.
#define QUANT_STEP 2
#define QUANT_STEP_UNIT(s, i) (2u * (s) + (i))

void quant_load_step(uint ref, uint block, uint s, out Unit units[2])
{
    uint at = (block + (s >> 2)) * 9u, g = s & 3u;
    k_scales(LOAD_U32X4(ref, at), g, units[0].d, units[0].m);
    units[1].d = units[0].d;
    units[1].m = units[0].m;
    [[unroll]] for (uint h = 0u; h < 2u; h++) {
        uvec4 w = LOAD_U32X4(ref, at + 1u + 2u * g + h);
        [[unroll]] for (uint i = 0u; i < 4u; i++) {
            units[h].q[i] = nibbles_low(w[i]);
            units[h].q[4u + i] = nibbles_high(w[i]);
        }
    }
}

Unit quant_load(uint ref, uint block, uint u)
{
    Unit r;
    uint at = (block + (u >> 3)) * 9u;
    k_scales(LOAD_U32X4(ref, at), u >> 1 & 3u, r.d, r.m);
    uvec4 w = LOAD_U32X4(ref, at + 1u + (u & 7u));
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = nibbles_low(w[i]);
        r.q[4u + i] = nibbles_high(w[i]);
    }
    return r;
}
