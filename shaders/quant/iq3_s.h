/* iq3_s.h — 256 weights in 110 bytes: d (binary16), 64 bytes with low bits of the indices of groups of 4
 * (iq_grid.glsl), 8 bytes of ninth bits, 32 bytes of signs, 4 bytes with a 4-bit scale per 32 weights;
 * weight = d × (2 scale + 1) × q. */
#define QUANT_ELEMS 256
#define QUANT_BYTES 110
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 0
#define QUANT_HAS_INT 1

#include "quant/even_words.glsl"
#include "quant/iq_grid.glsl"

uvec2 quant_columns(uint u)
{
    return uvec2(32u * u, 32u * u + 16u);
}

IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    uint byte = (block + (u >> 3)) * 110u, j = u & 7u;
    uvec2 w = even_pair(ref, byte + 2u + 8u * j);
    uint ninth = any_byte(ref, byte + 66u + j), signs = even_word(ref, byte + 74u + 4u * j);
    uint scale = any_byte(ref, byte + 106u + (j >> 1)) >> 4u * (j & 1u) & 15u;
    r.d = vec2(even_half(ref, byte) * float(2u * scale + 1u));
    [[unroll]] for (uint g = 0u; g < 8u; g++) {
        uint index = w[g >> 2] >> 8u * (g & 3u) & 255u | (ninth >> g & 1u) << 8;
        r.q[g] = iq_negate(LOAD_U32(REF_TABLES, IQ3_S_GRID_AT + index), signs >> 4u * g);
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
