#include "quant/dtype.h"

const struct dtype dtype_i32 = {
    .name = "I32",
    .gguf_id = 26,
    .block_elems = 1,
    .block_bytes = 4,
    .is_integer = true,
};
