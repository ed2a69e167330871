/*
 * op_gpu.h — one case on the GPU: where its memory lies in a chunk, and the check that each step of
 * its program reads and writes what it declares and nothing else.
 *
 * Private to op_device_gpu.c, op_declared.c and tests of the tests. Owns nothing.
 */
#ifndef TESTS_OP_OP_GPU_H
#define TESTS_OP_OP_GPU_H

#include "gpu/compile.h"
#include "op_device.h"

/* Bytes [from, to) of the chunk, and whose they are. */
struct gpu_region {
    uint64_t from, to;
    const char *name;
    bool changes; /* steps may write there; else its bytes stay: weights and tables of experts */
    bool empty;   /* nothing of the case is there when it begins: side buffers */
};

enum { GPU_CASE_REGIONS = 256, GPU_CASE_PAGES = 256 };

struct gpu_case {
    struct vk *vk;
    uint32_t chunk; /* of everything but the batch */
    uint64_t chunk_bytes;
    uint32_t batch_chunk, batch_upload; /* what the host wrote, and where kernels read it */
    const struct op_run *run;
    unsigned char stale; /* what memory holds that nothing was written to yet */
    struct gpu_region regions[GPU_CASE_REGIONS];
    size_t n_regions;
    uint32_t page_refs[GPU_CASE_PAGES];
};

/* Runs steps [first, first + count) of a program, with the barriers that they have, and waits. */
HTH_MUST_CHECK gpu_case_run(const struct gpu_case *c, const struct program *program, size_t first,
                            size_t count);

/* Runs each step alone, on the memory that the steps before it left and on the same with everything
 * poisoned that it does not declare as read, and compares byte for byte. The chunk is afterwards as
 * the case begins. HTH_ERROR_LIMIT: a step touches what it does not declare, logged with step, op,
 * offset and what lies there. */
HTH_MUST_CHECK op_declared_check(const struct gpu_case *c, const struct program *program);

/* The device that GPU rows run on: its caps, and "name, driver". NULL, and "none": there is none.
 */
const struct vk_caps *op_gpu_caps(void);
const char *op_gpu_name(void);

/* Opens it; false: there is none. */
bool op_gpu_open(void);

/* What rows are chosen by there. */
struct row_env op_gpu_env(void);

/* What a row is held to. */
enum op_precision op_gpu_precision(size_t row);

/* Runs an op by this row as it is tuned: what selection finds with the table must be the row. */
HTH_MUST_CHECK op_gpu_run_tuned(size_t row, const struct table *tuned, const struct op_run *run);

/* Tests of the tests: called with each program before its steps are checked. NULL: nothing. */
extern void (*op_declared_tamper)(struct program *program);

#endif
