/*
 * cut.h — steps are cut into submits short enough that a desktop stays fluid.
 *
 * Pure functions over the steps' work; no Vulkan. One thread.
 */
#ifndef GPU_CUT_H
#define GPU_CUT_H

#include <stddef.h>
#include <stdint.h>

enum { CUT_TARGET_NS = 50 * 1000 * 1000 };

/* Cuts n_steps into runs whose work is at most `most` each, where a single step is not more than
 * that already. `ends[i]` becomes the index after the last step of run i; there is room for
 * n_steps. Gives the number of runs: at least 1, and no more than needed. */
size_t cut_steps(const uint64_t *work, size_t n_steps, uint64_t most, size_t *ends);

/* The work that takes about CUT_TARGET_NS on a device that did `work` in `time_ns`. */
uint64_t cut_most(uint64_t work, uint64_t time_ns);

/* The same for a device of which nothing is known: a slow one's, 8 GB/s. */
uint64_t cut_most_unknown(void);

#endif
