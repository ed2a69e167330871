/* Q4_1: 32 weights, x = d × q + m. d and m are halves, then 16 bytes: weight i in the low half of
 * byte i, weight i + 16 in its high half. */
#include "quant/dtype.h"

#include <math.h>

#include "quant/block.h"
#include "quant/fit.h"

enum { ELEMS = 32, BYTES = 20 };

static void decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *in = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, out += ELEMS) {
        float d = load_f16(in), m = load_f16(in + 2);
        for (int i = 0; i < 16; i++) {
            out[i] = d * (float)(in[4 + i] & 15) + m;
            out[i + 16] = d * (float)(in[4 + i] >> 4) + m;
        }
    }
}

static void encode(const float *values, void *blocks, size_t n)
{
    uint8_t *out = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, out += BYTES, values += ELEMS) {
        int8_t q[ELEMS];
        struct fit_line line = fit_line(values, ELEMS, 15, INFINITY);
        line.d = store_f16(out, line.d);
        line.m = store_f16(out + 2, line.m);
        fit_round(values, ELEMS, line, 0, 15, q);
        for (int i = 0; i < 16; i++)
            out[4 + i] = (uint8_t)(q[i] | q[i + 16] << 4);
    }
}

static void to_int(const void *blocks, const struct int_form *out, size_t n)
{
    const uint8_t *in = blocks;
    int8_t *restrict q = out->q;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, q += ELEMS) {
        out->scale[b] = load_f16(in);
        out->min[b] = load_f16(in + 2);
        for (int i = 0; i < 16; i++) {
            q[i] = (int8_t)(in[4 + i] & 15);
            q[i + 16] = (int8_t)(in[4 + i] >> 4);
        }
    }
}

const struct dtype dtype_q4_1 = {
    .name = "Q4_1",
    .shader = "q4_1",
    .gguf_id = 3,
    .block_elems = ELEMS,
    .block_bytes = BYTES,
    .scale_bytes = 4,
    .decode = decode,
    .encode = encode,
    .sub_elems = 32,
    .has_min = true,
    .to_int = to_int,
};
