/*
 * place_part.h — what the files that make a plan share; nothing for others.
 *
 * place.c looks for where units live; heaps.c counts what that takes of each memory; outcome.c says
 * what follows: how fast it is, what holds it back, what it rests on. Pure functions but for the
 * plan they fill in: any thread.
 */
#ifndef PLAN_PLACE_PART_H
#define PLAN_PLACE_PART_H

#include "plan/plan.h"
#include "plan/solve.h"

/* --- heaps.c ---------------------------------------------------------------------------------- */

/* What a device that does a part holds beside units and staging. */
uint64_t heap_activation_bytes(const struct units *units, int n_batch, int device);

/* A GPU's memory for units, with `staging` less what copies into it take. Integrated ones share the
 * host's, of which they may have what the budget of their heap says. */
void heap_capacities(const struct cost *cost, bool staging, uint64_t out[MACHINE_MAX_DEVICES]);

/* Do choices that take `bytes` on each GPU fit there, with all that goes with them? */
bool heap_within(const struct cost *cost, const struct choice *choices,
                 const uint64_t bytes[MACHINE_MAX_DEVICES]);

/* Bytes of one unit in the host's memory. */
uint64_t heap_host_bytes(const struct cost *cost, const struct unit *unit, struct choice choice);

/* Weights in use that the host's memory has no room for, as a part of all that it should hold. */
double heap_file_part(const struct cost *cost, const struct choice *choices);

/* Fills in plan->heaps. */
void heaps_count(struct plan *plan, const struct cost *cost);

/* --- outcome.c -------------------------------------------------------------------------------- */

/* Seconds and tokens/s of a plan whose units live where `choices` say; of each unit where there are
 * items. */
void outcome_predict(struct plan *plan, const struct cost *cost, const struct choice *choices);

/* All of the plan that follows from the choices, `cost` being of its machine and turn. `choices`
 * are changed and put back; of `scratch` ([n_units]) nothing is kept. */
void outcome_fill(struct plan *plan, const struct cost *cost, struct choice *choices,
                  struct choice *scratch);

static inline uint64_t bytes_minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

#endif
