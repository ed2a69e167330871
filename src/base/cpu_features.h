/*
 * cpu_features.h — what the processor this runs on can do beyond what everything is compiled for.
 *
 * Owns nothing. The compiler's own look-up knows about the operating system's part too (registers
 * that it does not save count as not there). Any thread.
 */
#ifndef BASE_CPU_FEATURES_H
#define BASE_CPU_FEATURES_H

#include <stdbool.h>

bool cpu_has_avx2(void);     /* AVX2, FMA and F16C */
bool cpu_has_avx512(void);   /* AVX-512 F, BW, DQ, VL and VNNI */
bool cpu_has_neon_dot(void); /* NEON with signed dot products of bytes */

#endif
