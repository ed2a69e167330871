/* Q8_0: 32 weights, x = d × q. d is a half, then 32 signed bytes. */
#include "quant/dtype.h"

#include <math.h>
#include <string.h>

#include "quant/block.h"
#include "quant/fit.h"

enum { ELEMS = 32, BYTES = 34 };

static void decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *in = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, out += ELEMS) {
        float d = load_f16(in);
        for (int i = 0; i < ELEMS; i++)
            out[i] = d * (float)(int8_t)in[2 + i];
    }
}

/* Eight bits leave a search for a better scale nothing to win: d = max|x| / 127. */
static void encode(const float *values, void *blocks, size_t n)
{
    uint8_t *out = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, out += BYTES, values += ELEMS) {
        float max = 0;
        for (int i = 0; i < ELEMS; i++) {
            float a = fabsf(values[i]);
            max = a > max ? a : max;
        }
        float d = store_f16(out, max / 127.0f), inverse = d > 0 ? 1.0f / d : 0;
        for (int i = 0; i < ELEMS; i++)
            out[2 + i] = (uint8_t)fit_nearest(values[i] * inverse, -127, 127);
    }
}

static void to_int(const void *blocks, const struct int_form *out, size_t n)
{
    const uint8_t *in = blocks;
    int8_t *restrict q = out->q;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, q += ELEMS) {
        out->scale[b] = load_f16(in);
        memcpy(q, in + 2, ELEMS);
    }
}

const struct dtype dtype_q8_0 = {
    .name = "Q8_0",
    .shader = "q8_0",
    .gguf_id = 8,
    .block_elems = ELEMS,
    .block_bytes = BYTES,
    .scale_bytes = 2,
    .decode = decode,
    .encode = encode,
    .sub_elems = 32,
    .to_int = to_int,
};
