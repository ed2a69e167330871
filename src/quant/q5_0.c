/* Q5_0: 32 weights, x = d × (q − 16). Half d, 32 bits of which bit i is the fifth bit of weight i,
 * then 16 bytes: the low four bits of weight i in the low half of byte i, of i + 16 in its high
 * half. */
#include "quant/dtype.h"

#include "quant/block.h"
#include "quant/fit.h"

enum { ELEMS = 32, BYTES = 22, HIGH = 2, QUANTS = 6 };

static void unpack(const uint8_t *in, int8_t q[ELEMS])
{
    uint32_t high = load_u32(in + HIGH);
    for (int i = 0; i < 16; i++) {
        q[i] = (int8_t)(((in[QUANTS + i] & 15) | (high >> i & 1) << 4) - 16);
        q[i + 16] = (int8_t)((in[QUANTS + i] >> 4 | (high >> (i + 16) & 1) << 4) - 16);
    }
}

static void decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *in = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, out += ELEMS) {
        float d = load_f16(in);
        int8_t q[ELEMS];
        unpack(in, q);
        for (int i = 0; i < ELEMS; i++)
            out[i] = d * (float)q[i];
    }
}

static void encode(const float *values, void *blocks, size_t n)
{
    uint8_t *out = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, out += BYTES, values += ELEMS) {
        int8_t q[ELEMS];
        uint32_t high = 0;
        float d = store_f16(out, fit_scale(values, ELEMS, -16, 15));
        fit_round(values, ELEMS, (struct fit_line){d, 0}, -16, 15, q);
        for (int i = 0; i < ELEMS; i++)
            high |= (uint32_t)((q[i] + 16) >> 4) << i;
        store_u32(out + HIGH, high);
        for (int i = 0; i < 16; i++)
            out[QUANTS + i] = (uint8_t)(((q[i] + 16) & 15) | ((q[i + 16] + 16) & 15) << 4);
    }
}

static void to_int(const void *blocks, const struct int_form *out, size_t n)
{
    const uint8_t *in = blocks;
    int8_t *restrict q = out->q;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, q += ELEMS) {
        out->scale[b] = load_f16(in);
        unpack(in, q);
    }
}

const struct dtype dtype_q5_0 = {
    .name = "Q5_0",
    .shader = "q5_0",
    .gguf_id = 6,
    .block_elems = ELEMS,
    .block_bytes = BYTES,
    .scale_bytes = 2,
    .decode = decode,
    .encode = encode,
    .sub_elems = 32,
    .to_int = to_int,
};
