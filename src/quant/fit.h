/*
 * fit.h — scales for blocks that are being encoded, chosen by least squares.
 *
 * The method: for a number of trial scales round the values to integers, solve for the scale (and
 * offset) that fits those integers best in the mean square, keep the best. Inputs of any size, kind
 * or sign, infinities and NaN included, give finite results. Owns nothing; any thread.
 */
#ifndef QUANT_FIT_H
#define QUANT_FIT_H

#include <stddef.h>
#include <stdint.h>

enum { FIT_MAX = 256 }; /* values per fit */

/* Writes x / a, a the largest magnitude in x, clamped to [−1, 1]: sums of it can neither overflow
 * nor vanish. NaN becomes −1. Returns a, at most FLT_MAX; 0, with `out` unset, if it is too small
 * for any scale to matter. */
float fit_normalize(const float *x, size_t n, float *out);

/* Sums run in FIT_LANES independent chains, which is what lets a compiler use vectors for them
 * without reordering floats. */
enum { FIT_LANES = 8 };

static inline float fit_lanes_sum(const float lanes[FIT_LANES])
{
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
           ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

/* Σ a × b; n is a multiple of FIT_LANES. */
static inline float fit_dot(const float *a, const float *b, size_t n)
{
    float lanes[FIT_LANES] = {0};
    for (size_t i = 0; i < n; i += FIT_LANES)
        for (size_t l = 0; l < FIT_LANES; l++)
            lanes[l] += a[i + l] * b[i + l];
    return fit_lanes_sum(lanes);
}

/* The d for which x ≈ d × q, q an integer in [q_min, q_max] (q_min < 0), is best; it may be
 * negative where the range is not symmetric. `n` is a multiple of 8 up to FIT_MAX. All zeros give
 * 0. */
float fit_scale(const float *x, size_t n, int q_min, int q_max);

struct fit_line {
    float d, m;
};

/* The d ≥ 0 and m for which x ≈ d × q + m, q in [0, q_max], is best. With `m_max` 0 the offset
 * stays at or below zero, as the K formats need; INFINITY leaves it free. */
struct fit_line fit_line(const float *x, size_t n, int q_max, float m_max);

/* q = (x − m) / d rounded to nearest and clamped to [q_min, q_max]; all q_min or 0, whichever is
 * nearer to 0, when d is 0. Returns the squared error of d × q + m. */
float fit_round(const float *x, size_t n, struct fit_line line, int q_min, int q_max, int8_t *q);

/* The integer in [q_min, q_max] nearest to v, ties to even; NaN gives q_min. The range is within
 * ±2^20. Adding 1.5 × 2^23 leaves the integer in the low bits of the float. */
static inline int fit_nearest(float v, int q_min, int q_max)
{
    float low = (float)q_min, high = (float)q_max;
    v = v > low ? v : low;
    v = v < high ? v : high;
    union {
        float f;
        int32_t i;
    } magic = {v + 12582912.0f};
    return magic.i - 0x4b400000;
}

#endif
