// attention_coop.glsl: softmax(q·Kᵀ)·V over the cache for many tokens, on cooperative matrices of halves with
// sums in fp32.
//
// A workgroup takes QR rows, (token, head) pairs of one tile that read the same K and V, and goes over the cache
// a page of 64 positions at a time. K and V become halves in shared memory, DIMS dimensions of a page at a time.
// Each subgroup has FM by FN matrices: of the scores of a page, and of every DIMS dimensions of the result. The
// result stays in them from page to page, relative to a maximum that follows the true one only where that is
// MARGIN larger: then, which is seldom, it goes through shared memory once (after Shah et al. 2024, FlashAttention-3,
// and Dao et al. 2025 for the margin). Entry points define how K and V are stored: KV_F16, KV_Q8_0 or KV_Q4_0.
#pragma use_vulkan_memory_model
#include "common/prelude.glsl"
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#include "attention/attention_args.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint GROUP = 32u; // SM × SN subgroups
layout(constant_id = 1) const uint QR = 16u;
layout(constant_id = 2) const uint HEAD_K = 64u;
layout(constant_id = 3) const uint HEAD_V = 64u;
layout(constant_id = 4) const uint M = 16u; // of a matrix: rows,
layout(constant_id = 5) const uint N = 16u; // positions or dimensions,
layout(constant_id = 6) const uint K = 16u; // and what is summed up
layout(constant_id = 7) const uint FM = 1u; // matrices of a subgroup, along the rows
layout(constant_id = 8) const uint FN = 4u; // and along 64 positions or dimensions
layout(push_constant, std430) uniform Args { attention_args a; };

#include "attention/coop_rows.glsl"

const uint BLOCKS = (HEAD_V + DIMS - 1u) / DIMS; // scores and results are divided alike
const uint SM = QR / (M * FM);
const uint FOURS = PAGE / (4u * PARTS); // scores of an invocation
const uint S_STRIDE = PAGE / 4u + 1u;   // as STRIDE

shared f16vec4 sp[QR * STRIDE];
shared vec4 ss[QR * S_STRIDE]; // scores; then a matrix of each subgroup, on its way to another layout
shared float row_keep[QR];
shared uint moved; // the number of the last page that moved a maximum, from 1

// Scores of page p become probabilities; row_keep is what earlier pages keep, where `moved` says so.
void softmax_page(inout Row row, uint p, uint tid)
{
    vec4 score[FOURS];
    float largest = LOWEST, keep = 1.0;
    [[unroll]] for (uint i = 0u; i < FOURS; i++) {
        uint at = row.from + i * PARTS;
        score[i] = scores_of(row.query, ss[row.r * S_STRIDE + at] * row.scale, p * PAGE + 4u * at);
        largest = max(largest, max(max(score[i].x, score[i].y), max(score[i].z, score[i].w)));
    }
    largest = row_max_of(row.r, largest, tid);
    if (largest > row.top + MARGIN) {
        if (row.top > 0.5 * LOWEST) { // else there is nothing yet
            keep = exp(row.top - largest);
            moved = p + 1u;
        }
        row.top = largest;
    }
    row.sum *= keep;
    [[unroll]] for (uint i = 0u; i < FOURS; i++) {
        bvec4 seen = greaterThan(score[i], vec4(0.5 * LOWEST));
        f16vec4 probability = f16vec4(mix(vec4(0.0), exp(score[i] - row.top), seen));
        sp[row.r * STRIDE + row.from + i * PARTS] = probability;
        row.sum += dot(vec4(probability), vec4(1.0));
    }
    if (row.from == 0u)
        row_keep[row.r] = keep;
}

// A matrix in shared memory, whose first row is m.
void scale_matrix(uint own, uint m)
{
    for (uint e = gl_SubgroupInvocationID; e < M * N / 4u; e += gl_SubgroupSize)
        ss[own + e] *= row_keep[m + e / (N / 4u)];
}

// And its first dimension is n.
void write_matrix(uint own, uint m, uint n, uint rows)
{
    [[dont_unroll]] for (uint e = gl_SubgroupInvocationID; e < M * N; e += gl_SubgroupSize) {
        uint i = m + e / N, d = n + e % N;
        if (i < rows && d < HEAD_V)
            STORE_F32(a.y, row_y[i] + d, ss[own + e / 4u][e % 4u] * row_keep[i]);
    }
}

#define ACCUMULATOR coopmat<float, gl_ScopeSubgroup, M, N, gl_MatrixUseAccumulator>
#define ROW_MAJOR gl_CooperativeMatrixLayoutRowMajor
#define COLUMN_MAJOR gl_CooperativeMatrixLayoutColumnMajor
#define EACH(i, n) [[unroll]] for (uint i = 0u; i < (n); i++)

void main()
{
    uint tid = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    Tile tile;
    if (!find_tile(tile))
        return;
    uint m_first = gl_SubgroupID % SM * FM * M, n_first = gl_SubgroupID / SM * FN * N; // of this subgroup
    uint own = gl_SubgroupID * (M * N / 4u); // where it has a matrix of ss
    Row row = begin_row(tid, tile);
    if (tid == 0u)
        moved = 0u;
    ACCUMULATOR o[BLOCKS * FM * FN];
    EACH(i, BLOCKS * FM * FN)
        o[i] = ACCUMULATOR(0.0);
    barrier();

    for (uint p = tile.first_seen / PAGE; p <= tile.newest / PAGE; p++) {
        uint page = BATCH_AT(a.batch, BATCH_PAGES, tile.table + p), last = tile.newest - p * PAGE;
        uint begin = max(tile.first_seen, p * PAGE) - p * PAGE;

        ACCUMULATOR s[FM * FN];
        EACH(i, FM * FN)
            s[i] = ACCUMULATOR(0.0);
        for (uint first = 0u; first < HEAD_K; first += DIMS) {
            STAGE(load_k, page + a.k_offset, tile.kv_head, first, HEAD_K)
            barrier();
            for (uint k = 0u; k < min(DIMS, HEAD_K - first); k += K) {
                coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB> keys[FN];
                EACH(c, FN)
                    coopMatLoad(keys[c], skv, (n_first + c * N) * STRIDE + k / 4u, STRIDE, COLUMN_MAJOR);
                EACH(i, FM) {
                    coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA> queries;
                    coopMatLoad(queries, sq, (m_first + i * M) * Q_STRIDE + (first + k) / 4u, Q_STRIDE, ROW_MAJOR);
                    EACH(c, FN)
                        s[i * FN + c] = coopMatMulAdd(queries, keys[c], s[i * FN + c]);
                }
            }
            barrier();
        }
        EACH(i, FM * FN)
            coopMatStore(s[i], ss, (m_first + i / FN * M) * S_STRIDE + (n_first + i % FN * N) / 4u, S_STRIDE,
                         ROW_MAJOR);
        barrier();
        softmax_page(row, p, tid);
        barrier();

        // A loop, not unrolled, as its code is long; matrices have no index that is computed.
        [[dont_unroll]] for (uint at = 0u; at < (moved == p + 1u ? BLOCKS * FM * FN : 0u); at++) {
            EACH(i, BLOCKS * FM * FN)
                if (i == at)
                    coopMatStore(o[i], ss, own, N / 4u, ROW_MAJOR);
            subgroupBarrier();
            scale_matrix(own, m_first + at / FN % FM * M);
            subgroupBarrier();
            EACH(i, BLOCKS * FM * FN)
                if (i == at)
                    coopMatLoad(o[i], ss, own, N / 4u, ROW_MAJOR);
            subgroupBarrier();
        }
        EACH(block, BLOCKS) {
            STAGE(load_v8, page + a.v_offset, tile.kv_head, block * DIMS, HEAD_V)
            barrier();
            for (uint k = 0u; k < PAGE && k <= last; k += K) {
                coopmat<float16_t, gl_ScopeSubgroup, K, N, gl_MatrixUseB> values[FN];
                EACH(c, FN)
                    coopMatLoad(values[c], skv, k * STRIDE + (n_first + c * N) / 4u, STRIDE, ROW_MAJOR);
                EACH(i, FM) {
                    coopmat<float16_t, gl_ScopeSubgroup, M, K, gl_MatrixUseA> shares;
                    uint to = (block * FM + i) * FN;
                    coopMatLoad(shares, sp, (m_first + i * M) * STRIDE + k / 4u, STRIDE, ROW_MAJOR);
                    EACH(c, FN)
                        o[to + c] = coopMatMulAdd(shares, values[c], o[to + c]);
                }
            }
            barrier();
        }
    }

    float sum = row_sum_of(row.r, row.sum, tid);
    if (row.from == 0u)
        row_keep[row.r] = row_factor(row.head, row.top, sum);
    barrier();
    [[dont_unroll]] for (uint at = 0u; at < BLOCKS * FM * FN; at++) {
        EACH(i, BLOCKS * FM * FN)
            if (i == at)
                coopMatStore(o[i], ss, own, N / 4u, ROW_MAJOR);
        subgroupBarrier();
        uint block = at / (FM * FN);
        write_matrix(own, m_first + at / FN % FM * M, block * DIMS + n_first + at % FN * N, tile.rows);
        subgroupBarrier();
    }
}
