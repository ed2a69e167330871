/* IQ1_M: 256 weights in 32 groups of 8 (iq_grid.h), x = (d × (2 scale + 1)) × (g ± 1/8), g of −1,
 * 0, 1; here q = 8 g ± 1, with an eighth of d. 32 bytes with the low bits of the indices, 16 bytes
 * with half a byte per group (the upper three bits of the index, the sign of the eighth; set:
 * minus), then four times 16 bits: four scales of 3 bits, one per 16 weights, and on top a quarter
 * of half d. */
#include "quant/dtype.h"

#include "quant/block.h"
#include "quant/iq_grid.h"
#include "quant/super.h"

enum { BYTES = 56 };

static void unpack(const uint8_t *in, struct super *out)
{
    unsigned d = 0;
    for (int j = 0; j < 16; j++) {
        unsigned bits = load_u16(in + 48 + j / 4 * 2);
        out->scale[j] = (int8_t)(2 * (bits >> j % 4 * 3 & 7) + 1);
        d |= (bits >> 12) << j / 4 * 4;
    }
    out->d = f16_to_f32((uint16_t)d) / 8;
    for (int g = 0; g < 32; g++) {
        unsigned bits = in[32 + g / 2] >> g % 2 * 4 & 15u;
        iq1_group(iq_entry(iq1_grid, in[g] | (bits & 7) << 8), bits >> 3, out->q + 8 * g);
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

const struct dtype dtype_iq1_m = {
    .name = "IQ1_M",
    .shader = "iq1_m",
    .gguf_id = 29,
    .block_elems = SUPER_ELEMS,
    .block_bytes = BYTES,
    .scale_at = 48,
    .scale_bytes = 8,
    .decode = decode,
    .sub_elems = 16,
    .to_int = to_int,
};
