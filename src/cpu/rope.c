#include "op/rope.h"

#include "cpu/rows.h"

/* Pairs (a, b) turn: a·cos − b·sin, a·sin + b·cos. They are i and i + n / 2 of a row's first n. */
static void turn_halves(const float *x, float *y, int n, const float *cos_sin)
{
    const float *xb = x + n / 2;
    float *yb = y + n / 2;
    for (int i = 0; i < n / 2; i++) {
        float a = x[i], b = xb[i], c = cos_sin[2 * i], s = cos_sin[2 * i + 1];
        y[i] = a * c - b * s;
        yb[i] = a * s + b * c;
    }
}

/* The same for pairs 2i and 2i + 1. */
static void turn_neighbours(const float *x, float *y, int n, const float *cos_sin)
{
    for (int i = 0; i < n; i += 2) {
        float a = x[i], b = x[i + 1], c = cos_sin[i], s = cos_sin[i + 1];
        y[i] = a * c - b * s;
        y[i + 1] = a * s + b * c;
    }
}

static void rows(const struct op_call *call, const struct cpu_op *op, int64_t begin, int64_t end)
{
    (void)op;
    const struct rope_params *params = &call->op->p.rope;
    const struct view *x = &call->in[0];
    for (int64_t t = begin; t < end; t++)
        for (int64_t h = 0; h < x->ne[1]; h++) {
            const float *from = view_row(x, h, t), *turns = call->cos_sin + t * params->n_rot;
            float *to = view_row(&call->out[0], h, t);
            if (params->kind == ROPE_NEOX)
                turn_halves(from, to, params->n_rot, turns);
            else
                turn_neighbours(from, to, params->n_rot, turns);
            for (int64_t i = params->n_rot; i < x->ne[0]; i++)
                to[i] = from[i];
        }
}

static size_t scratch_bytes(const struct op *op, int n_threads)
{
    (void)n_threads;
    int64_t n_tokens = tensor_rows(op->out[0]) / op->out[0]->ne[1];
    return (size_t)(n_tokens * op->p.rope.n_rot) * sizeof(float);
}

static void run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    const struct view *x = &call->in[0];
    struct op_call with_table;
    if (!call->cos_sin) {
        const float *factors = call->op->in[1] ? call->in[1].data : NULL;
        rope_fill(&call->op->p.rope, factors, call->batch, scratch->bytes);
        with_table = *call;
        with_table.cos_sin = scratch->bytes;
        call = &with_table;
    }
    int64_t n_tokens = batch_rows_flat(call->batch, call->op->out[0]) / x->ne[1];
    cpu_rows(call, scratch, n_tokens, x->ne[0] * x->ne[1], rows);
}

const struct cpu_op cpu_op_rope_scalar = {
    .name = "rope_scalar",
    .kind = OP_ROPE,
    .level = CPU_SCALAR,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
