/*
 * hazard.h — where barriers must stand, from what each step reads and writes.
 *
 * Pure functions over ranges of memory; no Vulkan. One thread.
 */
#ifndef GPU_HAZARD_H
#define GPU_HAZARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes [from, to) of a chunk. */
struct range {
    uint32_t chunk;
    uint64_t from, to;
};

enum { HAZARD_MAX_RANGES = 12 };

struct access {
    struct range reads[HAZARD_MAX_RANGES], writes[HAZARD_MAX_RANGES];
    int n_reads, n_writes;
    bool barrier; /* out: a barrier before this step */
};

/* Does the second depend on the first (write then read, read then write, write then write)? */
bool hazard_between(const struct access *first, const struct access *second);

/* Sets `barrier` of each: the fewest barriers, each as late as possible, that separate every
 * dependent pair. */
void hazard_solve(struct access **steps, size_t n_steps);

#endif
