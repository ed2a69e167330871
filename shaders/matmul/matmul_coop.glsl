// matmul_coop.glsl: y = W·x in tiles of BM rows by BN columns, on cooperative matrices.
//
// Entry points define COOP_F16 (weights are decoded to halves, activations are halves, sums are floats), COOP_BF16
// (bfloat16 likewise) or COOP_S8 (signed bytes into 32-bit integers, which are scaled and added to floats). A subgroup has FM by FN
// matrices of the tile. Which M, N and K there are, and with subgroups of which size, the device says
// (src/gpu/coop.c). Results leave through shared memory.
#pragma use_vulkan_memory_model
#include "common/prelude.glsl"
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#ifdef COOP_BF16
#extension GL_EXT_bfloat16 : require
#endif
#ifdef COOP_S8
#extension GL_EXT_shader_explicit_arithmetic_types_int8 : require
#endif
#include "quant/unit.glsl"
#include "matmul/matmul_args.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint GROUP = 32u; // SM × SN subgroups
layout(constant_id = 1) const uint BM = 16u;    // rows of W
layout(constant_id = 2) const uint BN = 16u;    // columns of x
layout(constant_id = 3) const uint M = 16u;     // of a matrix: rows of W,
layout(constant_id = 4) const uint N = 16u;     // columns of x
layout(constant_id = 5) const uint K = 16u;     // and what is summed up
layout(constant_id = 6) const uint FM = 1u;     // matrices of a subgroup, along the rows
layout(constant_id = 7) const uint FN = 1u;     // and along the columns
layout(constant_id = 8) const uint UNITS = 2u;  // units of 32 columns of W per step
#ifdef COOP_S8
layout(constant_id = 9) const uint RUN = 16u;   // columns that share scales, 16 or 32; a multiple of K
#endif
layout(constant_id = 10) const uint BUFFERS = 1u; // 2: a step is decoded while the one before is multiplied
layout(push_constant, std430) uniform Args { matmul_args a; };

#include "matmul/tile_columns.glsl"

const uint SM = BM / (M * FM), SN = BN / (N * FN);

shared float sy[SM * SN * M * N]; // a matrix of each subgroup, on its way out
shared uint x_first[BN], y_first[BN];
shared float bias[BM];

#define FLOATS coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>
FLOATS sums[FM * FN]; // of the subgroup

#include "matmul/coop_steps.glsl"

void main()
{
    uint tid = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    Columns columns;
    if (!find_columns(gl_WorkGroupID.y, columns))
        return;
    uint row = gl_WorkGroupID.x * BM;
    uint m_first = gl_SubgroupID % SM * FM * M, n_first = gl_SubgroupID / SM * FN * N; // of this subgroup
    for (uint j = tid; j < BN; j += GROUP) {
        uint slot = slot_of(columns, j), x_row = x_row_of(slot);
        x_first[j] = x_row * a.x_stride;
        y_first[j] = slot * a.y_stride + a.y_first;
        find_scale(j, x_row);
    }
    bool here = columns.w != REF_NONE; // an expert that is not gives zeros
    for (uint i = tid; i < BM; i += GROUP) {
        uint at = columns.bias_first + a.y_first + min(row + i, a.n - 1u);
        bias[i] = here && a.bias != REF_NONE ? LOAD_F32(a.bias, at) : 0.0;
    }
    barrier();

    [[unroll]] for (uint i = 0u; i < FM * FN; i++)
        sums[i] = FLOATS(0.0);
    uint units = a.k + 31u >> 5;
    // A loop for each number of buffers: one for both costs NVIDIA's compiler a sixth more instructions where there is one.
    for (uint u = 0u; BUFFERS == 1u && here && u < units; u += UNITS) {
        load_weights(columns.w, row, u, 0u, tid);
        load_columns(u, 0u, tid);
        barrier();
        multiply(0u, m_first, n_first);
        barrier();
    }
    for (uint u = 0u, buf = 0u; BUFFERS == 2u && here && u < units + UNITS; u += UNITS, buf ^= 1u) {
        if (u < units) {
            load_weights(columns.w, row, u, buf, tid);
            load_columns(u, buf, tid);
        }
        if (u > 0u)
            multiply(buf ^ 1u, m_first, n_first);
        barrier();
    }

    // A loop, not unrolled, as its code is long; matrices have no index that is computed.
    uint own = gl_SubgroupID * M * N;
    [[dont_unroll]] for (uint at = 0u; at < FM * FN; at++) {
        [[unroll]] for (uint i = 0u; i < FM * FN; i++)
            if (i == at)
                coopMatStore(sums[i], sy, own, M, gl_CooperativeMatrixLayoutColumnMajor);
        subgroupBarrier();
        uint m = m_first + at / FN * M, n = n_first + at % FN * N;
        [[dont_unroll]] for (uint e = gl_SubgroupInvocationID; e < M * N; e += gl_SubgroupSize) {
            uint i = m + e % M, j = n + e / M;
            if (row + i < a.n && j < columns.count)
                STORE_F32(a.y, y_first[j] + row + i, scaled(sy[own + e], j) + bias[i]);
        }
        subgroupBarrier();
    }
}
