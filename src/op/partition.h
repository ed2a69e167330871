/*
 * partition.h — one graph and a device for each op become a graph per device, copies between them
 * explicit.
 *
 * A tensor that another device reads goes through a hop: a piece of the host's memory that a device
 * shares with the host, each device having its own. Right after it is made, a copy op writes it
 * there; before its first reader a copy op takes it out. From one card to another it takes two, and
 * the host copies from the one's memory to the other's. All devices run their ops in the order of
 * the whole graph, so whoever waits at a copy waits for one that comes earlier there: nobody waits
 * for ever.
 *
 * An op may run on several devices: each then has some of a layer's experts, the others of which
 * give zeros there, and the whole is the sum of what they make. Ops on the same devices take the
 * parts as they are; for any other reader a sum is put in.
 *
 * Owns the graphs and hops it makes. With one device its graph is the whole. One thread.
 */
#ifndef OP_PARTITION_H
#define OP_PARTITION_H

#include "op/op.h"

enum { PARTITION_MAX_DEVICES = 16 };

struct hop {
    int from, to;                /* devices */
    int device;                  /* of these the one that is not the host: it is in its memory */
    uint64_t offset, size_bytes; /* there, for all rows of the bucket */
};

struct partition {
    struct graph graphs[PARTITION_MAX_DEVICES]; /* without ops: nothing to do */
    int n_devices;
    struct hop *hops; /* by number, in the order in which they are written */
    int n_hops;
    uint64_t hop_bytes[PARTITION_MAX_DEVICES]; /* what a device's memory for hops must have */
};

struct partition_options {
    int n_devices;
    int host;                /* the device that reaches the hops' memory of all others: the CPU */
    const uint32_t *devices; /* [graph->n_ops]: a bit for each device that runs the op */
};

/* Of bits of devices: is it one, or none? */
static inline bool partition_is_one(uint32_t devices)
{
    return (devices & (devices - 1)) == 0;
}

/* Moves the contents of `graph` into graphs per device (also on failure: it is left empty, the
 * struct itself stays the caller's). Errors: HTH_ERROR_MEMORY, HTH_ERROR_UNSUPPORTED where two
 * devices would write one layer's cache, and what building the graph had failed with. */
HTH_MUST_CHECK partition_graph(struct partition *out, struct graph *graph,
                               const struct partition_options *options);
void partition_free(struct partition *partition);

#endif
