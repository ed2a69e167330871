/*
 * block.h — reading and writing the fields of packed blocks, for the files of this folder.
 *
 * Owns nothing. Blocks are little-endian and may lie at any address. Any thread.
 */
#ifndef QUANT_BLOCK_H
#define QUANT_BLOCK_H

#include <stdint.h>

#include "base/half.h"

static inline uint16_t load_u16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t load_u32(const uint8_t *p)
{
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline void store_u16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static inline void store_u32(uint8_t *p, uint32_t value)
{
    store_u16(p, (uint16_t)value);
    store_u16(p + 2, (uint16_t)(value >> 16));
}

static inline float load_f16(const uint8_t *p)
{
    return f16_to_f32(load_u16(p));
}

/* Stores the nearest finite half and returns it: a scale never becomes infinite. */
static inline float store_f16(uint8_t *p, float value)
{
    value = value > -65504.0f ? value : -65504.0f;
    value = value < 65504.0f ? value : 65504.0f;
    uint16_t half = f16_from_f32(value);
    store_u16(p, half);
    return f16_to_f32(half);
}

#endif
