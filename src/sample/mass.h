/*
 * mass.h — how likely candidates are, many at once, for the files of this folder.
 *
 * A mass is exp(logit − max). Owns nothing; any thread. Every value has the same bits whatever the
 * processor: wider registers compute the same operations, and sums go over LANES sums that each
 * take every LANES-th value, so that the order of additions is fixed.
 */
#ifndef SAMPLE_MASS_H
#define SAMPLE_MASS_H

#include <math.h>

#include "sample/stage.h"

enum { MASS_BLOCK = 64, MASS_LANES = 8 };

/* The masses of n items, at most MASS_BLOCK; 0 from there on. */
void mass_block(const struct candidate *items, size_t n, float max, double out[MASS_BLOCK]);

/* Stretches of equal length of the distances |center − logit|, from the smallest, `from`, on,
 * `scale` of them to a distance of 1. */
struct stretches {
    double center, from, scale;
    int32_t last;
};

static inline double stretch_place(const struct stretches *of, float logit)
{
    return (fabs(of->center - (double)logit) - of->from) * of->scale;
}

/* In which of them a logit is; what is further is in the last. It never falls where the distance
 * grows. */
static inline int32_t stretch_of(const struct stretches *of, float logit)
{
    double place = stretch_place(of, logit);
    return (int32_t)(place < of->last ? place : of->last);
}

/* The same of n items, at most MASS_BLOCK. */
void mass_stretches(const struct candidate *items, size_t n, const struct stretches *of,
                    int32_t out[MASS_BLOCK]);

/* The sum of count masses. */
double mass_sum(const struct candidate *items, size_t count, float max);

/* The largest logit. */
float logits_most(const struct candidate *items, size_t count);

/* The same, and the smallest that is finite, INFINITY if none is. */
void logits_bounds(const struct candidate *items, size_t count, float *least, float *most);

/* The sum of all lanes. */
static inline double lanes_sum(const double lanes[MASS_LANES])
{
    return ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) +
           ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]));
}

#endif
