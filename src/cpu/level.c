#include "cpu/level.h"

#include <stdlib.h>
#include <string.h>

#include "base/cpu_features.h"

static const char *const names[CPU_LEVELS] = {"scalar", "avx2", "avx512", "neon"};

const char *cpu_level_name(enum cpu_level level)
{
    return names[level];
}

bool cpu_level_runs(enum cpu_level level)
{
    switch (level) {
    case CPU_SCALAR: return true;
    case CPU_AVX2: return cpu_has_avx2();
    case CPU_AVX512: return cpu_has_avx2() && cpu_has_avx512();
    case CPU_NEON: return cpu_has_neon_dot();
    case CPU_LEVELS: break;
    }
    return false;
}

bool cpu_level_wanted(enum cpu_level level)
{
    const char *highest = getenv("HEARTH_CPU_LEVEL");
    for (int i = 0; highest && i < CPU_LEVELS; i++)
        if (strcmp(highest, names[i]) == 0)
            return (int)level <= i && cpu_level_runs(level);
    return cpu_level_runs(level);
}
