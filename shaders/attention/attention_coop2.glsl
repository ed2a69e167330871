// attention_coop2.glsl: softmax(q·Kᵀ)·V over the cache for many tokens, on cooperative matrices whose elements can be told
// apart.
//
// As attention_coop.glsl, but no score goes through shared memory: a subgroup has M rows, whose scores with a page of 64 positions
// are one matrix. It is masked and exponentiated element by element, its rows are reduced, and it becomes halves, which
// multiply V (VK_NV_cooperative_matrix2: any multiple of a device's shapes, elements with their places, reductions, other
// uses). Subgroups meet only where K and V become halves in shared memory. Entry points define how K and V are stored:
// KV_F16, KV_Q8_0 or KV_Q4_0.
#pragma use_vulkan_memory_model
#include "common/prelude.glsl"
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_vote : require
#extension GL_NV_cooperative_matrix2 : require
#include "attention/attention_args.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint GROUP = 32u; // QR / M subgroups
layout(constant_id = 1) const uint QR = 16u;
layout(constant_id = 2) const uint HEAD_K = 64u;
layout(constant_id = 3) const uint HEAD_V = 64u;
layout(constant_id = 4) const uint M = 16u; // rows of a subgroup, and of its matrices
layout(constant_id = 5) const uint N = 16u; // dimensions of the result in one of them
layout(constant_id = 6) const uint K = 16u; // dimensions of q·Kᵀ that are summed up at a time
layout(push_constant, std430) uniform Args { attention_args a; };

#include "attention/coop_rows.glsl"

const uint BLOCKS = (HEAD_V + DIMS - 1u) / DIMS, PIECES = DIMS / N; // of the result

shared float row_scale[QR], row_largest[QR], row_top[QR], row_keep[QR], row_sum[QR];
shared uint row_query[QR];

#define MATRIX(type, rows, columns, use) coopmat<type, gl_ScopeSubgroup, rows, columns, use>
#define SCORES MATRIX(float, M, PAGE, gl_MatrixUseAccumulator)
#define RESULTS MATRIX(float, M, N, gl_MatrixUseAccumulator)
#define EACH(i, n) [[unroll]] for (uint i = 0u; i < (n); i++)

// Functions of an element, with its row and column of the matrix; m_first is the matrix's first row of the workgroup. They may be
// called more than once for an element, and write the same each time.

float score_of(const in uint i, const in uint j, const in float value, const in uint m_first, const in uint first)
{
    uint r = m_first + i;
    return scores_of(row_query[r], vec4(value * row_scale[r]), first + j).x;
}

// As a half, as which it is multiplied.
float probability_of(const in uint i, const in uint j, const in float score, const in uint m_first)
{
    return score > 0.5 * LOWEST ? float(float16_t(exp(score - row_top[m_first + i]))) : 0.0;
}

float kept(const in uint i, const in uint j, const in float value, const in uint m_first)
{
    return value * row_keep[m_first + i];
}

// What is the same in all columns.
float put_largest(const in uint i, const in uint j, const in float value, const in uint m_first)
{
    if (j == 0u)
        row_largest[m_first + i] = value;
    return value;
}

float put_sum(const in uint i, const in uint j, const in float value, const in uint m_first)
{
    if (j == 0u)
        row_sum[m_first + i] = value;
    return value;
}

float put_result(const in uint i, const in uint j, const in float value, const in uint m_first, const in uint d,
                 const in uint rows)
{
    uint r = m_first + i;
    if (r < rows && d + j < HEAD_V)
        STORE_F32(a.y, row_y[r] + d + j, value * row_keep[r]);
    return value;
}

float larger(const in float x, const in float y)
{
    return max(x, y);
}

float plus(const in float x, const in float y)
{
    return x + y;
}

// Each row's maximum follows where scores of this page are MARGIN larger; row_keep is what earlier pages keep. Does any?
bool follow(inout Row row)
{
    float largest = row_largest[row.r], keep = 1.0;
    bool moves = false;
    if (largest > row.top + MARGIN) {
        moves = row.top > 0.5 * LOWEST; // else there is nothing yet
        keep = moves ? exp(row.top - largest) : 1.0;
        row.top = largest;
    }
    if (row.from == 0u) {
        row_top[row.r] = row.top;
        row_keep[row.r] = keep;
    }
    return subgroupAny(moves);
}

void main()
{
    uint tid = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    Tile tile;
    if (!find_tile(tile))
        return;
    uint m_first = gl_SubgroupID * M;
    Row row = begin_row(tid, tile);
    if (row.from == 0u) {
        row_scale[row.r] = row.scale;
        row_query[row.r] = row.query;
    }
    RESULTS o[BLOCKS * PIECES], sums = RESULTS(0.0), some;
    EACH(i, BLOCKS * PIECES)
        o[i] = RESULTS(0.0);
    barrier();

    for (uint p = tile.first_seen / PAGE; p <= tile.newest / PAGE; p++) {
        uint page = BATCH_AT(a.batch, BATCH_PAGES, tile.table + p), last = tile.newest - p * PAGE;
        uint begin = max(tile.first_seen, p * PAGE) - p * PAGE;

        SCORES s = SCORES(0.0), probabilities;
        for (uint first = 0u; first < HEAD_K; first += DIMS) {
            STAGE(load_k, page + a.k_offset, tile.kv_head, first, HEAD_K)
            barrier();
            for (uint k = 0u; k < min(DIMS, HEAD_K - first); k += K) {
                MATRIX(float16_t, M, K, gl_MatrixUseA) queries;
                MATRIX(float16_t, K, PAGE, gl_MatrixUseB) keys;
                coopMatLoad(queries, sq, m_first * Q_STRIDE + (first + k) / 4u, Q_STRIDE, gl_CooperativeMatrixLayoutRowMajor);
                coopMatLoad(keys, skv, k / 4u, STRIDE, gl_CooperativeMatrixLayoutColumnMajor);
                s = coopMatMulAdd(queries, keys, s);
            }
            barrier();
        }

        coopMatPerElementNV(s, s, score_of, m_first, p * PAGE);
        coopMatReduceNV(some, s, gl_CooperativeMatrixReduceRowNV, larger);
        coopMatPerElementNV(some, some, put_largest, m_first);
        subgroupBarrier();
        bool moves = follow(row);
        subgroupBarrier();
        coopMatPerElementNV(probabilities, s, probability_of, m_first);
        if (moves) {
            coopMatPerElementNV(sums, sums, kept, m_first);
            EACH(i, BLOCKS * PIECES)
                coopMatPerElementNV(o[i], o[i], kept, m_first);
        }
        coopMatReduceNV(some, probabilities, gl_CooperativeMatrixReduceRowNV, plus);
        sums += some;

        MATRIX(float16_t, M, PAGE, gl_MatrixUseA) shares = MATRIX(float16_t, M, PAGE, gl_MatrixUseA)(probabilities);
        EACH(block, BLOCKS) {
            STAGE(load_v8, page + a.v_offset, tile.kv_head, block * DIMS, HEAD_V)
            barrier();
            EACH(i, PIECES) {
                MATRIX(float16_t, PAGE, N, gl_MatrixUseB) values;
                coopMatLoad(values, skv, i * N / 4u, STRIDE, gl_CooperativeMatrixLayoutRowMajor);
                o[block * PIECES + i] = coopMatMulAdd(shares, values, o[block * PIECES + i]);
            }
            barrier();
        }
    }

    coopMatPerElementNV(some, sums, put_sum, m_first);
    subgroupBarrier();
    if (row.from == 0u)
        row_keep[row.r] = row_factor(row.head, row.top, row_sum[row.r]);
    subgroupBarrier();
    EACH(i, BLOCKS * PIECES)
        coopMatPerElementNV(o[i], o[i], put_result, m_first, i * N, tile.rows);
}
