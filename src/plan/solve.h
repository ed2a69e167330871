/*
 * solve.h — the solver: which unit lives where, so that a turn takes least time.
 *
 * With one GPU and few layers more memory never gives a slower plan (walk.h). Several GPUs or many
 * layers are searched for each by itself (prices.h, cells.h), so that more memory may give a plan
 * that is some tenths of a percent slower. Owns nothing. Deterministic; any thread.
 */
#ifndef PLAN_SOLVE_H
#define PLAN_SOLVE_H

#include "plan/options.h"

/* The best placement with at most `capacity` bytes of units on each GPU: fills choices[n_units].
 * *turn_s is infinite when there is none. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK solve(const struct cost *cost, const uint64_t capacity[MACHINE_MAX_DEVICES],
                     struct choice *choices, double *turn_s, const struct log *log);

/* Seconds of the turn with these choices; the bytes that they take on each GPU. */
double solve_evaluate(const struct cost *cost, const struct choice *choices,
                      uint64_t bytes[MACHINE_MAX_DEVICES]);

#endif
