/*
 * roof_args.h — arguments of the kernels that measure a device's limits.
 */
#ifndef BENCH_ROOF_ARGS_H
#define BENCH_ROOF_ARGS_H

#include "common/shared.h"

struct roof_args {
    ref_t x;      /* what is read */
    ref_t y;      /* a word of every workgroup, or what a lane made */
    u32 per_lane; /* reads: of 16 bytes; arithmetic: rounds */
    u32 stride;   /* reads: lanes in all */
    u32 seed;     /* arithmetic: what the host knows and the compiler does not */
};

#endif
