/*
 * search.h — a way through the layers of a model that is faster than the one at hand, if there is
 * one.
 *
 * Where memories of several GPUs bind at once, cells of memory (solve.c) are coarse, and the way
 * they show may be some percent from the best. Here labels have exact bytes; what keeps them few is
 * a bound: with a price on each GPU's memory, no rest of the chain takes less than its cheapest
 * (Handler and Zang 1980, "A dual algorithm for the constrained shortest path problem"), so a label
 * that cannot become faster than the way at hand is dropped. Owns its labels while it runs.
 * Deterministic; any thread.
 */
#ifndef PLAN_SEARCH_H
#define PLAN_SEARCH_H

#include "plan/solve.h"

/* A chain: each layer is left in the state that its option says, and the first is met in state 0.
 */
struct search {
    int n_layers, n_states, n_devices;
    const struct option_list *(*options)(const void *user, int layer, int state);
    const void *user;
    uint64_t capacity[MACHINE_MAX_DEVICES]; /* of each GPU, in bytes */
};

/* way[n_layers]: numbers of the options of the way at hand, which fits and takes *turn_s; both
 * change where another was found that takes less by more than a five-hundredth. That none was means
 * that there is none, unless labels had to be left out for time's sake: the less promising are.
 * Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK search_faster(const struct search *search, int *way, double *turn_s,
                             const struct log *log);

#endif
