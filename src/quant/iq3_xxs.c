/* IQ3_XXS: 256 weights in 64 groups of 4 (iq_grid.h), x = (d / 4 × (2 scale + 1)) × q. Half d, 64
 * bytes of indices, then 32 bits per 32 weights: 7 signs for each two groups and, on top, the
 * scale. */
#include "quant/dtype.h"

#include "quant/block.h"
#include "quant/iq_grid.h"
#include "quant/super.h"
#include "common/iq_grids.h"

enum { BYTES = 98 };

static const uint32_t grid[] = {IQ3_XXS_GRID};

static void unpack(const uint8_t *in, struct super *out)
{
    out->d = load_f16(in) / 4;
    for (int j = 0; j < 8; j++) {
        uint32_t bits = load_u32(in + 66 + 4 * j);
        out->scale[2 * j] = out->scale[2 * j + 1] = (int8_t)(2 * (bits >> 28) + 1);
        for (int g = 0; g < 8; g++) {
            unsigned signs = iq_signs(bits >> g / 2 * 7 & 127) >> g % 2 * 4;
            iq3_group(grid[in[2 + 8 * j + g]], signs, out->q + 32 * j + 4 * g);
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

const struct dtype dtype_iq3_xxs = {
    .name = "IQ3_XXS",
    .shader = "iq3_xxs",
    .gguf_id = 18,
    .block_elems = SUPER_ELEMS,
    .block_bytes = BYTES,
    .scale_bytes = 2,
    .decode = decode,
    .sub_elems = 16,
    .to_int = to_int,
};
