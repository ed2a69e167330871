#include <math.h>
#include <string.h>

#include "cpu/rows.h"

static const float *second_row(const struct op_call *call, int64_t row)
{
    bool one = call->op->in[1]->rows == ROWS_FIXED && tensor_rows(call->op->in[1]) == 1;
    return one ? call->in[1].data : view_row_flat(&call->in[1], row);
}

static void add_rows(const struct op_call *call, const struct cpu_op *op, int64_t begin,
                     int64_t end)
{
    (void)op;
    int64_t n = call->in[0].ne[0];
    for (int64_t row = begin; row < end; row++) {
        const float *restrict a = view_row_flat(&call->in[0], row);
        const float *restrict b = second_row(call, row);
        float *restrict y = view_row_flat(&call->out[0], row);
        for (int64_t i = 0; i < n; i++)
            y[i] = a[i] + b[i];
    }
}

static void mul_rows(const struct op_call *call, const struct cpu_op *op, int64_t begin,
                     int64_t end)
{
    (void)op;
    int64_t n = call->in[0].ne[0];
    for (int64_t row = begin; row < end; row++) {
        const float *restrict a = view_row_flat(&call->in[0], row);
        const float *restrict b = second_row(call, row);
        float *restrict y = view_row_flat(&call->out[0], row);
        for (int64_t i = 0; i < n; i++)
            y[i] = a[i] * b[i];
    }
}

static void scale_rows(const struct op_call *call, const struct cpu_op *op, int64_t begin,
                       int64_t end)
{
    (void)op;
    const struct scale_params *params = &call->op->p.scale;
    int64_t n = call->in[0].ne[0];
    int64_t per_token = params->log_length > 0 ? batch_rows_flat(call->batch, call->op->out[0]) /
                                                     batch_rows(call->batch, call->op->out[0])
                                               : 1;
    for (int64_t row = begin; row < end; row++) {
        const float *restrict x = view_row_flat(&call->in[0], row);
        float *restrict y = view_row_flat(&call->out[0], row);
        double scale = params->scale;
        if (params->log_length > 0) {
            int32_t steps = call->batch->pos[row / per_token] / params->log_length;
            scale *= 1 + params->log_scale * log(1.0 + steps);
        }
        float factor = (float)scale;
        for (int64_t i = 0; i < n; i++)
            y[i] = x[i] * factor;
    }
}

static void copy_rows(const struct op_call *call, const struct cpu_op *op, int64_t begin,
                      int64_t end)
{
    (void)op;
    for (int64_t row = begin; row < end; row++)
        memcpy(view_row_flat(&call->out[0], row), view_row_flat(&call->in[0], row),
               (size_t)dtype_row_bytes(call->in[0].dtype, (uint64_t)call->in[0].ne[0]));
}

static void run(const struct op_call *call, const struct cpu_scratch *scratch, cpu_rows_fn *fn)
{
    cpu_rows(call, scratch, batch_rows_flat(call->batch, call->op->out[0]),
             call->in[0].ne[0] / 2 + 1, fn);
}

static void run_add(const struct op_call *call, const struct cpu_scratch *scratch)
{
    run(call, scratch, add_rows);
}

static void run_mul(const struct op_call *call, const struct cpu_scratch *scratch)
{
    run(call, scratch, mul_rows);
}

static void run_scale(const struct op_call *call, const struct cpu_scratch *scratch)
{
    run(call, scratch, scale_rows);
}

static void run_copy(const struct op_call *call, const struct cpu_scratch *scratch)
{
    run(call, scratch, copy_rows);
}

const struct cpu_op cpu_op_add_scalar = {
    .name = "add_scalar", .kind = OP_ADD, .level = CPU_SCALAR, .run = run_add};
const struct cpu_op cpu_op_mul_scalar = {
    .name = "mul_scalar", .kind = OP_MUL, .level = CPU_SCALAR, .run = run_mul};
const struct cpu_op cpu_op_scale_scalar = {
    .name = "scale_scalar", .kind = OP_SCALE, .level = CPU_SCALAR, .run = run_scale};
const struct cpu_op cpu_op_copy_scalar = {
    .name = "copy_scalar", .kind = OP_COPY, .level = CPU_SCALAR, .run = run_copy};
