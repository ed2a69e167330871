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

// Units 0–4 are digit u of the first 32 bytes; the next 16 bytes (low and high) have five runs, and four bytes
// the last.
IntUnit tq1_0_unit(uvec4 low, uvec4 high, uint last, float d, uint u)
{
    IntUnit r;
    r.d = vec2(d);
    r.m = vec2(-d);
    uint digit = u < 5u ? u : 2u * u - 10u;
    uint power = ((digit & 1u) != 0u ? 3u : 1u) * ((digit & 2u) != 0u ? 9u : 1u) * ((digit & 4u) != 0u ? 81u : 1u);
    uvec4 high_power = u < 5u ? uvec4(power) : u < 7u ? uvec4(3u * power) : uvec4(1u, 3u, 9u, 27u);
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        r.q[i] = int(tq1_0_digits(low[i], power));
        r.q[4u + i] = int(tq1_0_digits(u < 7u ? high[i] : last, high_power[i]));
    }
    return r;
}

Unit tq1_0_floats(IntUnit packed)
{
    Unit r;
    r.d = packed.d;
    r.m = packed.m;
    [[unroll]] for (uint i = 0u; i < 8u; i++)
        r.q[i] = unsigned_bytes(uint(packed.q[i]));
    return r;
}

IntUnit quant_load_int(uint ref, uint block, uint u)
{
    uint byte = (block + (u >> 3)) * 54u;
    u &= 7u;
    uvec4 low = even_words(ref, byte + (u < 5u ? 0u : 32u));
    uvec4 high = even_words(ref, byte + (u < 5u ? 16u : u < 7u ? 32u : 36u)); // which ends with the four bytes
    return tq1_0_unit(low, high, high.w, even_half(ref, byte + 52u), u);
}

Unit quant_load(uint ref, uint block, uint u)
{
    return tq1_0_floats(quant_load_int(ref, block, u));
}

// Two units read their whole block once.
#define QUANT_STEP 2
#define QUANT_STEP_UNIT(s, i) (2u * (s) + (i))

void quant_load_step(uint ref, uint block, uint s, out Unit units[2])
{
    uint byte = (block + (s >> 2)) * 54u;
    uvec4 first = even_words(ref, byte), second = even_words(ref, byte + 16u), third = even_words(ref, byte + 32u);
    uint last = even_word(ref, byte + 48u);
    float d = even_half(ref, byte + 52u);
    [[unroll]] for (uint i = 0u; i < 2u; i++) {
        uint u = 2u * (s & 3u) + i;
        units[i] = tq1_0_floats(tq1_0_unit(u < 5u ? first : third, u < 5u ? second : third, last, d, u));
    }
}
