// attention.glsl: softmax(q·Kᵀ)·V over the cache, a page of 64 positions at a time, with online softmax:
// no score leaves shared memory.
//
// A workgroup takes one tile of query tokens (all of one sequence) for one KV head; its QR rows are
// (token, head) pairs that read the same K and V. Few tokens are few workgroups: then up to SPLITS of them
// share the pages, each leaves what it has come to, and the last one to be done puts it together (Dao et
// al. 2023, https://crfm.stanford.edu/2023/10/12/flashdecoding.html). Entry points define how K and V are
// stored: KV_F32, KV_F16, KV_Q8_0 or KV_Q4_0.
#include "common/prelude.glsl"
#include "attention/attention_args.h"

const uint GROUP = BATCH_KV_PAGE; // an invocation per position of a page
layout(local_size_x = BATCH_KV_PAGE) in;
layout(constant_id = 0) const uint QR = 16u; // rows per workgroup, at most 16
layout(constant_id = 1) const uint HEAD_K = 64u;
layout(constant_id = 2) const uint HEAD_V = 64u;
layout(constant_id = 3) const uint SPLITS = 1u;
layout(push_constant, std430) uniform Args { attention_args a; };

const uint MAX_QR = 16u;
const uint PARTS = GROUP / MAX_QR;                // invocations per row in the softmax
const uint DIMS = (HEAD_V + GROUP - 1u) / GROUP;  // of V per invocation
const uint MAX_DIMS = 8u;
const float LOWEST = -1e30;

shared float sq[QR * HEAD_K];
shared float sp[QR * GROUP];      // scores, then probabilities
shared float part[GROUP];
shared float row_max[MAX_QR], row_sum[MAX_QR], row_keep[MAX_QR];
shared uint n_done;

#include "attention/kv_load.glsl"

// Scores of this invocation's position against all rows; those that a row may not see are LOWEST.
void score_page(uint page, uint position, uint kv_row, uint first_token, uint first_row, uint rows)
{
    uint lane = gl_LocalInvocationIndex;
    float s[MAX_QR];
    [[unroll]] for (uint r = 0u; r < QR; r++)
        s[r] = 0.0;
    for (uint d = 0u; d < HEAD_K; d += 8u) {
        vec4 k0, k1;
        load_k(page + a.k_offset, kv_row, d, k0, k1);
        [[unroll]] for (uint r = 0u; r < QR; r++) {
            uint at = r * HEAD_K + d;
            s[r] += k0.x * sq[at] + k0.y * sq[at + 1u] + k0.z * sq[at + 2u] + k0.w * sq[at + 3u] +
                    k1.x * sq[at + 4u] + k1.y * sq[at + 5u] + k1.z * sq[at + 6u] +
                    k1.w * sq[at + 7u];
        }
    }
    [[unroll]] for (uint r = 0u; r < QR; r++) {
        uint query = BATCH_AT(a.batch, BATCH_POS, first_token + (first_row + min(r, rows - 1u)) / a.heads);
        float value = s[r];
        if (a.softcap > 0.0)
            value = a.softcap * tanh(clamp(value / a.softcap, -15.0, 15.0));
        bool seen = position <= query && (a.window == 0u || position + a.window > query);
        sp[r * GROUP + lane] = seen ? value : LOWEST;
    }
}

// Scores become probabilities relative to the running maximum; row_keep is what earlier pages keep.
void softmax_page()
{
    uint lane = gl_LocalInvocationIndex, r = lane / PARTS, from = lane % PARTS;
    float largest = LOWEST, sum = 0.0;
    if (r < QR)
        for (uint i = from; i < GROUP; i += PARTS)
            largest = max(largest, sp[r * GROUP + i]);
    part[lane] = largest;
    barrier();
    float before = row_max[r];
    for (uint i = 0u; i < PARTS; i++)
        largest = max(largest, part[r * PARTS + i]);
    largest = max(largest, before);
    barrier();
    if (r < QR)
        for (uint i = from; i < GROUP; i += PARTS) {
            float value = sp[r * GROUP + i];
            float p = value > 0.5 * LOWEST ? exp(value - largest) : 0.0;
            sp[r * GROUP + i] = p;
            sum += p;
        }
    part[lane] = sum;
    barrier();
    if (from == 0u) {
        sum = 0.0;
        for (uint i = 0u; i < PARTS; i++)
            sum += part[r * PARTS + i];
        float keep = exp(before - largest);
        row_keep[r] = keep;
        row_sum[r] = row_sum[r] * keep + sum;
        row_max[r] = largest;
    }
    barrier();
}

// What divides the sum of a row that has seen all its positions. A sink is one more logit, without a value.
float row_factor(uint head, float largest, float sum)
{
    if (a.sinks == REF_NONE)
        return 1.0 / sum;
    float sink = LOAD_F32(a.sinks, head), all = max(largest, sink), keep = exp(largest - all);
    return keep / (sum * keep + exp(sink - all));
}

const uint PART_ROW = HEAD_V + 2u; // what a part holds of a row: sums, maximum, sum of probabilities

// Counts parts that are there, in a counter that is zero again when the last one is. True in the workgroup
// that sees all n.
bool is_last(uint counter, uint n)
{
    memoryBarrierBuffer();
    barrier();
    if (gl_LocalInvocationIndex == 0u) {
        n_done = atomicAdd(SHARED_U32(a.batch, counter), 1u) + 1u;
        if (n_done == n)
            SHARED_U32(a.batch, counter) = 0u;
    }
    barrier();
    memoryBarrierBuffer();
    return n_done == n;
}

// A row of all n parts together, of which the first has it at `row`.
void join_row(uint row, uint n, uint y, uint head)
{
    const uint PART = QR * PART_ROW;
    float largest = LOWEST, sum = 0.0;
    for (uint s = 0u; s < n; s++)
        largest = max(largest, SHARED_F32(a.parts, row + s * PART + HEAD_V));
    for (uint s = 0u; s < n; s++)
        sum += exp(SHARED_F32(a.parts, row + s * PART + HEAD_V) - largest) *
               SHARED_F32(a.parts, row + s * PART + HEAD_V + 1u);
    float factor = row_factor(head, largest, sum);
    for (uint d = gl_LocalInvocationIndex; d < HEAD_V; d += GROUP) {
        float value = 0.0;
        for (uint s = 0u; s < n; s++)
            value += exp(SHARED_F32(a.parts, row + s * PART + HEAD_V) - largest) *
                     SHARED_F32(a.parts, row + s * PART + d);
        STORE_F32(a.y, y + d, value * factor);
    }
}

void main()
{
    uint lane = gl_LocalInvocationIndex;
    if (gl_WorkGroupID.x >= BATCH(a.batch, BATCH_N_TILES))
        return;
    uint first_token = BATCH_AT(a.batch, BATCH_TILES, 2u * gl_WorkGroupID.x);
    uint n_tokens = BATCH_AT(a.batch, BATCH_TILES, 2u * gl_WorkGroupID.x + 1u);
    // rows (token, head) beyond QR go to further workgroups
    uint kv_head = gl_WorkGroupID.y, first_row = gl_WorkGroupID.z / SPLITS * QR;
    if (first_row >= n_tokens * a.heads)
        return;
    uint rows = min(n_tokens * a.heads - first_row, QR);
    uint oldest = BATCH_AT(a.batch, BATCH_POS, first_token + first_row / a.heads);
    uint newest = BATCH_AT(a.batch, BATCH_POS, first_token + (first_row + rows - 1u) / a.heads);
    uint first_seen = a.window > 0u && oldest >= a.window ? oldest - a.window + 1u : 0u;
    uint first_page = first_seen / GROUP, n_pages = newest / GROUP + 1u - first_page;
    uint split = gl_WorkGroupID.z % SPLITS, n_splits = min(SPLITS, n_pages);
    if (split >= n_splits)
        return;

    for (uint i = lane; i < QR * HEAD_K; i += GROUP) {
        uint r = first_row + min(i / HEAD_K, rows - 1u), head = kv_head * a.heads + r % a.heads;
        uint at = (first_token + r / a.heads) * a.q_stride + head * HEAD_K + i % HEAD_K;
        sq[i] = LOAD_F32(a.q, at) * a.scale;
    }
    if (lane < MAX_QR) {
        row_max[lane] = LOWEST;
        row_sum[lane] = 0.0;
    }
    float o[MAX_QR * MAX_DIMS];
    [[unroll]] for (uint i = 0u; i < QR * DIMS; i++)
        o[i] = 0.0;
    uint table = BATCH_AT(a.batch, BATCH_SEQ, first_token) * BATCH(a.batch, BATCH_TABLE_STRIDE);
    uint page_end = first_page + n_pages * (split + 1u) / n_splits;
    barrier();

    for (uint p = first_page + n_pages * split / n_splits; p < page_end; p++) {
        uint page = BATCH_AT(a.batch, BATCH_PAGES, table + p);
        score_page(page, p * GROUP + lane, kv_head * GROUP + lane, first_token, first_row, rows);
        barrier();
        softmax_page();
        [[unroll]] for (uint r = 0u; r < QR; r++)
            [[unroll]] for (uint i = 0u; i < DIMS; i++)
                o[r * DIMS + i] *= row_keep[r];
        uint from = max(first_seen, p * GROUP) - p * GROUP;
        uint to = min(GROUP, newest - p * GROUP + 1u);
        for (uint s = from; s < to; s++) {
            [[unroll]] for (uint i = 0u; i < DIMS; i++) {
                float v = load_v(page + a.v_offset, kv_head * GROUP + s,
                                 min(lane + i * GROUP, HEAD_V - 1u));
                [[unroll]] for (uint r = 0u; r < QR; r++)
                    o[r * DIMS + i] += sp[r * GROUP + s] * v;
            }
        }
        barrier();
    }

    if (n_splits > 1u) {
        uint tile = gl_WorkGroupID.x * gl_NumWorkGroups.y + kv_head;
        uint first = tile * (gl_NumWorkGroups.z / SPLITS) + gl_WorkGroupID.z / SPLITS;
        uint part = (first * SPLITS + split) * QR * PART_ROW;
        [[unroll]] for (uint r = 0u; r < QR; r++)
            [[unroll]] for (uint i = 0u; i < DIMS; i++)
                if (lane + i * GROUP < HEAD_V)
                    SHARED_F32(a.parts, part + r * PART_ROW + lane + i * GROUP) = o[r * DIMS + i];
        if (lane < QR) {
            SHARED_F32(a.parts, part + lane * PART_ROW + HEAD_V) = row_max[lane];
            SHARED_F32(a.parts, part + lane * PART_ROW + HEAD_V + 1u) = row_sum[lane];
        }
        if (!is_last(BATCH(a.batch, BATCH_COUNTERS) + first, n_splits))
            return;
        for (uint r = 0u; r < rows; r++) {
            uint token = first_token + (first_row + r) / a.heads;
            uint head = kv_head * a.heads + (first_row + r) % a.heads;
            join_row((first * SPLITS * QR + r) * PART_ROW, n_splits,
                     token * a.y_stride + head * HEAD_V, head);
        }
        return;
    }
    [[unroll]] for (uint r = 0u; r < QR; r++) {
        if (r >= rows)
            continue;
        uint token = first_token + (first_row + r) / a.heads;
        uint head = kv_head * a.heads + (first_row + r) % a.heads;
        float factor = row_factor(head, row_max[r], row_sum[r]);
        [[unroll]] for (uint i = 0u; i < DIMS; i++)
            if (lane + i * GROUP < HEAD_V)
                STORE_F32(a.y, token * a.y_stride + head * HEAD_V + lane + i * GROUP,
                          o[r * DIMS + i] * factor);
    }
}
