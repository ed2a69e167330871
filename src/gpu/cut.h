/*
 * cut.h — steps are cut into submits short enough that a desktop stays fluid.
 *
 * Pure functions over the times that steps take, as far as these are known; no Vulkan. One thread.
 */
#ifndef GPU_CUT_H
#define GPU_CUT_H

#include <stddef.h>
#include <stdint.h>

/* Nanoseconds: what a submit may take, and what it is cut to take, so that one that grows is not
 * cut at once again. */
enum { CUT_MOST_NS = 50 * 1000 * 1000, CUT_AIM_NS = 40 * 1000 * 1000 };

/* Cuts n_steps into runs that take at most `most` each, where a single step does not take more than
 * that already. `ends[i]` becomes the index after the last step of run i; there is room for
 * n_steps. Gives the number of runs: at least 1, and no more than needed. */
size_t cut_steps(const uint64_t *times_ns, size_t n_steps, uint64_t most, size_t *ends);

/* Makes what steps are thought to take sum up to what they took together: each keeps its share. */
void cut_fit(uint64_t *times_ns, size_t n_steps, uint64_t took_ns);

/* The dimension in which a dispatch of such workgroups is best divided; −1: in none. Those of
 * `fixed`, a bit each, cannot be. */
int cut_axis(const uint32_t groups[3], uint32_t fixed);

/* In how many parts a step of n workgroups is done, so that each takes CUT_AIM_NS at most. */
uint32_t cut_parts(uint64_t time_ns, uint32_t n_groups);

/* Nanoseconds that so much work takes on a device of which nothing is known: a slow one, 8 GB/s. */
double cut_unknown_ns(uint64_t bytes);

#endif
