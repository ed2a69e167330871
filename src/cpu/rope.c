#include "op/rope.h"

#include <math.h>

#include "cpu/rows.h"

enum { PAIRS = 64 }; /* whose angles are at hand at a time */

/* The angles are in double: a token's are few, and shared by all its heads. */
static void angles(const struct op_call *call, int64_t token, int first, int n, float *cos_sin)
{
    const struct rope_params *params = &call->op->p.rope;
    const float *factors = call->op->in[1] ? call->in[1].data : NULL;
    double magnitude = rope_magnitude(params);
    float low, high;
    rope_ramp(params, &low, &high);
    for (int i = 0; i < n; i++) {
        double factor = factors ? factors[first + i] : 1;
        double angle =
            call->batch->pos[token] * rope_frequency(params, first + i, factor, low, high);
        cos_sin[2 * i] = (float)(cos(angle) * magnitude);
        cos_sin[2 * i + 1] = (float)(sin(angle) * magnitude);
    }
}

static void turn(const struct rope_params *params, const float *x, float *y, int first, int n,
                 const float *cos_sin)
{
    bool halves = params->kind == ROPE_NEOX;
    int to_second = halves ? params->n_rot / 2 : 1, step = halves ? 1 : 2;
    const float *xa = x + first * step;
    float *ya = y + first * step;
    for (int i = 0; i < n; i++) {
        float a = xa[i * step], b = xa[i * step + to_second];
        float c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
        ya[i * step] = a * c - b * s;
        ya[i * step + to_second] = a * s + b * c;
    }
}

static void rows(const struct op_call *call, int64_t begin, int64_t end)
{
    const struct rope_params *params = &call->op->p.rope;
    const struct view *x = &call->in[0];
    for (int64_t t = begin; t < end; t++) {
        for (int first = 0; first < params->n_rot / 2; first += PAIRS) {
            float cos_sin[2 * PAIRS];
            int left = params->n_rot / 2 - first, n = left < PAIRS ? left : PAIRS;
            angles(call, t, first, n, cos_sin);
            for (int64_t h = 0; h < x->ne[1]; h++)
                turn(params, view_row(x, h, t), view_row(&call->out[0], h, t), first, n, cos_sin);
        }
        for (int64_t h = 0; h < x->ne[1]; h++) {
            const float *from = view_row(x, h, t);
            float *to = view_row(&call->out[0], h, t);
            for (int64_t i = params->n_rot; i < x->ne[0]; i++)
                to[i] = from[i];
        }
    }
}

static void run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    const struct view *x = &call->in[0];
    int64_t n_tokens = batch_rows_flat(call->batch, call->op->out[0]) / x->ne[1];
    cpu_rows(call, scratch, n_tokens, x->ne[0] * x->ne[1] + 60 * call->op->p.rope.n_rot, rows);
}

const struct cpu_op cpu_op_rope_scalar = {
    .name = "rope_scalar", .kind = OP_ROPE, .level = CPU_SCALAR, .run = run};
