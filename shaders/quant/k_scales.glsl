// k_scales.glsl: the eight 6-bit scales and minima of Q4_K and Q5_K, in 12 bytes.
//
// header: .x = d | dmin << 16, .yzw = the 12 bytes. Bytes 0–3 hold scales 0–3 (low 6 bits), bytes 4–7
// minima 0–3; byte 8 + i holds the low nibbles of scale and minimum 4 + i, whose upper two bits are the
// upper bits of bytes i and 4 + i. Gives both of sub-blocks 2 g and 2 g + 1: weight = d × q + m.
void k_scales(uvec4 header, uint g, out vec2 d, out vec2 m)
{
    uint shift = 16u * (g & 1u);
    uint low = header.y >> shift, mid = header.z >> shift, high = header.w >> shift;
    // chosen from, not branched to: lanes differ in g
    uint scales = mix(high & 0x0f0fu | low >> 2 & 0x3030u, low & 0x3f3fu, g < 2u);
    uint minima = mix(high >> 4 & 0x0f0fu | mid >> 2 & 0x3030u, mid & 0x3f3fu, g < 2u);
    vec2 dm = unpackHalf2x16(header.x);
    d = dm.x * vec2(scales & 255u, scales >> 8 & 255u);
    m = -dm.y * vec2(minima & 255u, minima >> 8 & 255u);
}
