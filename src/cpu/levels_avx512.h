/*
 * levels_avx512.h — what the AVX-512 files of cpu/ hand to each other.
 *
 * Owns nothing. Constants: any thread.
 */
#ifndef CPU_LEVELS_AVX512_H
#define CPU_LEVELS_AVX512_H

#include "base/attr.h"
#include "cpu/matmul_kernels.h"

extern const struct float_kernels float_kernels_avx512;
extern const struct format_kernel formats_avx512[]; /* ends with a NULL dtype */
extern const struct group_kernel groups_avx512[];   /* likewise */

#endif
