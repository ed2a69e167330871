/* iq4_xs.h — 256 weights in 136 bytes: d (binary16), 16 bits with the upper two bits of eight scales, 4 bytes
 * with their low nibbles, 128 bytes of codes; weight = d × (scale − 32) × level (iq4.glsl). Byte 16 j + i
 * holds weight 32 j + i (low nibble) and 32 j + 16 + i (high). */
#define QUANT_ELEMS 256
#define QUANT_BYTES 136
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 0
#define QUANT_HAS_INT 1

#include "quant/iq4.glsl"

uvec2 quant_columns(uint u)
{
    return uvec2(32u * u, 32u * u + 16u);
}

// The 16 bytes of codes of unit u, and its scale. Blocks are 8-byte aligned.
uvec4 iq4_xs_words(uint ref, uint block, uint u, out float d)
{
    uint at = (block + (u >> 3)) * 17u, j = u & 7u;
    uvec2 head = LOAD_U32X2(ref, at);
    uint scale = head.y >> 4u * j & 15u | (head.x >> 16u + 2u * j & 3u) << 4;
    d = half_to_float(head.x & 0xffffu) * (float(scale) - 32.0);
    uvec2 low = LOAD_U32X2(ref, at + 1u + 2u * j), high = LOAD_U32X2(ref, at + 2u + 2u * j);
    return uvec4(low, high);
}

Unit quant_load(uint ref, uint block, uint u)
{
    Unit r;
    float d;
    uvec4 w = iq4_xs_words(ref, block, u, d);
    r.d = vec2(d);
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = iq4_levels(nibbles_low(w[i]));
        r.q[4u + i] = iq4_levels(nibbles_high(w[i]));
    }
    return r;
}

IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    float d;
    uvec4 w = iq4_xs_words(ref, block, u, d);
    r.d = vec2(d);
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = iq4_bytes(nibbles_low(w[i]));
        r.q[4u + i] = iq4_bytes(nibbles_high(w[i]));
    }
    return r;
}
