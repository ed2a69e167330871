/*
 * split.h — which device has what of a model: weights, the cache of each layer, and so the ops.
 *
 * Owns lists by weight and layer, filled when a model is opened. Pure: no device is touched. Any
 * thread may read.
 */
#ifndef ENGINE_SPLIT_H
#define ENGINE_SPLIT_H

#include "model/model.h"
#include "plan/machine.h"

/* Devices are those of the machine that is planned for: the host, then the GPUs. */
enum { SPLIT_HOST, SPLIT_DEVICES = MACHINE_MAX_DEVICES };

struct split {
    int n_devices;
    uint8_t *of_weight;  /* [n_weights]: a bit for each device; several: some experts each */
    uint8_t *of_cache;   /* [n_layer]: a device */
    uint8_t **of_expert; /* [n_weights]: of weights on several, the device of each; else NULL */
    /* [n_weights]: of those, if the host has a part, the same without what is elsewhere */
    struct weight **on_host;
    bool *streamed;  /* [n_weights]: what the host has of it is copied for batches */
    int stream_to;   /* to this GPU, */
    int stream_from; /* in graphs of so many tokens or more; 0: in none */
    bool used[SPLIT_DEVICES];
    struct arena arena;
};

/* Who says which device has what. */
struct split_choice {
    int n_devices;
    int (*weight)(void *user, const struct weight *weight, int expert); /* −1: it has none */
    int (*cache)(void *user, int layer);
    bool (*streamed)(void *user, const struct weight *weight); /* NULL: none is */
    int stream_to, stream_from;
    void *user;
};

/* Asks for each weight, or each expert of it, and each layer; NULL: all is the host's. An expert is
 * on a GPU with all its matrices, else with the host. Vectors (norms, biases) are on every device,
 * whatever the list says. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK split_create(struct split *out, const struct model *model,
                            const struct split_choice *choice);
void split_free(struct split *split);

bool split_is_vector(const struct weight *weight);
bool split_is_experts(const struct weight *weight);

/* Has the host a part: layers of its own, or to pass on what GPUs hand each other? */
bool split_needs_host(const struct split *split);

/* Is this expert of the weight (or the weight; any number) to be on this device? */
bool split_has(const struct split *split, int device, const struct weight *weight, int64_t expert);

/* Does this expert of the weight (or the weight) come to a GPU for batches? */
bool split_streams(const struct split *split, const struct weight *weight, int64_t expert);

/* The experts of a layer that is divided between a GPU and the host change: from now on this one is
 * this device's. Graphs that were made before know it, too. */
void split_move_expert(struct split *split, const struct weight *weight, int64_t expert,
                       int device);

/* Bytes of a weight that stay with the host. */
uint64_t split_host_bytes(const struct split *split, const struct weight *weight);

/* Lays out the pages of the cache: offsets of each layer within the page of its device, whose bytes
 * go to page_bytes (0: no layer's cache is there). HTH_ERROR_LIMIT: a page would be too large. */
HTH_MUST_CHECK split_cache(const struct split *split, struct kv_geom *layers, int n_layer,
                           uint64_t page_bytes[SPLIT_DEVICES], const struct log *log);

/* Keeps of a whole model's graph the part of one device (op/partition.h). */
HTH_MUST_CHECK split_graph(const struct split *split, struct graph *graph, int device);

#endif
