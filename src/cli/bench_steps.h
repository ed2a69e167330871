/*
 * bench_steps.h — what the kernels of a batch took on its GPU, added up by their names.
 *
 * A table owns its lines until it is freed. The program's main thread.
 */
#ifndef CLI_BENCH_STEPS_H
#define CLI_BENCH_STEPS_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "engine/roof.h"
#include "hearth/hearth.h"

struct kernel_time {
    const char *name; /* the session's */
    int calls;
    uint64_t time_ns, bytes, flops; /* of all calls; what they move and compute */
};

struct kernel_times {
    struct kernel_time *items; /* the longest first */
    size_t count, capacity;
    uint64_t time_ns; /* of all */
    bool failed;      /* memory ran out on the way */
};

/* The kernels of the session's last batch; the session was opened with `profile`. Errors:
 * HTH_ERROR_ARGUMENT without a GPU, HTH_ERROR_MEMORY. */
HTH_CHECKED kernel_times_read(struct kernel_times *out, struct hth_session *session);

/* A table on stdout; with shares of `roof` unless that is NULL. */
void kernel_times_print(const struct kernel_times *times, const struct roof *roof);

/* [{"kernel", "calls", "time_us", "bytes", "flops"}], the longest first; a new reference. */
json_t *kernel_times_json(const struct kernel_times *times);

void kernel_times_free(struct kernel_times *times);

#endif
