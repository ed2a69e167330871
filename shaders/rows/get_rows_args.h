/*
 * get_rows_args.h — arguments of gathering rows of a table.
 */
#ifndef SHADERS_GET_ROWS_ARGS_H
#define SHADERS_GET_ROWS_ARGS_H

#include "common/shared.h"

struct get_rows_args {
    ref_t batch;
    u32 rows_field; /* BATCH_N_TOKENS or BATCH_N_OUTPUTS */
    u32 index;      /* BATCH_IDS or BATCH_OUTPUTS: which rows are wanted */
    u32 k;          /* length of a row, in elements */
    ref_t table;
    u32 first;      /* row of the whole table that `table` begins with */
    u32 count;      /* rows in `table`; others are left to another dispatch */
    ref_t y;
    u32 y_stride;
};

#endif
