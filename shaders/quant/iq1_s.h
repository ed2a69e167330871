/* iq1_s.h — 256 weights in 50 bytes: d (binary16), 32 bytes with low bits of the indices of groups of 8
 * (iq_grid.glsl), 16 bits per 32 weights: the upper three bits of four indices, the scale (3 bits), the sign of
 * the eighth; weight = d × (2 scale + 1) × (g ± 1/8), g of −1, 0, 1. */
#define QUANT_ELEMS 256
#define QUANT_BYTES 50
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 1
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
    uint byte = (block + (u >> 3)) * 50u, j = u & 7u;
    uint low = even_word(ref, byte + 2u + 4u * j), bits = even_bits(ref, byte + 34u + 2u * j);
    float d = even_half(ref, byte) * float(2u * (bits >> 12 & 7u) + 1u);
    r.d = vec2(d);
    r.m = vec2(d * (bits >> 15 == 0u ? -0.875 : -1.125)); // g is the code less 1
    [[unroll]] for (uint g = 0u; g < 4u; g++) {
        uint index = low >> 8u * g & 255u | (bits >> 3u * g & 7u) << 8;
        uint codes = iq_nibbles(iq_entry(IQ1_GRID_AT, index));
        r.q[2u * g] = int(codes & 0x03030303u);
        r.q[2u * g + 1u] = int(codes >> 2 & 0x03030303u);
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
