/* Q4_0: 32 weights, x = d × (q − 8). d is a half, then 16 bytes: weight i in the low half of byte
 * i, weight i + 16 in its high half. */
#include "quant/dtype.h"

#include <math.h>

#include "quant/block.h"
#include "quant/fit.h"

enum { ELEMS = 32, BYTES = 18 };

static void decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *in = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, out += ELEMS) {
        float d = load_f16(in);
        for (int i = 0; i < 16; i++) {
            out[i] = d * (float)((in[2 + i] & 15) - 8);
            out[i + 16] = d * (float)((in[2 + i] >> 4) - 8);
        }
    }
}

static void put_block(const float *values, float scale, uint8_t *out)
{
    int8_t q[ELEMS];
    float d = store_f16(out, scale);
    fit_round(values, ELEMS, (struct fit_line){d, 0}, -8, 7, q);
    for (int i = 0; i < 16; i++)
        out[2 + i] = (uint8_t)((q[i] + 8) | (q[i + 16] + 8) << 4);
}

static void encode(const float *values, void *blocks, size_t n)
{
    uint8_t *out = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, out += BYTES, values += ELEMS)
        put_block(values, fit_scale(values, ELEMS, -8, 7), out);
}

/* The value that is farthest from zero becomes −8. */
static void encode_quick(const float *values, void *blocks, size_t n)
{
    uint8_t *out = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, out += BYTES, values += ELEMS) {
        float extreme = 0;
        for (int i = 0; i < ELEMS; i++)
            extreme = fabsf(values[i]) > fabsf(extreme) ? values[i] : extreme;
        put_block(values, extreme / -8.0f, out);
    }
}

static void to_int(const void *blocks, const struct int_form *out, size_t n)
{
    const uint8_t *in = blocks;
    int8_t *restrict q = out->q;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, q += ELEMS) {
        out->scale[b] = load_f16(in);
        for (int i = 0; i < 16; i++) {
            q[i] = (int8_t)((in[2 + i] & 15) - 8);
            q[i + 16] = (int8_t)((in[2 + i] >> 4) - 8);
        }
    }
}

const struct dtype dtype_q4_0 = {
    .name = "Q4_0",
    .shader = "q4_0",
    .gguf_id = 2,
    .block_elems = ELEMS,
    .block_bytes = BYTES,
    .scale_bytes = 2,
    .decode = decode,
    .encode = encode,
    .encode_quick = encode_quick,
    .sub_elems = 32,
    .to_int = to_int,
};
