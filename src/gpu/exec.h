/*
 * exec.h — runs a model's graph, or this device's part of it, on the GPU: programs per bucket,
 * recorded once, submitted for each batch.
 *
 * Owns the cache's pages on the device, the batch buffer, activations, results, the programs, and
 * the ring through which weights of the host pass. Weights that stay (place.h) and the device
 * belong to the caller. One thread.
 *
 * Weights that pass through the ring are copied there while steps before them run: each copy waits
 * for the steps that read what it overwrites, each submit for the copies that it reads.
 */
#ifndef GPU_EXEC_H
#define GPU_EXEC_H

#include "gpu/compile.h"

struct gpu_exec;

/* Builds the device's graph for a bucket, initialising it. */
typedef enum hth_status gpu_build_fn(void *user, struct graph *graph, struct batch_size size);

/* Weights of the host that pass through the device, for programs of `from` tokens or more. */
struct gpu_stream {
    const struct weight *const *weights; /* of the model */
    size_t n_weights;
    place_wanted_fn *wanted; /* which of them pass */
    void *user;
    uint64_t ring_bytes; /* that they pass through; 0: none do */
    int from;
};

struct gpu_exec_options {
    struct vk *vk;
    const struct place *place;
    gpu_build_fn *build;
    void *user;
    bool float_only;
    const char *forced_rows;     /* NULL: selection */
    const struct row_bars *bars; /* rows that are wrong here; NULL: none is known */
    const struct table *tuned;   /* what is fastest here; NULL: nothing was measured */
    bool plain;                  /* only the plainest rows (row.h) */
    int n_seqs, table_stride;    /* of the page table */
    int max_tokens;              /* of a batch */
    int max_outputs;             /* of a batch that memory is had for at once; 0: 1 */
    int n_best;                  /* what will be wanted of outputs (batch.h) */
    uint64_t kv_page_bytes;      /* of the layers whose cache is here; 0: none is */
    int n_kv_pages;
    struct gpu_stream stream;
    bool profile; /* a timestamp around every step */
};

/* Bytes of device memory: the cache, the ring, and all else. */
struct gpu_need {
    uint64_t cache, ring, work;
};

/* Allocates the pages of the cache and the buffers for the largest batch; compiles the programs for
 * one token and for the largest batch. Errors: HTH_ERROR_MEMORY or HTH_ERROR_LIMIT with sizes,
 * HTH_ERROR_UNSUPPORTED naming an op that nothing here can run, the device's. */
HTH_MUST_CHECK gpu_exec_create(struct gpu_exec **out, const struct gpu_exec_options *options,
                               const struct log *log);
void gpu_exec_destroy(struct gpu_exec *exec);

/* What an executor and any batch with at most max_outputs outputs take. Only measures:
 * options->place may be of place_measure, nothing is allocated or compiled. A ring that is too
 * small for a weight counts as more than there can be. Errors: as above but the device's. */
HTH_MUST_CHECK gpu_exec_measure(const struct gpu_exec_options *options, struct gpu_need *need,
                                const struct log *log);

/* How weights that pass are placed. */
struct place_options gpu_exec_ring(const struct gpu_exec_options *options);

/* What rows are chosen by. */
struct row_env gpu_exec_env(const struct gpu_exec_options *options);

/* Runs a batch of at most max_tokens. `*result` is [n_vocab, n_outputs] floats, or with n_best what
 * op_top_k gives of them, valid until the next run; NULL without outputs, or where another device
 * has it. Errors: the device's (HTH_ERROR_DEVICE_LOST included). */
HTH_MUST_CHECK gpu_exec_run(struct gpu_exec *exec, const struct batch *batch, const void **result);

/* The same in pieces, where other devices run parts of the graph (op/partition.h): start, then
 * advance whenever something new was handed over, finish at the end, also after a failure.
 * Advancing submits all that takes no hop above number `given`, and does not wait. What a hop
 * brings from here can be read after waiting for it. */
HTH_MUST_CHECK gpu_exec_start(struct gpu_exec *exec, const struct batch *batch);
HTH_MUST_CHECK gpu_exec_advance(struct gpu_exec *exec, int given);
HTH_MUST_CHECK gpu_exec_wait_hop(struct gpu_exec *exec, int hop);
HTH_MUST_CHECK gpu_exec_finish(struct gpu_exec *exec, const struct batch *batch,
                               const void **result);

/* The hops' memory, from start to finish; NULL if there is none. */
void *gpu_exec_hops(struct gpu_exec *exec);

/* A page of the cache, kv_page_bytes, from the device and to it. Not between start and finish. */
HTH_MUST_CHECK gpu_exec_read_page(struct gpu_exec *exec, int page, void *bytes);
HTH_MUST_CHECK gpu_exec_write_page(struct gpu_exec *exec, int page, const void *bytes);

/* The smallest bucket that holds `n` tokens: each of 1–16, then 32, 64, 128 … */
int gpu_bucket(int n);

/* The same for outputs: few keep their number; a batch that wants most of its rows gets room for
 * all. */
int gpu_output_bucket(int n_outputs, int n_tokens);

/* The program for a bucket, compiled if need be; for listings and tests. */
HTH_MUST_CHECK gpu_exec_program(struct gpu_exec *exec, struct batch_size size,
                                const struct program **program);

/* Nanoseconds of each step of the last run (profile only); `times` has program->n_steps items. */
HTH_MUST_CHECK gpu_exec_times(struct gpu_exec *exec, struct batch_size size, uint64_t *times);

/* Bytes of weights that have passed through. */
uint64_t gpu_exec_passed_bytes(const struct gpu_exec *exec);

/* Bytes of results that the host has read. */
uint64_t gpu_exec_read_bytes(const struct gpu_exec *exec);

/* Bytes on the device: cache, ring, activations, batch and result. */
uint64_t gpu_exec_bytes(const struct gpu_exec *exec);

#endif
