/* q5_0.h — 32 weights in 22 bytes: d (binary16), 32 fifth bits, 16 bytes of nibbles; weight = d × (q − 16).
 * Byte i holds weight i (low nibble) and i + 16 (high); bit i is the fifth bit of weight i. */
#define QUANT_ELEMS 32
#define QUANT_BYTES 22
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 1
#define QUANT_HAS_INT 1

uvec2 quant_columns(uint u)
{
    return uvec2(32u * u, 32u * u + 16u);
}

// Even blocks begin at a word and what follows d is half a word off; odd blocks begin half a word off and
// what follows d is aligned: six words either way.
IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    uint b = block + u, at = b * 11u >> 1, odd = b & 1u;
    uint first = LOAD_U32(ref, at), last = LOAD_U32(ref, at + 1u);
    r.d = vec2(half_to_float(odd == 0u ? first & 0xffffu : first >> 16));
    r.m = -16.0 * r.d;
    uint fifth = odd == 0u ? first >> 16 | last << 16 : last;
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        uint next = LOAD_U32(ref, at + 2u + i);
        uint w = odd == 0u ? last >> 16 | next << 16 : next;
        r.q[i] = int(w & 0x0f0f0f0fu | bits_to_bytes(fifth >> 4u * i) << 4);
        r.q[4u + i] = int(w >> 4 & 0x0f0f0f0fu | bits_to_bytes(fifth >> 16u + 4u * i) << 4);
        last = next;
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
