// e2m1.glsl: four-bit floats (OCP Microscaling Formats 1.0, 5.3.3), doubled to be whole: 0, 1, 2, 3, 4, 6, 8,
// 12 by code, then the same below zero.

// Of the low nibbles of the four bytes, as signed bytes.
int e2m1_low(uint w)
{
    uint low = w & 0x03030303u, large = w >> 2 & 0x01010101u, three = low & low >> 1 & 0x01010101u;
    // codes 4 to 7 exceed their values by 0, 1, 2, 5
    uint value = (w & 0x07070707u) + (low + 2u * three & 7u * large);
    uint negative = (w >> 3 & 0x01010101u) * 15u;
    // around 128, where no byte borrows from the next
    return int((0x80808080u + (value & ~negative)) - (value & negative) ^ 0x80808080u);
}
