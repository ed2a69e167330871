/* MXFP4: 32 weights, x = 2^(e − 127) × E2M1 (OCP Microscaling Formats 1.0), written here with
 * doubled elements and the half of that scale. Byte e, then 16 bytes: the code of weight i in the
 * low half of byte i, of i + 16 in its high half. e = 255, NaN in the OCP text, is 2^128 as in the
 * files' own reference: nothing writes it. */
#include "quant/dtype.h"

#include <math.h>

#include "quant/block.h"
#include "quant/codebook.h"

enum { ELEMS = 32, BYTES = 17 };

/* 2^(e − 128), denormal for e = 0 and 1. */
static float half_scale(unsigned e)
{
    return f32_from_bits(e < 2 ? 0x00200000u << e : (e - 1) << 23);
}

static void decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *in = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, out += ELEMS) {
        float d = half_scale(in[0]);
        for (int i = 0; i < 16; i++) {
            out[i] = d * (float)codebook_e2m1[in[1 + i] & 15];
            out[i + 16] = d * (float)codebook_e2m1[in[1 + i] >> 4];
        }
    }
}

/* Ascending, with zero twice so that there are sixteen. */
static const int8_t levels[16] = {-12, -8, -6, -4, -3, -2, -1, 0, 0, 1, 2, 3, 4, 6, 8, 12};

/* The code of a place in `levels`. */
static unsigned code_of(unsigned place)
{
    return place < 8 ? 15 - place : place - 8;
}

enum { E_MIN = 2, E_MAX = 252 }; /* scales that are normal and whose elements are finite */

static unsigned valid_exponent(int e)
{
    return (unsigned)(e < E_MIN ? E_MIN : e > E_MAX ? E_MAX : e);
}

/* Of the power of two that surely holds the largest value and the two below it, the one with the
 * least error. */
static void encode_block(const float *x, uint8_t *out)
{
    float amax = 0;
    for (int i = 0; i < ELEMS; i++) {
        float a = fabsf(x[i]);
        amax = a > amax ? a : amax;
    }
    int exponent = 0; /* amax < 2^exponent, which 6 × 2^(exponent − 2) holds */
    frexpf(amax < 0x1p126f ? amax : 0x1p126f, &exponent);
    /* The first stays if the squares of errors overflow. */
    unsigned best = valid_exponent(exponent + 128 - 3);
    uint8_t place[ELEMS];
    float best_error = INFINITY;
    for (int step = 0; step < 3; step++) {
        unsigned e = valid_exponent(exponent + 128 - 3 - step);
        float error = codebook_round(x, ELEMS, half_scale(e), levels, place);
        if (error < best_error) {
            best_error = error;
            best = e;
        }
    }
    codebook_round(x, ELEMS, half_scale(best), levels, place);
    out[0] = (uint8_t)best;
    for (int i = 0; i < 16; i++)
        out[1 + i] = (uint8_t)(code_of(place[i]) | code_of(place[i + 16]) << 4);
}

static void encode(const float *values, void *blocks, size_t n)
{
    for (size_t b = 0; b < n / ELEMS; b++)
        encode_block(values + b * ELEMS, (uint8_t *)blocks + b * BYTES);
}

static void to_int(const void *blocks, const struct int_form *out, size_t n)
{
    const uint8_t *in = blocks;
    int8_t *restrict q = out->q;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, q += ELEMS) {
        out->scale[b] = half_scale(in[0]);
        for (int i = 0; i < 16; i++) {
            q[i] = codebook_e2m1[in[1 + i] & 15];
            q[i + 16] = codebook_e2m1[in[1 + i] >> 4];
        }
    }
}

const struct dtype dtype_mxfp4 = {
    .name = "MXFP4",
    .shader = "mxfp4",
    .gguf_id = 39,
    .block_elems = ELEMS,
    .block_bytes = BYTES,
    .scale_bytes = 1,
    .decode = decode,
    .encode = encode,
    .sub_elems = 32,
    .to_int = to_int,
};
