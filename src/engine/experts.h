/*
 * experts.h — the cache of experts of a model that is divided: slots on the device have the experts
 * in use, those of the others the CPU computes.
 *
 * Which experts change places is the policy's (plan/slots.h); here is how. The host has all of
 * them. Between two batches one leaves its slot, and is the CPU's from then on; the bytes of the
 * one that comes go there a piece at a time, while the host would wait for the device, and at most
 * so many in a batch; once they are on their way it is the device's, from the next batch on. Tables
 * there and the split here change at the same moment, so each expert is computed exactly once.
 *
 * Owns the policy's state and the swaps under way. Threads: all is called with the model's device
 * mutex held; experts_send, experts_routed during a batch, all else between two.
 */
#ifndef ENGINE_EXPERTS_H
#define ENGINE_EXPERTS_H

#include "cpu/interleave.h"
#include "engine/split.h"
#include "gpu/place.h"
#include "plan/slots.h"

enum { EXPERTS_MOST_SWAPS = 64 };

/* The GPU that has the slots: where there are several, none has. */
enum { EXPERTS_DEVICE = 1 };

struct experts_options {
    const struct model *model;
    struct split *split;
    struct place *place;
    bool (*cached)(const void *user, int layer); /* do its experts on the device change? */
    const void *user;
    struct interleaved *interleaved; /* NULL: the CPU reads matrices as the file has them */
    struct pool *pool;
    double price;        /* slots.h */
    uint64_t most_bytes; /* uploaded with a batch */
};

/* A swap under way: the place of who left, and what of who comes is there. */
struct experts_swap {
    struct slots_swap who;
    struct placed_part *parts; /* [MATRICES]: where */
    int matrix;                /* that is being sent; */
    uint64_t sent;             /* bytes of it */
};

struct experts {
    struct arena arena;
    struct experts_options options; /* `cached` has been asked */
    const struct log *log;
    struct slots *slots;
    struct layer_matrices *layers; /* [n_layer] */
    struct experts_swap swaps[EXPERTS_MOST_SWAPS];
    int n_swaps, n_sent; /* those sent whole are the first */
    uint64_t left_bytes; /* of this batch */
    bool *table_changed; /* [n_layer]: the device has not been told */
    bool refused;        /* the device does not take uploads: all stays as it is */
    /* Tests choose otherwise. NULL: the policy does. */
    bool (*choose)(void *user, const struct slots *slots, struct slots_swap *swap);
    void *user;
};

/* After weights were placed, by a split whose layers are divided where they are `cached`. *out is
 * NULL where none is. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK experts_open(struct experts **out, const struct experts_options *options,
                            const struct log *log);
void experts_close(struct experts *experts);

/* All of these do nothing for NULL. */

/* Before a batch: what has come is the device's, and what is to come next is chosen. `streams`: the
 * device computes the whole of each layer, and what is under way is finished. Errors: the
 * device's. */
HTH_MUST_CHECK experts_begin(struct experts *experts, bool streams);

/* Tells the policy which experts a layer uses. */
void experts_routed(struct experts *experts, int layer, const int32_t *ids, int n_tokens);

/* Since the model was placed. */
struct slots_count experts_count(const struct experts *experts);

/* Puts the next piece on its way, while there is nothing else to do. */
HTH_MUST_CHECK experts_send(struct experts *experts);

/* After a batch, well or not. */
HTH_MUST_CHECK experts_end(struct experts *experts, int n_tokens, enum hth_status status);

#endif
