/*
 * solve.h — the solver: which unit lives where, so that a turn takes least time.
 *
 * Walks the layers once, keeping for every reachable amount of memory on each GPU the fastest way
 * to get there (the labels of a knapsack along a chain), with amounts told apart in steps of a
 * thousandth or so. As what fills less memory never depends on how much there is, more memory of
 * one GPU never gives a slower plan; the plans of several are refined further, each from its own,
 * so that more memory may give one that is some tenths of a percent slower. Owns its labels while
 * it runs. Deterministic; any thread.
 */
#ifndef PLAN_SOLVE_H
#define PLAN_SOLVE_H

#include "plan/cost.h"

/* A layer's units all placed, after a state; what the solver chooses among. */
struct option {
    struct choice choices[UNITS_PER_LAYER];
    uint64_t bytes[MACHINE_MAX_DEVICES]; /* on each GPU */
    double time_s;                       /* of the turn */
    int out;                             /* the state behind the layer */
};

/* States between layers: after a unit on GPU g, g; on the CPU 0; in the host's memory but streamed
 * in prefill n_devices. */
struct cost_state solve_state(const struct cost *cost, int state);
static inline int solve_n_states(const struct cost *cost)
{
    return cost->machine->n_devices + 1;
}

struct option_list {
    struct option *items; /* mem_free */
    size_t count, capacity;
};

/* All ways to place a layer after a state, in a fixed order; with `prune`, without those that
 * another beats in time and every memory. Errors: HTH_ERROR_MEMORY, said by nobody. */
HTH_MUST_CHECK solve_options(struct option_list *out, const struct cost *cost, int layer, int state,
                             bool prune);

/* The best placement with at most `capacity` bytes of units on each GPU: fills choices[n_units].
 * *turn_s is infinite when there is none. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK solve(const struct cost *cost, const uint64_t capacity[MACHINE_MAX_DEVICES],
                     struct choice *choices, double *turn_s, const struct log *log);

/* Seconds of the turn with these choices; the bytes that they take on each GPU. */
double solve_evaluate(const struct cost *cost, const struct choice *choices,
                      uint64_t bytes[MACHINE_MAX_DEVICES]);

#endif
