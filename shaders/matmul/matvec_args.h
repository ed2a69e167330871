/*
 * matvec_args.h — arguments of W·x for few columns: up to three weights that share x, or gate and up;
 * of x / rms(x) × norm where there is a norm; of experts each, or summed up.
 */
#ifndef SHADERS_MATVEC_ARGS_H
#define SHADERS_MATVEC_ARGS_H

#include "common/shared.h"

struct matvec_args {
    ref_t batch;
    u32 rows_field;   /* BATCH_N_TOKENS or BATCH_N_OUTPUTS: which columns are really there */
    u32 k;            /* length of a row of W, in elements */
    u32 x_stride;     /* elements between columns of x */
    ref_t x;
    ref_t residual;   /* added to part 0, laid out as y; or REF_NONE */
    ref_t ids;        /* expert of each (column, slot), I32; or REF_NONE */
    u32 n_used;       /* slots per column */
    u32 x_per_slot;   /* 1: x has a column for each slot */
    ref_t table[2];   /* places of the experts of w[0] and w[1] */
    ref_t w[3];
    ref_t y[3];
    ref_t bias[3];    /* or REF_NONE */
    u32 n[3];         /* rows of W handled here; 0: no such part */
    u32 y_stride[3];  /* elements between columns of y */
    u32 y_first[3];   /* row of y that the first row of W makes */
    ref_t norm;       /* NORM: [k] */
    f32 eps;
    ref_t shares;     /* SUM: how much of each expert, [n_used, T] */
};

#endif
