/* Q6_K: 256 weights in 16 sub-blocks of 16, x = (d × scale) × (q − 32). Each half of 128 weights
 * has 64 bytes of low four bits and 32 bytes of high two: weight i of its 32-runs 0, 1 has the low
 * halves of bytes i, i + 32, of runs 2, 3 the high halves; run r has bits 2r, 2r + 1 of high byte
 * i. Then 16 signed scales and the half d. */
#include "quant/dtype.h"

#include <math.h>
#include <string.h>

#include "quant/block.h"
#include "quant/fit.h"

enum { ELEMS = 256, BYTES = 210, HIGH = 128, SCALES = 192, D = 208, SUBS = 16, SUB = 16 };

/* The 128 weights of one half, from −32 to 31. */
static void unpack_half(const uint8_t *in, int half, int8_t q[128])
{
    const uint8_t *low = in + half * 64, *high = in + HIGH + half * 32;
    for (int i = 0; i < 32; i++) {
        q[i] = (int8_t)(((low[i] & 15) | (high[i] & 3) << 4) - 32);
        q[i + 32] = (int8_t)(((low[i + 32] & 15) | (high[i] >> 2 & 3) << 4) - 32);
        q[i + 64] = (int8_t)((low[i] >> 4 | (high[i] >> 4 & 3) << 4) - 32);
        q[i + 96] = (int8_t)((low[i + 32] >> 4 | high[i] >> 6 << 4) - 32);
    }
}

static void pack_half(const int8_t q[128], int half, uint8_t *out)
{
    uint8_t *low = out + half * 64, *high = out + HIGH + half * 32;
    for (int i = 0; i < 32; i++) {
        int a = q[i] + 32, b = q[i + 32] + 32, c = q[i + 64] + 32, d = q[i + 96] + 32;
        low[i] = (uint8_t)((a & 15) | (c & 15) << 4);
        low[i + 32] = (uint8_t)((b & 15) | (d & 15) << 4);
        high[i] = (uint8_t)(a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6);
    }
}

static void decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *in = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES) {
        float d = load_f16(in + D);
        for (int half = 0; half < 2; half++) {
            int8_t q[128];
            unpack_half(in, half, q);
            for (int j = 0; j < 8; j++, out += SUB) {
                float scale = d * (float)(int8_t)in[SCALES + half * 8 + j];
                for (int i = 0; i < SUB; i++)
                    out[i] = scale * (float)q[j * SUB + i];
            }
        }
    }
}

static void encode_block(const float *x, uint8_t *out)
{
    float fits[SUBS], max = 0;
    for (int j = 0; j < SUBS; j++) {
        fits[j] = fit_scale(x + j * SUB, SUB, -32, 31);
        max = fabsf(fits[j]) > max ? fabsf(fits[j]) : max;
    }
    float d = store_f16(out + D, max / 127), inverse = d > 0 ? 1 / d : 0;
    int8_t q[ELEMS];
    for (int j = 0; j < SUBS; j++) {
        int scale = fit_nearest(fits[j] * inverse, -127, 127);
        out[SCALES + j] = (uint8_t)scale;
        struct fit_line line = {d * (float)scale, 0};
        fit_round(x + j * SUB, SUB, line, -32, 31, q + j * SUB);
    }
    pack_half(q, 0, out);
    pack_half(q + 128, 1, out);
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
        float d = load_f16(in + D);
        for (int j = 0; j < SUBS; j++)
            *scale++ = d * (float)(int8_t)in[SCALES + j];
        unpack_half(in, 0, q);
        unpack_half(in, 1, q + 128);
    }
}

const struct dtype dtype_q6_k = {
    .name = "Q6_K",
    .shader = "q6_k",
    .gguf_id = 14,
    .block_elems = ELEMS,
    .block_bytes = BYTES,
    .scale_at = D,
    .scale_bytes = 2,
    .decode = decode,
    .encode = encode,
    .sub_elems = 16,
    .to_int = to_int,
};
