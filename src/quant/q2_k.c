/* Q2_K: 256 weights in 16 sub-blocks of 16, x = (d × scale) × q − (dmin × min). 16 bytes with scale
 * in the low half and min in the high half, 64 bytes of quants, halves d and dmin. Of each half of
 * 128 weights, run r of 32 has bits 2r, 2r + 1 of its 32 bytes. */
#include "quant/dtype.h"

#include <string.h>

#include "quant/block.h"
#include "quant/k_scales.h"

enum { ELEMS = 256, BYTES = 84, QUANTS = 16, D = 80, SUB = 16 };

/* The two sub-blocks of run r (0–7) of 32 weights. */
static void unpack_run(const uint8_t *in, int r, uint8_t q[32])
{
    const uint8_t *quants = in + QUANTS + r / 4 * 32;
    int shift = r % 4 * 2;
    for (int i = 0; i < 32; i++)
        q[i] = quants[i] >> shift & 3;
}

static void decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *in = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES) {
        float d = load_f16(in + D), dmin = load_f16(in + D + 2);
        for (int r = 0; r < 8; r++, out += 32) {
            uint8_t q[32];
            unpack_run(in, r, q);
            for (int half = 0; half < 2; half++) {
                uint8_t level = in[2 * r + half];
                float scale = d * (float)(level & 15), min = dmin * (float)(level >> 4);
                for (int i = half * SUB; i < half * SUB + SUB; i++)
                    out[i] = scale * (float)q[i] - min;
            }
        }
    }
}

static void encode(const float *values, void *blocks, size_t n)
{
    uint8_t *out = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, out += BYTES, values += ELEMS) {
        struct k_block k;
        k_block_encode(values, (struct k_shape){SUB, 3, 15}, &k);
        memcpy(out + D, k.head, 4);
        for (int j = 0; j < 16; j++)
            out[j] = (uint8_t)(k.scale[j] | k.min[j] << 4);
        for (int i = 0; i < 64; i++) {
            const int8_t *q = k.q + i / 32 * 128 + i % 32;
            out[QUANTS + i] = (uint8_t)(q[0] | q[32] << 2 | q[64] << 4 | q[96] << 6);
        }
    }
}

static void to_int(const void *blocks, const struct int_form *out, size_t n)
{
    const uint8_t *in = blocks;
    int8_t *restrict q = out->q;
    float *scale = out->scale, *min = out->min;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, q += ELEMS) {
        float d = load_f16(in + D), dmin = load_f16(in + D + 2);
        for (int j = 0; j < ELEMS / SUB; j++) {
            *scale++ = d * (float)(in[j] & 15);
            *min++ = -(dmin * (float)(in[j] >> 4));
        }
        for (int r = 0; r < 8; r++)
            unpack_run(in, r, (uint8_t *)q + r * 32);
    }
}

const struct dtype dtype_q2_k = {
    .name = "Q2_K",
    .shader = "q2_k",
    .gguf_id = 10,
    .block_elems = ELEMS,
    .block_bytes = BYTES,
    .scale_at = D,
    .scale_bytes = 4,
    .decode = decode,
    .encode = encode,
    .sub_elems = 16,
    .has_min = true,
    .to_int = to_int,
};
