/*
 * row_dots_avx512.h — formats whose rows are multiplied as they lie in the file, with AVX-512.
 *
 * Owns nothing. Private to the AVX-512 kernels of cpu/.
 */
#ifndef CPU_ROW_DOTS_AVX512_H
#define CPU_ROW_DOTS_AVX512_H

#include "cpu/matmul_kernels.h"

extern const struct row_dots_kernel row_dots_avx512[]; /* ends with a NULL dtype */

#endif
