// iq4.glsl: the sixteen levels of IQ4_NL and IQ4_XS: −127, −104, −83, −65, −49, −35, −22, −10, 1, 13, 25, 38,
// 53, 69, 89, 113.
//
// Each is −127 and this polynomial of the code, rounded (which comes to within 0.45 of it): cheaper than a
// table that every weight looks into. From the low nibbles of the four bytes.
vec4 iq4_polynomials(uint w)
{
    // codes where they stand in the word, so that nothing is shifted: x = 2^0, 2^8, 2^16, 2^24 × code
    const vec4 s = vec4(1.0, 0.00390625, 1.52587890625e-5, 5.9604644775390625e-8);
    vec4 x = vec4(ivec4(w & 0xfu, w & 0xf00u, w & 0xf0000u, w & 0xf000000u));
    vec4 cubic = (0.001448 * s * s * s * s * x + 0.036273 * s * s * s) * x - 1.4386 * s * s;
    return (cubic * x + 24.501 * s) * x;
}

// 128 more than the levels, on top of 0x4b400000: 1.5 × 2^23 rounds to the low bits.
uvec4 iq4_rounded(uint w)
{
    return floatBitsToUint(iq4_polynomials(w) + 12582913.0);
}

// As signed bytes.
int iq4_bytes(uint w)
{
    // no byte is negative yet; what is above them is 0x4b4000, of which the last number rids the sum
    uvec4 level = iq4_rounded(w);
    return int((level.x + (level.y << 8) + (level.z << 16) + (level.w << 24) + 0x74c00000u) ^ 0x80808080u);
}

// As floats. Packed before where registers are few: a compiler unpacks bytes where it needs them, while it
// would keep the polynomials of a whole unit.
vec4 iq4_floats(uint w)
{
    return UNITS_IN_REGISTERS ? signed_bytes(uint(iq4_bytes(w))) : vec4(ivec4(iq4_rounded(w)) - 0x4b400080);
}
