/* IQ2_XXS: 256 weights in 32 groups of 8 (iq_grid.h), x = (d / 8 × (2 scale + 1)) × q. Half d, then
 * 8 bytes per 32 weights: 4 indices, and 32 bits with 7 signs for each group and, on top, the
 * scale. */
#include "quant/dtype.h"

#include "quant/block.h"
#include "quant/iq_grid.h"
#include "quant/super.h"
#include "common/iq_grids.h"

enum { BYTES = 66 };

static const uint32_t grid[] = {IQ2_XXS_GRID};

static void unpack(const uint8_t *in, struct super *out)
{
    out->d = load_f16(in) / 8;
    for (int j = 0; j < 8; j++) {
        const uint8_t *index = in + 2 + 8 * j;
        uint32_t bits = load_u32(index + 4);
        out->scale[2 * j] = out->scale[2 * j + 1] = (int8_t)(2 * (bits >> 28) + 1);
        for (int g = 0; g < 4; g++)
            iq2_group(iq_entry(grid, index[g]), iq_signs(bits >> 7 * g & 127),
                      out->q + 32 * j + 8 * g);
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

const struct dtype dtype_iq2_xxs = {
    .name = "IQ2_XXS",
    .shader = "iq2_xxs",
    .gguf_id = 16,
    .block_elems = SUPER_ELEMS,
    .block_bytes = BYTES,
    .scale_bytes = 2,
    .decode = decode,
    .sub_elems = 16,
    .to_int = to_int,
};
