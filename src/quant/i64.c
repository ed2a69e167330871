#include "quant/dtype.h"

const struct dtype dtype_i64 = {
    .name = "I64",
    .gguf_id = 27,
    .block_elems = 1,
    .block_bytes = 8,
    .is_integer = true,
};
