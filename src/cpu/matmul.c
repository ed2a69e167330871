#include <string.h>

#include "base/mem.h"
#include "cpu/rows.h"

/* Columns are the vectors that go through a matrix. They are grouped by matrix (one group, or one
 * per expert that some token uses); threads take chunks of rows of a group and do all its columns
 * with them, so that a weight is read from memory once. In float, rows are decoded once, some at a
 * time. In integers the columns are quantized once and the format's own dot product does the rest;
 * but it unpacks a row anew for each column, so that from some columns on it is faster to decode,
 * and to multiply in float with what the quantized columns stand for: the same numbers, but for
 * rounding. */

enum { W, X, BIAS, RESIDUAL, IDS };
enum { ROWS_AT_ONCE = 4, COLUMN_TILE = 32, MIN_CHUNK = 8, MAX_CHUNK = 64 };
enum { DECODE_FROM = 3 }; /* columns per group */

struct column {
    const float *x;
    const struct q8_act *q;
    const float *residual;
    float *y;
};

struct group {
    const char *matrix;
    const float *bias;
    int first, n; /* its columns */
};

struct job {
    const struct view *w;
    struct column *columns;
    struct group *groups;
    struct q8_act *acts;
    float *rounded; /* what they stand for */
    float *decoded; /* ROWS_AT_ONCE rows for each thread */
    int *next;      /* where the next column of each expert goes */
    int n_groups, chunk, chunks_per_group;
    bool quantized, integer;
};

static bool has_integer(const struct op *op)
{
    return op->in[W]->dtype->to_int && op->in[W]->ne[0] % Q8_ACT_ELEMS == 0;
}

/* The next part of the scratch at `base`, which may be NULL while only sizes are wanted. */
static void *take(char *base, uint64_t *at, uint64_t bytes)
{
    void *ptr = base ? base + *at : NULL;
    *at += align_up(bytes, 64);
    return ptr;
}

/* Lays the scratch out; returns its size. */
static uint64_t lay_out(struct job *job, const struct op *op, int n_threads, char *base)
{
    uint64_t at = 0;
    uint64_t n_columns = (uint64_t)tensor_rows(op->out[0]), k = (uint64_t)op->in[W]->ne[0];
    uint64_t n_x = (uint64_t)tensor_rows(op->in[X]), n_experts = (uint64_t)op->in[W]->ne[2];
    job->columns = take(base, &at, n_columns * sizeof *job->columns);
    job->groups = take(base, &at, n_experts * sizeof *job->groups);
    job->next = take(base, &at, n_experts * sizeof *job->next);
    if (has_integer(op)) {
        job->acts = take(base, &at, n_x * (k / Q8_ACT_ELEMS) * sizeof *job->acts);
        job->rounded = take(base, &at, n_x * k * sizeof *job->rounded);
    }
    job->decoded = take(base, &at, (uint64_t)n_threads * ROWS_AT_ONCE * k * sizeof *job->decoded);
    return at;
}

static size_t scratch_bytes(const struct op *op, int n_threads)
{
    struct job job;
    return (size_t)lay_out(&job, op, n_threads, NULL);
}

/* --- one chunk of rows ------------------------------------------------------------------------ */

static inline void put(const struct group *group, const struct column *column, int64_t row,
                       float value)
{
    if (group->bias)
        value += group->bias[row];
    if (column->residual)
        value += column->residual[row];
    column->y[row] = value;
}

static void float_chunk(const struct job *job, const struct group *group, int64_t begin,
                        int64_t end, float *decoded)
{
    const struct dtype *type = job->w->dtype;
    int64_t k = job->w->ne[0];
    uint64_t row_bytes = dtype_row_bytes(type, (uint64_t)k);
    for (int64_t row = begin; row < end; row += ROWS_AT_ONCE) {
        int n = end - row < ROWS_AT_ONCE ? (int)(end - row) : ROWS_AT_ONCE;
        const char *bytes = group->matrix + (uint64_t)row * row_bytes;
        const float *rows = decoded;
        if (type == &dtype_f32)
            rows = (const float *)bytes;
        else
            type->decode(bytes, decoded, (size_t)(n * k));
        for (int c = 0; c < group->n; c++) {
            const struct column *column = &job->columns[group->first + c];
            for (int r = 0; r < n; r++)
                put(group, column, row + r, cpu_dot(rows + r * k, column->x, k));
        }
    }
}

static void integer_chunk(const struct job *job, const struct group *group, int64_t begin,
                          int64_t end)
{
    const struct dtype *type = job->w->dtype;
    size_t k = (size_t)job->w->ne[0];
    uint64_t row_bytes = dtype_row_bytes(type, k);
    for (int first = 0; first < group->n; first += COLUMN_TILE) {
        int last = first + COLUMN_TILE < group->n ? first + COLUMN_TILE : group->n;
        for (int64_t row = begin; row < end; row++) {
            const char *bytes = group->matrix + (uint64_t)row * row_bytes;
            for (int c = first; c < last; c++) {
                const struct column *column = &job->columns[group->first + c];
                put(group, column, row, dtype_dot_q8(type, bytes, column->q, k));
            }
        }
    }
}

static void run_chunk(void *arg, int index, int thread)
{
    const struct job *job = arg;
    const struct group *group = &job->groups[index / job->chunks_per_group];
    int64_t begin = (int64_t)(index % job->chunks_per_group) * job->chunk;
    int64_t end = begin + job->chunk < job->w->ne[1] ? begin + job->chunk : job->w->ne[1];
    if (job->integer)
        integer_chunk(job, group, begin, end);
    else
        float_chunk(job, group, begin, end,
                    job->decoded + (int64_t)thread * ROWS_AT_ONCE * job->w->ne[0]);
}

/* --- columns and groups ----------------------------------------------------------------------- */

static struct column column_of(const struct op_call *call, const struct job *job, int64_t i)
{
    const struct op *op = call->op;
    const struct view *x = &call->in[X], *out = &call->out[0];
    bool per_token = op->in[IDS] && !(x->ne[1] == out->ne[1] && x->ne[2] == out->ne[2]);
    int64_t x_row = per_token ? i / out->ne[1] : i;
    struct column column = {.x = view_row_flat(x, x_row), .y = view_row_flat(out, i)};
    if (job->quantized) {
        column.q = job->acts + x_row * (x->ne[0] / Q8_ACT_ELEMS);
        column.x = job->rounded + x_row * x->ne[0];
    }
    if (op->in[RESIDUAL])
        column.residual = view_row_flat(&call->in[RESIDUAL], i);
    return column;
}

static void one_group(const struct op_call *call, struct job *job, int n_columns)
{
    for (int i = 0; i < n_columns; i++)
        job->columns[i] = column_of(call, job, i);
    job->groups[0] = (struct group){.matrix = job->w->data,
                                    .bias = call->op->in[BIAS] ? call->in[BIAS].data : NULL,
                                    .n = n_columns};
    job->n_groups = 1;
}

static int32_t expert_of(const struct op_call *call, int64_t i)
{
    const struct view *ids = &call->in[IDS];
    return ((const int32_t *)view_row(ids, i / ids->ne[0], 0))[i % ids->ne[0]];
}

/* Counting sort of the columns by expert; experts that are not here keep their columns out. */
static void group_by_expert(const struct op_call *call, struct job *job, int n_columns)
{
    int *next = job->next;
    memset(next, 0, (size_t)job->w->ne[2] * sizeof *next);
    for (int i = 0; i < n_columns; i++)
        next[expert_of(call, i)]++;
    int first = 0;
    for (int64_t e = 0; e < job->w->ne[2]; e++) {
        int n = next[e];
        next[e] = first;
        if (n > 0 && view_expert(job->w, e)) {
            job->groups[job->n_groups] = (struct group){view_expert(job->w, e), NULL, first, n};
            if (call->op->in[BIAS])
                job->groups[job->n_groups].bias = view_row(&call->in[BIAS], e, 0);
            job->n_groups++;
        }
        first += n;
    }
    for (int i = 0; i < n_columns; i++)
        job->columns[next[expert_of(call, i)]++] = column_of(call, job, i);
}

struct quantize_job {
    const struct view *x;
    const struct job *job;
};

static void quantize_row(void *arg, int row, int thread)
{
    (void)thread;
    const struct quantize_job *quantize = arg;
    const struct job *job = quantize->job;
    int64_t k = quantize->x->ne[0];
    struct q8_act *acts = job->acts + row * (k / Q8_ACT_ELEMS);
    q8_act_quantize(view_row_flat(quantize->x, row), acts, (size_t)k);
    if (job->integer)
        return;
    float *restrict rounded = job->rounded + row * k;
    for (int64_t b = 0; b < k / Q8_ACT_ELEMS; b++)
        for (int i = 0; i < Q8_ACT_ELEMS; i++)
            rounded[b * Q8_ACT_ELEMS + i] = acts[b].d * acts[b].q[i];
}

static void quantize_rows(const struct op_call *call, const struct cpu_scratch *scratch,
                          const struct job *job)
{
    struct quantize_job quantize = {&call->in[X], job};
    int rows = (int)batch_rows_flat(call->batch, call->op->in[X]);
    pool_run(rows >= 8 ? scratch->pool : NULL, quantize_row, &quantize, rows);
}

static void run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    struct job job = {.w = &call->in[W]};
    int n_threads = pool_threads(scratch->pool);
    lay_out(&job, call->op, n_threads, scratch->bytes);
    job.quantized = !scratch->float_only && has_integer(call->op);
    int n_columns = (int)batch_rows_flat(call->batch, call->op->out[0]);
    if (n_columns == 0)
        return;
    if (call->op->in[IDS])
        group_by_expert(call, &job, n_columns);
    else
        one_group(call, &job, n_columns);
    job.integer = job.quantized && n_columns < DECODE_FROM * job.n_groups;
    if (job.quantized)
        quantize_rows(call, scratch, &job);
    int64_t rows = job.w->ne[1], chunk = rows * job.n_groups / (n_threads * 8);
    chunk = chunk < MIN_CHUNK ? MIN_CHUNK : chunk > MAX_CHUNK ? MAX_CHUNK : chunk;
    job.chunk = (int)align_up((uint64_t)chunk, ROWS_AT_ONCE);
    job.chunks_per_group = (int)((rows + job.chunk - 1) / job.chunk);
    bool tiny = job.w->ne[0] * rows * n_columns < 16384;
    pool_run(tiny ? NULL : scratch->pool, run_chunk, &job, job.n_groups * job.chunks_per_group);
}

const struct cpu_op cpu_op_matmul_scalar = {
    .name = "matmul_scalar",
    .kind = OP_MATMUL,
    .level = CPU_SCALAR,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
