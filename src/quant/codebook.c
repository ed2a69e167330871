#include "quant/codebook.h"

#include "quant/fit.h"

const int8_t codebook_iq4[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                 1,    13,   25,  38,  53,  69,  89,  113};

const int8_t codebook_e2m1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

enum { TRIALS = 9 };

/* Climbs from the first level by one step per midpoint passed: no table look-up per value, so that
 * it can run on vectors. */
static void nearest(const float *v, size_t n, float inverse, const int8_t levels[16], float *level)
{
    float scaled[FIT_MAX];
    for (size_t i = 0; i < n; i++) {
        scaled[i] = v[i] * inverse;
        level[i] = levels[0];
    }
    for (int k = 0; k < 15; k++) {
        float middle = 0.5f * (float)(levels[k] + levels[k + 1]);
        float step = (float)(levels[k + 1] - levels[k]);
        for (size_t i = 0; i < n; i++)
            level[i] += scaled[i] >= middle ? step : 0;
    }
}

float codebook_fit(const float *x, size_t n, const int8_t levels[16])
{
    float v[FIT_MAX], amax = fit_normalize(x, n, v);
    float best_gain = 0, best_d = 0;
    if (amax == 0)
        return 0;
    for (int t = 0; t < 2 * TRIALS; t++) {
        /* The largest value meets the outermost level, or up to 20 % more or less. */
        float inverse = -(float)levels[0] * (1 + 0.05f * (float)(t % TRIALS - TRIALS / 2));
        float level[FIT_MAX];
        nearest(v, n, t < TRIALS ? inverse : -inverse, levels, level);
        float vq = fit_dot(v, level, n), qq = fit_dot(level, level, n);
        if (qq > 0 && vq * vq > best_gain * qq) {
            best_gain = vq * vq / qq;
            best_d = vq / qq;
        }
    }
    return best_d * amax;
}

float codebook_round(const float *x, size_t n, float d, const int8_t levels[16], uint8_t *place)
{
    float inverse = d != 0 ? 1.0f / d : 0, error = 0;
    for (size_t i = 0; i < n; i++) {
        float v = x[i] * inverse;
        int k = 0;
        for (int j = 0; j < 15; j++)
            k += 2 * v >= (float)(levels[j] + levels[j + 1]);
        float miss = x[i] - d * (float)levels[k];
        error += miss * miss;
        place[i] = (uint8_t)k;
    }
    return error;
}
