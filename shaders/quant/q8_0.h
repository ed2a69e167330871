/* q8_0.h — 32 weights in 34 bytes: d (binary16), 32 signed bytes; weight = d × q. */
#define QUANT_ELEMS 32
#define QUANT_BYTES 34
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 0
#define QUANT_HAS_INT 1

uvec2 quant_columns(uint u)
{
    return uvec2(32u * u, 32u * u + 16u);
}

// Word i of the quants. Even blocks begin at a word and their quants are half a word off; odd blocks
// begin half a word off and their quants are aligned: nine words either way.
IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    uint b = block + u, at = b * 17u >> 1, odd = b & 1u;
    uint last = LOAD_U32(ref, at);
    r.d = vec2(half_to_float(odd == 0u ? last & 0xffffu : last >> 16));
    [[unroll]] for (uint i = 0u; i < 8u; i++) {
        uint next = LOAD_U32(ref, at + 1u + i);
        r.q[i] = int(odd == 0u ? last >> 16 | next << 16 : next);
        last = next;
    }
    return r;
}

Unit quant_load(uint ref, uint block, uint u)
{
    Unit r;
    IntUnit packed = quant_load_int(ref, block, u);
    r.d = packed.d;
    [[unroll]] for (uint i = 0u; i < 8u; i++)
        r.q[i] = signed_bytes(uint(packed.q[i]));
    return r;
}
