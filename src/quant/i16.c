#include "quant/dtype.h"

const struct dtype dtype_i16 = {
    .name = "I16",
    .gguf_id = 25,
    .block_elems = 1,
    .block_bytes = 2,
    .is_integer = true,
};
