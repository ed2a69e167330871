/*
 * slots.h — which experts of a layer have a slot on a GPU: the policy of the expert cache.
 *
 * Where a GPU has some of a layer's experts, they are those in use: an expert that was missing and
 * is likely to be used takes the slot of one that is not. How likely is judged by recency and
 * frequency: uses that fade, half fast and half slowly (Lee et al. 2001, "LRFU: a spectrum of
 * policies"). What uploads have brought decides how many there may be: an expert that came and is
 * used earns its price, one that left and would have been used costs; where routing has no pattern
 * that sum is nothing, and nearly all stay where they are.
 *
 * Numbers only: who copies is told whom. Owns its lists (one arena); after slots_create nothing is
 * allocated. One thread.
 */
#ifndef PLAN_SLOTS_H
#define PLAN_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/log.h"

struct slots_options {
    int n_layers, n_expert, n_used; /* a token uses n_used of a layer */
    double price;                   /* of an upload, in uses of an expert that the CPU is spared */
};

/* The price where the CPU reads experts and the GPU is sent them at these rates: three parts of
 * four of a copy are taken to pass while the host would wait for the GPU anyway. */
static inline double slots_price(double cpu_read, double copy)
{
    return 0.25 * cpu_read / copy;
}

struct slots_swap {
    int layer, gone, comes; /* experts */
};

struct slots_count {
    uint64_t uses, hits, uploads;
};

struct slots;

/* No layer has slots. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK slots_create(struct slots **out, const struct slots_options *options,
                            const struct log *log);
void slots_destroy(struct slots *slots);

/* While it is set up: this expert has a slot. A layer with slots for none or all has no cache. */
void slots_fill(struct slots *slots, int layer, int expert);

/* Where an expert is. */
enum slots_place { SLOTS_HOST, SLOTS_COMING, SLOTS_HERE };
enum slots_place slots_place_of(const struct slots *slots, int layer, int expert);

/* Tells what `n_tokens` tokens use in a layer: ids[n_tokens × n_used]. */
void slots_use(struct slots *slots, int layer, const int32_t *ids, int n_tokens);

/* After all layers of a batch. */
void slots_step(struct slots *slots, int n_tokens);

/* The swap that promises most, if one is worth it. */
bool slots_choose(const struct slots *slots, struct slots_swap *swap);

/* A swap begins: `gone` has left its slot, and `comes` is on its way there until it arrives. */
void slots_begin(struct slots *slots, const struct slots_swap *swap);
void slots_arrive(struct slots *slots, const struct slots_swap *swap);

struct slots_count slots_get_count(const struct slots *slots);

#endif
