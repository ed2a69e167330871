/* IQ4_XS: 256 weights in 8 sub-blocks of 32, x = (d × (scale − 32)) × level[code] (codebook.h).
 * Half d, 16 bits of which 2j, 2j + 1 are the high bits of scale j, 4 bytes with the low four bits
 * of two scales each (even sub-block in the low half), then 16 bytes per sub-block as in IQ4_NL. */
#include "quant/dtype.h"

#include <math.h>
#include <string.h>

#include "quant/block.h"
#include "quant/codebook.h"
#include "quant/fit.h"

enum { ELEMS = 256, BYTES = 136, HIGH = 2, LOW = 4, QUANTS = 8, SUBS = 8, SUB = 32 };

static int scale_at(const uint8_t *in, int j)
{
    int low = in[LOW + j / 2] >> (j % 2 * 4) & 15, high = load_u16(in + HIGH) >> (2 * j) & 3;
    return (low | high << 4) - 32;
}

static void decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *in = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES) {
        float d = load_f16(in);
        for (int j = 0; j < SUBS; j++, out += SUB) {
            const uint8_t *codes = in + QUANTS + j * 16;
            float scale = d * (float)scale_at(in, j);
            for (int i = 0; i < 16; i++) {
                out[i] = scale * (float)codebook_iq4[codes[i] & 15];
                out[i + 16] = scale * (float)codebook_iq4[codes[i] >> 4];
            }
        }
    }
}

static void encode_block(const float *x, uint8_t *out)
{
    float fits[SUBS], max = 0;
    for (int j = 0; j < SUBS; j++) {
        fits[j] = codebook_fit(x + j * SUB, SUB, codebook_iq4);
        max = fabsf(fits[j]) > max ? fabsf(fits[j]) : max;
    }
    memset(out, 0, QUANTS);
    float d = store_f16(out, max / 31), inverse = d > 0 ? 1 / d : 0;
    int high = 0;
    for (int j = 0; j < SUBS; j++) {
        uint8_t code[SUB], *codes = out + QUANTS + j * 16;
        int scale = fit_nearest(fits[j] * inverse, -31, 31);
        codebook_round(x + j * SUB, SUB, d * (float)scale, codebook_iq4, code);
        for (int i = 0; i < 16; i++)
            codes[i] = (uint8_t)(code[i] | code[i + 16] << 4);
        out[LOW + j / 2] |= (uint8_t)(((scale + 32) & 15) << j % 2 * 4);
        high |= (scale + 32) >> 4 << 2 * j;
    }
    store_u16(out + HIGH, (uint16_t)high);
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
    float *scale = out->scale;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, q += ELEMS) {
        float d = load_f16(in);
        for (int j = 0; j < SUBS; j++) {
            const uint8_t *codes = in + QUANTS + j * 16;
            *scale++ = d * (float)scale_at(in, j);
            for (int i = 0; i < 16; i++) {
                q[j * SUB + i] = codebook_iq4[codes[i] & 15];
                q[j * SUB + i + 16] = codebook_iq4[codes[i] >> 4];
            }
        }
    }
}

const struct dtype dtype_iq4_xs = {
    .name = "IQ4_XS",
    .shader = "iq4_xs",
    .gguf_id = 23,
    .block_elems = ELEMS,
    .block_bytes = BYTES,
    .scale_bytes = 2,
    .decode = decode,
    .encode = encode,
    .sub_elems = 32,
    .to_int = to_int,
};
