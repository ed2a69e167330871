/* q6_k.h — 256 weights in 210 bytes: 128 bytes of low nibbles, 64 of upper bit pairs, 16 signed scales
 * (one per 16 weights), d (binary16); weight = d × scale × (q − 32). In each half of 128: byte i of 64
 * low bytes holds weight i (low nibble) and 64 + i (high); byte i of 32 upper bytes holds bits 4–5 of
 * weights i, 32 + i, 64 + i, 96 + i. */
#define QUANT_ELEMS 256
#define QUANT_BYTES 210
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 1
#define QUANT_HAS_INT 1

uvec2 quant_columns(uint u)
{
    uint first = 128u * (u >> 2) + 16u * (u & 3u);
    return uvec2(first, first + 64u);
}

#include "quant/even_words.glsl"

// As even_words, by `odd`, 0 or 16 bits, which is the same for all of a block: fewer instructions where three
// are read, more registers.
uvec4 q6_k_bytes(uint ref, uint byte, uint odd)
{
    uint at = byte >> 2;
    uvec4 low = uvec4(LOAD_U32(ref, at), LOAD_U32(ref, at + 1u), LOAD_U32(ref, at + 2u),
                      LOAD_U32(ref, at + 3u));
    uvec4 high = uvec4(low.yzw, LOAD_U32(ref, at + 4u));
    return low >> odd | (high << 1u) << 31u - odd;
}

// d × the scales h, h + 2, h + 4, h + 6 of the eight of a half: of the four weights that share a byte of
// upper bits. Words only: 16-bit reads are slow on some devices.
vec4 q6_k_scales(uint ref, uint byte, uint half_block, uint h)
{
    uint at = byte + 192u + 8u * half_block, odd = 8u * (at & 2u) + 8u * h;
    uvec3 w = uvec3(LOAD_U32(ref, at >> 2), LOAD_U32(ref, (at >> 2) + 1u), LOAD_U32(ref, (at >> 2) + 2u));
    // bytes 0 and 2 of (w >> odd) are scales h and h + 2; where that runs over, of the next word: where odd
    // is 0, none of that, as (v << 1) << 31 is 0
    uvec2 pair = w.xy >> odd | (w.yz << 1u) << 31u - odd;
    uint d_at = byte + 208u, d_word = LOAD_U32(ref, d_at >> 2);
    float d = half_to_float(d_word >> 8u * (d_at & 2u));
    ivec2 signed_pair = ivec2(pair);
    return d * vec4(signed_pair.x << 24 >> 24, signed_pair.x << 8 >> 24, signed_pair.y << 24 >> 24,
                    signed_pair.y << 8 >> 24);
}

IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    uint byte = (block + (u >> 3)) * 210u, half_block = u >> 2 & 1u, j = u & 3u;
    uvec4 low = even_words(ref, byte + 64u * half_block + 16u * j);
    uvec4 high = even_words(ref, byte + 128u + 32u * half_block + 16u * (j & 1u)) >> (j & 2u);
    vec4 scales = q6_k_scales(ref, byte, half_block, j & 1u);
    r.d = (j & 2u) == 0u ? scales.xz : scales.yw;
    r.m = -32.0 * r.d;
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = int((low[i] & 0x0f0f0f0fu) | (high[i] << 4 & 0x30303030u));
        r.q[4u + i] = int((low[i] >> 4 & 0x0f0f0f0fu) | (high[i] & 0x30303030u));
    }
    return r;
}

// Units j and j + 2 of a half have the same upper bits.
#define QUANT_STEP 2
#define QUANT_STEP_UNIT(s, i) (((s) >> 1) * 4u + ((s)&1u) + 2u * (i))

void quant_load_step(uint ref, uint block, uint s, out Unit units[2])
{
    uint byte = (block + (s >> 2)) * 210u, odd = 8u * (byte & 2u), half_block = s >> 1 & 1u, h = s & 1u;
    uvec4 high = q6_k_bytes(ref, byte + 128u + 32u * half_block + 16u * h, odd);
    vec4 scales = q6_k_scales(ref, byte, half_block, h);
    [[unroll]] for (uint i = 0u; i < 2u; i++) {
        units[i].d = i == 0u ? scales.xz : scales.yw;
        units[i].m = -32.0 * units[i].d;
        uvec4 low = q6_k_bytes(ref, byte + 64u * half_block + 32u * i + 16u * h, odd);
        uvec4 upper = high >> 2u * i;
        [[unroll]] for (uint j = 0u; j < 4u; j++) {
            units[i].q[j] = unsigned_bytes((low[j] & 0x0f0f0f0fu) | (upper[j] << 4 & 0x30303030u));
            units[i].q[4u + j] =
                unsigned_bytes((low[j] >> 4 & 0x0f0f0f0fu) | (upper[j] & 0x30303030u));
        }
    }
}

Unit quant_load(uint ref, uint block, uint u)
{
    Unit r;
    IntUnit packed = quant_load_int(ref, block, u);
    r.d = packed.d;
    r.m = packed.m;
    [[unroll]] for (uint i = 0u; i < 8u; i++)
        r.q[i] = unsigned_bytes(uint(packed.q[i]));
    return r;
}
