#include <stdio.h>

#include "base/mem.h"
#include "cpu/cpu_op.h"
#include "harness/test.h"
#include "op_device.h"

/* Rows of the CPU, each as it is and, where it can use integer activations, with them. Scratch
 * memory has guards as well and begins as garbage. */

enum { N_THREADS = 3, GUARD = 64 };

static struct pool *threads;

static bool open_cpu(void)
{
    return pool_create(&threads, N_THREADS, test_log()) == HTH_OK;
}

static void close_cpu(void)
{
    pool_destroy(threads);
}

static size_t n_rows(void)
{
    size_t n = 0;
    while (cpu_op_at(n))
        n++;
    return 2 * n;
}

static bool is_integer(size_t row)
{
    return row % 2 == 1;
}

static const char *row_name(size_t row)
{
    static char names[2][64];
    static int next;
    char *name = names[next++ % 2];
    snprintf(name, sizeof names[0], "%s%s", cpu_op_at(row / 2)->name,
             is_integer(row) ? "/int" : "");
    return name;
}

/* Rows of the matmul family have an integer form where a matrix has one. */
static bool takes_integers(const struct op *op)
{
    const struct tensor *w = op->in[op->kind == OP_MATMUL_QKV ? 1 : 0];
    bool matmul = op->kind == OP_MATMUL || op->kind == OP_MATMUL_QKV || op->kind == OP_MATMUL_GLU;
    return matmul && w->dtype->to_int;
}

static bool fits(size_t row, const struct op *op)
{
    const struct cpu_op *kernel = cpu_op_at(row / 2);
    if (kernel->kind != op->kind || !cpu_level_runs(kernel->level) ||
        (kernel->fits && !kernel->fits(op)))
        return false;
    return !is_integer(row) || takes_integers(op);
}

static enum op_precision precision(size_t row, const struct op *op)
{
    (void)op;
    return is_integer(row) ? OP_PRECISION_INT : OP_PRECISION_F32;
}

static bool guard_is_whole(const unsigned char *bytes)
{
    for (int i = 0; i < GUARD; i++)
        if (bytes[i] != 0xff)
            return false;
    return true;
}

static enum hth_status run(size_t row, const struct op_run *op_run)
{
    const struct cpu_op *kernel = cpu_op_at(row / 2);
    const struct op *op = op_run->call->op;
    size_t size = kernel->scratch_bytes ? kernel->scratch_bytes(op, pool_threads(threads)) : 0;
    unsigned char *bytes = mem_alloc_aligned(size + 2 * GUARD, 64);
    if (!bytes)
        return log_fail_memory(test_log(), "scratch", size);
    memset(bytes, 0xff, size + 2 * GUARD);
    struct cpu_scratch scratch = {threads, bytes + GUARD, !is_integer(row), kernel};
    kernel->run(op_run->call, &scratch);
    bool whole = guard_is_whole(bytes) && guard_is_whole(bytes + GUARD + size);
    mem_free_aligned(bytes);
    if (!whole)
        return log_fail(test_log(), HTH_ERROR_LIMIT, "it wrote beyond its scratch memory");
    return HTH_OK;
}

static const struct op_device device = {
    .name = "cpu",
    .open = open_cpu,
    .close = close_cpu,
    .n_rows = n_rows,
    .row_name = row_name,
    .fits = fits,
    .precision = precision,
    .run = run,
};
OP_DEVICE(device)
