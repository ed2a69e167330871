#include "cpu/float_kernels.h"
#include "cpu/rows.h"

enum { PIECE = 2048, ALONE_BELOW = 16384 }; /* elements */

struct job {
    const struct op_call *call;
    const struct float_kernels *kernels;
    int pieces; /* of a row */
};

static void run_piece(void *arg, int index, int thread)
{
    (void)thread;
    const struct job *job = arg;
    const struct op_call *call = job->call;
    int64_t row = index / job->pieces, at = (int64_t)(index % job->pieces) * PIECE;
    int64_t left = call->in[0].ne[0] - at;
    const float *gate_up[2] = {(const float *)view_row_flat(&call->in[0], row) + at,
                               (const float *)view_row_flat(&call->in[1], row) + at};
    job->kernels->glu(call->op->p.glu.kind, gate_up,
                      (float *)view_row_flat(&call->out[0], row) + at, left < PIECE ? left : PIECE);
}

void glu_run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    int64_t n = call->in[0].ne[0], rows = batch_rows_flat(call->batch, call->op->out[0]);
    struct job job = {call, scratch->row->floats, (int)((n + PIECE - 1) / PIECE)};
    pool_run(n * rows < ALONE_BELOW ? NULL : scratch->pool, run_piece, &job,
             (int)rows * job.pieces);
}
