#include "quant/super.h"

#include <string.h>

void super_decode(const struct super_format *format, const uint8_t *blocks, float *out, size_t n)
{
    for (size_t b = 0; b < n / SUPER_ELEMS; b++, blocks += format->bytes, out += SUPER_ELEMS) {
        struct super s;
        format->unpack(blocks, &s);
        for (int i = 0; i < SUPER_ELEMS; i++)
            out[i] = s.d * (float)s.scale[i / SUPER_SUB] * (float)s.q[i];
    }
}

void super_to_int(const struct super_format *format, const uint8_t *blocks,
                  const struct int_form *out, size_t n)
{
    for (size_t b = 0; b < n / SUPER_ELEMS; b++, blocks += format->bytes) {
        struct super s;
        format->unpack(blocks, &s);
        memcpy(out->q + b * SUPER_ELEMS, s.q, SUPER_ELEMS);
        for (size_t j = 0; j < SUPER_ELEMS / SUPER_SUB; j++)
            out->scale[b * (SUPER_ELEMS / SUPER_SUB) + j] = s.d * (float)s.scale[j];
    }
}
