#include "quant/k_scales.h"

#include <string.h>

#include "quant/block.h"
#include "quant/fit.h"

enum { ELEMS = 256, SUBS_MAX = 16, SUB_MAX = 32 };

/* Rounding scale and minimum one by one is not rounding them together: tries the neighbours of
 * sub-block j's pair and keeps the best, with its integers. */
static void refine(const float *x, struct k_shape shape, const float d[2], int j,
                   struct k_block *out)
{
    int scale = out->scale[j], min = out->min[j];
    float best = 0;
    for (int i = 0; i < 9; i++) {
        /* 0, −1, +1: the rounded pair itself comes first and wins ties. */
        int s = scale + (i % 3 == 2) - (i % 3 == 1), m = min + (i / 3 == 2) - (i / 3 == 1);
        if (s < 0 || s > shape.level_max || m < 0 || m > shape.level_max)
            continue;
        struct fit_line line = {d[0] * (float)s, -d[1] * (float)m};
        int8_t q[SUB_MAX];
        size_t n = (size_t)shape.sub_elems;
        float error = fit_round(x, n, line, 0, shape.q_max, q);
        if (i == 0 || error < best) {
            best = error;
            out->scale[j] = (uint8_t)s;
            out->min[j] = (uint8_t)m;
            memcpy(out->q + (size_t)j * n, q, n);
        }
    }
}

void k_block_encode(const float *x, struct k_shape shape, struct k_block *out)
{
    struct fit_line lines[SUBS_MAX];
    int n = shape.sub_elems, n_subs = ELEMS / n;
    float max_d = 0, max_m = 0, levels = (float)shape.level_max;
    for (int j = 0; j < n_subs; j++) {
        lines[j] = fit_line(x + j * n, (size_t)n, shape.q_max, 0);
        max_d = lines[j].d > max_d ? lines[j].d : max_d;
        max_m = -lines[j].m > max_m ? -lines[j].m : max_m;
    }
    float d[2] = {store_f16(out->head, max_d / levels), store_f16(out->head + 2, max_m / levels)};
    float inverse_d = d[0] > 0 ? 1 / d[0] : 0, inverse_m = d[1] > 0 ? 1 / d[1] : 0;
    for (int j = 0; j < n_subs; j++) {
        out->scale[j] = (uint8_t)fit_nearest(lines[j].d * inverse_d, 0, shape.level_max);
        out->min[j] = (uint8_t)fit_nearest(-lines[j].m * inverse_m, 0, shape.level_max);
        refine(x + j * n, shape, d, j, out);
    }
}
