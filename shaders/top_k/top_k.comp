// top_k.comp: the k largest of a row, ties to the lower id, in order. Two dispatches: a workgroup for each slice of
// a row, then one for what they found.
// args: top_k_args top_k/top_k_args.h
//
// Each invocation offers the best of its own items, the workgroup takes the best of these, and whoever had it looks
// for the next one of its own. That is why no item has to be marked: the next comes behind the last in the order,
// which is that of (key, id). Floats are read as their bits, so that denormal ones count, too.
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/prelude.glsl"
#include "top_k/top_k_args.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint GROUP = 256u;
layout(push_constant, std430) uniform Args { top_k_args a; };

const uint INFINITE = 0x7f800000u, SIGN = 0x80000000u, NO_ID = 0xffffffffu;
const uvec2 NONE = uvec2(0u, NO_ID), BEFORE_ALL = uvec2(0xffffffffu, 0u);

shared uint slot_keys[GROUP], slot_ids[GROUP];
uint largest = 0u; // magnitude, as bits: those of NaN are above those of infinity

// Does p come first?
bool before(uvec2 p, uvec2 q)
{
    return p.x > q.x || (p.x == q.x && p.y < q.y);
}

// The best of all that the invocations offer.
uvec2 group_first(uvec2 own)
{
    uvec2 best;
    best.x = subgroupMax(own.x);
    best.y = subgroupMin(own.x == best.x ? own.y : NO_ID);
    if (gl_NumSubgroups == 1u)
        return best;
    barrier();
    if (subgroupElect()) {
        slot_keys[gl_SubgroupID] = best.x;
        slot_ids[gl_SubgroupID] = best.y;
    }
    barrier();
    best = NONE;
    for (uint i = 0u; i < gl_NumSubgroups; i++) {
        uvec2 slot = uvec2(slot_keys[i], slot_ids[i]);
        if (before(slot, best))
            best = slot;
    }
    return best;
}

// Words of one row of what slices found.
uint found_words()
{
    return a.slices * (2u * a.k + 1u);
}

// Item i of row `row`: a key that orders as its float does (0 is no float's), -0 as 0, and its id.
uvec2 item_at(uint row, uint i)
{
    if (a.merge != 0u) {
        uint at = row * found_words() + i;
        return uvec2(LOAD_U32(a.found, at), LOAD_U32(a.found, at + a.k * a.slices));
    }
    uint bits = LOAD_U32(a.x, row * a.x_stride + i), magnitude = bits & ~SIGN;
    largest = max(largest, magnitude);
    return uvec2(bits == SIGN ? SIGN : bits < SIGN ? bits | SIGN : ~bits, i);
}

uint bits_of(uint key)
{
    return key >= SIGN ? key & ~SIGN : ~key;
}

// The best of the invocation's own items, [first, end), that come behind `last`.
uvec2 own_behind(uvec2 last, uint row, uint first, uint end)
{
    uvec2 best = NONE;
    for (uint i = first + gl_LocalInvocationIndex; i < end; i += GROUP) {
        uvec2 item = item_at(row, i);
        if (before(item, best) && before(last, item))
            best = item;
    }
    return best;
}

void store(uint row, uint slice, uint j, uvec2 best, bool usable)
{
    if (a.merge == 0u) {
        uint at = row * found_words() + j * a.slices + slice;
        STORE_U32(a.found, at, best.x);
        STORE_U32(a.found, at + a.k * a.slices, best.y);
        return;
    }
    STORE_U32(a.y, row * a.y_stride + j, usable ? best.y : NO_ID);
    if (a.k > 1u)
        STORE_U32(a.y, row * a.y_stride + a.k + j, usable ? bits_of(best.x) : 0u);
}

void main()
{
    uint slice = gl_WorkGroupID.x, row = gl_WorkGroupID.y, lane = gl_LocalInvocationIndex;
    if (row >= BATCH(a.batch, a.rows_field))
        return;
    uint magnitudes = row * found_words() + 2u * a.k * a.slices;
    uint first = a.merge != 0u ? 0u : slice * a.slice;
    uint end = a.merge != 0u ? a.k * a.slices : min(first + a.slice, a.n);
    uvec2 own = own_behind(BEFORE_ALL, row, first, end);
    for (uint i = lane; i < a.slices && a.merge != 0u; i += GROUP)
        largest = max(largest, LOAD_U32(a.found, magnitudes + i));
    uint magnitude = group_first(uvec2(largest, 0u)).x;
    bool usable = magnitude > 0u && magnitude < INFINITE;
    if (lane == 0u && a.merge == 0u)
        STORE_U32(a.found, magnitudes + slice, magnitude);
    for (uint j = 0u; j < a.k; j++) {
        uvec2 best = group_first(own);
        if (lane == 0u)
            store(row, slice, j, best, usable);
        if (own == best && j + 1u < a.k)
            own = own_behind(best, row, first, end);
    }
}
