/*
 * quantize_args.h — activations to signed bytes: 32 to a block, as quant/q8_act.h defines.
 *
 * Bytes: [column][k] packed four to a word. Scales: four floats per block: d, d × Σq of its first and
 * of its second 16, and 0.
 */
#ifndef SHADERS_QUANTIZE_ARGS_H
#define SHADERS_QUANTIZE_ARGS_H

#include "common/shared.h"

struct quantize_args {
    ref_t batch;
    u32 rows_field; /* BATCH_N_TOKENS or BATCH_N_OUTPUTS */
    u32 per_row;    /* columns per token */
    u32 k;          /* a multiple of 32 */
    ref_t x;        /* F32 */
    u32 x_stride;
    ref_t q;        /* out */
    ref_t scales;   /* out */
};

#endif
