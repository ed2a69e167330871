#include "quant/q8_act.h"

#include <float.h>
#include <math.h>

/* q = x × (1 / d), the reciprocal rounded to float once per block, as a GPU would. A block that
 * holds an infinity or a NaN has d = NaN, so that the dot product shows it as float math would; one
 * whose d would be denormal is zero. */
static void quantize_block(const float *x, struct q8_act *out)
{
    float max = 0;
    int n_finite = 0;
    for (int i = 0; i < Q8_ACT_ELEMS; i++) {
        float a = fabsf(x[i]);
        max = a > max ? a : max;
        n_finite += a <= FLT_MAX;
    }
    float d = max / 127.0f;
    float inverse = d >= FLT_MIN ? 1.0f / d : 0;
    if (n_finite < Q8_ACT_ELEMS || inverse == 0) {
        *out = (struct q8_act){0};
        if (n_finite < Q8_ACT_ELEMS)
            out->d = out->sum = NAN;
        return;
    }
    int sum = 0;
    for (int i = 0; i < Q8_ACT_ELEMS; i++) {
        /* roundf in terms a vector unit without rounding modes has; the fraction is exact. */
        float v = x[i] * inverse, a = fabsf(v);
        int whole = (int)a;
        whole += a - (float)whole >= 0.5f;
        int q = v < 0 ? -whole : whole;
        out->q[i] = (int8_t)q;
        sum += q;
    }
    out->d = d;
    out->sum = d * (float)sum;
}

void q8_act_quantize(const float *x, struct q8_act *out, size_t n)
{
    for (size_t i = 0; i < n / Q8_ACT_ELEMS; i++)
        quantize_block(x + i * Q8_ACT_ELEMS, &out[i]);
}
