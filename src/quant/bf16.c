#include "quant/dtype.h"

#include "quant/block.h"

static void decode(const void *blocks, float *out, size_t n)
{
    const uint8_t *in = blocks;
    for (size_t i = 0; i < n; i++)
        out[i] = bf16_to_f32(load_u16(in + 2 * i));
}

static void encode(const float *values, void *blocks, size_t n)
{
    uint8_t *out = blocks;
    for (size_t i = 0; i < n; i++)
        store_u16(out + 2 * i, bf16_from_f32(values[i]));
}

const struct dtype dtype_bf16 = {
    .name = "BF16",
    .shader = "bf16",
    .gguf_id = 30,
    .block_elems = 1,
    .block_bytes = 2,
    .decode = decode,
    .encode = encode,
};
