/*
 * levels_neon.h — what the NEON files of cpu/ hand to each other.
 *
 * Owns nothing. Constants: any thread.
 */
#ifndef CPU_LEVELS_NEON_H
#define CPU_LEVELS_NEON_H

#include "base/attr.h"
#include "cpu/matmul_kernels.h"

extern const struct float_kernels float_kernels_neon;
extern const struct group_kernel groups_neon[]; /* likewise */

#endif
