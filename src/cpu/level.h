/*
 * level.h — which instruction sets this processor has, as levels that kernels are written for.
 *
 * Owns the answer, found once. HEARTH_CPU_LEVEL (scalar, avx2, avx512, neon) keeps selection at or
 * below a level, for measurements and when a kernel is in doubt. Any thread.
 */
#ifndef CPU_LEVEL_H
#define CPU_LEVEL_H

#include <stdbool.h>

/* A processor has CPU_SCALAR and some of the others; the highest is the best. */
enum cpu_level {
    CPU_SCALAR,
    CPU_AVX2,   /* with FMA and F16C */
    CPU_AVX512, /* F, BW, DQ, VL and VNNI: Ice Lake, Zen 4 and later */
    CPU_NEON,   /* with dot products: ARMv8.2 and later */
    CPU_LEVELS,
};

/* "scalar", "avx2", "avx512", "neon". */
const char *cpu_level_name(enum cpu_level level);

/* Does this processor, with its system, run kernels of the level? */
bool cpu_level_runs(enum cpu_level level);

/* May selection pick kernels of the level: it runs here, and HEARTH_CPU_LEVEL does not name a lower
 * one. A name that is none counts as not given. */
bool cpu_level_wanted(enum cpu_level level);

#endif
