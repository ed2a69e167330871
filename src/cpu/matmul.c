#include <string.h>

#include "base/mem.h"
#include "cpu/rows.h"

/* Columns are the vectors that go through a matrix. They are grouped by matrix (one group, or one
 * per expert that some token uses); threads take chunks of rows of a group and do all its columns
 * with them, so that a weight is read from memory once. In float, rows are decoded once, some at a
 * time; in integers, the columns are quantized once and the format's own dot product does the rest.
 */

enum { W, X, BIAS, RESIDUAL, IDS };
enum { ROWS_AT_ONCE = 4, COLUMN_TILE = 32, MIN_CHUNK = 8, MAX_CHUNK = 64 };

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
    float *decoded; /* ROWS_AT_ONCE rows for each thread */
    int *next;      /* where the next column of each expert goes */
    int n_groups, chunk, chunks_per_group;
    bool integer;
};

static bool has_integer(const struct op *op)
{
    return op->in[W]->dtype->dot_q8 && op->in[W]->ne[0] % Q8_ACT_ELEMS == 0;
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
    if (has_integer(op))
        job->acts = take(base, &at, n_x * (k / Q8_ACT_ELEMS) * sizeof *job->acts);
    job->decoded = take(base, &at, (uint64_t)n_threads * ROWS_AT_ONCE * k * sizeof *job->decoded);
    return at;
}

static size_t scratch_bytes(const struct op *op, int n_threads)
{
    struct job job;
    return (size_t)lay_out(&job, op, n_threads, NULL);
}

/* --- one chunk of rows
 * ------------------------------------------------------------------------------ */

/* Four dot products with one vector, each in eight lanes. */
static void dot4(const float *const rows[ROWS_AT_ONCE], const float *restrict x, int64_t n,
                 float out[ROWS_AT_ONCE])
{
    const float *restrict a = rows[0], *restrict b = rows[1], *restrict c = rows[2],
                          *restrict d = rows[3];
    float la[8] = {0}, lb[8] = {0}, lc[8] = {0}, ld[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int j = 0; j < 8; j++) {
            float v = x[i + j];
            la[j] += a[i + j] * v;
            lb[j] += b[i + j] * v;
            lc[j] += c[i + j] * v;
            ld[j] += d[i + j] * v;
        }
    for (int j = 0; i + j < n; j++) {
        la[j] += a[i + j] * x[i + j];
        lb[j] += b[i + j] * x[i + j];
        lc[j] += c[i + j] * x[i + j];
        ld[j] += d[i + j] * x[i + j];
    }
    for (int j = 4; j > 0; j /= 2)
        for (int k = 0; k < j; k++) {
            la[k] += la[k + j];
            lb[k] += lb[k + j];
            lc[k] += lc[k + j];
            ld[k] += ld[k + j];
        }
    out[0] = la[0];
    out[1] = lb[0];
    out[2] = lc[0];
    out[3] = ld[0];
}

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
        const float *rows[ROWS_AT_ONCE];
        for (int r = 0; r < ROWS_AT_ONCE; r++) {
            if (r >= n) { /* beyond the end: any row will do */
                rows[r] = rows[0];
                continue;
            }
            const char *bytes = group->matrix + (uint64_t)(row + r) * row_bytes;
            rows[r] = type == &dtype_f32 ? (const float *)bytes : decoded + r * k;
            if (type != &dtype_f32)
                type->decode(bytes, decoded + r * k, (size_t)k);
        }
        for (int c = 0; c < group->n; c++) {
            const struct column *column = &job->columns[group->first + c];
            float sums[ROWS_AT_ONCE];
            dot4(rows, column->x, k, sums);
            for (int r = 0; r < n; r++)
                put(group, column, row + r, sums[r]);
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
                put(group, column, row, type->dot_q8(bytes, column->q, k));
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

/* --- columns and groups
 * ----------------------------------------------------------------------------- */

static struct column column_of(const struct op_call *call, const struct job *job, int64_t i)
{
    const struct op *op = call->op;
    const struct view *x = &call->in[X], *out = &call->out[0];
    bool per_token = op->in[IDS] && !(x->ne[1] == out->ne[1] && x->ne[2] == out->ne[2]);
    int64_t x_row = per_token ? i / out->ne[1] : i;
    struct column column = {.x = view_row_flat(x, x_row), .y = view_row_flat(out, i)};
    if (job->integer)
        column.q = job->acts + x_row * (x->ne[0] / Q8_ACT_ELEMS);
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
    const struct op_call *call;
    struct q8_act *acts;
};

static void quantize_row(void *arg, int row, int thread)
{
    (void)thread;
    const struct quantize_job *job = arg;
    const struct view *x = &job->call->in[X];
    q8_act_quantize(view_row_flat(x, row), job->acts + row * (x->ne[0] / Q8_ACT_ELEMS),
                    (size_t)x->ne[0]);
}

static void quantize_rows(const struct op_call *call, const struct cpu_scratch *scratch,
                          struct q8_act *acts)
{
    struct quantize_job job = {call, acts};
    int rows = (int)batch_rows_flat(call->batch, call->op->in[X]);
    struct pool *pool = rows >= 8 ? scratch->pool : NULL;
    pool_run(pool, quantize_row, &job, rows);
}

static void run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    struct job job = {.w = &call->in[W]};
    int n_threads = pool_threads(scratch->pool);
    lay_out(&job, call->op, n_threads, scratch->bytes);
    job.integer = !scratch->float_only && has_integer(call->op);
    int n_columns = (int)batch_rows_flat(call->batch, call->op->out[0]);
    if (n_columns == 0)
        return;
    if (job.integer)
        quantize_rows(call, scratch, job.acts);
    if (call->op->in[IDS])
        group_by_expert(call, &job, n_columns);
    else
        one_group(call, &job, n_columns);
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
