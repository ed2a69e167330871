// matmul_coop_f16.comp: W·x in tiles of BM rows by BN columns, on cooperative matrices of halves with sums in fp32.
//
// Weights are decoded to halves in shared memory once per tile; activations come as halves (halve.comp), and
// the results are multiplied with their scales. A subgroup has FM by FN matrices of the tile. Which M, N and K
// there are, and with subgroups of which size, the device says (src/gpu/coop.c).
// variants: quant
// args: matmul_args matmul/matmul_args.h
// requires: GL_KHR_cooperative_matrix GL_KHR_memory_scope_semantics
#version 460
#extension GL_GOOGLE_include_directive : require
#pragma use_vulkan_memory_model
#include "common/prelude.glsl"
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
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
layout(constant_id = 8) const uint UNITS = 1u;  // units of 32 columns of W per step
layout(push_constant, std430) uniform Args { matmul_args a; };

#include "matmul/tile_columns.glsl"

const uint SM = BM / (M * FM), SN = BN / (N * FN);
// From row to row, in fours of halves: 16 bytes more than there are, so that neighbours lie in different banks.
const uint STRIDE = UNITS * 8u + 2u;

shared f16vec4 sw[BM * STRIDE];
shared f16vec4 sx[BN * STRIDE];
shared float sy[SM * SN * M * N]; // a matrix of each subgroup, on its way out
shared uint x_first[BN], y_first[BN];
shared float x_scale[BN], bias[BM];

// Rows and units that this invocation decodes; the tail of W is clamped, its results dropped.
void load_weights(uint w, uint row, uint u, uint tid)
{
    for (uint e = tid; e < UNITS * BM; e += GROUP) {
        uint m = e / UNITS, step = e % UNITS;
        bool inside = u + step < a.k + 31u >> 5;
        Unit unit = quant_load(w, min(row + m, a.n - 1u) * (a.k / QUANT_ELEMS), inside ? u + step : u);
        [[unroll]] for (uint i = 0u; i < 8u; i++) {
            vec4 q = inside ? unit_weights(unit, i >> 2, i & 3u) : vec4(0.0);
            q = BEFORE_END(q, 32u * (u + step) + 4u * i);
            sw[m * STRIDE + 8u * step + i] = f16vec4(q);
        }
    }
}

// Activations in the order in which units have the weights.
void load_columns(uint u, uint tid)
{
    for (uint e = tid; e < UNITS * 4u * BN; e += GROUP) {
        uint eight = e & 3u, step = (e >> 2) % UNITS, j = e / (4u * UNITS);
        uvec4 x = uvec4(0u);
        if (u + step < a.k + 31u >> 5) {
            uint column = quant_columns(u + step)[eight >> 1] + 8u * (eight & 1u);
            x = LOAD_U32X4(a.x, (x_first[j] + column) >> 3);
        }
        uint at = j * STRIDE + 8u * step + 2u * eight;
        sx[at] = f16vec4(unpackFloat2x16(x.x), unpackFloat2x16(x.y));
        sx[at + 1u] = f16vec4(unpackFloat2x16(x.z), unpackFloat2x16(x.w));
    }
}

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
        x_scale[j] = LOAD_F32(a.x_scales, x_row);
    }
    bool here = columns.w != REF_NONE; // an expert that is not gives zeros
    for (uint i = tid; i < BM; i += GROUP) {
        uint at = columns.bias_first + a.y_first + min(row + i, a.n - 1u);
        bias[i] = here && a.bias != REF_NONE ? LOAD_F32(a.bias, at) : 0.0;
    }
    barrier();

    coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator> sums[FM * FN];
    [[unroll]] for (uint i = 0u; i < FM * FN; i++)
        sums[i] = coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>(0.0);
    for (uint u = 0u; here && u < a.k + 31u >> 5; u += UNITS) {
        load_weights(columns.w, row, u, tid);
        load_columns(u, tid);
        barrier();
        [[unroll]] for (uint k = 0u; k < UNITS * 32u; k += K) {
            coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB> x[FN];
            [[unroll]] for (uint c = 0u; c < FN; c++)
                coopMatLoad(x[c], sx, (n_first + c * N) * STRIDE + (k >> 2), STRIDE,
                            gl_CooperativeMatrixLayoutColumnMajor);
            [[unroll]] for (uint r = 0u; r < FM; r++) {
                coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA> w;
                coopMatLoad(w, sw, (m_first + r * M) * STRIDE + (k >> 2), STRIDE,
                            gl_CooperativeMatrixLayoutRowMajor);
                [[unroll]] for (uint c = 0u; c < FN; c++)
                    sums[r * FN + c] = coopMatMulAdd(w, x[c], sums[r * FN + c]);
            }
        }
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
                STORE_F32(a.y, y_first[j] + row + i, sy[own + e] * x_scale[j] + bias[i]);
        }
        subgroupBarrier();
    }
}
