/* q3_k.h — 256 weights in 110 bytes: 32 bytes of third bits, 64 bytes of 2-bit quants (two_bits.glsl), 12
 * bytes with sixteen 6-bit scales, d (binary16); weight = d × (scale − 32) × (q − 4). Bit r of byte i is the
 * third bit of weight 32 r + i. Low nibbles of bytes 0–7 hold the low four bits of scales 0–7, high ones of
 * scales 8–15; bits 2 (j / 4) and up of byte 8 + j % 4 are the upper two of scale j. */
#define QUANT_ELEMS 256
#define QUANT_BYTES 110
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 1
#define QUANT_HAS_INT 1

#include "quant/even_words.glsl"
#include "quant/two_bits.glsl"

// d × (scale − 32) of the four runs of step (half_block, h): scales 8 half_block + h + 0, 2, 4, 6.
vec4 q3_k_scales(uint ref, uint byte, uint half_block, uint h)
{
    // The 14 bytes that end with d; one more word is there where they do not begin at one.
    uint at = byte + 96u >> 2;
    uvec4 w = uvec4(LOAD_U32(ref, at), LOAD_U32(ref, at + 1u), LOAD_U32(ref, at + 2u),
                    LOAD_U32(ref, at + 3u));
    bool even = (byte & 2u) == 0u;
    uvec3 scales = even ? w.xyz : w.xyz >> 16 | w.yzw << 16;
    float d = half_to_float(even ? w.w & 0xffffu : w.w >> 16);
    scales >>= 8u * h + 4u * half_block;
    uvec2 level = scales.xy & 0x000f000fu | (uvec2(scales.z, scales.z >> 2) & 0x00030003u) << 4;
    return d * (vec4(level.x & 63u, level.x >> 16, level.y & 63u, level.y >> 16) - 32.0);
}

IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    uint byte = (block + (u >> 3)) * 110u, half_block = u >> 2 & 1u, h = u & 1u;
    vec4 scales = q3_k_scales(ref, byte, half_block, h);
    r.d = (u & 2u) == 0u ? scales.xy : scales.zw;
    r.m = -4.0 * r.d;
    uvec4 third = even_words(ref, byte + 16u * h) >> 4u * half_block + (u & 2u);
    uvec4 w = even_words(ref, byte + 32u + 32u * half_block + 16u * h) >> 2u * (u & 2u);
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = int(w[i] & 0x03030303u | (third[i] & 0x01010101u) << 2);
        r.q[4u + i] = int(w[i] >> 2 & 0x03030303u | (third[i] & 0x02020202u) << 1);
    }
    return r;
}

void quant_load_step(uint ref, uint block, uint s, out Unit units[2])
{
    uint byte = (block + (s >> 2)) * 110u, odd = 8u * (byte & 2u), half_block = s >> 1 & 1u, h = s & 1u;
    vec4 scales = q3_k_scales(ref, byte, half_block, h);
    uvec4 third = even_words_by(ref, byte + 16u * h, odd) >> 4u * half_block << 2; // bit 2 + r is of run r
    uvec4 w = even_words_by(ref, byte + 32u + 32u * half_block + 16u * h, odd);
    [[unroll]] for (uint i = 0u; i < 2u; i++) {
        units[i].d = i == 0u ? scales.xy : scales.zw;
        units[i].m = -4.0 * units[i].d;
        [[unroll]] for (uint j = 0u; j < 4u; j++) {
            uint low = w[j] >> 4u * i, high = third[j] >> 2u * i;
            units[i].q[j] = unsigned_bytes(low & 0x03030303u | high & 0x04040404u);
            units[i].q[4u + j] = unsigned_bytes(low >> 2 & 0x03030303u | high >> 1 & 0x04040404u);
        }
    }
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
