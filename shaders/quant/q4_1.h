/* q4_1.h — 32 weights in 20 bytes: d, m (binary16), 16 bytes of nibbles; weight = d × q + m. Byte i
 * holds weight i (low nibble) and i + 16 (high). */
#define QUANT_ELEMS 32
#define QUANT_BYTES 20
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 1
#define QUANT_HAS_INT 1

uvec2 quant_columns(uint u)
{
    return uvec2(32u * u, 32u * u + 16u);
}

Unit quant_load(uint ref, uint block, uint u)
{
    Unit r;
    uint at = (block + u) * 5u;
    vec2 dm = unpackHalf2x16(LOAD_U32(ref, at));
    r.d = dm.xx;
    r.m = dm.yy;
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        uint w = LOAD_U32(ref, at + 1u + i);
        r.q[i] = nibbles_low(w);
        r.q[4u + i] = nibbles_high(w);
    }
    return r;
}

IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    uint at = (block + u) * 5u;
    vec2 dm = unpackHalf2x16(LOAD_U32(ref, at));
    r.d = dm.xx;
    r.m = dm.yy;
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        uint w = LOAD_U32(ref, at + 1u + i);
        r.q[i] = int(w & 0x0f0f0f0fu);
        r.q[4u + i] = int(w >> 4 & 0x0f0f0f0fu);
    }
    return r;
}
