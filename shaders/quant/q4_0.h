/* q4_0.h — 32 weights in 18 bytes: d (binary16), 16 bytes of nibbles; weight = d × (q − 8). Byte i
 * holds weight i (low nibble) and i + 16 (high). */
#define QUANT_ELEMS 32
#define QUANT_BYTES 18
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 1
#define QUANT_HAS_INT 1

uvec2 quant_columns(uint u)
{
    return uvec2(32u * u, 32u * u + 16u);
}

// The 16 bytes of quants, and d. Even blocks begin at a word and their quants are half a word off;
// odd blocks begin half a word off and their quants are aligned: five words either way.
uvec4 q4_0_words(uint ref, uint block, out float d)
{
    uint at = block * 9u >> 1, odd = block & 1u;
    uint w0 = LOAD_U32(ref, at), w1 = LOAD_U32(ref, at + 1u), w2 = LOAD_U32(ref, at + 2u);
    uint w3 = LOAD_U32(ref, at + 3u), w4 = LOAD_U32(ref, at + 4u);
    d = half_to_float(odd == 0u ? w0 & 0xffffu : w0 >> 16);
    uvec4 low = uvec4(w0, w1, w2, w3), high = uvec4(w1, w2, w3, w4);
    return odd == 0u ? low >> 16 | high << 16 : high;
}

Unit quant_load(uint ref, uint block, uint u)
{
    Unit r;
    float d;
    uvec4 w = q4_0_words(ref, block + u, d);
    r.d = vec2(d);
    r.m = vec2(-8.0 * d);
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = nibbles_low(w[i]);
        r.q[4u + i] = nibbles_high(w[i]);
    }
    return r;
}

IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    float d;
    uvec4 w = q4_0_words(ref, block + u, d);
    r.d = vec2(d);
    r.m = vec2(-8.0 * d);
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = int(w[i] & 0x0f0f0f0fu);
        r.q[4u + i] = int(w[i] >> 4 & 0x0f0f0f0fu);
    }
    return r;
}
