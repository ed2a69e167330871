#include "quant/fit.h"

#include <float.h>
#include <math.h>

enum { LANES = FIT_LANES, TRIALS = 17 };

/* Trial t of a range of q_max steps stretches it by up to two steps either way; the middle trial is
 * the range itself and integers are among them, so values that are on a grid already find it. */
static float trial_steps(int t, int q_max)
{
    float steps = (float)q_max + 0.25f * (float)(t - TRIALS / 2);
    return steps > 0.75f ? steps : 0.75f;
}

float fit_normalize(const float *x, size_t n, float *out)
{
    float amax = 0;
    for (size_t i = 0; i < n; i++) {
        float a = fabsf(x[i]);
        amax = a > amax ? a : amax;
    }
    if (amax < 1e-30f)
        return 0;
    amax = amax < FLT_MAX ? amax : FLT_MAX;
    float inverse = 1.0f / amax;
    for (size_t i = 0; i < n; i++) {
        float v = x[i] * inverse;
        v = v > -1.0f ? v : -1.0f;
        out[i] = v < 1.0f ? v : 1.0f;
    }
    return amax;
}

struct rounding {
    float inverse, low, q_min, q_max;
};

/* (v − low) × inverse, rounded and clamped: fit_nearest, but the integers stay floats. */
static void round_all(const float *v, size_t n, struct rounding to, float *q)
{
    for (size_t i = 0; i < n; i++) {
        float t = (v[i] - to.low) * to.inverse;
        t = t > to.q_min ? t : to.q_min;
        t = t < to.q_max ? t : to.q_max;
        q[i] = (t + 12582912.0f) - 12582912.0f;
    }
}

static float total(const float *a, size_t n)
{
    float lanes[LANES] = {0};
    for (size_t i = 0; i < n; i += LANES)
        for (size_t l = 0; l < LANES; l++)
            lanes[l] += a[i + l];
    return fit_lanes_sum(lanes);
}

float fit_scale(const float *x, size_t n, int q_min, int q_max)
{
    float v[FIT_MAX], amax = fit_normalize(x, n, v);
    if (amax == 0)
        return 0;
    float best_gain = 0, best_d = 0;
    int n_signs = q_min == -q_max ? 1 : 2;
    for (int t = 0; t < TRIALS * n_signs; t++) {
        float inverse = trial_steps(t % TRIALS, -q_min);
        if (t >= TRIALS)
            inverse = -inverse;
        float q[FIT_MAX];
        round_all(v, n, (struct rounding){inverse, 0, (float)q_min, (float)q_max}, q);
        float sum_vq = fit_dot(v, q, n), sum_qq = fit_dot(q, q, n);
        /* With the best d = Σvq / Σqq the squared error is Σvv − (Σvq)² / Σqq. */
        if (sum_qq > 0 && sum_vq * sum_vq > best_gain * sum_qq) {
            best_gain = sum_vq * sum_vq / sum_qq;
            best_d = sum_vq / sum_qq;
        }
    }
    return best_d * amax;
}

struct sums {
    float q, qq, vq, v, vv;
};

static struct sums sums_of(const float *v, size_t n, float inverse, float low, int q_max)
{
    float q[FIT_MAX];
    round_all(v, n, (struct rounding){inverse, low, 0, (float)q_max}, q);
    return (struct sums){.q = total(q, n), .qq = fit_dot(q, q, n), .vq = fit_dot(v, q, n)};
}

/* Least squares of d × q + m, m at most m_max; the error it leaves. */
static float solve_line(const struct sums *s, size_t n, float m_max, struct fit_line *line)
{
    float count = (float)n, det = count * s->qq - s->q * s->q;
    float d = det > 0 ? (count * s->vq - s->q * s->v) / det : 0;
    float m = (s->v - d * s->q) / count;
    if (m > m_max) {
        m = m_max;
        d = s->qq > 0 ? (s->vq - m * s->q) / s->qq : 0;
    }
    if (d < 0)
        d = 0;
    *line = (struct fit_line){d, m};
    return s->vv + d * d * s->qq + count * m * m + 2 * (d * m * s->q - d * s->vq - m * s->v);
}

struct fit_line fit_line(const float *x, size_t n, int q_max, float m_max)
{
    float v[FIT_MAX], amax = fit_normalize(x, n, v);
    if (amax == 0)
        return (struct fit_line){0, 0};
    m_max /= amax;
    float low = v[0], high = v[0], sum_v[LANES] = {0}, sum_vv[LANES] = {0};
    for (size_t i = 0; i < n; i++) {
        low = v[i] < low ? v[i] : low;
        high = v[i] > high ? v[i] : high;
        sum_v[i % LANES] += v[i];
        sum_vv[i % LANES] += v[i] * v[i];
    }
    low = low < m_max ? low : m_max;
    if (!(high > low))
        return (struct fit_line){0, low * amax};
    struct fit_line best = {(high - low) / (float)q_max, low};
    float best_error = INFINITY;
    for (int t = 0; t < TRIALS; t += 2) {
        float inverse = trial_steps(t, q_max) / (high - low);
        struct fit_line line = {0, low};
        for (int round = 0; round < 2; round++) {
            struct sums s = sums_of(v, n, inverse, line.m, q_max);
            s.v = fit_lanes_sum(sum_v);
            s.vv = fit_lanes_sum(sum_vv);
            float error = solve_line(&s, n, m_max, &line);
            if (error < best_error) {
                best_error = error;
                best = line;
            }
            if (!(line.d > 0))
                break;
            inverse = 1.0f / line.d;
        }
    }
    return (struct fit_line){best.d * amax, best.m * amax};
}

float fit_round(const float *x, size_t n, struct fit_line line, int q_min, int q_max, int8_t *q)
{
    float inverse = line.d != 0 ? 1.0f / line.d : 0, error[LANES] = {0};
    for (size_t i = 0; i < n; i += LANES)
        for (size_t l = 0; l < LANES; l++) {
            int k = fit_nearest((x[i + l] - line.m) * inverse, q_min, q_max);
            float miss = x[i + l] - (line.d * (float)k + line.m);
            q[i + l] = (int8_t)k;
            error[l] += miss * miss;
        }
    return fit_lanes_sum(error);
}
