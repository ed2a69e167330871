/*
 * options.h — all ways to place the units of one layer, and what each costs: what the solver
 * chooses among.
 *
 * A layer's time depends on those before it by nothing but where the activations are (the state
 * between two layers). Owns nothing: lists and chains are the caller's. Deterministic; any thread.
 */
#ifndef PLAN_OPTIONS_H
#define PLAN_OPTIONS_H

#include "base/log.h"
#include "plan/cost.h"

/* States between layers: after a unit on GPU g, g; on the CPU 0; in the host's memory but streamed
 * in prefill n_devices. */
enum { OPTION_STATES = MACHINE_MAX_DEVICES + 1 };
struct cost_state options_state(const struct cost *cost, int state);
static inline int options_n_states(const struct cost *cost)
{
    return cost->machine->n_devices + 1;
}

/* A layer's units all placed, after a state. */
struct option {
    struct choice choices[UNITS_PER_LAYER];
    uint64_t bytes[MACHINE_MAX_DEVICES]; /* on each GPU */
    double time_s;                       /* of the turn */
    int out;                             /* the state behind the layer */
};

struct option_list {
    struct option *items;
    size_t count, capacity;
};

/* Fills out[options_n_states], one list for each state before the layer, in a fixed order; with
 * `prune`, without those that another beats in time and every memory. options_free in any case.
 * Errors: HTH_ERROR_MEMORY, said by nobody. */
HTH_MUST_CHECK options_list(struct option_list out[OPTION_STATES], const struct cost *cost,
                            int layer, bool prune);
void options_free(struct option_list lists[OPTION_STATES]);

/* Bytes that a choice for a unit takes on its GPU. */
uint64_t options_bytes(const struct unit *unit, struct choice choice);

/* The options of all layers, in order. Layers that look alike share theirs. */
struct chain {
    const struct cost *cost;
    int n_layers, n_states, n_devices;
    struct option_list (*lists)[OPTION_STATES]; /* [n_kinds] */
    int *kind_of, n_kinds;                      /* [n_layers] */
};

/* chain_free in any case. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK chain_create(struct chain *out, const struct cost *cost, const struct log *log);
void chain_free(struct chain *chain);

/* What is worth a search of everything for some layers takes too long for many. */
static inline bool chain_is_long(const struct chain *chain)
{
    return chain->n_layers > 16;
}

static inline const struct option_list *chain_options(const struct chain *chain, int layer,
                                                      int state)
{
    return &chain->lists[chain->kind_of[layer]][state];
}

/* Fills choices[n_units] from the numbers of one option for each layer. */
void chain_choose(const struct chain *chain, const int *way, struct choice *choices);

#endif
