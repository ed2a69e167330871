/* IQ2_S: 256 weights in 32 groups of 8 (iq_grid.h), x = (d / 8 × (2 scale + 1)) × q. Half d, 32
 * bytes with the low bits of the groups' indices, 32 bytes of signs, 8 bytes with the upper two
 * bits of four indices each, then 8 bytes with a scale per 16 weights, low half first. */
#include "quant/dtype.h"

#include "quant/block.h"
#include "quant/iq_grid.h"
#include "quant/super.h"
#include "common/iq_grids.h"

enum { BYTES = 82 };

static const uint32_t grid[] = {IQ2_S_GRID};

static void unpack(const uint8_t *in, struct super *out)
{
    out->d = load_f16(in) / 8;
    for (int j = 0; j < 16; j++)
        out->scale[j] = (int8_t)(2 * (in[74 + j / 2] >> j % 2 * 4 & 15) + 1);
    for (int g = 0; g < 32; g++) {
        unsigned upper = in[66 + g / 4] >> g % 4 * 2 & 3u;
        iq2_group(iq_entry(grid, in[2 + g] | upper << 8), in[34 + g], out->q + 8 * g);
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

const struct dtype dtype_iq2_s = {
    .name = "IQ2_S",
    .shader = "iq2_s",
    .gguf_id = 22,
    .block_elems = SUPER_ELEMS,
    .block_bytes = BYTES,
    .scale_bytes = 2,
    .decode = decode,
    .sub_elems = 16,
    .to_int = to_int,
};
