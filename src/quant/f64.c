#include "quant/dtype.h"

#include <string.h>

/* Doubles are read, never multiplied with: no shader knows them. Beyond float's range they become
 * infinite. */
static void decode(const void *blocks, float *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double value;
        memcpy(&value, (const char *)blocks + i * sizeof value, sizeof value);
        out[i] = (float)value;
    }
}

static void encode(const float *values, void *blocks, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double value = values[i];
        memcpy((char *)blocks + i * sizeof value, &value, sizeof value);
    }
}

const struct dtype dtype_f64 = {
    .name = "F64",
    .gguf_id = 28,
    .block_elems = 1,
    .block_bytes = 8,
    .decode = decode,
    .encode = encode,
};
