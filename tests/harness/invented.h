/*
 * invented.h — models and machines as numbers, drawn at random, for tests of placement.
 *
 * No file, no tensor: only what the planner sees. The same seed gives the same.
 */
#ifndef HARNESS_INVENTED_H
#define HARNESS_INVENTED_H

#include "base/rng.h"
#include "plan/plan.h"

/* A model of `n_layers` layers; experts where n_expert > 0, some layers dense all the same where
 * `mixed`. Sizes differ from layer to layer. Free with units_free. */
struct invented_model {
    int n_layers, n_expert, n_used;
    double layer_mib; /* about */
    bool mixed, alike;
};
void invent_units(struct units *units, const struct invented_model *model, uint64_t seed);

/* A CPU and `n_gpus` GPUs whose memories hold about `part` of the units together. */
void invent_machine(struct machine *machine, const struct units *units, int n_gpus, double part,
                    uint64_t seed);

#endif
