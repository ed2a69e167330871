#include "quant/dtype.h"

#include <string.h>

static void decode(const void *blocks, float *out, size_t n)
{
    memcpy(out, blocks, n * sizeof *out);
}

static void encode(const float *values, void *blocks, size_t n)
{
    memcpy(blocks, values, n * sizeof *values);
}

const struct dtype dtype_f32 = {
    .name = "F32",
    .shader = "f32",
    .gguf_id = 0,
    .block_elems = 1,
    .block_bytes = 4,
    .decode = decode,
    .encode = encode,
};
