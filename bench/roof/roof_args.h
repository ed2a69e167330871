/*
 * roof_args.h — arguments of the kernels that measure a device's limits.
 */
#ifndef BENCH_ROOF_ARGS_H
#define BENCH_ROOF_ARGS_H

#include "common/shared.h"

struct roof_args {
    ref_t x;      /* what is read */
    ref_t y;      /* a word of every workgroup, or what a lane made */
    u32 per_lane; /* reads: of 16 bytes; arithmetic: rounds, a multiple of 16 */
    u32 first;    /* reads: 16 bytes from where one workgroup begins to where the next does */
    u32 stride;   /* and from one load of a lane to its next */
    /* arithmetic: what even and odd rounds multiply by, the bits of a float or four bytes; the host
     * knows them and the compiler does not */
    u32 plus, minus;
    u32 ones[4]; /* matrices: 1, as plus */
};

#endif
