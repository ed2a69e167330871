/* IQ2_XS: 256 weights in 32 groups of 8 (iq_grid.h), x = (d / 8 × (2 scale + 1)) × q. Half d, 16
 * bits per group (9 of index, 7 of signs), then 8 bytes with a scale per 16 weights, low half
 * first. */
#include "quant/dtype.h"

#include "quant/block.h"
#include "quant/iq_grid.h"
#include "quant/super.h"
#include "common/iq_grids.h"

enum { BYTES = 74 };

static const uint32_t grid[] = {IQ2_XS_GRID};

static void unpack(const uint8_t *in, struct super *out)
{
    out->d = load_f16(in) / 8;
    for (int j = 0; j < 16; j++)
        out->scale[j] = (int8_t)(2 * (in[66 + j / 2] >> j % 2 * 4 & 15) + 1);
    for (int g = 0; g < 32; g++) {
        unsigned bits = load_u16(in + 2 + 2 * g);
        iq2_group(iq_entry(grid, bits & 511), iq_signs(bits >> 9), out->q + 8 * g);
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

const struct dtype dtype_iq2_xs = {
    .name = "IQ2_XS",
    .shader = "iq2_xs",
    .gguf_id = 17,
    .block_elems = SUPER_ELEMS,
    .block_bytes = BYTES,
    .scale_bytes = 2,
    .decode = decode,
    .sub_elems = 16,
    .to_int = to_int,
};
