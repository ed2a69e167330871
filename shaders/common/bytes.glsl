// bytes.glsl: the four parts of a word.
#ifndef COMMON_BYTES_GLSL
#define COMMON_BYTES_GLSL

// As floats.
vec4 signed_bytes(uint word)
{
    int w = int(word);
    return vec4(w << 24 >> 24, w << 16 >> 24, w << 8 >> 24, w >> 24);
}

vec4 unsigned_bytes(uint word)
{
    return vec4(word & 255u, word >> 8 & 255u, word >> 16 & 255u, word >> 24);
}

// Low nibbles of the four bytes, and high ones. Masked together: compilers turn bytes into floats where they
// stand, and would take nibbles out one by one.
vec4 nibbles_low(uint word)
{
    return unsigned_bytes(word & 0x0f0f0f0fu);
}

vec4 nibbles_high(uint word)
{
    return unsigned_bytes(word >> 4 & 0x0f0f0f0fu);
}

// Bits 0–3 as the lowest bits of the four bytes.
uint bits_to_bytes(uint bits)
{
    return (bits & 15u) * 0x00204081u & 0x01010101u;
}
#endif
