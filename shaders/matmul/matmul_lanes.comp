// matmul_lanes.comp: y = W·x for many columns, fp32. Each lane has rows of W to itself and decodes them into registers;
// of x all lanes read the same four floats at a time.
// variants: quant
// args: matmul_args matmul/matmul_args.h
//
// Nothing is shared and nobody waits. x is read by its address: where memory is checked, a check for each float is dearer
// than its products. So no address may lie outside of x, behind the last round of the loop and in a tile without columns
// either, whose loads lavapipe does not leave out (prelude.glsl).
#version 460
#extension GL_GOOGLE_include_directive : require
#define UNIFORM_ADDRESSES 1
#include "common/prelude.glsl"
#define UNITS_IN_REGISTERS false
#include "quant/unit.glsl"
#include "matmul/matmul_args.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint GROUP = 32u; // invocations
layout(constant_id = 1) const uint BM = 64u;    // rows of W
layout(constant_id = 2) const uint BN = 16u;    // columns of x
layout(push_constant, std430) uniform Args { matmul_args a; };

const uint ROWS = BM / GROUP; // of a lane, GROUP apart
#define MAX_ROWS 4u
#define MAX_BN 16u
#define MAX_SUMS 32u // ROWS × BN

#include "matmul/tile_columns.glsl"

// Columns 4 i … 4 i + 3 of a unit's run against all columns of x. Plain floats' rows may end before a unit does: w is 0 there.
void add_four(vec4 w[MAX_ROWS], uint x_row[MAX_BN], uint column, inout float acc[MAX_SUMS])
{
    column = min(column, a.k - 4u);
    [[unroll]] for (uint c = 0u; c < BN; c++) {
        vec4 x = UNIFORM_F32X4(a.x, x_row[c] + (column >> 2));
        [[unroll]] for (uint part = 0u; part < 4u; part++)
            [[unroll]] for (uint r = 0u; r < ROWS; r++)
                acc[ROWS * c + r] = fma(w[r][part], x[part], acc[ROWS * c + r]);
    }
}

void add_unit(uint w, uint row, uint u, uint x_row[MAX_BN], inout float acc[MAX_SUMS])
{
    uvec2 columns = quant_columns(u);
    Unit unit[MAX_ROWS];
    [[unroll]] for (uint r = 0u; r < ROWS; r++)
        unit[r] = quant_load(w, min(row + r * GROUP, a.n - 1u) * (a.k / QUANT_ELEMS), u);
    [[unroll]] for (uint i = 0u; i < 8u; i++) {
        uint column = columns[i >> 2] + 4u * (i & 3u);
        vec4 four[MAX_ROWS];
        [[unroll]] for (uint r = 0u; r < ROWS; r++)
            four[r] = BEFORE_END(unit_weights(unit[r], i >> 2, i & 3u), column);
        add_four(four, x_row, column, acc);
    }
}

void main()
{
    Columns columns;
    if (!find_columns(gl_WorkGroupID.y, columns))
        return;
    uint row = gl_WorkGroupID.x * BM + gl_LocalInvocationIndex;
    uint slot[MAX_BN], x_row[MAX_BN];
    [[unroll]] for (uint c = 0u; c < BN; c++) {
        slot[c] = slot_of(columns, c);
        x_row[c] = columns.count > 0u ? x_row_of(slot[c]) * (a.x_stride >> 2) : 0u;
    }
    bool here = columns.w != REF_NONE; // an expert that is not gives zeros

    float acc[MAX_SUMS];
    [[unroll]] for (uint i = 0u; i < ROWS * BN; i++)
        acc[i] = 0.0;
    for (uint u = 0u; here && u < a.k + 31u >> 5; u++)
        add_unit(columns.w, row, u, x_row, acc);

    [[unroll]] for (uint r = 0u; r < ROWS; r++) {
        uint i = row + r * GROUP;
        if (i >= a.n)
            continue;
        float bias = here && a.bias != REF_NONE ? LOAD_F32(a.bias, columns.bias_first + a.y_first + i) : 0.0;
        [[unroll]] for (uint c = 0u; c < BN; c++)
            if (c < columns.count)
                STORE_F32(a.y, slot[c] * a.y_stride + a.y_first + i, acc[ROWS * c + r] + bias);
    }
}
