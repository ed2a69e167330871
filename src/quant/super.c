#include "quant/super.h"

void super_decode(const struct super_format *format, const uint8_t *blocks, float *out, size_t n)
{
    for (size_t b = 0; b < n / SUPER_ELEMS; b++, blocks += format->bytes, out += SUPER_ELEMS) {
        struct super s;
        format->unpack(blocks, &s);
        for (int i = 0; i < SUPER_ELEMS; i++)
            out[i] = s.d * (float)s.scale[i / SUPER_SUB] * (float)s.q[i];
    }
}

float super_dot(const struct super_format *format, const uint8_t *blocks, const struct q8_act *act,
                size_t n)
{
    double sum = 0;
    for (size_t b = 0; b < n / SUPER_ELEMS; b++, blocks += format->bytes) {
        struct super s;
        float scaled = 0;
        format->unpack(blocks, &s);
        for (int j = 0; j < SUPER_ELEMS / Q8_ACT_ELEMS; j++, act++) {
            const int8_t *q = s.q + j * Q8_ACT_ELEMS;
            int low = 0, high = 0;
            for (int i = 0; i < SUPER_SUB; i++) {
                low += q[i] * act->q[i];
                high += q[SUPER_SUB + i] * act->q[SUPER_SUB + i];
            }
            scaled += act->d * (float)(s.scale[2 * j] * low + s.scale[2 * j + 1] * high);
        }
        sum += s.d * scaled;
    }
    return (float)sum;
}
