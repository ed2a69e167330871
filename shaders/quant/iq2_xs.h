/* iq2_xs.h — 256 weights in 74 bytes: d (binary16), 16 bits per group of 8 (9 of index, 7 of signs;
 * iq_grid.glsl), 8 bytes with a 4-bit scale per 16 weights; weight = d / 8 × (2 scale + 1) × q. */
#define QUANT_ELEMS 256
#define QUANT_BYTES 74
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
    uint byte = (block + (u >> 3)) * 74u, j = u & 7u;
    uvec2 w = even_pair(ref, byte + 2u + 8u * j);
    uint scales = any_byte(ref, byte + 66u + j);
    r.d = even_half(ref, byte) * 0.125 * vec2(2u * (scales & 15u) + 1u, 2u * (scales >> 4) + 1u);
    [[unroll]] for (uint g = 0u; g < 4u; g++) {
        uint bits = w[g >> 1] >> 16u * (g & 1u);
        uint entry = iq_entry(IQ2_XS_GRID_AT, bits & 511u);
        ivec2 q = iq2_group(entry, iq_signs(bits >> 9));
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
