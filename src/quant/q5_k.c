/* Q5_K: 256 weights in 8 sub-blocks of 32, x = (d × scale) × q − (dmin × min). Halves d and dmin,
 * 12 bytes of 6-bit scales and minima (k_scales.h), 32 bytes whose bit j is the fifth bit of weight
 * i of sub-block j, then the low four bits as in Q4_K. */
#include "quant/dtype.h"

#include <string.h>

#include "quant/block.h"
#include "quant/k_scales.h"

enum { ELEMS = 256, BYTES = 176, HIGH = 16, QUANTS = 48 };

/* Quants of sub-blocks j and j + 1, j even. */
static void unpack_pair(const uint8_t *in, int j, uint8_t q[64])
{
    const uint8_t *low = in + QUANTS + j * 16, *high = in + HIGH;
    for (int i = 0; i < 32; i++) {
        q[i] = (uint8_t)((low[i] & 15) | (high[i] >> j & 1) << 4);
        q[i + 32] = (uint8_t)(low[i] >> 4 | (high[i] >> (j + 1) & 1) << 4);
    }
}

static void decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *in = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES) {
        float d = load_f16(in), dmin = load_f16(in + 2);
        uint8_t scale[8], min[8], q[64];
        k_scales_unpack(in + 4, scale, min);
        for (int j = 0; j < 8; j += 2, out += 64) {
            float d0 = d * (float)scale[j], m0 = dmin * (float)min[j];
            float d1 = d * (float)scale[j + 1], m1 = dmin * (float)min[j + 1];
            unpack_pair(in, j, q);
            for (int i = 0; i < 32; i++) {
                out[i] = d0 * (float)q[i] - m0;
                out[i + 32] = d1 * (float)q[i + 32] - m1;
            }
        }
    }
}

static void encode(const float *values, void *blocks, size_t n)
{
    uint8_t *out = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, out += BYTES, values += ELEMS) {
        struct k_block k;
        k_block_encode(values, (struct k_shape){32, 31, 63}, &k);
        memcpy(out, k.head, 4);
        k_scales_pack(k.scale, k.min, out + 4);
        for (int i = 0; i < 32; i++) {
            int high = 0;
            for (int j = 0; j < 8; j++)
                high |= k.q[j * 32 + i] >> 4 << j;
            out[HIGH + i] = (uint8_t)high;
            for (int j = 0; j < 4; j++)
                out[QUANTS + j * 32 + i] =
                    (uint8_t)((k.q[j * 64 + i] & 15) | (k.q[j * 64 + 32 + i] & 15) << 4);
        }
    }
}

static void to_int(const void *blocks, const struct int_form *out, size_t n)
{
    const uint8_t *in = blocks;
    int8_t *restrict q = out->q;
    float *scale = out->scale, *min = out->min;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, q += ELEMS) {
        float d = load_f16(in), dmin = load_f16(in + 2);
        uint8_t scales[8], mins[8];
        k_scales_unpack(in + 4, scales, mins);
        for (int j = 0; j < 8; j++) {
            *scale++ = d * (float)scales[j];
            *min++ = -(dmin * (float)mins[j]);
        }
        for (int j = 0; j < 8; j += 2)
            unpack_pair(in, j, (uint8_t *)q + j * 32);
    }
}

const struct dtype dtype_q5_k = {
    .name = "Q5_K",
    .shader = "q5_k",
    .gguf_id = 13,
    .block_elems = ELEMS,
    .block_bytes = BYTES,
    .scale_bytes = 4,
    .decode = decode,
    .encode = encode,
    .sub_elems = 32,
    .has_min = true,
    .to_int = to_int,
};
