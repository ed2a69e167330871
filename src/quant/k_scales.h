/*
 * k_scales.h — the 12 bytes of 6-bit scales and minima that Q4_K and Q5_K share.
 *
 * Sub-blocks 0–3 have scale and minimum in the low six bits of bytes j and j + 4. Sub-blocks 4–7
 * have their low four bits in the halves of byte j + 4, their high two bits in the top of bytes j −
 * 4 and j. Owns nothing; any thread.
 */
#ifndef QUANT_K_SCALES_H
#define QUANT_K_SCALES_H

#include <stdint.h>

#include "quant/q8_act.h"

static inline void k_scales_unpack(const uint8_t *packed, uint8_t scale[8], uint8_t min[8])
{
    for (int j = 0; j < 4; j++) {
        scale[j] = packed[j] & 63;
        min[j] = packed[j + 4] & 63;
        scale[j + 4] = (uint8_t)((packed[j + 8] & 15) | packed[j] >> 6 << 4);
        min[j + 4] = (uint8_t)(packed[j + 8] >> 4 | packed[j + 4] >> 6 << 4);
    }
}

static inline void k_scales_pack(const uint8_t scale[8], const uint8_t min[8], uint8_t *packed)
{
    for (int j = 0; j < 4; j++) {
        packed[j] = (uint8_t)(scale[j] | scale[j + 4] >> 4 << 6);
        packed[j + 4] = (uint8_t)(min[j] | min[j + 4] >> 4 << 6);
        packed[j + 8] = (uint8_t)((scale[j + 4] & 15) | (min[j + 4] & 15) << 4);
    }
}

/* Encodes 256 values as 8 sub-blocks x ≈ d × scale × q − dmin × min with q in [0, q_max]: writes d,
 * dmin (halves) and the packed scales, 16 bytes in all, to `head`, and the integers to `q`. */
void k_scales_encode(const float *x, int q_max, uint8_t *head, int8_t *q);

#endif
