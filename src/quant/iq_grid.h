/*
 * iq_grid.h — groups of weights that IQ1, IQ2 and IQ3 look up: magnitudes by index, signs by bits.
 *
 * The tables themselves are in shaders/common/iq_grids.h, which says how an entry is packed. Owns
 * the one that two formats use. Any thread.
 */
#ifndef QUANT_IQ_GRID_H
#define QUANT_IQ_GRID_H

#include <stdint.h>

/* IQ1_S, IQ1_M: 2048 entries of codes 0, 1, 2 for −1, 0, 1. */
extern const uint32_t iq1_grid[];

static inline unsigned iq_entry(const uint32_t *grid, unsigned index)
{
    return grid[index / 2] >> (index % 2 * 16) & 0xffff;
}

/* Code of value i (0–7) of a group of 8. */
static inline int iq_code(unsigned entry, int i)
{
    return (int)(entry >> (i % 4 * 4 + i / 4 * 2) & 3);
}

/* Eight signs of which seven are stored: an even number of them is set. */
static inline unsigned iq_signs(unsigned seven)
{
    unsigned odd = seven ^ seven >> 4;
    odd ^= odd >> 2;
    odd ^= odd >> 1;
    return seven | (odd & 1) << 7;
}

/* A group of 8: magnitudes 8, 25, 43 by code; bit i of `signs` makes value i negative. */
void iq2_group(unsigned entry, unsigned signs, int8_t q[8]);

/* A group of 4: an entry of IQ3, which is its magnitudes. */
void iq3_group(uint32_t entry, unsigned signs, int8_t q[4]);

/* A group of 8: 8 × (−1, 0, 1 by code) + 1, or − 1 if `minus`. */
void iq1_group(unsigned entry, unsigned minus, int8_t q[8]);

#endif
