/*
 * cells.h — a fast way through the layers of a model for several GPUs, by amounts of memory.
 *
 * Of the ways to reach about as much memory of each GPU (a cell) the most promising stays
 * (prices.h). Ways that cannot become fast enough are left out: in the first rounds all that are
 * far from the bound, as most models have one that is near, then all that are no better than the
 * best so far. What is left is told apart twice as finely in each round. Of long chains, options
 * that promise least are not tried (the core of a knapsack: Balas and Zemel 1980). Owns its labels
 * while it runs. Deterministic; any thread.
 */
#ifndef PLAN_CELLS_H
#define PLAN_CELLS_H

#include "plan/prices.h"

/* way[n_layers]: numbers of options that fit, filled where there is one that takes less than
 * *turn_s, which becomes its time. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK cells_walk(const struct prices *prices, int *way, double *turn_s,
                          const struct log *log);

#endif
