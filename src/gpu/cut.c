#include "gpu/cut.h"

size_t cut_steps(const uint64_t *times_ns, size_t n_steps, uint64_t most, size_t *ends)
{
    size_t n = 0;
    uint64_t sum = 0;
    for (size_t i = 0; i < n_steps; i++) {
        if (sum > 0 && (times_ns[i] > most || sum > most - times_ns[i])) {
            ends[n++] = i;
            sum = 0;
        }
        sum += times_ns[i];
    }
    ends[n++] = n_steps;
    return n;
}

/* No step takes no time: of what is nothing there is no share. */
void cut_fit(uint64_t *times_ns, size_t n_steps, uint64_t took_ns)
{
    double sum = 0;
    for (size_t i = 0; i < n_steps; i++)
        sum += (double)times_ns[i];
    for (size_t i = 0; i < n_steps; i++) {
        double share = (double)times_ns[i] / sum * (double)took_ns;
        times_ns[i] = share > 1 ? (uint64_t)share : 1;
    }
}

int cut_axis(const uint32_t groups[3], uint32_t fixed)
{
    int axis = -1;
    for (int i = 0; i < 3; i++)
        if (!(fixed >> i & 1) && groups[i] > (axis < 0 ? 1 : groups[axis]))
            axis = i;
    return axis;
}

uint32_t cut_parts(uint64_t time_ns, uint32_t n_groups)
{
    uint64_t parts = time_ns ? (time_ns - 1) / CUT_AIM_NS + 1 : 1;
    return parts < n_groups ? (uint32_t)parts : n_groups;
}

double cut_unknown_ns(uint64_t bytes)
{
    return (double)bytes / 8;
}
