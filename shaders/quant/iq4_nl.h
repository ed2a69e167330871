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

IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    float d;
    uvec4 w = even_half_words(ref, (block + u) * 18u, d);
    r.d = vec2(d);
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = iq4_bytes(w[i]);
        r.q[4u + i] = iq4_bytes(w[i] >> 4);
    }
    return r;
}

Unit quant_load(uint ref, uint block, uint u)
{
    Unit r;
    float d;
    uvec4 w = even_half_words(ref, (block + u) * 18u, d);
    r.d = vec2(d);
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = iq4_floats(w[i]);
        r.q[4u + i] = iq4_floats(w[i] >> 4);
    }
    return r;
}
