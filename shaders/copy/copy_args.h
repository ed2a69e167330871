/*
 * copy_args.h — arguments of the copy of rows of 4-byte elements.
 */
#ifndef SHADERS_COPY_ARGS_H
#define SHADERS_COPY_ARGS_H

#include "common/shared.h"

struct copy_args {
    ref_t batch;
    u32 rows_field; /* BATCH_N_TOKENS or BATCH_N_OUTPUTS */
    u32 n;          /* elements per token */
    ref_t x, y;
    u32 x_stride, y_stride; /* elements between tokens */
};

#endif
