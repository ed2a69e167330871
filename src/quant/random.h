/*
 * random.h — weights of any format that no file gave: for checking kernels and for timing them.
 *
 * Owns nothing. Pure functions: any thread.
 */
#ifndef QUANT_RANDOM_H
#define QUANT_RANDOM_H

#include "base/rng.h"
#include "quant/dtype.h"

/* Fills `n` elements (a multiple of block_elems) with blocks drawn from a store of 128, which are
 * normal numbers encoded or, of a format that can only be read, random bytes that decode to numbers
 * near 1. False: no memory. */
bool dtype_random(const struct dtype *type, struct rng *rng, void *blocks, uint64_t n);

#endif
