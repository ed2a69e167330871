// two_bits.glsl: units of formats with 2-bit quants: of each half of 128 weights, run r of 32 has bits 2 r
// and 2 r + 1 of its 32 bytes.
//
// So 16 bytes hold four runs of 16, which are two units: unit u is of half u / 4, of its bytes 16 (u & 1) …
// and has their runs 2 r and 2 r + 1, r = u / 2 & 1. Both units of a step have the same bytes.
uvec2 quant_columns(uint u)
{
    uint first = 128u * (u >> 2) + 32u * (u & 2u) + 16u * (u & 1u);
    return uvec2(first, first + 32u);
}

#define QUANT_STEP 2
#define QUANT_STEP_UNIT(s, i) (((s) >> 1) * 4u + ((s)&1u) + 2u * (i))
