/* iq2_s.h — 256 weights in 82 bytes: d (binary16), 32 bytes with low bits of the indices of groups of 8
 * (iq_grid.glsl), 32 bytes of signs, 8 bytes with the upper two bits of four indices each, 8 bytes with a
 * 4-bit scale per 16 weights; weight = d / 8 × (2 scale + 1) × q. */
#define QUANT_ELEMS 256
#define QUANT_BYTES 82
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
    uint byte = (block + (u >> 3)) * 82u, j = u & 7u;
    uint low = even_word(ref, byte + 2u + 4u * j), signs = even_word(ref, byte + 34u + 4u * j);
    uint high = any_byte(ref, byte + 66u + j), scales = any_byte(ref, byte + 74u + j);
    r.d = even_half(ref, byte) * 0.125 * vec2(2u * (scales & 15u) + 1u, 2u * (scales >> 4) + 1u);
    [[unroll]] for (uint g = 0u; g < 4u; g++) {
        uint index = low >> 8u * g & 255u | (high >> 2u * g & 3u) << 8;
        ivec2 q = iq2_group(iq_entry(IQ2_S_GRID_AT, index), signs >> 8u * g);
        r.q[2u * g] = q.x;
        r.q[2u * g + 1u] = q.y;
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
