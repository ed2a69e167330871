#include "gpu/cut.h"

size_t cut_steps(const uint64_t *work, size_t n_steps, uint64_t most, size_t *ends)
{
    size_t n = 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < n_steps; i++) {
        if (sum > 0 && (work[i] > most || sum > most - work[i])) {
            ends[n++] = i;
            sum = 0;
        }
        sum += work[i];
    }
    ends[n++] = n_steps;
    return n;
}

uint64_t cut_most(uint64_t work, uint64_t time_ns)
{
    if (time_ns == 0) /* no timestamps: whatever it is, it cannot be told */
        return cut_most_unknown();
    return (uint64_t)((double)work / (double)time_ns * CUT_TARGET_NS) + 1;
}

uint64_t cut_most_unknown(void)
{
    return 8ull * CUT_TARGET_NS;
}
