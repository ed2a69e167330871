#include "cpu/rows.h"

/* Waking the threads and waiting for them costs some microseconds. */
enum { ALONE_BELOW = 20000 };

struct job {
    const struct op_call *call;
    const struct cpu_op *op;
    cpu_rows_fn *fn;
    int64_t n_rows, chunk;
};

static void run_chunk(void *arg, int index, int thread)
{
    (void)thread;
    const struct job *job = arg;
    int64_t begin = index * job->chunk, end = begin + job->chunk;
    job->fn(job->call, job->op, begin, end < job->n_rows ? end : job->n_rows);
}

void cpu_rows(const struct op_call *call, const struct cpu_scratch *scratch, int64_t n_rows,
              int64_t row_cost, cpu_rows_fn *fn)
{
    if (n_rows * row_cost < ALONE_BELOW) {
        fn(call, scratch->row, 0, n_rows);
        return;
    }
    int64_t pieces = (int64_t)pool_threads(scratch->pool) * 4;
    struct job job = {call, scratch->row, fn, n_rows, (n_rows + pieces - 1) / pieces};
    pool_run(scratch->pool, run_chunk, &job, (int)((n_rows + job.chunk - 1) / job.chunk));
}

/* One row at a time in 16 lanes is what gcc and clang both turn into straight vector code; with
 * four rows side by side gcc 12 shuffles them into each other and is four times slower. */
float cpu_dot(const float *restrict a, const float *restrict b, int64_t n)
{
    float lanes[16] = {0};
    int64_t i = 0;
    for (; i + 16 <= n; i += 16)
        for (int j = 0; j < 16; j++)
            lanes[j] += a[i + j] * b[i + j];
    float sum = 0;
    for (; i < n; i++)
        sum += a[i] * b[i];
    for (int j = 0; j < 16; j++)
        sum += lanes[j];
    return sum;
}
