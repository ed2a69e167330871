// even_words.glsl: reads from blocks that are only 2-byte aligned, in whole words: 16-bit reads are slow on
// some devices. Offsets are even but for that of any_byte.

// 16 bytes: five words, funnelled.
uvec4 even_words(uint ref, uint byte)
{
    uint at = byte >> 2;
    uvec4 low = uvec4(LOAD_U32(ref, at), LOAD_U32(ref, at + 1u), LOAD_U32(ref, at + 2u),
                      LOAD_U32(ref, at + 3u));
    uvec4 high = uvec4(low.yzw, LOAD_U32(ref, at + 4u));
    return (byte & 2u) == 0u ? low : low >> 16 | high << 16;
}

// The same by odd = 8 (byte & 2), which is one for all of a block: fewer instructions where several are read,
// more registers. Where odd is 0, (high << 1) << 31 is too.
uvec4 even_words_by(uint ref, uint byte, uint odd)
{
    uint at = byte >> 2;
    uvec4 low = uvec4(LOAD_U32(ref, at), LOAD_U32(ref, at + 1u), LOAD_U32(ref, at + 2u),
                      LOAD_U32(ref, at + 3u));
    uvec4 high = uvec4(low.yzw, LOAD_U32(ref, at + 4u));
    return low >> odd | (high << 1) << 31u - odd;
}

// A half and the 16 bytes after it, which are five words too.
uvec4 even_half_words(uint ref, uint byte, out float d)
{
    uint at = byte >> 2, first = LOAD_U32(ref, at);
    uvec4 high = uvec4(LOAD_U32(ref, at + 1u), LOAD_U32(ref, at + 2u), LOAD_U32(ref, at + 3u),
                       LOAD_U32(ref, at + 4u));
    bool even = (byte & 2u) == 0u;
    d = half_to_float(even ? first & 0xffffu : first >> 16);
    return even ? uvec4(first, high.xyz) >> 16 | high << 16 : high;
}

uvec2 even_pair(uint ref, uint byte)
{
    uint at = byte >> 2;
    uvec2 low = uvec2(LOAD_U32(ref, at), LOAD_U32(ref, at + 1u));
    return (byte & 2u) == 0u ? low : low >> 16 | uvec2(low.y, LOAD_U32(ref, at + 2u)) << 16;
}

uint even_word(uint ref, uint byte)
{
    uint low = LOAD_U32(ref, byte >> 2);
    return (byte & 2u) == 0u ? low : low >> 16 | LOAD_U32(ref, (byte >> 2) + 1u) << 16;
}

uint even_bits(uint ref, uint byte)
{
    return LOAD_U32(ref, byte >> 2) >> 8u * (byte & 2u) & 0xffffu;
}

float even_half(uint ref, uint byte)
{
    return half_to_float(even_bits(ref, byte));
}

uint any_byte(uint ref, uint byte)
{
    return LOAD_U32(ref, byte >> 2) >> 8u * (byte & 3u) & 255u;
}
