/*
 * walk.h — the fastest way through some layers for one GPU, or none.
 *
 * Keeps for every reachable amount of memory the fastest way to get there (the labels of a knapsack
 * along a chain), with amounts told apart in steps of a thousandth or so. As what fills less memory
 * never depends on how much there is, more of it never gives a slower way. Owns its labels while it
 * runs. Deterministic; any thread.
 */
#ifndef PLAN_WALK_H
#define PLAN_WALK_H

#include "plan/options.h"

/* way[n_layers]: numbers of options that take at most `capacity` bytes, filled where there is one
 * that takes less than *turn_s, which becomes its time. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK walk_fastest(const struct chain *chain, uint64_t capacity, int *way, double *turn_s,
                            const struct log *log);

#endif
