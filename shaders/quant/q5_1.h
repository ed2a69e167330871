/* q5_1.h — 32 weights in 24 bytes: d, m (binary16), 32 fifth bits, 16 bytes of nibbles; weight = d × q + m.
 * Byte i holds weight i (low nibble) and i + 16 (high); bit i is the fifth bit of weight i. */
#define QUANT_ELEMS 32
#define QUANT_BYTES 24
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 1
#define QUANT_HAS_INT 1

uvec2 quant_columns(uint u)
{
    return uvec2(32u * u, 32u * u + 16u);
}

IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    uint at = (block + u) * 3u; // in pairs of words
    uvec2 head = LOAD_U32X2(ref, at), low = LOAD_U32X2(ref, at + 1u), high = LOAD_U32X2(ref, at + 2u);
    uvec4 w = uvec4(low, high);
    vec2 dm = unpackHalf2x16(head.x);
    r.d = dm.xx;
    r.m = dm.yy;
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = int(w[i] & 0x0f0f0f0fu | bits_to_bytes(head.y >> 4u * i) << 4);
        r.q[4u + i] = int(w[i] >> 4 & 0x0f0f0f0fu | bits_to_bytes(head.y >> 16u + 4u * i) << 4);
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
