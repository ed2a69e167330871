// attention.glsl: softmax(q·Kᵀ)·V over the cache, a page of 64 positions at a time, with online softmax:
// no score leaves shared memory.
//
// A workgroup takes one tile of query tokens (all of one sequence) for one KV head; its QR rows are
// (token, head) pairs that read the same K and V. Entry points define how K and V are stored: KV_F32,
// KV_F16 or KV_Q8_0.
#include "common/prelude.glsl"
#include "attention/attention_args.h"

const uint GROUP = BATCH_KV_PAGE; // an invocation per position of a page
layout(local_size_x = BATCH_KV_PAGE) in;
layout(constant_id = 0) const uint QR = 16u; // rows per workgroup, at most 16
layout(constant_id = 1) const uint HEAD_K = 64u;
layout(constant_id = 2) const uint HEAD_V = 64u;
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

void main()
{
    uint lane = gl_LocalInvocationIndex;
    if (gl_WorkGroupID.x >= BATCH(a.batch, BATCH_N_TILES))
        return;
    uint first_token = BATCH_AT(a.batch, BATCH_TILES, 2u * gl_WorkGroupID.x);
    uint n_tokens = BATCH_AT(a.batch, BATCH_TILES, 2u * gl_WorkGroupID.x + 1u);
    // rows (token, head) beyond QR go to further workgroups
    uint kv_head = gl_WorkGroupID.y, first_row = gl_WorkGroupID.z * QR;
    if (first_row >= n_tokens * a.heads)
        return;
    uint rows = min(n_tokens * a.heads - first_row, QR);

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
    uint oldest = BATCH_AT(a.batch, BATCH_POS, first_token);
    uint newest = BATCH_AT(a.batch, BATCH_POS, first_token + n_tokens - 1u);
    uint first_seen = a.window > 0u && oldest >= a.window ? oldest - a.window + 1u : 0u;
    barrier();

    for (uint p = first_seen / GROUP; p <= newest / GROUP; p++) {
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

    [[unroll]] for (uint r = 0u; r < QR; r++) {
        if (r >= rows)
            continue;
        uint token = first_token + (first_row + r) / a.heads;
        uint head = kv_head * a.heads + (first_row + r) % a.heads;
        float factor = 1.0 / row_sum[r];
        if (a.sinks != REF_NONE) { // one more logit, without a value
            float sink = LOAD_F32(a.sinks, head), largest = max(row_max[r], sink);
            float keep = exp(row_max[r] - largest);
            factor = keep / (row_sum[r] * keep + exp(sink - largest));
        }
        [[unroll]] for (uint i = 0u; i < DIMS; i++)
            if (lane + i * GROUP < HEAD_V)
                STORE_F32(a.y, token * a.y_stride + head * HEAD_V + lane + i * GROUP,
                          o[r * DIMS + i] * factor);
    }
}
