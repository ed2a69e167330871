// matmul.glsl: y = W·x in tiles of BM rows by BN columns: weights are decoded into shared memory once
// per tile, four rows and TN columns per invocation, accumulation in fp32.
//
// Entry points define TILE_F32, TILE_F16 (halves in shared memory and of x, packed fp16 products summed over a
// run of 16, two times eight of them, then fp32) or TILE_INT (signed bytes, packed integer dot products).
#include "common/prelude.glsl"
#include "quant/unit.glsl"
#include "matmul/matmul_args.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint GROUP = 128u; // BM / 4 × BN / TN invocations
layout(constant_id = 1) const uint BM = 128u;    // rows of W
layout(constant_id = 2) const uint BN = 32u;     // columns of x
layout(constant_id = 3) const uint TN = 8u;      // columns per invocation
layout(constant_id = 4) const bool UNIFORM_COLUMNS = true; // a subgroup lies in one set of TN columns
layout(constant_id = 5) const uint UNITS = 1u;  // units of 32 columns of W per step, GROUP / BM at most
layout(constant_id = 6) const uint K_STEP = 1u; // columns of W per round of the loop that multiplies floats
layout(constant_id = 7) const uint BUFFERS = 1u; // 2: a step is decoded while the one before is multiplied
layout(push_constant, std430) uniform Args { matmul_args a; };

const uint LANES_M = BM / 4u;
const uint MAX_TN = 8u;

const uint ALL_UNITS = BUFFERS * UNITS; // in shared memory

#ifdef TILE_F32
shared float sw[ALL_UNITS * 32u * BM];
shared float sx[ALL_UNITS * 32u * BN];
#endif
#ifdef TILE_F16
shared f16vec2 sw[ALL_UNITS * 16u * BM];
shared f16vec2 sx[ALL_UNITS * 16u * BN];
#endif
#ifdef TILE_INT
shared int sw[ALL_UNITS * 8u * BM];
shared int sx[ALL_UNITS * 8u * BN];
shared float sw_d[ALL_UNITS * 2u * BM], sx_d[ALL_UNITS * 2u * BN];
#if QUANT_HAS_MIN
shared float sw_m[ALL_UNITS * 2u * BM], sx_s[ALL_UNITS * 2u * BN];
#endif
#endif

#ifdef TILE_F16 // by which halve.comp divided a row of x
#define SCALE_OF(x_row) LOAD_F32(a.x_scales, x_row)
#else
#define SCALE_OF(x_row) 1.0
#endif

#include "matmul/tile_columns.glsl"
#include "matmul/tile_steps.glsl"

void main()
{
    uint tid = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    Columns columns;
    if (!find_columns(gl_WorkGroupID.y, columns))
        return;
    uint row = gl_WorkGroupID.x * BM;
    uint tm = tid % LANES_M;
    uint tn = UNIFORM_COLUMNS ? gl_SubgroupID * gl_SubgroupSize / LANES_M : tid / LANES_M;

    bool here = columns.w != REF_NONE; // an expert that is not gives zeros

    float acc[4u * MAX_TN];
    [[unroll]] for (uint i = 0u; i < 4u * TN; i++)
        acc[i] = 0.0;
    uint units = a.k + 31u >> 5;
    // A loop for each number of buffers: one for both costs NVIDIA's compiler a sixth more instructions where there is one.
    for (uint u = 0u; BUFFERS == 1u && here && u < units; u += UNITS) {
        load_weights(columns.w, row, u, 0u, tid);
        load_columns(columns, u, 0u, tid);
        barrier();
        multiply(0u, tm, tn, acc);
        barrier();
    }
    for (uint u = 0u, at = 0u; BUFFERS == 2u && here && u < units + UNITS; u += UNITS, at = UNITS - at) {
        if (u < units) {
            load_weights(columns.w, row, u, at, tid);
            load_columns(columns, u, at, tid);
        }
        if (u > 0u)
            multiply(UNITS - at, tm, tn, acc);
        barrier();
    }

    float bias[4];
    [[unroll]] for (uint r = 0u; r < 4u; r++) {
        uint i = min(row + 4u * tm + r, a.n - 1u);
        bias[r] = here && a.bias != REF_NONE ? LOAD_F32(a.bias, columns.bias_first + a.y_first + i) : 0.0;
    }
    [[unroll]] for (uint c = 0u; c < TN; c++) {
        uint j = tn * TN + c;
        if (j >= columns.count)
            continue;
        uint slot = slot_of(columns, j), y = slot * a.y_stride + a.y_first;
        float scale = SCALE_OF(x_row_of(slot));
        [[unroll]] for (uint r = 0u; r < 4u; r++) {
            uint i = row + 4u * tm + r;
            if (i >= a.n)
                continue;
            STORE_F32(a.y, y + i, acc[4u * c + r] * scale + bias[r]);
        }
    }
}
