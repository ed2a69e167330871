/*
 * moe_args.h — routing tokens to experts: the router, the grouping of slots by expert, the sum.
 *
 * The groups buffer (u32 words): [0] number of tiles; from GROUPS_TILES on a triple per tile: expert,
 * first place in the sorted list, number of slots (≤ the tile's width); at `slots_at` the slots
 * (column × n_used + j) sorted by expert, ascending within one.
 */
#ifndef SHADERS_MOE_ARGS_H
#define SHADERS_MOE_ARGS_H

#include "common/shared.h"

#define GROUPS_TILES 4

struct router_args {
    ref_t batch;
    ref_t logits;  /* [n_expert, T] */
    ref_t bias;    /* [n_expert] or REF_NONE */
    ref_t weights; /* out, [n_used, T] */
    ref_t ids;     /* out, I32 [n_used, T] */
    u32 n_expert;
    u32 n_used;
    u32 kind;      /* enum router_kind */
    u32 normalize;
    f32 scale;
};

struct group_args {
    ref_t batch;
    ref_t ids;     /* I32 [n_used, T] */
    ref_t groups;  /* out */
    u32 n_expert;
    u32 n_used;
    u32 tile;      /* slots per tile */
    u32 slots_at;  /* word offset of the sorted slots */
};

struct expert_sum_args {
    ref_t batch;
    ref_t x;       /* [n, n_used, T] */
    ref_t weights; /* [n_used, T] */
    ref_t y;       /* [n, T] */
    u32 n;
    u32 n_used;
};

#endif
