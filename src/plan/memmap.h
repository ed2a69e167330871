/*
 * memmap.h — where each activation lives: offsets by liveness, so that memory is used again.
 *
 * Owns the offsets. Two tensors that are needed at the same time never overlap; views share their
 * base. Deterministic. One thread.
 */
#ifndef PLAN_MEMMAP_H
#define PLAN_MEMMAP_H

#include "op/op.h"

struct memmap {
    uint64_t *offsets; /* bytes, by tensor id; UINT64_MAX: not an activation */
    size_t n_tensors;
    uint64_t size_bytes; /* of the whole area */
};

/* Places the activations of `graph`, each aligned to `align` bytes (a power of two). The logits
 * stay alive past the end. With `keep_all`, nothing is reused (for checking step by step). */
HTH_MUST_CHECK memmap_create(struct memmap *out, const struct graph *graph, uint64_t align,
                             bool keep_all, const struct log *log);
void memmap_free(struct memmap *map);

#endif
