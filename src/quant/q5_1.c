/* Q5_1: 32 weights, x = d × q + m. Halves d and m, 32 bits of which bit i is the fifth bit of
 * weight i, then 16 bytes: the low four bits of weight i in the low half of byte i, of i + 16 in
 * its high half. */
#include "quant/dtype.h"

#include <math.h>

#include "quant/block.h"
#include "quant/fit.h"

enum { ELEMS = 32, BYTES = 24, HIGH = 4, QUANTS = 8 };

static void unpack(const uint8_t *in, int8_t q[ELEMS])
{
    uint32_t high = load_u32(in + HIGH);
    for (int i = 0; i < 16; i++) {
        q[i] = (int8_t)((in[QUANTS + i] & 15) | (high >> i & 1) << 4);
        q[i + 16] = (int8_t)(in[QUANTS + i] >> 4 | (high >> (i + 16) & 1) << 4);
    }
}

static void decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *in = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, out += ELEMS) {
        float d = load_f16(in), m = load_f16(in + 2);
        int8_t q[ELEMS];
        unpack(in, q);
        for (int i = 0; i < ELEMS; i++)
            out[i] = d * (float)q[i] + m;
    }
}

static void encode(const float *values, void *blocks, size_t n)
{
    uint8_t *out = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, out += BYTES, values += ELEMS) {
        int8_t q[ELEMS];
        uint32_t high = 0;
        struct fit_line line = fit_line(values, ELEMS, 31, INFINITY);
        line.d = store_f16(out, line.d);
        line.m = store_f16(out + 2, line.m);
        fit_round(values, ELEMS, line, 0, 31, q);
        for (int i = 0; i < ELEMS; i++)
            high |= (uint32_t)(q[i] >> 4) << i;
        store_u32(out + HIGH, high);
        for (int i = 0; i < 16; i++)
            out[QUANTS + i] = (uint8_t)((q[i] & 15) | (q[i + 16] & 15) << 4);
    }
}

static void to_int(const void *blocks, const struct int_form *out, size_t n)
{
    const uint8_t *in = blocks;
    int8_t *restrict q = out->q;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, q += ELEMS) {
        out->scale[b] = load_f16(in);
        out->min[b] = load_f16(in + 2);
        unpack(in, q);
    }
}

const struct dtype dtype_q5_1 = {
    .name = "Q5_1",
    .shader = "q5_1",
    .gguf_id = 7,
    .block_elems = ELEMS,
    .block_bytes = BYTES,
    .scale_bytes = 4,
    .decode = decode,
    .encode = encode,
    .sub_elems = 32,
    .has_min = true,
    .to_int = to_int,
};
