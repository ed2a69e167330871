#include <immintrin.h>

#include "cpu/levels_avx512.h"

#define GROUP_KERNELS   groups_avx512
#define LANES           16
#define OFFSET          128
#define DOT4(acc, w, x) ((ivec)_mm512_dpbusd_epi32((__m512i)(acc), (__m512i)(w), (__m512i)(x)))
#define DOT4_SMALL      DOT4
#define HALVES(p)       ((vec)_mm512_cvtph_ps(_mm256_loadu_si256((const void *)(p))))
#include "cpu/interleaved_body.h"
