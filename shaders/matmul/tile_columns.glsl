// tile_columns.glsl: which columns a tile has, by expert or not.
//
// The including shader declares BN, the columns of a tile, and its arguments `a` (matmul_args.h).
#include "moe/moe_args.h"

// Where this workgroup's columns come from.
struct Columns {
    uint first, count; // in the list of slots (by expert) or of columns
    uint w;            // place of the weight; REF_NONE: of an expert that is not here
    uint bias_first;   // biases of experts lie one after the other
};

// False: there are none.
bool find_columns(uint tile, out Columns columns)
{
    columns = Columns(0u, 0u, a.w, 0u);
    if (a.groups == REF_NONE) {
        uint there = BATCH(a.batch, a.rows_field) * a.n_used;
        columns.first = tile * BN;
        columns.count = min(there - min(there, columns.first), BN);
    } else if (tile < LOAD_U32(a.groups, 0u)) {
        uint at = GROUPS_TILES + 3u * tile;
        uint expert = LOAD_U32(a.groups, at);
        columns.w = LOAD_U32(a.table, expert);
        columns.bias_first = expert * a.n;
        columns.first = LOAD_U32(a.groups, at + 1u);
        columns.count = LOAD_U32(a.groups, at + 2u);
    }
    return columns.count > 0u;
}

// Column j of the tile: its slot (row of y).
uint slot_of(Columns columns, uint j)
{
    uint at = columns.first + min(j, columns.count - 1u);
    return a.groups == REF_NONE ? at : LOAD_U32(a.groups, LOAD_U32(a.groups, 1u) + at);
}

uint x_row_of(uint slot)
{
    return a.x_per_slot != 0u ? slot : slot / a.n_used;
}
