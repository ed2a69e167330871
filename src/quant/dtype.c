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

float dtype_dot_q8(const struct dtype *type, const void *blocks, const struct q8_act *act, size_t n)
{
    enum { PART = 256, SUBS = PART / 16 };
    int8_t q[PART];
    float scale[SUBS], min[SUBS] = {0};
    const struct int_form form = {q, scale, min};
    const uint8_t *in = blocks;
    size_t subs = Q8_ACT_ELEMS / type->sub_elems;
    double sum = 0;
    for (size_t first = 0; first < n; first += PART) {
        size_t part = n - first < PART ? n - first : PART;
        type->to_int(in + dtype_row_bytes(type, first), &form, part);
        for (size_t b = 0; b < part / Q8_ACT_ELEMS; b++, act++)
            for (size_t j = 0; j < subs; j++) {
                size_t at = b * Q8_ACT_ELEMS + j * type->sub_elems;
                const int8_t *w = q + at, *x = act->q + j * type->sub_elems;
                int dot = 0, total = 0;
                for (uint32_t i = 0; i < type->sub_elems; i++) {
                    dot += w[i] * x[i];
                    total += x[i];
                }
                at /= type->sub_elems;
                sum += act->d * (scale[at] * (float)dot + min[at] * (float)total);
            }
    }
    return (float)sum;
}
