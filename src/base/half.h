/*
 * half.h — 16-bit floats: IEEE binary16 and bfloat16, to and from float.
 *
 * Owns nothing; any thread. Conversions round to nearest even; NaN stays NaN; exact in the widening
 * direction. Formulas: IEEE 754-2019, binary interchange formats.
 */
#ifndef BASE_HALF_H
#define BASE_HALF_H

#include <stdint.h>
#include <string.h>

static inline float f32_from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t f32_to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Exponent and mantissa move up; multiplying by 2^112 corrects the bias, denormals included; what
 * comes out at 2^16 or more was infinity or NaN. */
static inline float f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    float magnitude = f32_from_bits((uint32_t)(h & 0x7fff) << 13) * 0x1p112f;
    uint32_t bits = f32_to_bits(magnitude);
    if (magnitude >= 65536.0f)
        bits |= 0x7f800000;
    return f32_from_bits(sign | bits);
}

static inline uint16_t f16_from_f32(float value)
{
    uint32_t bits = f32_to_bits(value), sign = bits >> 16 & 0x8000;
    bits &= 0x7fffffff;
    if (bits > 0x7f800000)
        return (uint16_t)(sign | 0x7e00);
    if (bits >= 0x477ff000) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00);
    if (bits < 0x38800000) { /* below 2^-14: adding 0.5 leaves the denormal in the low bits */
        float shifted = f32_from_bits(bits) + 0.5f;
        return (uint16_t)(sign | (f32_to_bits(shifted) - 0x3f000000));
    }
    bits += 0xfff + (bits >> 13 & 1);
    return (uint16_t)(sign | (bits - 0x38000000) >> 13);
}

static inline float bf16_to_f32(uint16_t h)
{
    return f32_from_bits((uint32_t)h << 16);
}

static inline uint16_t bf16_from_f32(float value)
{
    uint32_t bits = f32_to_bits(value);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

#endif
