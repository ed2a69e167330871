/*
 * partition.h — one graph and a plan become a graph per device, copies between them explicit.
 *
 * Owns the parts it makes. With one device the only part is the whole. One thread.
 */
#ifndef OP_PARTITION_H
#define OP_PARTITION_H

#include "op/op.h"

struct partition {
    struct graph **graphs; /* one per device, in the order they run */
    int *devices;
    int n_parts;
};

/* Takes over `graph` (also on failure). `device_of` says where an op runs. */
HTH_MUST_CHECK partition_graph(struct partition *out, struct graph *graph,
                               int (*device_of)(void *user, const struct op *op), void *user);
void partition_free(struct partition *partition);

#endif
