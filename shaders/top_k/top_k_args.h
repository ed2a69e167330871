/*
 * top_k_args.h — arguments of the choice of a row's largest.
 *
 * What the slices of a row found (u32 words, row after row): [k][slices] keys, [k][slices] ids, both from the
 * largest on, [slices] bits of the largest magnitude.
 */
#ifndef SHADERS_TOP_K_ARGS_H
#define SHADERS_TOP_K_ARGS_H

#include "common/shared.h"

struct top_k_args {
    ref_t batch;
    u32 rows_field; /* BATCH_N_TOKENS or BATCH_N_OUTPUTS */
    u32 n;          /* length of a row */
    u32 k;
    u32 slices;     /* of a row */
    u32 slice;      /* its length; the last may be shorter */
    u32 merge;      /* 0: looks at slices of x; 1: at what they found */
    ref_t x;
    ref_t found;
    ref_t y;      /* out, I32 (op/top_k.h) */
    u32 x_stride; /* elements between rows */
    u32 y_stride;
};

#endif
