// iq4.glsl: the sixteen levels of IQ4_NL and IQ4_XS: −127, −104, −83, −65, −49, −35, −22, −10, 1, 13, 25, 38,
// 53, 69, 89, 113.
//
// Each is −127 and this polynomial of the code, rounded (which comes to within 0.45 of it): cheaper than a
// table that every weight looks into. Of the low nibbles of the four bytes, as signed bytes. These are packed
// also where floats are wanted: a compiler unpacks bytes where it needs them, while it would keep the
// polynomials of a whole unit in registers.
int iq4_bytes(uint w)
{
    // codes where they stand in the word, so that nothing is shifted: x = 2^0, 2^8, 2^16, 2^24 × code
    const vec4 s = vec4(1.0, 0.00390625, 1.52587890625e-5, 5.9604644775390625e-8);
    vec4 x = vec4(ivec4(w & 0xfu, w & 0xf00u, w & 0xf0000u, w & 0xf000000u));
    vec4 cubic = (0.001448 * s * s * s * s * x + 0.036273 * s * s * s) * x - 1.4386 * s * s;
    // 1.5 × 2^23 rounds to the low bits, where 1 makes it 128 more than the level: no byte is negative
    uvec4 level = floatBitsToUint((cubic * x + 24.501 * s) * x + 12582913.0);
    // what is above the bytes is 0x4b4000, of which the last number rids the sum
    return int((level.x + (level.y << 8) + (level.z << 16) + (level.w << 24) + 0x74c00000u) ^ 0x80808080u);
}
