/* tq1_0.h — 256 weights in 54 bytes, d (binary16) last; weight = d × (q − 1), q of 0, 1, 2. A byte is a
 * fraction of 256 whose digits in base 3 are weights. 32 bytes hold weights 0–159 (digit k of byte i is
 * weight 32 k + i), 16 bytes weights 160–239 (160 + 16 k + i), 4 bytes weights 240–255 (240 + 4 k + i). */
#define QUANT_ELEMS 256
#define QUANT_BYTES 54
#define QUANT_HAS_SCALE 1
#define QUANT_HAS_MIN 1
#define QUANT_HAS_INT 1

#include "quant/even_words.glsl"

uvec2 quant_columns(uint u)
{
    return uvec2(32u * u, 32u * u + 16u);
}

// One digit of the four bytes of a word, in bytes; power = 3^digit moves it behind the point.
uint tq1_0_digits(uint w, uint power)
{
    uvec2 fraction = uvec2(w, w >> 8) & 0x00ff00ffu;
    fraction = fraction * power & 0x00ff00ffu;
    fraction = fraction * 3u >> 8 & 0x00030003u;
    return fraction.x | fraction.y << 8;
}

IntUnit quant_load_int(uint ref, uint block, uint u)
{
    IntUnit r;
    uint byte = (block + (u >> 3)) * 54u;
    r.d = vec2(even_half(ref, byte + 52u));
    r.m = -r.d;
    u &= 7u;
    // runs of 16: two of digit u for units 0–4; digits 0 to 4 of the next 16 bytes, and the last run
    uint digit = u < 5u ? u : 2u * u - 10u;
    uvec2 power = uvec2(1u, u < 5u ? 1u : 3u);
    power *= (digit & 1u) != 0u ? 3u : 1u;
    power *= (digit & 2u) != 0u ? 9u : 1u;
    power *= (digit & 4u) != 0u ? 81u : 1u;
    uvec4 low = even_words(ref, byte + (u < 5u ? 0u : 32u));
    uvec4 high = even_words(ref, byte + (u < 5u ? 16u : u < 7u ? 32u : 36u));
    uint by = 1u;
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = int(tq1_0_digits(low[i], power.x));
        // the last run: digit i of its four bytes, which are the last of the 16 read
        r.q[4u + i] = int(u < 7u ? tq1_0_digits(high[i], power.y) : tq1_0_digits(high.w, by));
        by *= 3u;
    }
    return r;
}

Unit quant_load(uint ref, uint block, uint u)
{
    IntUnit packed = quant_load_int(ref, block, u);
    Unit r;
    r.d = packed.d;
    r.m = packed.m;
    [[unroll]] for (uint i = 0u; i < 8u; i++)
        r.q[i] = unsigned_bytes(uint(packed.q[i]));
    return r;
}
