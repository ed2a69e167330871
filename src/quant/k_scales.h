/*
 * k_scales.h — what the K formats with minima share: x = (d × scale) × q − (dmin × min), scale and
 * min small integers per sub-block.
 *
 * The 12 bytes of 6-bit scales and minima of Q4_K and Q5_K: sub-blocks 0–3 have scale and minimum
 * in the low six bits of bytes j and j + 4; sub-blocks 4–7 have their low four bits in the halves
 * of byte j + 4, their high two bits in the top of bytes j − 4 and j. Owns nothing; any thread.
 */
#ifndef QUANT_K_SCALES_H
#define QUANT_K_SCALES_H

#include <stdint.h>

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

/* How 256 values are divided: sub_elems (16 or 32) per sub-block, q in [0, q_max], scale and min in
 * [0, level_max]. */
struct k_shape {
    int sub_elems, q_max, level_max;
};

struct k_block {
    uint8_t head[4]; /* d and dmin as halves, as they stand in the file */
    uint8_t scale[16], min[16];
    int8_t q[256];
};

/* Encodes 256 values; least squares per sub-block, then the neighbours of the rounded levels. */
void k_block_encode(const float *x, struct k_shape shape, struct k_block *out);

#endif
