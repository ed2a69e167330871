/*
 * levels_avx2.h — what the AVX2 files of cpu/ hand to each other.
 *
 * Owns nothing. Constants: any thread.
 */
#ifndef CPU_LEVELS_AVX2_H
#define CPU_LEVELS_AVX2_H

#include "base/attr.h"
#include "cpu/matmul_kernels.h"

extern const struct float_kernels float_kernels_avx2;
extern const struct format_kernel formats_avx2[]; /* ends with a NULL dtype */
extern const struct group_kernel groups_avx2[];   /* likewise */

#endif
