// iq_grid.glsl: groups of weights that IQ1, IQ2 and IQ3 look up. common/iq_grids.h says how the tables are
// packed: an entry is four nibbles.
#include "common/iq_grids.h"

// Entry `index` of the table that begins at word `at`, in the low half; what is above it does not count.
uint iq_entry(uint at, uint index)
{
    return LOAD_U32(REF_TABLES, at + (index >> 1)) >> 16u * (index & 1u);
}

// The four nibbles of an entry, one to a byte.
uint iq_nibbles(uint entry)
{
    uint pairs = (entry & 0xffu) | (entry & 0xff00u) << 8;
    return (pairs | pairs << 4) & 0x0f0f0f0fu;
}

// Bytes of 1 and more, those negated whose bit is set.
int iq_negate(uint bytes, uint signs)
{
    uint negative = bits_to_bytes(signs);
    return int((bytes ^ negative * 255u) + negative);
}

// Eight signs of which seven are stored: an even number of them is set.
uint iq_signs(uint seven)
{
    seven &= 127u;
    return seven | (uint(bitCount(seven)) & 1u) << 7;
}

// Magnitudes 8, 25, 43 of codes 0, 1, 2.
uint iq2_bytes(uint code)
{
    return (code | code << 4) + 0x08080808u + (code >> 1 & 0x01010101u);
}

// A group of 8 as two words of signed bytes.
ivec2 iq2_group(uint entry, uint signs)
{
    uint codes = iq_nibbles(entry);
    return ivec2(iq_negate(iq2_bytes(codes & 0x03030303u), signs),
                 iq_negate(iq2_bytes(codes >> 2 & 0x03030303u), signs >> 4));
}
