/* NVFP4: 64 weights in 4 sub-blocks of 16, x = scale × E2M1, written here with doubled elements and
 * half the scale. 4 bytes of scales in UE4M3 (OCP 8-bit E4M3 without its sign), then 8 bytes per
 * sub-block: the code of weight i in the low half of byte i, of i + 8 in its high half. Files carry
 * a second scale per tensor (X.scale), which is not part of the type; that is why hearth does not
 * write the format: a scale byte alone spans too few magnitudes. */
#include "quant/dtype.h"

#include "quant/block.h"
#include "quant/codebook.h"

enum { ELEMS = 64, BYTES = 36, SUBS = 4, SUB = 16 };

/* Half of a UE4M3 number: 4 bits of exponent, bias 7, and 3 of fraction. The code of NaN, 0x7f,
 * counts as 0, and bit 7 does not count. */
static float half_scale(unsigned code)
{
    unsigned exponent = code >> 3 & 15, fraction = code & 7;
    if ((code & 0x7f) == 0x7f)
        return 0;
    if (exponent == 0)
        return (float)fraction * 0x1p-10f;
    return f32_from_bits((exponent + 127 - 8) << 23 | fraction << 20);
}

static void decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *in = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES)
        for (int j = 0; j < SUBS; j++, out += SUB) {
            const uint8_t *codes = in + SUBS + j * 8;
            float d = half_scale(in[j]);
            for (int i = 0; i < 8; i++) {
                out[i] = d * (float)codebook_e2m1[codes[i] & 15];
                out[i + 8] = d * (float)codebook_e2m1[codes[i] >> 4];
            }
        }
}

static void to_int(const void *blocks, const struct int_form *out, size_t n)
{
    const uint8_t *in = blocks;
    int8_t *restrict q = out->q;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, q += ELEMS) {
        for (int j = 0; j < SUBS; j++) {
            const uint8_t *codes = in + SUBS + j * 8;
            out->scale[b * SUBS + (size_t)j] = half_scale(in[j]);
            for (int i = 0; i < 8; i++) {
                q[j * SUB + i] = codebook_e2m1[codes[i] & 15];
                q[j * SUB + i + 8] = codebook_e2m1[codes[i] >> 4];
            }
        }
    }
}

const struct dtype dtype_nvfp4 = {
    .name = "NVFP4",
    .shader = "nvfp4",
    .gguf_id = 40,
    .block_elems = ELEMS,
    .block_bytes = BYTES,
    .scale_bytes = 4,
    .decode = decode,
    .sub_elems = 16,
    .to_int = to_int,
};
