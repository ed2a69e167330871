/*
 * super.h — superblocks of 256 weights with a small whole scale per 16: x = (d × scale) × q.
 *
 * What formats share whose quants need unpacking first: each gives a function for that, and decodes
 * and multiplies through it. Owns nothing; any thread.
 */
#ifndef QUANT_SUPER_H
#define QUANT_SUPER_H

#include <stddef.h>
#include <stdint.h>

#include "quant/dtype.h"

enum { SUPER_ELEMS = 256, SUPER_SUB = 16 };

struct super {
    float d;
    int8_t scale[SUPER_ELEMS / SUPER_SUB];
    int8_t q[SUPER_ELEMS];
};

struct super_format {
    size_t bytes; /* per block */
    void (*unpack)(const uint8_t *block, struct super *out);
};

/* Decodes n (a multiple of 256) weights. */
void super_decode(const struct super_format *format, const uint8_t *blocks, float *out, size_t n);

/* Their integer form. */
void super_to_int(const struct super_format *format, const uint8_t *blocks,
                  const struct int_form *out, size_t n);

#endif
