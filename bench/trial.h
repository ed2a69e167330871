/*
 * trial.h — one product of matrix and vectors, placed, compiled and recorded so that it can be
 * timed.
 *
 * The way of the engine: a graph is placed and compiled into steps, so that selection, shapes and
 * helpers are the product's. A trial holds several copies of the op, each with matrix and vectors
 * of its own, so that a matrix is not read from a cache that holds it from the run before. Owns its
 * chunks and steps; the device is the caller's. One thread.
 */
#ifndef BENCH_TRIAL_H
#define BENCH_TRIAL_H

#include "gpu/compile.h"

enum { TRIAL_MAX_COPIES = 256, TRIAL_MAX_ROUNDS = 1000, TRIAL_MIN_ROUNDS = 3 };

struct trial_shape {
    int64_t n, k; /* rows, and their length */
    int columns;
};

/* What selection may take. */
struct trial_rows {
    const char *forced; /* NULL: any */
    bool float_only;
};

struct trial {
    const struct log *log;
    struct vk *vk;
    const struct dtype *type;
    struct trial_shape shape;
    struct trial_rows rows;
    int n_copies;
    struct weight weights[TRIAL_MAX_COPIES];
    const struct tensor *x[TRIAL_MAX_COPIES], *y[TRIAL_MAX_COPIES];
    uint8_t *matrix; /* every copy's */
    float *vectors;
    struct graph graph;
    struct memmap map;
    struct place place;
    struct program program;
    uint32_t activations, batch; /* chunks */
    struct vk_cmd *cmds[TRIAL_MAX_COPIES];
    uint64_t generation; /* of the recording; 0: none */
    const char *row;     /* the kernel that was chosen */
};

/* So many copies that together they are more than caches hold, where a kernel waits for memory; at
 * least 1. */
int trial_copies(const struct vk_caps *caps, const struct dtype *type,
                 const struct trial_shape *shape);

/* A kernel for this on this device; NULL if there is none or the shape is not the type's. */
const struct row *trial_row(const struct trial *wanted);

/* Makes the copies, runs them once (drivers may compile at the first dispatch) and looks whether
 * what comes out is right. `trial` has log, vk, type, shape and rows set and all else zero; close
 * it after a failure too. Errors: those of placing and compiling; HTH_ERROR_DEVICE. */
HTH_MUST_CHECK trial_open(struct trial *trial);
/* Zero is a closed trial. */
void trial_close(struct trial *trial);

/* How often to measure. */
struct trial_effort {
    int rounds;     /* at most, 1 … TRIAL_MAX_ROUNDS */
    double seconds; /* after these no new round begins, from TRIAL_MIN_ROUNDS on */
};

struct trial_times {
    double time_ns; /* median, of one product */
    double ratio; /* median of the base's time over this one's in the same round; 1 without base */
    int rounds;
};

/* Runs base and trial in turn, every second round in reverse order; one round is not measured.
 * `base` may be NULL. Errors: the device's. */
HTH_MUST_CHECK trial_measure(struct trial *base, struct trial *trial,
                             const struct trial_effort *effort, struct trial_times *out);

#endif
