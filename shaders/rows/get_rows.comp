// get_rows.comp: rows of a table in any block format, as floats.
// variants: quant
// args: get_rows_args rows/get_rows_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/prelude.glsl"
#include "quant/unit.glsl"
#include "rows/get_rows_args.h"

layout(local_size_x = 32) in;
layout(push_constant, std430) uniform Args { get_rows_args a; };

void main()
{
    uint i = gl_WorkGroupID.y, u = gl_GlobalInvocationID.x;
    if (i >= BATCH(a.batch, a.rows_field) || u >= a.k >> 5)
        return;
    uint row = BATCH_AT(a.batch, a.index, i);
    if (row < a.first || row - a.first >= a.count)
        return;
    Unit unit = quant_load(a.table, (row - a.first) * (a.k / QUANT_ELEMS), u);
    uvec2 column = quant_columns(u);
    [[unroll]] for (uint j = 0u; j < 8u; j++) {
        vec4 w = unit_weights(unit, j >> 2, j & 3u);
        uint y = i * a.y_stride + column[j >> 2] + 4u * (j & 3u);
        [[unroll]] for (uint e = 0u; e < 4u; e++)
            STORE_F32(a.y, y + e, w[e]);
    }
}
