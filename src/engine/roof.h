/*
 * roof.h — the limits of a device as bench/roof wrote them, and the share of them that something
 * reached.
 *
 * Plain values; owns nothing. Any thread.
 */
#ifndef ENGINE_ROOF_H
#define ENGINE_ROOF_H

#include "base/log.h"
#include "hearth/status.h"

struct row;

/* Per second; 0: not measured. */
struct roof {
    char device[256];
    double read_bytes;                     /* of the device's own memory */
    double fp32_flop, fp16_flop, dot_flop; /* a multiplication and an addition are two */
    /* Of cooperative matrices of these types, the most of all shapes; sums are fp32, of bytes
     * 32-bit integers, as in all kernels here. */
    double matrix_f16_flop, matrix_bf16_flop, matrix_s8_flop;
};

/* Reads what `bench/roof --json` printed. Errors, naming the file: HTH_ERROR_IO, HTH_ERROR_FORMAT,
 * HTH_ERROR_MEMORY. */
HTH_MUST_CHECK roof_read(struct roof *out, const char *path, const struct log *log);

/* Warns where the limits are of another device than what is measured. */
void roof_check_device(const struct roof *roof, const char *device, const struct log *log);

/* The fastest arithmetic. */
double roof_best_flop(const struct roof *roof);

/* That of a row; 0: not measured. By name: the fastest where no row is called so. */
double roof_row_flop(const struct roof *roof, const struct row *row);
double roof_named_flop(const struct roof *roof, const char *row_name);

/* What was done, the arithmetic that it was done with, and how long it took. */
struct roof_work {
    double bytes, flop, flop_per_s, seconds;
};

/* The least time for it over the time it took: 1 is the roof. `*bound` becomes "read" or "math". */
double roof_share(const struct roof *roof, const struct roof_work *work, const char **bound);

#endif
