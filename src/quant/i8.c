#include "quant/dtype.h"

const struct dtype dtype_i8 = {
    .name = "I8",
    .gguf_id = 24,
    .block_elems = 1,
    .block_bytes = 1,
    .is_integer = true,
};
