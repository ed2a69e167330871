/*
 * random.h — weights of any format that no file gave: for checking kernels and for timing them.
 *
 * Owns nothing. Pure functions: any thread.
 */
#ifndef QUANT_RANDOM_H
#define QUANT_RANDOM_H

#include "base/rng.h"
#include "quant/dtype.h"

enum { RANDOM_SERIES = 256 };

/* Writes block `index` of a series of bit patterns that no encoder may make: in any RANDOM_SERIES
 * blocks that follow each other, each byte outside the scales (dtype.h) has each value once. The
 * scales are random, such that the largest number is between 1/4 and 4. Of MXFP4 each eighth block,
 * from 0 on, has instead one of the smallest exponents, counting up from 0: beside others such a
 * block counts for nothing, unless it is read wrongly. */
void dtype_random_block(const struct dtype *type, struct rng *rng, uint64_t index, void *block);

/* Fills `n` elements (a multiple of block_elems) with blocks of a store: first each once, then at
 * random. Half of the store are normal numbers encoded, the other half (all, of a format that can
 * only be read) blocks of the series above. False: no memory. */
bool dtype_random(const struct dtype *type, struct rng *rng, void *blocks, uint64_t n);

#endif
