/*
 * split.h — which device has what of a model: weights, the cache of each layer, and so the ops.
 *
 * Owns lists by weight and layer, filled when a model is opened. Pure: no device is touched. Any
 * thread may read.
 */
#ifndef ENGINE_SPLIT_H
#define ENGINE_SPLIT_H

#include "model/model.h"

enum split_device { SPLIT_HOST, SPLIT_GPU, SPLIT_DEVICES };

struct split {
    uint8_t *of_weight; /* [n_weights]: 1 << device; both: some experts each */
    uint8_t *of_cache;  /* [n_layer]: a device */
    /* [n_weights]: of weights on both, the same without the experts that are on the GPU; else NULL
     */
    struct weight **on_host;
    bool *streamed;  /* [n_weights]: what the host has of it is copied to the GPU for batches, */
    int stream_from; /* in graphs of so many tokens or more; 0: in none */
    bool used[SPLIT_DEVICES];
    struct arena arena;
};

/* Who says what is on the GPU. */
struct split_choice {
    bool (*weight)(void *user, const struct weight *weight, int expert); /* −1: it has none */
    bool (*cache)(void *user, int layer);
    bool (*streamed)(void *user, const struct weight *weight); /* NULL: none is */
    int stream_from;
    void *user;
};

/* Asks for each weight, or each expert of it, and each layer; NULL: all is the host's. An expert is
 * on the GPU with all its matrices. Vectors (norms, biases) are on every device, whatever the list
 * says. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK split_create(struct split *out, const struct model *model,
                            const struct split_choice *choice);
void split_free(struct split *split);

bool split_is_vector(const struct weight *weight);
bool split_is_experts(const struct weight *weight);

/* The layer that a tensor is of, by its name; −1: none. */
int split_layer_of(const char *name);

/* Is everything on the GPU? */
bool split_is_whole(const struct split *split);

/* Is this expert of the weight (or the weight; any number) wanted on the GPU? */
bool split_on_gpu(const struct split *split, const struct weight *weight, int64_t expert);

/* Does this expert of the weight (or the weight) come to the GPU for batches? */
bool split_streams(const struct split *split, const struct weight *weight, int64_t expert);

/* The experts of a layer that is divided change: from now on this one is the GPU's, or the host's.
 * Graphs that were made before know it, too. */
void split_move_expert(struct split *split, const struct weight *weight, int64_t expert,
                       bool to_gpu);

/* Bytes of a weight that stay with the host. */
uint64_t split_host_bytes(const struct split *split, const struct weight *weight);

/* Lays out the pages of the cache: offsets of each layer within the page of its device, whose bytes
 * go to page_bytes (0: no layer's cache is there). HTH_ERROR_LIMIT: a page would be too large. */
HTH_MUST_CHECK split_cache(const struct split *split, struct kv_geom *layers, int n_layer,
                           uint64_t page_bytes[SPLIT_DEVICES], const struct log *log);

/* Keeps of a whole model's graph the part of one device (op/partition.h). */
HTH_MUST_CHECK split_graph(const struct split *split, struct graph *graph,
                           enum split_device device);

#endif
