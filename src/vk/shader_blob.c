#include "vk/shader_blob.h"

#include <stddef.h>
#include <string.h>

const struct shader_blob *shader_blob_find(const char *name)
{
    uint32_t low = 0;
    uint32_t high = n_shader_blobs;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = strcmp(name, shader_blobs[middle].name);
        if (order == 0)
            return &shader_blobs[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}
