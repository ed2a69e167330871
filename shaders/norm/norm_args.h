/*
 * norm_args.h — arguments of norms over rows; RMS norm may add a residual first.
 */
#ifndef SHADERS_NORM_ARGS_H
#define SHADERS_NORM_ARGS_H

#include "common/shared.h"

struct norm_args {
    ref_t batch;
    u32 rows_field; /* BATCH_N_TOKENS or BATCH_N_OUTPUTS */
    u32 per_row;    /* rows per token (heads) */
    u32 n;          /* length of a row */
    ref_t x;
    ref_t add;  /* added first, or REF_NONE */
    ref_t sum;  /* where x + add goes, if add is there */
    ref_t w;    /* [n] or REF_NONE */
    ref_t bias; /* [n] or REF_NONE */
    ref_t y;
    u32 x_stride; /* elements between tokens; rows of one token are n apart */
    u32 add_stride;
    u32 sum_stride;
    u32 y_stride;
    f32 eps;
};

#endif
