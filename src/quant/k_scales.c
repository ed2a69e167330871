#include "quant/k_scales.h"

#include "quant/block.h"
#include "quant/fit.h"

enum { SUBS = 8, SUB = 32 };

/* Tries the neighbours of a sub-block's rounded scale and minimum: rounding them one by one is not
 * rounding them together. Returns nothing; leaves the best in scale, min and q. */
static void refine(const float *x, int q_max, const float d[2], uint8_t *scale, uint8_t *min,
                   int8_t *q)
{
    int best_scale = *scale, best_min = *min;
    float best = 0;
    for (int i = 0; i < 9; i++) {
        /* 0, −1, +1: the rounded pair itself comes first and wins ties. */
        int s = *scale + (i % 3 == 2) - (i % 3 == 1), m = *min + (i / 3 == 2) - (i / 3 == 1);
        if (s < 0 || s > 63 || m < 0 || m > 63)
            continue;
        struct fit_line line = {d[0] * (float)s, -d[1] * (float)m};
        int8_t scratch[SUB];
        float error = fit_round(x, SUB, line, 0, q_max, scratch);
        if (i == 0 || error < best) {
            best = error;
            best_scale = s;
            best_min = m;
            memcpy(q, scratch, SUB);
        }
    }
    *scale = (uint8_t)best_scale;
    *min = (uint8_t)best_min;
}

void k_scales_encode(const float *x, int q_max, uint8_t *head, int8_t *q)
{
    struct fit_line lines[SUBS];
    float max_d = 0, max_m = 0;
    for (int j = 0; j < SUBS; j++) {
        lines[j] = fit_line(x + j * SUB, SUB, q_max, 0);
        max_d = lines[j].d > max_d ? lines[j].d : max_d;
        max_m = -lines[j].m > max_m ? -lines[j].m : max_m;
    }
    float d[2] = {store_f16(head, max_d / 63), store_f16(head + 2, max_m / 63)};
    float inverse_d = d[0] > 0 ? 1 / d[0] : 0, inverse_m = d[1] > 0 ? 1 / d[1] : 0;
    uint8_t scale[SUBS], min[SUBS];
    for (int j = 0; j < SUBS; j++) {
        scale[j] = (uint8_t)fit_nearest(lines[j].d * inverse_d, 0, 63);
        min[j] = (uint8_t)fit_nearest(-lines[j].m * inverse_m, 0, 63);
        refine(x + j * SUB, q_max, d, &scale[j], &min[j], q + j * SUB);
    }
    k_scales_pack(scale, min, head + 4);
}
