/*
 * elementwise_args.h — arguments of ops that make each element from one or two others.
 */
#ifndef SHADERS_ELEMENTWISE_ARGS_H
#define SHADERS_ELEMENTWISE_ARGS_H

#include "common/shared.h"

struct elementwise_args {
    ref_t batch;
    u32 rows_field; /* BATCH_N_TOKENS or BATCH_N_OUTPUTS */
    u32 n;          /* elements per token, a multiple of `row` */
    u32 row;        /* ne[0]: period of a broadcast b */
    ref_t x;
    ref_t b;        /* or REF_NONE */
    ref_t y;
    u32 x_stride, b_stride, y_stride; /* elements between tokens */
    u32 b_is_row;   /* 1: b is one row for all */
    f32 scale;      /* scale op */
    f32 log_scale;
    u32 log_length;
};

#endif
