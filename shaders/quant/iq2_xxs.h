/* iq2_xxs.h — 256 weights in 66 bytes: d (binary16), then 8 bytes per 32 weights: 4 indices of groups of 8
 * (iq_grid.glsl), and 32 bits with 7 signs per group and, on top, the scale; weight = d / 8 × (2 scale + 1) × q. */
#define QUANT_ELEMS 256
#define QUANT_BYTES 66
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
    uint byte = (block + (u >> 3)) * 66u;
    uvec2 w = even_pair(ref, byte + 2u + 8u * (u & 7u));
    r.d = vec2(even_half(ref, byte) * 0.125 * float(2u * (w.y >> 28) + 1u));
    [[unroll]] for (uint g = 0u; g < 4u; g++) {
        uint entry = iq_entry(IQ2_XXS_GRID_AT, w.x >> 8u * g & 255u);
        ivec2 q = iq2_group(entry, iq_signs(w.y >> 7u * g));
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
