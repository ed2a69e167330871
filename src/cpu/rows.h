/*
 * rows.h — sharing the rows of an op out over the threads; for ops that treat each row alone.
 *
 * Owns nothing. Private to cpu/.
 */
#ifndef CPU_ROWS_H
#define CPU_ROWS_H

#include "cpu/cpu_op.h"

/* Does rows [begin, end) of a call; `op` is the row of cpu_op.h that runs. */
typedef void cpu_rows_fn(const struct op_call *call, const struct cpu_op *op, int64_t begin,
                         int64_t end);

/* Calls fn for parts of [0, n_rows); on the calling thread alone when n_rows × row_cost (in units
 * of about a nanosecond) is less than waking the others is worth. */
void cpu_rows(const struct op_call *call, const struct cpu_scratch *scratch, int64_t n_rows,
              int64_t row_cost, cpu_rows_fn *fn);

/* Σ a[i] × b[i] in lanes of float. */
float cpu_dot(const float *restrict a, const float *restrict b, int64_t n);

#endif
