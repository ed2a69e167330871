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

// 16 bytes from an even offset: five words, funnelled.
uvec4 q6_k_bytes(uint ref, uint byte)
{
    uint at = byte >> 2;
    uvec4 low = uvec4(LOAD_U32(ref, at), LOAD_U32(ref, at + 1u), LOAD_U32(ref, at + 2u),
                      LOAD_U32(ref, at + 3u));
    uvec4 high = uvec4(low.yzw, LOAD_U32(ref, at + 4u));
    return (byte & 2u) == 0u ? low : low >> 16 | high << 16;
}

IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    uint byte = (block + (u >> 3)) * 210u, half_block = u >> 2 & 1u, j = u & 3u;
    uvec4 low = q6_k_bytes(ref, byte + 64u * half_block + 16u * j);
    uvec4 high = q6_k_bytes(ref, byte + 128u + 32u * half_block + 16u * (j & 1u)) >> (j & 2u);
    // scale of run 0 is byte 8·half + j of 16, of run 1 four later; two bytes per 16-bit load
    uint scale_at = (byte + 192u + 8u * half_block + (j & 2u)) >> 1, odd = 8u * (j & 1u);
    int s0 = int(LOAD_U16(ref, scale_at) >> odd << 24) >> 24;
    int s1 = int(LOAD_U16(ref, scale_at + 2u) >> odd << 24) >> 24;
    r.d = half_to_float(LOAD_U16(ref, (byte + 208u) >> 1)) * vec2(s0, s1);
    r.m = -32.0 * r.d;
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = int((low[i] & 0x0f0f0f0fu) | (high[i] << 4 & 0x30303030u));
        r.q[4u + i] = int((low[i] >> 4 & 0x0f0f0f0fu) | (high[i] & 0x30303030u));
    }
    return r;
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
