/*
 * halve_args.h — activations to halves, each row by a power of two, or to bfloat16.
 *
 * Halves: [row][k], k filled up with zeros to a multiple of 32. Scales: one float per row, with
 * which products are multiplied: the inverse of that power. Of bfloat16 there are none.
 */
#ifndef SHADERS_HALVE_ARGS_H
#define SHADERS_HALVE_ARGS_H

#include "common/shared.h"

struct halve_args {
    ref_t batch;
    u32 rows_field; /* BATCH_N_TOKENS or BATCH_N_OUTPUTS */
    u32 per_row;    /* rows of x per token */
    u32 k;          /* a multiple of 8 */
    ref_t x;        /* F32 */
    u32 x_stride;
    ref_t halves; /* out */
    ref_t scales; /* out */
};

#endif
