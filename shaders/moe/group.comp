// group.comp: slots (token, choice) sorted by expert, and tiles of them, for matmul by expert. One
// workgroup; the order is ascending within an expert, so that results repeat exactly.
// args: group_args moe/moe_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/prelude.glsl"
#include "moe/moe_args.h"

const uint GROUP = 64u;
layout(local_size_x = 64) in;
layout(push_constant, std430) uniform Args { group_args a; };

const uint MAX_EXPERTS = 1024u;
shared uint count[MAX_EXPERTS], first_slot[MAX_EXPERTS], first_tile[MAX_EXPERTS];

void main()
{
    uint lane = gl_LocalInvocationIndex;
    uint n_slots = BATCH(a.batch, BATCH_N_TOKENS) * a.n_used;
    for (uint e = lane; e < a.n_expert; e += GROUP)
        count[e] = 0u;
    barrier();
    for (uint s = lane; s < n_slots; s += GROUP)
        atomicAdd(count[min(LOAD_U32(a.ids, s), a.n_expert - 1u)], 1u);
    barrier();
    if (lane == 0u) {
        uint slots = 0u, tiles = 0u;
        for (uint e = 0u; e < a.n_expert; e++) {
            first_slot[e] = slots;
            first_tile[e] = tiles;
            slots += count[e];
            tiles += (count[e] + a.tile - 1u) / a.tile;
        }
        STORE_U32(a.groups, 0u, tiles);
        STORE_U32(a.groups, 1u, a.slots_at);
    }
    barrier();
    for (uint e = lane; e < a.n_expert; e += GROUP) {
        if (count[e] == 0u)
            continue;
        for (uint t = 0u; t * a.tile < count[e]; t++) {
            uint at = GROUPS_TILES + 3u * (first_tile[e] + t);
            STORE_U32(a.groups, at, e);
            STORE_U32(a.groups, at + 1u, first_slot[e] + t * a.tile);
            STORE_U32(a.groups, at + 2u, min(a.tile, count[e] - t * a.tile));
        }
        uint to = a.slots_at + first_slot[e];
        for (uint s = 0u; s < n_slots; s++)
            if (LOAD_U32(a.ids, s) == e)
                STORE_U32(a.groups, to++, s);
    }
}
