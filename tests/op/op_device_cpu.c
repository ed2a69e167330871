#include <stdio.h>

#include "base/mem.h"
#include "cpu/cpu_op.h"
#include "cpu/interleave.h"
#include "cpu/matmul_kernels.h"
#include "harness/test.h"
#include "op_device.h"

/* Rows of the CPU, each as it is and, where it can use integer activations, with them, and with
 * interleaved weights. Scratch memory has guards as well and begins as garbage. */

enum { N_THREADS = 3, GUARD = 64 };
enum { IN_FLOAT, IN_INTEGERS, INTERLEAVED, FORMS };

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
    return FORMS * n;
}

static bool is_integer(size_t row)
{
    return row % FORMS != IN_FLOAT;
}

static const char *row_name(size_t row)
{
    static const char *const forms[FORMS] = {"", "/int", "/interleaved"};
    static char names[2][64];
    static int next;
    char *name = names[next++ % 2];
    snprintf(name, sizeof names[0], "%s%s", cpu_op_at(row / FORMS)->name, forms[row % FORMS]);
    return name;
}

/* Rows of the matmul family have an integer form where a matrix has one. */
static bool takes_integers(const struct op *op)
{
    const struct tensor *w = op->in[op->kind == OP_MATMUL_QKV ? 1 : 0];
    bool matmul = op->kind == OP_MATMUL || op->kind == OP_MATMUL_QKV || op->kind == OP_MATMUL_GLU;
    return matmul && w->dtype->to_int;
}

static bool has_groups(const struct cpu_op *kernel, const struct tensor *w)
{
    if (!w || w->kind != TENSOR_WEIGHT || w->ne[1] % GROUP_ROWS != 0)
        return false;
    return kernel->matmul && group_kernel_of(kernel->matmul->groups, w->dtype);
}

static bool any_has_groups(const struct cpu_op *kernel, const struct op *op)
{
    bool any = false;
    for (int i = 0; i < OP_MAX_IN; i++)
        any |= has_groups(kernel, op->in[i]);
    return any;
}

static bool fits(size_t row, const struct op *op)
{
    const struct cpu_op *kernel = cpu_op_at(row / FORMS);
    if (kernel->kind != op->kind || !cpu_level_runs(kernel->level) ||
        (kernel->fits && !kernel->fits(op)))
        return false;
    if (row % FORMS == INTERLEAVED && !any_has_groups(kernel, op))
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

/* A weight's matrices interleaved, each in memory of its own; of experts every third stays as it
 * is, as where memory ran out. */
static const void **interleave(const struct tensor *w, const struct view *view)
{
    uint64_t bytes = (uint64_t)w->ne[1] * dtype_row_bytes(w->dtype, (uint64_t)w->ne[0]);
    const void **parts = mem_calloc((size_t)w->ne[2], sizeof *parts);
    assert_non_null(parts);
    for (int64_t e = 0; e < w->ne[2]; e++) {
        const void *from = view_expert(view, e);
        void *to = from && e % 3 != 1 ? mem_alloc_aligned((size_t)bytes, 64) : NULL;
        if (to)
            assert_true(interleave_rows(w->dtype, w->ne[0], w->ne[1] / GROUP_ROWS, from, to));
        parts[e] = to;
    }
    return parts;
}

static void free_parts(const struct tensor *w, const void *const *parts)
{
    for (int64_t e = 0; parts && e < w->ne[2]; e++)
        mem_free_aligned((void *)(uintptr_t)parts[e]);
    mem_free((void *)(uintptr_t)parts);
}

static void run_interleaved(const struct op_call *call, const struct cpu_scratch *scratch)
{
    struct op_call own = *call;
    for (int i = 0; i < OP_MAX_IN; i++)
        if (has_groups(scratch->row, call->op->in[i]))
            own.in[i].interleaved = interleave(call->op->in[i], &call->in[i]);
    scratch->row->run(&own, scratch);
    for (int i = 0; i < OP_MAX_IN; i++)
        free_parts(call->op->in[i], own.in[i].interleaved);
}

static enum hth_status run(size_t row, const struct op_run *op_run)
{
    const struct cpu_op *kernel = cpu_op_at(row / FORMS);
    const struct op *op = op_run->call->op;
    size_t size = kernel->scratch_bytes ? kernel->scratch_bytes(op, pool_threads(threads)) : 0;
    unsigned char *bytes = mem_alloc_aligned(size + 2 * GUARD, 64);
    if (!bytes)
        return log_fail_memory(test_log(), "scratch", size);
    memset(bytes, 0xff, size + 2 * GUARD);
    struct ahead ahead = {0};
    struct ahead_product product = {0};
    struct cpu_scratch scratch = {.pool = threads,
                                  .bytes = bytes + GUARD,
                                  .float_only = !is_integer(row),
                                  .row = kernel,
                                  .ahead = &ahead,
                                  .product = &product};
    if (row % FORMS == INTERLEAVED)
        run_interleaved(op_run->call, &scratch);
    else
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
