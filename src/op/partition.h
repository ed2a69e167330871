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

/* Moves the contents of `graph` into the parts (also on failure: it is left empty, the struct
 * itself stays the caller's). `device_of` says where an op runs; NULL: all on device 0. Errors:
 * HTH_ERROR_UNSUPPORTED for more than one device, HTH_ERROR_MEMORY, and what building the graph had
 * failed with. */
HTH_MUST_CHECK partition_graph(struct partition *out, struct graph *graph,
                               int (*device_of)(void *user, const struct op *op), void *user);
void partition_free(struct partition *partition);

#endif
