/*
 * q8_act.h — activations in blocks of 32 signed bytes, the input of integer dot products.
 *
 * A value is d × q with d = max|x| / 127 of its block and q rounded to nearest (ties away from
 * zero, as roundf); `sum` is d × Σq, which formats with an offset need. Shared by the CPU and, in
 * the same numbers, by the shaders (shaders/matmul/quantize.comp). A plain struct: no ownership,
 * any thread.
 */
#ifndef QUANT_Q8_ACT_H
#define QUANT_Q8_ACT_H

#include <stddef.h>
#include <stdint.h>

enum { Q8_ACT_ELEMS = 32 };

struct q8_act {
    float d;
    float sum; /* d × Σ q */
    int8_t q[Q8_ACT_ELEMS];
};

/* Quantizes `n` floats (a multiple of 32) to n / 32 blocks. */
void q8_act_quantize(const float *x, struct q8_act *out, size_t n);

#endif
