// rope_kv.glsl: one workgroup norms and turns (or just takes) one head of one token, and stores it: q to
// its place, k and v into the cache.
#include "common/prelude.glsl"
#include "kv/rope_kv_args.h"

const uint GROUP = 32u;
layout(local_size_x = 32) in;
layout(push_constant, std430) uniform Args { rope_kv_args a; };

#include "common/reduce.glsl"

const uint MAX_DIM = 1024u;
shared float head[MAX_DIM];

// The head into shared memory, normed if `norm` is there.
void take_head(uint source, uint from, uint dim, uint norm)
{
    uint lane = gl_LocalInvocationIndex;
    float squares = 0.0;
    for (uint d = lane; d < dim; d += GROUP) {
        head[d] = LOAD_F32(source, from + d);
        squares += head[d] * head[d];
    }
    if (norm == REF_NONE)
        return;
    float scale = inversesqrt(group_add(squares) / float(dim) + a.eps);
    for (uint d = lane; d < dim; d += GROUP)
        head[d] *= scale * LOAD_F32(norm, d);
}

void store_kv(uint place, uint row, uint dim)
{
    uint lane = gl_LocalInvocationIndex;
#ifdef KV_F32
    for (uint d = lane; d < dim; d += GROUP)
        STORE_F32(place, row * dim + d, head[d]);
#endif
#ifdef KV_F16
    for (uint d = 2u * lane; d < dim; d += 2u * GROUP)
        STORE_U32(place, (row * dim + d) >> 1, packHalf2x16(vec2(head[d], head[d + 1u])));
#endif
#ifdef KV_Q8_0
    // an invocation per block of 32; stored in halves of a word, since blocks have 34 bytes
    for (uint b = lane; b < dim >> 5; b += GROUP) {
        float largest = 0.0;
        for (uint i = 0u; i < 32u; i++)
            largest = max(largest, abs(head[32u * b + i]));
        float d = largest / 127.0, inverse = d > 0.0 ? 1.0 / d : 0.0;
        uint at = (row * (dim >> 5) + b) * 17u;
        STORE_U16(place, at, packHalf2x16(vec2(d, 0.0)));
        for (uint i = 0u; i < 32u; i += 2u) {
            vec2 x = vec2(head[32u * b + i], head[32u * b + i + 1u]) * inverse;
            ivec2 q = ivec2(sign(x) * floor(abs(x) + 0.5));
            STORE_U16(place, at + 1u + (i >> 1), uint(q.x & 255) | uint(q.y & 255) << 8);
        }
    }
#endif
#ifdef KV_Q4_0
    // the same with blocks of 18 bytes; the value that is farthest from zero becomes -8
    for (uint b = lane; b < dim >> 5; b += GROUP) {
        float extreme = 0.0;
        for (uint i = 0u; i < 32u; i++)
            extreme = abs(head[32u * b + i]) > abs(extreme) ? head[32u * b + i] : extreme;
        uint at = (row * (dim >> 5) + b) * 9u, bits = packHalf2x16(vec2(extreme / -8.0, 0.0));
        float d = half_to_float(bits), inverse = d != 0.0 ? 1.0 / d : 0.0;
        STORE_U16(place, at, bits);
        for (uint i = 0u; i < 16u; i += 2u) {
            vec4 x = vec4(head[32u * b + i], head[32u * b + i + 1u], head[32u * b + i + 16u],
                          head[32u * b + i + 17u]);
            uvec4 q = uvec4(clamp(round(x * inverse), -8.0, 7.0) + 8.0);
            STORE_U16(place, at + 1u + (i >> 1), q.x | q.z << 4 | q.y << 8 | q.w << 12);
        }
    }
#endif
}

void main()
{
    uint lane = gl_LocalInvocationIndex, token = gl_WorkGroupID.x, h = gl_WorkGroupID.y;
    if (token >= BATCH(a.batch, BATCH_N_TOKENS))
        return;
    bool is_q = h < a.n_q, is_v = h >= a.n_q + a.n_kv;
    uint kv_head = is_v ? h - a.n_q - a.n_kv : h - a.n_q;
    uint dim = is_v ? a.dim_v : a.dim_q;
    uint source = is_q ? a.q : is_v ? a.v : a.k;
    uint from = is_q   ? token * a.q_stride + h * dim
                : is_v ? token * a.v_stride + kv_head * dim
                       : token * a.k_stride + kv_head * dim;
    uint position = BATCH_AT(a.batch, BATCH_POS, token), n_rot = is_v ? 0u : a.n_rot;

    take_head(source, from, dim, is_q ? a.q_norm : is_v ? REF_NONE : a.k_norm);
    barrier();
    for (uint i = lane; i < n_rot >> 1; i += GROUP) {
        uint i0 = a.neox != 0u ? i : 2u * i, i1 = a.neox != 0u ? i + (n_rot >> 1) : i0 + 1u;
        uint at = a.rope_at + 2u * (token * (n_rot >> 1) + i);
        vec2 cs = vec2(LOAD_F32(a.batch, at), LOAD_F32(a.batch, at + 1u));
        float x0 = head[i0], x1 = head[i1]; // nobody else's pair
        head[i0] = x0 * cs.x - x1 * cs.y;
        head[i1] = x0 * cs.y + x1 * cs.x;
    }
    barrier();

    if (is_q) {
        for (uint d = lane; d < dim; d += GROUP)
            STORE_F32(a.q_out, token * a.q_out_stride + h * dim + d, head[d]);
        return;
    }
    uint table = BATCH_AT(a.batch, BATCH_SEQ, token) * BATCH(a.batch, BATCH_TABLE_STRIDE);
    uint page = BATCH_AT(a.batch, BATCH_PAGES, table + position / BATCH_KV_PAGE);
    uint row = kv_head * BATCH_KV_PAGE + position % BATCH_KV_PAGE;
    store_kv(page + (is_v ? a.v_offset : a.k_offset), row, dim);
}
