/*
 * stopwatch.h — how long an op of a model takes on a device, by one row in one shape or another.
 *
 * The op runs with its formats and lengths on invented inputs, several times over with weights, or
 * keys and values, that lie apart, so that none is read from a cache that still holds it. Where it
 * would take long it has fewer rows, or positions before it. Owns its memory on the device until it
 * is closed; the device is the caller's. One thread.
 */
#ifndef GPU_STOPWATCH_H
#define GPU_STOPWATCH_H

#include "gpu/selftest_part.h"

/* Attention sees as many positions as it does in a conversation of some length. */
enum { STOPWATCH_LAPS = 24, STOPWATCH_COPIES = 16, STOPWATCH_POSITIONS = 2048 };

/* Nanoseconds of one op; of several ops that share an input, helpers are one's alone. */
struct stopwatch_time {
    double own, helpers;
};

/* One row in one shape. */
struct stopwatch_lap {
    struct row_pick pick;
    struct program programs[STOPWATCH_COPIES];
    struct vk_cmd *cmd;
    uint64_t generation; /* of what is recorded; 0: nothing is */
    uint64_t used;       /* when it last ran */
};

struct stopwatch {
    struct vk *vk;
    const struct log *log;
    struct selftest_case c;
    int n_copies;
    struct place place; /* of all copies, one after the other */
    uint32_t activations;
    /* Of each copy, where the op has a cache; else the first batch is of all. */
    uint32_t batches[STOPWATCH_COPIES], caches[STOPWATCH_COPIES];
    struct stopwatch_lap *laps; /* [STOPWATCH_LAPS] */
    uint64_t clock;
};

/* Makes ready to time an op, of a graph for so many tokens of a context of `n_ctx`, that by default
 * is computed so. `out` has vk and log set and all else zero; it is closed after an error, too.
 * Errors: HTH_ERROR_MEMORY and _LIMIT where there is no room, what compiling ends with,
 * HTH_ERROR_DEVICE_LOST. */
HTH_MUST_CHECK stopwatch_open(struct stopwatch *out, const struct op *op,
                              const struct row_pick *by_default, int n_tokens, int n_ctx);
void stopwatch_close(struct stopwatch *watch);

/* Has its kernels compiled in the background. The driver's errors come when it is timed. */
HTH_MUST_CHECK stopwatch_prepare(struct stopwatch *watch, const struct row_pick *pick);

/* The least time of a few runs. Errors: HTH_ERROR_DEVICE where the driver does not compile it, and
 * as above. */
HTH_MUST_CHECK stopwatch_time(struct stopwatch *watch, const struct row_pick *pick,
                              struct stopwatch_time *out);

#endif
