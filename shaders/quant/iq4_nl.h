/* iq4_nl.h — 32 weights in 18 bytes: d (binary16), 16 bytes of codes; weight = d × level (iq4.glsl). Byte i
 * holds weight i (low nibble) and i + 16 (high). */
#define QUANT_ELEMS 32
#define QUANT_BYTES 18
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 0
#define QUANT_HAS_INT 1

#include "quant/even_words.glsl"
#include "quant/iq4.glsl"

uvec2 quant_columns(uint u)
{
    return uvec2(32u * u, 32u * u + 16u);
}

Unit quant_load(uint ref, uint block, uint u)
{
    Unit r;
    uint byte = (block + u) * 18u;
    r.d = vec2(even_half(ref, byte));
    uvec4 w = even_words(ref, byte + 2u);
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = iq4_levels(nibbles_low(w[i]));
        r.q[4u + i] = iq4_levels(nibbles_high(w[i]));
    }
    return r;
}

IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    uint byte = (block + u) * 18u;
    r.d = vec2(even_half(ref, byte));
    uvec4 w = even_words(ref, byte + 2u);
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = iq4_bytes(nibbles_low(w[i]));
        r.q[4u + i] = iq4_bytes(nibbles_high(w[i]));
    }
    return r;
}
