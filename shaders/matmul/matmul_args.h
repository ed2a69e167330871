/*
 * matmul_args.h — arguments of W·x for many columns, in tiles.
 */
#ifndef SHADERS_MATMUL_ARGS_H
#define SHADERS_MATMUL_ARGS_H

#include "common/shared.h"

struct matmul_args {
    ref_t batch;
    u32 rows_field; /* BATCH_N_TOKENS or BATCH_N_OUTPUTS: which columns are really there */
    u32 k;          /* length of a row of W, in elements */
    u32 n;          /* rows of W handled here */
    ref_t w;
    ref_t x;        /* floats; what quantize_args.h or halve_args.h says where bytes or halves are
                       multiplied */
    u32 x_stride;   /* elements between columns of x */
    ref_t x_scales; /* theirs */
    ref_t y;
    u32 y_stride;   /* elements between columns of y */
    u32 y_first;    /* row of y that the first row of W makes */
    ref_t bias;     /* or REF_NONE */
    ref_t groups;   /* by expert: tiles and sorted slots (moe_args.h); or REF_NONE */
    ref_t table;    /* places of the experts */
    u32 n_used;     /* slots per column; 1 when not by expert */
    u32 x_per_slot; /* 1: x has a column for each slot */
};

#endif
