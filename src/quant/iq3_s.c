/* IQ3_S: 256 weights in 64 groups of 4 (iq_grid.h), x = (d × (2 scale + 1)) × q. Half d, 64 bytes
 * with the low bits of the indices, 8 bytes with the ninth bits, 32 bytes of signs, then 4 bytes
 * with a scale per 32 weights, low half first. */
#include "quant/dtype.h"

#include "quant/block.h"
#include "quant/iq_grid.h"
#include "quant/super.h"
#include "common/iq_grids.h"

enum { BYTES = 110 };

static const uint32_t grid[] = {IQ3_S_GRID};

static void unpack(const uint8_t *in, struct super *out)
{
    out->d = load_f16(in);
    for (int j = 0; j < 16; j++)
        out->scale[j] = (int8_t)(2 * (in[106 + j / 4] >> j / 2 % 2 * 4 & 15) + 1);
    for (int g = 0; g < 64; g++) {
        unsigned ninth = in[66 + g / 8] >> g % 8 & 1u, signs = in[74 + g / 2] >> g % 2 * 4;
        iq3_group(grid[in[2 + g] | ninth << 8], signs, out->q + 4 * g);
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

const struct dtype dtype_iq3_s = {
    .name = "IQ3_S",
    .shader = "iq3_s",
    .gguf_id = 21,
    .block_elems = SUPER_ELEMS,
    .block_bytes = BYTES,
    .scale_bytes = 2,
    .decode = decode,
    .sub_elems = 16,
    .to_int = to_int,
};
