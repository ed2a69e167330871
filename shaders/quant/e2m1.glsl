// e2m1.glsl: four-bit floats (OCP Microscaling Formats 1.0, 5.3.3), doubled to be whole: 0, 1, 2, 3, 4, 6, 8,
// 12 by code, then the same below zero.

// Of all eight nibbles, without their signs: none exceeds a nibble.
uint e2m1_magnitudes(uint w)
{
    uint large = w >> 2 & 0x11111111u;
    uint sum = (w & 0x77777777u) + (w & 3u * large); // codes 4 to 7: 4, 6, 8, 10
    return sum + (sum >> 2 & sum & 0x22222222u);     // of all sums, 10 alone has bits 1 and 3
}

// Those of the four low nibbles (shift 0) or high ones (4), as signed bytes.
int e2m1_bytes(uint w, uint magnitudes, uint shift)
{
    uint negative = w >> 3u + shift & 0x01010101u;
    // around 128, where no byte borrows from the next: 128 ^ m, or (127 ^ m) + 1
    return int((magnitudes >> shift & 0x0f0f0f0fu ^ 0x80808080u - negative) + negative ^ 0x80808080u);
}
