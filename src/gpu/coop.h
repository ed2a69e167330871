/*
 * coop.h — tiles of W·x and of attention on cooperative matrices: which of a device's shapes, how
 * many of them a subgroup has, how large the tile is that a workgroup makes.
 *
 * Pure functions of what the device says it can do. Owns nothing. Any thread.
 */
#ifndef GPU_COOP_H
#define GPU_COOP_H

#include "vk/vk.h"

/* What is multiplied into what: halves or bfloat16 into floats, signed bytes into integers. */
enum coop_type { COOP_F16, COOP_BF16, COOP_S8, COOP_TYPES };

/* What matmul_coop.glsl is specialised with. */
struct coop_tile {
    uint32_t lanes;   /* of a subgroup, which is demanded */
    uint32_t group;   /* invocations */
    uint32_t bm, bn;  /* rows of W and columns of x */
    uint32_t m, n, k; /* of one matrix */
    uint32_t fm, fn;  /* matrices of a subgroup, along rows and columns */
    uint32_t units;   /* of 32 columns of W, per step */
    uint32_t buffers; /* in shared memory for a step, 1 or 2 */
    uint32_t run;     /* columns of W that share scales, where bytes are multiplied */
};

/* What a tile is for. */
struct coop_want {
    enum coop_type type;
    uint32_t run;     /* columns of W that share scales, 16 or 32; of COOP_S8 alone */
    uint32_t columns; /* of x: all or, by expert, those that one is expected to get */
};

/* False: the device does not multiply such numbers, or not in shapes and subgroups that fit. */
bool coop_tile(const struct vk_caps *caps, const struct coop_want *want, struct coop_tile *out);

/* Such a tile with another group, bm, bn, units or buffers: divides it again. False: that does not
 * fit. */
bool coop_tile_turn(const struct vk_caps *caps, enum coop_type type, struct coop_tile *tile);

/* How many products one instruction makes of such matrices at most; 0: there is none. */
uint32_t coop_products(const struct vk_caps *caps, enum coop_type type, uint32_t run);

/* What attention_coop.glsl, or attention_coop2.glsl, is specialised with, besides the widths of
 * heads. */
struct coop_attention {
    uint32_t lanes, group; /* as above */
    uint32_t rows;         /* (token, head) pairs of a workgroup */
    uint32_t m, n, k;      /* of one matrix: rows, positions or dimensions, what is summed up */
    uint32_t fm, fn;       /* matrices of a subgroup, along rows and along 64 of the others */
};

/* The tile for at most `rows` rows, of heads that are `k_dim` and `v_dim` wide. False: no tile fits
 * the registers, the shared memory or the shapes that the device has. */
bool coop_attention(const struct vk_caps *caps, uint32_t rows, uint32_t k_dim, uint32_t v_dim,
                    struct coop_attention *out);

/* The same of attention_coop2.glsl, on matrices of any size whose elements can be told apart: a
 * subgroup has `m` rows; its results are in matrices `n` dimensions wide, and `k` of q·Kᵀ are
 * summed up at a time. fm and fn are 0. */
bool coop_attention2(const struct vk_caps *caps, uint32_t rows, uint32_t k_dim, uint32_t v_dim,
                     struct coop_attention *out);

#endif
