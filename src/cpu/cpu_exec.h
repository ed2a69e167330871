/*
 * cpu_exec.h — runs a graph, or its part of one, on the CPU.
 *
 * Owns the activations of one graph (placed by plan/memmap) and its scratch. Weights are read where
 * they are, in the mapped file, or interleaved (interleave.h). The thread pool is the caller's. One
 * thread per executor.
 */
#ifndef CPU_CPU_EXEC_H
#define CPU_CPU_EXEC_H

#include "base/pool.h"
#include "cpu/interleave.h"
#include "op/op_def.h"
#include "op/partition.h"

struct cpu_exec;

struct cpu_exec_options {
    struct pool *pool;
    struct interleaved *interleaved; /* NULL: weights are read as the file has them */
    bool float_only;                 /* no integer activations */
    bool check; /* compare every op with its reference; the first that differs is logged */
};

/* Rewrites a graph with what the CPU does at once (op/fuse.h), for cpu_exec_create. */
HTH_MUST_CHECK cpu_fuse(struct graph *graph);

/* Prepares to run `graph`, which must outlive the executor. After this, running allocates nothing
 * (but with `check`). */
HTH_MUST_CHECK cpu_exec_create(struct cpu_exec **out, const struct graph *graph,
                               const struct cpu_exec_options *options, const struct log *log);
void cpu_exec_destroy(struct cpu_exec *exec);

/* Where other devices run parts of the graph (op/partition.h): the memory of each for hops, and who
 * is asked before a hop is read and told after it was written. An answer but HTH_OK ends the run.
 */
struct cpu_hops {
    void *memory[PARTITION_MAX_DEVICES]; /* by device */
    enum hth_status (*before_read)(void *user, int device, int hop);
    enum hth_status (*after_write)(void *user, int device, int hop);
    /* Told which experts a layer uses, ids[n_tokens × used by each], before some of them are
     * computed here; may be NULL. */
    void (*routed)(void *user, int layer, const int32_t *ids, int n_tokens);
    void *user;
};

/* Runs all ops; what is wanted of the batch's outputs (graph_result) is then at `cpu_exec_result`
 * (NULL if another device makes it). `hops` may be NULL where there are none. */
HTH_MUST_CHECK cpu_exec_run(struct cpu_exec *exec, const struct batch *batch, void *const *kv_pages,
                            const struct cpu_hops *hops);
const void *cpu_exec_result(const struct cpu_exec *exec);

/* Bytes of activations and scratch. */
uint64_t cpu_exec_bytes(const struct cpu_exec *exec);

#endif
