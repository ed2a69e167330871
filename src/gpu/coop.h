/*
 * coop.h — tiles of W·x on cooperative matrices: which of a device's shapes, how many of them a
 * subgroup has, how large the tile is that a workgroup makes.
 *
 * Pure functions of what the device says it can do. Owns nothing. Any thread.
 */
#ifndef GPU_COOP_H
#define GPU_COOP_H

#include "vk/vk.h"

/* What matmul_coop_f16.comp is specialised with. */
struct coop_tile {
    uint32_t lanes;   /* of a subgroup, which is demanded */
    uint32_t group;   /* invocations */
    uint32_t bm, bn;  /* rows of W and columns of x */
    uint32_t m, n, k; /* of one matrix */
    uint32_t fm, fn;  /* matrices of a subgroup, along rows and columns */
    uint32_t units;   /* of 32 columns of W, per step */
};

/* The tile for so many columns of x: all of them or, by expert, those that one is expected to get.
 * False: the device multiplies no halves into floats, or not in shapes and subgroups that fit. */
bool coop_tile(const struct vk_caps *caps, uint32_t columns, struct coop_tile *out);

#endif
