/* mxfp4.h — 32 weights in 17 bytes: e, 16 bytes of codes (e2m1.glsl); weight = 2^(e − 128) × doubled value.
 * Byte i holds weight i (low nibble) and i + 16 (high). */
#define QUANT_ELEMS 32
#define QUANT_BYTES 17
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 0
#define QUANT_HAS_INT 1

#include "quant/e2m1.glsl"

uvec2 quant_columns(uint u)
{
    return uvec2(32u * u, 32u * u + 16u);
}

// Blocks begin at any byte: five words have all of one, and the codes end at byte 0 to 3 of the last.
IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    uint byte = (block + u) * 17u, at = byte >> 2, shift = 8u * (byte & 3u);
    uint last = LOAD_U32(ref, at), e = last >> shift & 255u;
    r.d = vec2(uintBitsToFloat(e < 2u ? 0x00200000u << e : e - 1u << 23));
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        uint next = LOAD_U32(ref, at + 1u + i);
        uint w = last >> 8 >> shift | next << 24u - shift; // from the byte after e
        uint magnitudes = e2m1_magnitudes(w);
        r.q[i] = e2m1_bytes(w, magnitudes, 0u);
        r.q[4u + i] = e2m1_bytes(w, magnitudes, 4u);
        last = next;
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
