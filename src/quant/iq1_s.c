/* IQ1_S: 256 weights in 32 groups of 8 (iq_grid.h), x = (d × (2 scale + 1)) × (g ± 1/8), g of −1,
 * 0, 1; here q = 8 g ± 1, with an eighth of d. Half d, 32 bytes with the low bits of the indices,
 * then 16 bits per 32 weights: the upper three bits of four indices, the scale (3 bits), and the
 * sign of the eighth (set: minus). */
#include "quant/dtype.h"

#include "quant/block.h"
#include "quant/iq_grid.h"
#include "quant/super.h"

enum { BYTES = 50 };

static void unpack(const uint8_t *in, struct super *out)
{
    out->d = load_f16(in) / 8;
    for (int j = 0; j < 8; j++) {
        unsigned bits = load_u16(in + 34 + 2 * j);
        out->scale[2 * j] = out->scale[2 * j + 1] = (int8_t)(2 * (bits >> 12 & 7) + 1);
        for (int g = 0; g < 4; g++) {
            unsigned entry = iq_entry(iq1_grid, in[2 + 4 * j + g] | (bits >> 3 * g & 7) << 8);
            iq1_group(entry, bits >> 15, out->q + 32 * j + 8 * g);
        }
    }
}

static const struct super_format format = {BYTES, unpack};

static void decode(const void *blocks, float *out, size_t n)
{
    super_decode(&format, blocks, out, n);
}

static void to_int(const void *blocks, const struct int_form *out, size_t n)
{
    super_to_int(&format, blocks, out, n);
}

const struct dtype dtype_iq1_s = {
    .name = "IQ1_S",
    .shader = "iq1_s",
    .gguf_id = 19,
    .block_elems = SUPER_ELEMS,
    .block_bytes = BYTES,
    .scale_bytes = 2,
    .decode = decode,
    .sub_elems = 16,
    .to_int = to_int,
};
