#include "quant/dtype.h"

extern const struct dtype *const dtype_list[]; /* generated: one row per file of this folder */

const struct dtype *dtype_by_id(uint32_t gguf_id)
{
    for (size_t i = 0; dtype_list[i]; i++)
        if (dtype_list[i]->gguf_id == gguf_id)
            return dtype_list[i];
    return NULL;
}

const struct dtype *dtype_by_name(struct str name)
{
    for (size_t i = 0; dtype_list[i]; i++)
        if (str_equal_nocase(name, str_of(dtype_list[i]->name)))
            return dtype_list[i];
    return NULL;
}

/* The list is sorted by symbol; the few dozen types make a scan per step cheap enough. */
const struct dtype *dtype_at(size_t index)
{
    const struct dtype *found = NULL;
    for (size_t step = 0; step <= index; step++) {
        const struct dtype *next = NULL;
        for (size_t i = 0; dtype_list[i]; i++)
            if ((!found || dtype_list[i]->gguf_id > found->gguf_id) &&
                (!next || dtype_list[i]->gguf_id < next->gguf_id))
                next = dtype_list[i];
        if (!next)
            return NULL;
        found = next;
    }
    return found;
}
