#include "base/cpu_features.h"

#include "base/os.h"

#if defined(__x86_64__)

bool cpu_has_avx2(void)
{
    __builtin_cpu_init();
    /* Every processor with AVX2 has F16C, which gcc 10 cannot be asked about. */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

bool cpu_has_avx512(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni");
}

#else

bool cpu_has_avx2(void)
{
    return false;
}

bool cpu_has_avx512(void)
{
    return false;
}

#endif

bool cpu_has_neon_dot(void)
{
    return os_cpu_has_arm_dot();
}
