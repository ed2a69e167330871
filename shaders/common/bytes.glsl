// bytes.glsl: the four parts of a word as floats.
#ifndef COMMON_BYTES_GLSL
#define COMMON_BYTES_GLSL

vec4 signed_bytes(uint word)
{
    int w = int(word);
    return vec4(w << 24 >> 24, w << 16 >> 24, w << 8 >> 24, w >> 24);
}

vec4 unsigned_bytes(uint word)
{
    return vec4(word & 255u, word >> 8 & 255u, word >> 16 & 255u, word >> 24);
}

// Low nibbles of the four bytes, and high ones.
vec4 nibbles_low(uint word)
{
    return vec4(word & 15u, word >> 8 & 15u, word >> 16 & 15u, word >> 24 & 15u);
}

vec4 nibbles_high(uint word)
{
    return nibbles_low(word >> 4);
}
#endif
