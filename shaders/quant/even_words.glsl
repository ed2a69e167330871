// even_words.glsl: 16 bytes from an even offset, for blocks that are only 2-byte aligned: five words,
// funnelled. 16-bit reads are slow on some devices.
uvec4 even_words(uint ref, uint byte)
{
    uint at = byte >> 2;
    uvec4 low = uvec4(LOAD_U32(ref, at), LOAD_U32(ref, at + 1u), LOAD_U32(ref, at + 2u),
                      LOAD_U32(ref, at + 3u));
    uvec4 high = uvec4(low.yzw, LOAD_U32(ref, at + 4u));
    return (byte & 2u) == 0u ? low : low >> 16 | high << 16;
}

// The half at an even offset.
float even_half(uint ref, uint byte)
{
    uint w = LOAD_U32(ref, byte >> 2);
    return half_to_float((byte & 2u) == 0u ? w & 0xffffu : w >> 16);
}
