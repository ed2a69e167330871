/* Q3_K: 256 weights in 16 sub-blocks of 16, x = (d × (scale − 32)) × (q − 4). 32 bytes whose bit r
 * is the third bit of weight i of run r (of 32), 64 bytes of low two bits (of each half of 128
 * weights, run r has bits 2r, 2r + 1 of its 32 bytes), 12 bytes of 6-bit scales, half d. The low
 * four bits of scale j are in the low half of byte j, those of j + 8 in its high half; the high two
 * bits of scale j are bits 2 (j / 4) and up of byte 8 + j % 4. */
#include "quant/dtype.h"

#include <math.h>
#include <string.h>

#include "quant/block.h"
#include "quant/fit.h"

enum { ELEMS = 256, BYTES = 110, QUANTS = 32, SCALES = 96, D = 108, SUB = 16, SUBS = 16 };

static void unpack_scales(const uint8_t *packed, int8_t scale[SUBS])
{
    for (int j = 0; j < SUBS; j++) {
        int low = j < 8 ? packed[j] & 15 : packed[j - 8] >> 4;
        int high = packed[8 + j % 4] >> (j / 4 * 2) & 3;
        scale[j] = (int8_t)((low | high << 4) - 32);
    }
}

/* The two sub-blocks of run r (0–7) of 32 weights, from −4 to 3. */
static void unpack_run(const uint8_t *in, int r, int8_t q[32])
{
    const uint8_t *quants = in + QUANTS + r / 4 * 32;
    int shift = r % 4 * 2;
    for (int i = 0; i < 32; i++)
        q[i] = (int8_t)(((quants[i] >> shift & 3) | (in[i] >> r & 1) << 2) - 4);
}

static void decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *in = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES) {
        float d = load_f16(in + D);
        int8_t scale[SUBS];
        unpack_scales(in + SCALES, scale);
        for (int r = 0; r < 8; r++, out += 32) {
            int8_t q[32];
            unpack_run(in, r, q);
            float low = d * (float)scale[2 * r], high = d * (float)scale[2 * r + 1];
            for (int i = 0; i < SUB; i++) {
                out[i] = low * (float)q[i];
                out[i + SUB] = high * (float)q[i + SUB];
            }
        }
    }
}

static void pack(const int8_t scale[SUBS], const int8_t q[ELEMS], uint8_t *out)
{
    memset(out, 0, D);
    for (int j = 0; j < SUBS; j++) {
        int level = scale[j] + 32;
        out[SCALES + j % 8] |= (uint8_t)((level & 15) << j / 8 * 4);
        out[SCALES + 8 + j % 4] |= (uint8_t)(level >> 4 << j / 4 * 2);
    }
    for (int r = 0; r < 8; r++)
        for (int i = 0; i < 32; i++) {
            int k = q[r * 32 + i] + 4;
            out[i] |= (uint8_t)(k >> 2 << r);
            out[QUANTS + r / 4 * 32 + i] |= (uint8_t)((k & 3) << r % 4 * 2);
        }
}

static void encode(const float *values, void *blocks, size_t n)
{
    uint8_t *out = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, out += BYTES, values += ELEMS) {
        float fits[SUBS], max = 0;
        for (int j = 0; j < SUBS; j++) {
            fits[j] = fit_scale(values + j * SUB, SUB, -4, 3);
            max = fabsf(fits[j]) > max ? fabsf(fits[j]) : max;
        }
        float d = store_f16(out + D, max / 31), inverse = d > 0 ? 1 / d : 0;
        int8_t scale[SUBS], q[ELEMS];
        for (int j = 0; j < SUBS; j++) {
            scale[j] = (int8_t)fit_nearest(fits[j] * inverse, -31, 31);
            struct fit_line line = {d * (float)scale[j], 0};
            fit_round(values + j * SUB, SUB, line, -4, 3, q + j * SUB);
        }
        pack(scale, q, out);
    }
}

static void to_int(const void *blocks, const struct int_form *out, size_t n)
{
    const uint8_t *in = blocks;
    int8_t *restrict q = out->q;
    float *scale = out->scale;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, q += ELEMS) {
        float d = load_f16(in + D);
        int8_t scales[SUBS];
        unpack_scales(in + SCALES, scales);
        for (int j = 0; j < SUBS; j++)
            *scale++ = d * (float)scales[j];
        for (int r = 0; r < 8; r++)
            unpack_run(in, r, q + r * 32);
    }
}

const struct dtype dtype_q3_k = {
    .name = "Q3_K",
    .shader = "q3_k",
    .gguf_id = 11,
    .block_elems = ELEMS,
    .block_bytes = BYTES,
    .scale_at = D,
    .scale_bytes = 2,
    .decode = decode,
    .encode = encode,
    .sub_elems = 16,
    .to_int = to_int,
};
