/*
 * limits.h — what a device can do, measured with kernels that do one thing: read, multiply and add,
 * or nothing.
 *
 * Each figure is the best of several runs, as a limit is what nothing else disturbs, and what a
 * kernel computed is compared with what it should have. Owns nothing between calls. One thread.
 */
#ifndef BENCH_LIMITS_H
#define BENCH_LIMITS_H

#include "vk/vk.h"

enum limit_memory { MEMORY_DEVICE, MEMORY_UPLOAD, MEMORY_READBACK, MEMORY_COUNT };
enum limit_copy { COPY_TO_DEVICE, COPY_TO_HOST, COPY_STAGED, COPY_COUNT };
enum limit_math { MATH_F32, MATH_F16, MATH_DOT, MATH_COUNT };
enum limit_latency {
    LATENCY_DISPATCH,
    LATENCY_BARRIER,
    LATENCY_SUBMIT,
    LATENCY_WAIT,
    LATENCY_COUNT
};

/* Work per second, and how much there was in a run; 0: not measured. Of arithmetic it is the best
 * of several ways: with so many chains that do not wait for each other, in subgroups of so many
 * lanes (0: as the driver likes). */
struct limit {
    double per_s, work;
    uint32_t chains, lanes;
    char why[128]; /* it was not measured, or not in each way; else empty */
};

struct limits {
    struct limit read[MEMORY_COUNT];      /* bytes, by shaders */
    struct limit copy[COPY_COUNT];        /* bytes; staged: with the host's own copy */
    struct limit math[MATH_COUNT];        /* a multiplication and an addition are two */
    struct limit matrix[VK_MAX_MATRICES]; /* the same, by caps.matrices */
    double latency_s[LATENCY_COUNT];      /* of the device for dispatch and barrier, else of the
                                           * host; negative: not measured */
};

/* Fills all of *out, whatever it returns: what fails, or is not begun within so many seconds (0: no
 * end), is said there, and the others are measured (but after a lost device). Errors, of the first
 * that failed: HTH_ERROR_MEMORY, HTH_ERROR_LIMIT, the device's; HTH_ERROR_DEVICE where a kernel's
 * results are wrong. */
HTH_MUST_CHECK limits_measure(struct limits *out, struct vk *vk, double seconds,
                              const struct log *log);

/* "device memory", "to the device", "fp32", "dispatch" */
const char *limit_memory_name(enum limit_memory memory);
const char *limit_copy_name(enum limit_copy copy);
const char *limit_math_name(enum limit_math math);
const char *limit_latency_name(enum limit_latency latency);

#endif
