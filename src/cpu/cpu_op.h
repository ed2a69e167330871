/*
 * cpu_op.h — one row per CPU kernel: which op, which level of the instruction set, when it fits.
 *
 * Rows are constants `const struct cpu_op cpu_op_<name> = {` in the files of this folder (the build
 * lists them); the highest level that fits and that the processor has wins. A kernel is called once
 * per op and shares the work out over the pool itself. Constants: any thread.
 */
#ifndef CPU_CPU_OP_H
#define CPU_CPU_OP_H

#include "base/attr.h"
#include "base/pool.h"
#include "cpu/ahead.h"
#include "cpu/level.h"
#include "op/op_def.h"

/* What a kernel may use while it runs. */
struct cpu_scratch {
    struct pool *pool;
    void *bytes;     /* as many as `scratch_bytes` asked for, aligned to 64 */
    bool float_only; /* no integer activations */
    const struct cpu_op *row;
    /* What is known of reading interleaved weights, and of this product; NULL: nothing. */
    struct ahead *ahead;
    struct ahead_product *product;
};

struct cpu_op {
    const char *name; /* "matmul_scalar" */
    enum op_kind kind;
    enum cpu_level level;
    enum weight_layout layout;           /* of the weights it reads; LAYOUT_FILE unless said */
    const struct float_kernels *floats;  /* what the level brings, for the family's run */
    const struct matmul_kernels *matmul; /* likewise */
    bool (*fits)(const struct op *op);   /* NULL: always */
    size_t (*scratch_bytes)(const struct op *op, int n_threads); /* NULL: none */
    void (*run)(const struct op_call *call, const struct cpu_scratch *scratch);
};

/* The best row for an op, or the one of that name; NULL if none fits. Rows of levels that are not
 * wanted here (level.h) do not count. */
const struct cpu_op *cpu_op_select(const struct op *op, const char *forced_name);

/* Row by index for tests and listings, rows that cannot run here included; NULL past the end. */
const struct cpu_op *cpu_op_at(size_t index);

/* Asks for the cache lines of `bytes` at p, which need not be there. */
static ATTR_INLINE void prefetch_bytes(const void *p, int bytes)
{
    for (int i = 0; i < bytes; i += 64)
        ATTR_PREFETCH((const char *)p + i);
}

#endif
