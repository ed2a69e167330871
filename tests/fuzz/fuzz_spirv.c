#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "spirv_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t bytes = size / 4 * 4; /* and no more: a read past the module is one past the memory */
    uint32_t *words = mem_alloc(bytes);
    if (bytes && !words)
        return 0;
    if (bytes)
        memcpy(words, data, bytes);
    struct spirv_info info;
    char error[200];
    if (spirv_parse(words, size / 4, &info, error, sizeof error)) {
        uint32_t *stripped = mem_alloc(bytes);
        if (stripped && spirv_strip(words, size / 4, stripped) > size / 4)
            abort();
        mem_free(stripped);
        spirv_info_clear(&info);
    }
    mem_free(words);
    return 0;
}
