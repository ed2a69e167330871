// coop_rows.glsl: what attention on cooperative matrices, of either kind, has in shared memory, and its rows.
//
// The including shader declares GROUP, QR, HEAD_K, HEAD_V and its arguments `a` (attention_args.h).
#include "attention/kv_load.glsl"

const uint PAGE = BATCH_KV_PAGE;
const uint DIMS = PAGE;        // of K or V in shared memory at a time
const uint PARTS = GROUP / QR; // at most 16
// From row to row, in fours: 16 bytes more than there are, so that neighbours lie in different banks.
const uint STRIDE = DIMS / 4u + 2u, Q_STRIDE = HEAD_K / 4u + 2u;
const float LOWEST = -1e30;
const float MARGIN = 8.0; // of probabilities up to e^8, which halves hold

shared f16vec4 sq[QR * Q_STRIDE];
shared f16vec4 skv[PAGE * STRIDE];
shared float part[GROUP];
shared uint row_y[QR]; // where a row's result begins

// Rows of a workgroup: (token, head) pairs of one tile that read the same K and V.
struct Tile {
    uint token, first_row, rows, kv_head;
    uint first_seen, newest; // positions that some row may see
    uint table;              // of its sequence, in BATCH_PAGES
};

// False: there are none.
bool find_tile(out Tile tile)
{
    tile.kv_head = gl_WorkGroupID.y;
    tile.first_row = gl_WorkGroupID.z * QR;
    if (gl_WorkGroupID.x >= BATCH(a.batch, BATCH_N_TILES))
        return false;
    tile.token = BATCH_AT(a.batch, BATCH_TILES, 2u * gl_WorkGroupID.x);
    uint rows = BATCH_AT(a.batch, BATCH_TILES, 2u * gl_WorkGroupID.x + 1u) * a.heads;
    if (tile.first_row >= rows)
        return false;
    tile.rows = min(rows - tile.first_row, QR);
    uint oldest = BATCH_AT(a.batch, BATCH_POS, tile.token + tile.first_row / a.heads);
    tile.newest = BATCH_AT(a.batch, BATCH_POS, tile.token + (tile.first_row + tile.rows - 1u) / a.heads);
    tile.first_seen = a.window > 0u && oldest >= a.window ? oldest - a.window + 1u : 0u;
    tile.table = BATCH_AT(a.batch, BATCH_SEQ, tile.token) * BATCH(a.batch, BATCH_TABLE_STRIDE);
    return true;
}

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

// An invocation's row in the softmax.
struct Row {
    uint r, from;     // of its PARTS it is number `from`
    uint head, query; // the position of its token
    float scale;      // of scores
    float top, sum;   // a maximum, and the sum of what this invocation has seen
};

// Puts the row's queries into shared memory. What lies past the last row does as that.
Row begin_row(uint tid, Tile tile)
{
    Row row;
    row.r = tid / PARTS;
    row.from = tid % PARTS;
    uint at = tile.first_row + min(row.r, tile.rows - 1u), token = tile.token + at / a.heads;
    row.head = tile.kv_head * a.heads + at % a.heads;
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
    row.top = LOWEST;
    row.sum = 0.0;
    return row;
}

// Four scores; those that the row may not see are LOWEST.
vec4 scores_of(uint query, vec4 value, uint first)
{
    if (a.softcap > 0.0)
        value = a.softcap * tanh(clamp(value / a.softcap, -15.0, 15.0));
    uvec4 position = first + uvec4(0u, 1u, 2u, 3u);
    bvec4 seen = lessThanEqual(position, uvec4(query));
    if (a.window > 0u)
        seen = bvec4(uvec4(seen) & uvec4(greaterThan(position + a.window, uvec4(query))));
    return mix(vec4(LOWEST), value, seen);
}
