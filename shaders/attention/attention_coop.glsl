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

const uint PAGE = BATCH_KV_PAGE;
const uint DIMS = PAGE; // so that scores and results are divided alike
const uint BLOCKS = (HEAD_V + DIMS - 1u) / DIMS;
const uint SM = QR / (M * FM);
const uint PARTS = GROUP / QR;            // invocations per row in the softmax, at most 16
const uint FOURS = PAGE / (4u * PARTS);   // scores of such an invocation
// From row to row, in fours: 16 bytes more than there are, so that neighbours lie in different banks.
const uint STRIDE = DIMS / 4u + 2u, Q_STRIDE = HEAD_K / 4u + 2u, S_STRIDE = PAGE / 4u + 1u;
const float LOWEST = -1e30;
const float MARGIN = 8.0; // of probabilities up to e^8, which halves hold

shared f16vec4 sq[QR * Q_STRIDE];
shared f16vec4 skv[PAGE * STRIDE];
shared f16vec4 sp[QR * STRIDE];
shared vec4 ss[QR * S_STRIDE]; // scores; then a matrix of each subgroup, on its way to another layout
shared float part[GROUP], row_keep[QR];
shared uint row_y[QR], moved;

#include "attention/kv_load.glsl"

// DIMS dimensions of a page, from `first` on. What no row sees may never have been written, or by another
// sequence: whatever is there, zeros times their probability, which is none, are zeros.
#define STAGE(load, place, head, first, width)                                                   \
    for (uint e = tid; e < PAGE * DIMS / 8u; e += GROUP) {                                       \
        uint position = e / (DIMS / 8u), d = (first) + e % (DIMS / 8u) * 8u;                     \
        vec4 low = vec4(0.0), high = vec4(0.0);                                                  \
        if (d < (width) && position >= begin && position <= last)                                \
            load(place, (head)*PAGE + position, d, low, high);                                   \
        skv[position * STRIDE + (d - (first)) / 4u] = f16vec4(low);                              \
        skv[position * STRIDE + (d - (first)) / 4u + 1u] = f16vec4(high);                        \
    }

// The power of two that takes `largest` to 2^13 … 2^14, as halve.comp does to less: here nothing is summed up in halves.
float power_for(float largest)
{
    int exponent = int(floatBitsToUint(largest) >> 23) - 127;
    int shift = exponent == 128 ? 0 : min(13 - exponent, 126);
    return uintBitsToFloat(uint(shift + 127) << 23);
}

// What divides the sum of a row that has seen all its positions. A sink is one more logit, without a value.
float row_factor(uint head, float largest, float sum)
{
    if (a.sinks == REF_NONE)
        return 1.0 / sum;
    float sink = LOAD_F32(a.sinks, head), all = max(largest, sink), keep = exp(largest - all);
    return keep / (sum * keep + exp(sink - all));
}

// The sum, or the largest, of what the invocations of a row have.
float row_sum_of(uint r, float own, uint tid)
{
    part[tid] = own;
    barrier();
    float sum = 0.0;
    [[unroll]] for (uint i = 0u; i < PARTS; i++)
        sum += part[r * PARTS + i];
    return sum;
}

float row_max_of(uint r, float own, uint tid)
{
    part[tid] = own;
    barrier();
    float largest = part[r * PARTS];
    [[unroll]] for (uint i = 1u; i < PARTS; i++)
        largest = max(largest, part[r * PARTS + i]);
    return largest;
}

// An invocation's row in the softmax, of which it takes each PARTS-th four.
struct Row {
    uint r, from;
    uint head, query; // the position of its token
    float scale;      // of scores
    float top, sum;   // a maximum, and the sum of what this invocation has seen
};

// Puts the row's queries into shared memory. What lies past the last row does as that.
Row begin_row(uint tid, uint tile_token, uint first_row, uint rows, uint kv_head)
{
    Row row;
    row.r = tid / PARTS;
    row.from = tid % PARTS;
    uint at = first_row + min(row.r, rows - 1u), token = tile_token + at / a.heads;
    row.head = kv_head * a.heads + at % a.heads;
    row.query = BATCH_AT(a.batch, BATCH_POS, token);
    uint q = token * a.q_stride + row.head * HEAD_K;
    float largest = 0.0;
    for (uint d = row.from; d < HEAD_K; d += PARTS)
        largest = max(largest, abs(LOAD_F32(a.q, q + d)));
    float power = power_for(row_max_of(row.r, largest, tid));
    row.scale = a.scale / power;
    for (uint d = 4u * row.from; d < HEAD_K; d += 4u * PARTS)
        sq[row.r * Q_STRIDE + d / 4u] =
            f16vec4(power * vec4(LOAD_F32(a.q, q + d), LOAD_F32(a.q, q + d + 1u),
                                 LOAD_F32(a.q, q + d + 2u), LOAD_F32(a.q, q + d + 3u)));
    if (row.from == 0u)
        row_y[row.r] = token * a.y_stride + row.head * HEAD_V;
    if (tid == 0u)
        moved = 0u; // the number of the last page that moved a maximum, from 1
    row.top = LOWEST;
    row.sum = 0.0;
    return row;
}

// Four scores; those that the row may not see are LOWEST.
vec4 scores_of(Row row, vec4 value, uint first)
{
    if (a.softcap > 0.0)
        value = a.softcap * tanh(clamp(value / a.softcap, -15.0, 15.0));
    uvec4 position = first + uvec4(0u, 1u, 2u, 3u);
    bvec4 seen = lessThanEqual(position, uvec4(row.query));
    if (a.window > 0u)
        seen = bvec4(uvec4(seen) & uvec4(greaterThan(position + a.window, uvec4(row.query))));
    return mix(vec4(LOWEST), value, seen);
}

// Scores of page p become probabilities; row_keep is what earlier pages keep, where `moved` says so.
void softmax_page(inout Row row, uint p, uint tid)
{
    vec4 score[FOURS];
    float largest = LOWEST, keep = 1.0;
    [[unroll]] for (uint i = 0u; i < FOURS; i++) {
        uint at = row.from + i * PARTS;
        score[i] = scores_of(row, ss[row.r * S_STRIDE + at] * row.scale, p * PAGE + 4u * at);
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
    if (gl_WorkGroupID.x >= BATCH(a.batch, BATCH_N_TILES))
        return;
    uint tile_token = BATCH_AT(a.batch, BATCH_TILES, 2u * gl_WorkGroupID.x);
    uint tile_rows = BATCH_AT(a.batch, BATCH_TILES, 2u * gl_WorkGroupID.x + 1u) * a.heads;
    uint kv_head = gl_WorkGroupID.y, first_row = gl_WorkGroupID.z * QR;
    if (first_row >= tile_rows)
        return;
    uint rows = min(tile_rows - first_row, QR);
    uint oldest = BATCH_AT(a.batch, BATCH_POS, tile_token + first_row / a.heads);
    uint newest = BATCH_AT(a.batch, BATCH_POS, tile_token + (first_row + rows - 1u) / a.heads);
    uint first_seen = a.window > 0u && oldest >= a.window ? oldest - a.window + 1u : 0u;
    uint table = BATCH_AT(a.batch, BATCH_SEQ, tile_token) * BATCH(a.batch, BATCH_TABLE_STRIDE);
    uint m_first = gl_SubgroupID % SM * FM * M, n_first = gl_SubgroupID / SM * FN * N; // of this subgroup
    uint own = gl_SubgroupID * (M * N / 4u); // where it has a matrix of ss
    Row row = begin_row(tid, tile_token, first_row, rows, kv_head);
    ACCUMULATOR o[BLOCKS * FM * FN];
    EACH(i, BLOCKS * FM * FN)
        o[i] = ACCUMULATOR(0.0);
    barrier();

    for (uint p = first_seen / PAGE; p <= newest / PAGE; p++) {
        uint page = BATCH_AT(a.batch, BATCH_PAGES, table + p), last = newest - p * PAGE;
        uint begin = max(first_seen, p * PAGE) - p * PAGE;

        ACCUMULATOR s[FM * FN];
        EACH(i, FM * FN)
            s[i] = ACCUMULATOR(0.0);
        for (uint first = 0u; first < HEAD_K; first += DIMS) {
            STAGE(load_k, page + a.k_offset, kv_head, first, HEAD_K)
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
            STAGE(load_v8, page + a.v_offset, kv_head, block * DIMS, HEAD_V)
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
        write_matrix(own, m_first + at / FN % FM * M, block * DIMS + n_first + at % FN * N, rows);
        subgroupBarrier();
    }
}
