/* IQ4_NL: 32 weights, x = d × level[code] (codebook.h). Half d, then 16 bytes: the code of weight i
 * in the low half of byte i, of i + 16 in its high half. */
#include "quant/dtype.h"

#include "quant/block.h"
#include "quant/codebook.h"

enum { ELEMS = 32, BYTES = 18 };

static void decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *in = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, out += ELEMS) {
        float d = load_f16(in);
        for (int i = 0; i < 16; i++) {
            out[i] = d * (float)codebook_iq4[in[2 + i] & 15];
            out[i + 16] = d * (float)codebook_iq4[in[2 + i] >> 4];
        }
    }
}

static void encode(const float *values, void *blocks, size_t n)
{
    uint8_t *out = blocks;
    for (size_t b = 0; b < n / ELEMS; b++, out += BYTES, values += ELEMS) {
        uint8_t code[ELEMS];
        float d = store_f16(out, codebook_fit(values, ELEMS, codebook_iq4));
        codebook_round(values, ELEMS, d, codebook_iq4, code);
        for (int i = 0; i < 16; i++)
            out[2 + i] = (uint8_t)(code[i] | code[i + 16] << 4);
    }
}

static void to_int(const void *blocks, const struct int_form *out, size_t n)
{
    const uint8_t *in = blocks;
    int8_t *restrict q = out->q;
    for (size_t b = 0; b < n / ELEMS; b++, in += BYTES, q += ELEMS) {
        out->scale[b] = load_f16(in);
        for (int i = 0; i < 16; i++) {
            q[i] = codebook_iq4[in[2 + i] & 15];
            q[i + 16] = codebook_iq4[in[2 + i] >> 4];
        }
    }
}

const struct dtype dtype_iq4_nl = {
    .name = "IQ4_NL",
    .shader = "iq4_nl",
    .gguf_id = 20,
    .block_elems = ELEMS,
    .block_bytes = BYTES,
    .scale_bytes = 2,
    .decode = decode,
    .encode = encode,
    .sub_elems = 32,
    .to_int = to_int,
};
