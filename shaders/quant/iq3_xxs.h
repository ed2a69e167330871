/* iq3_xxs.h — 256 weights in 98 bytes: d (binary16), 64 indices of groups of 4 (iq_grid.glsl), 32 bits per 32
 * weights with 7 signs per two groups and, on top, the scale; weight = d / 4 × (2 scale + 1) × q. */
#define QUANT_ELEMS 256
#define QUANT_BYTES 98
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
    uint byte = (block + (u >> 3)) * 98u, j = u & 7u;
    uvec2 w = even_pair(ref, byte + 2u + 8u * j);
    uint bits = even_word(ref, byte + 66u + 4u * j);
    r.d = vec2(even_half(ref, byte) * 0.25 * float(2u * (bits >> 28) + 1u));
    [[unroll]] for (uint g = 0u; g < 4u; g++) {
        uint indices = w[g >> 1] >> 16u * (g & 1u), signs = iq_signs(bits >> 7u * g);
        uint first = LOAD_U32(REF_TABLES, IQ3_XXS_GRID_AT + (indices & 255u));
        uint second = LOAD_U32(REF_TABLES, IQ3_XXS_GRID_AT + (indices >> 8 & 255u));
        r.q[2u * g] = iq_negate(first, signs);
        r.q[2u * g + 1u] = iq_negate(second, signs >> 4);
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
