/*
 * codebook.h — formats whose four-bit codes stand for unevenly spaced integers: x = d ×
 * value[code].
 *
 * Owns the tables. Any thread.
 */
#ifndef QUANT_CODEBOOK_H
#define QUANT_CODEBOOK_H

#include <stddef.h>
#include <stdint.h>

/* The levels of IQ4_NL and IQ4_XS, ascending; a level's place is its code. */
extern const int8_t codebook_iq4[16];

/* E2M1 (OCP Microscaling Formats 1.0, 5.3.3), doubled to be whole: 0, 0.5, 1, 1.5, 2, 3, 4, 6 by
 * code, then the same below zero. */
extern const int8_t codebook_e2m1[16];

/* The d, of either sign, for which x ≈ d × level is best; `levels` ascend, and the first is the
 * largest in magnitude. `n` is a multiple of 8 up to FIT_MAX. All zeros give 0. */
float codebook_fit(const float *x, size_t n, const int8_t levels[16]);

/* The place of the level nearest to each x / d, ties upwards; returns the squared error. */
float codebook_round(const float *x, size_t n, float d, const int8_t levels[16], uint8_t *place);

#endif
