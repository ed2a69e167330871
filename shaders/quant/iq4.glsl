// iq4.glsl: the sixteen levels of IQ4_NL and IQ4_XS: −127, −104, −83, −65, −49, −35, −22, −10, 1, 13, 25, 38,
// 53, 69, 89, 113.
//
// They are this polynomial of the code, rounded (which comes to within 0.44 of each): cheaper than a table
// that every weight looks into.
vec4 iq4_levels(vec4 code)
{
    return round((((0.001586 * code + 0.031086) * code - 1.3719) * code + 24.174) * code - 126.57);
}

// Four levels as signed bytes.
int iq4_bytes(vec4 code)
{
    ivec4 level = ivec4(iq4_levels(code)) & 255;
    return level.x | level.y << 8 | level.z << 16 | level.w << 24;
}
