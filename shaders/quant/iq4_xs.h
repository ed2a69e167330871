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

// Blocks are 8-byte aligned.
IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    uint at = (block + (u >> 3)) * 17u, j = u & 7u;
    uvec2 head = LOAD_U32X2(ref, at);
    uint scale = head.y >> 4u * j & 15u | (head.x >> 16u + 2u * j & 3u) << 4;
    r.d = vec2(half_to_float(head.x & 0xffffu) * (float(scale) - 32.0));
    uvec4 w = uvec4(LOAD_U32X2(ref, at + 1u + 2u * j), LOAD_U32X2(ref, at + 2u + 2u * j));
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = iq4_bytes(w[i]);
        r.q[4u + i] = iq4_bytes(w[i] >> 4);
    }
    return r;
}

// Two units share what stands before them.
#define QUANT_STEP 2
#define QUANT_STEP_UNIT(s, i) (2u * (s) + (i))

void quant_load_step(uint ref, uint block, uint s, out Unit units[2])
{
    uint at = (block + (s >> 2)) * 17u, g = s & 3u;
    uvec2 head = LOAD_U32X2(ref, at);
    float d = half_to_float(head.x & 0xffffu);
    uint low = head.y >> 8u * g, high = head.x >> 16u + 4u * g;
    [[unroll]] for (uint h = 0u; h < 2u; h++) {
        int scale = int(low >> 4u * h & 15u | (high >> 2u * h & 3u) << 4);
        units[h].d = vec2(d * float(scale - 32));
        uvec4 w = uvec4(LOAD_U32X2(ref, at + 1u + 4u * g + 2u * h), LOAD_U32X2(ref, at + 2u + 4u * g + 2u * h));
        [[unroll]] for (uint i = 0u; i < 4u; i++) {
            units[h].q[i] = iq4_floats(w[i]);
            units[h].q[4u + i] = iq4_floats(w[i] >> 4);
        }
    }
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
