#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "cpu/cpu_op.h"
#include "cpu/float_kernels.h"

/* One piece of work is a head of the cache, some tokens that stand together, and, where there would
 * be too few pieces for the threads, a part of the positions. A query is a (token, query head) of
 * the piece: each page's keys and values are read once for all of them. Scores of many queries lie
 * with queries in lanes, scores[position][query], so that softmax needs no sums across lanes, and
 * both products are the same tile: keys × queriesᵀ, then weightsᵀ × values. Few queries would leave
 * most lanes empty: theirs lie as scores[query][position]. Online softmax over pages (Milakov &
 * Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135). */

enum { QUERIES = 64, TOKENS_MAX = 32, LANES_MAX = 16, FEW = 8, PIECES_PER_THREAD = 4 };

struct job {
    const struct op_call *call;
    const struct attention_params *params;
    const struct kv_geom *kv;
    const struct float_kernels *kernels;
    int group;   /* query heads per head of the cache */
    int tokens;  /* of a block */
    int blocks;  /* of tokens */
    int splits;  /* of positions */
    char *bytes; /* of the first thread's local */
    char *parts; /* results of pieces, where positions are split */
};

/* What a query has come to: the largest score, Σ exp(score − max), Σ exp(score − max) × value. */
struct state {
    float *max, *total, *shrink; /* [queries] */
    float *sums;                 /* [queries][v_stride] */
};

struct local {
    float *k, *v;       /* a page's, decoded */
    float *queries;     /* [k_dim][n], few: [n][k_dim] */
    float *scores;      /* [KV_PAGE][n], few: [n][KV_PAGE] */
    int32_t *from, *to; /* [n]: of each query, positions it sees */
    struct state state;
};

/* A piece: tokens [first, first + n_tokens) of one sequence; n: its queries, padded. */
struct piece {
    int head_kv, first, n_tokens, n_queries, n, seq;
    bool few; /* n queries in rows, not in lanes */
    int to_query,
        to_score;       /* from a query's scores to the next one's, from its score to the next */
    int64_t begin, end; /* positions */
    int32_t *from, *to;
};

/* Rows of a head as the cache has them, one after the other. */
struct rows {
    const struct dtype *type;
    const char *first;
    int n, dim;
    int64_t stride; /* of what they become */
};

/* --- scratch ---------------------------------------------------------------------------------- */

static int tokens_of_block(int group)
{
    int tokens = QUERIES / group;
    return tokens < 1 ? 1 : tokens > TOKENS_MAX ? TOKENS_MAX : tokens;
}

static uint64_t most_queries(int group)
{
    return align_up((uint64_t)(tokens_of_block(group) * group), LANES_MAX);
}

static int64_t v_stride(const struct kv_geom *kv)
{
    return (int64_t)align_up((uint64_t)kv->v_dim, LANES_MAX);
}

static void *take(char *base, uint64_t *at, uint64_t floats)
{
    void *ptr = base ? base + *at : NULL;
    *at += align_up(floats * sizeof(float), 64);
    return ptr;
}

static uint64_t state_layout(const struct kv_geom *kv, uint64_t queries, char *base,
                             struct state *out)
{
    uint64_t at = 0;
    out->max = take(base, &at, queries);
    out->total = take(base, &at, queries);
    out->shrink = take(base, &at, queries);
    out->sums = take(base, &at, queries * (uint64_t)v_stride(kv));
    return at;
}

static uint64_t local_layout(const struct op *op, char *base, struct local *out)
{
    const struct kv_geom *kv = &op->in[1]->kv;
    uint64_t at = 0, queries = most_queries(op->p.attention.n_head / kv->n_head_kv);
    out->k = take(base, &at, (uint64_t)kv->k_dim * KV_PAGE);
    out->v = take(base, &at, (uint64_t)v_stride(kv) * KV_PAGE);
    out->queries = take(base, &at, queries * (uint64_t)kv->k_dim);
    out->scores = take(base, &at, queries * KV_PAGE);
    out->from = take(base, &at, queries);
    out->to = take(base, &at, queries);
    at += state_layout(kv, queries, base ? base + at : NULL, &out->state);
    return at;
}

size_t attention_scratch_bytes(const struct op *op, int n_threads)
{
    const struct kv_geom *kv = &op->in[1]->kv;
    struct local local;
    struct state state;
    uint64_t bytes = local_layout(op, NULL, &local) * (uint64_t)n_threads;
    uint64_t queries = most_queries(op->p.attention.n_head / kv->n_head_kv);
    uint64_t parts = (uint64_t)n_threads * PIECES_PER_THREAD;
    return (size_t)(bytes + parts * state_layout(kv, queries, NULL, &state));
}

/* --- a page ----------------------------------------------------------------------------------- */

/* n rows of a head as floats, `stride` from one to the next, zeros behind their ends. Meanwhile as
 * many bytes are asked for at `next`, which is read after them: a page's rows of a head are too few
 * for a processor to see by itself that it will want more. */
static void read_rows(const struct job *job, const struct rows *rows, const char *next, float *out)
{
    uint64_t bytes = dtype_row_bytes(rows->type, (uint64_t)rows->dim);
    for (int i = 0; i < rows->n; i++, out += rows->stride) {
        prefetch_bytes(next + (uint64_t)i * bytes, (int)bytes);
        float_decode(job->kernels, rows->type, rows->first + (uint64_t)i * bytes, out,
                     (size_t)rows->dim);
        for (int64_t k = rows->dim; k < rows->stride; k++)
            out[k] = 0;
    }
}

/* Keys and values of n positions from `pos` on. */
static void read_page(const struct job *job, const struct piece *piece, int64_t pos, int n,
                      const struct local *local)
{
    const struct kv_geom *kv = job->kv;
    const struct rows k = {.type = kv->k_type,
                           .first = call_k_row(job->call, kv, pos, piece->seq, piece->head_kv),
                           .n = n,
                           .dim = kv->k_dim,
                           .stride = kv->k_dim};
    const struct rows v = {.type = kv->v_type,
                           .first = call_v_row(job->call, kv, pos, piece->seq, piece->head_kv),
                           .n = n,
                           .dim = kv->v_dim,
                           .stride = v_stride(kv)};
    const char *next = k.first;
    if (pos + n < piece->end)
        next = call_k_row(job->call, kv, pos + n, piece->seq, piece->head_kv);
    read_rows(job, &k, v.first, local->k);
    read_rows(job, &v, next, local->v);
}

/* How many of `left` columns the next tile takes. */
static int tile_width(const struct float_kernels *kernels, int64_t left)
{
    return left >= kernels->width ? kernels->width : left >= 16 ? 16 : 8;
}

static void score_page(const struct job *job, const struct piece *piece, int n,
                       const struct local *local)
{
    const float *a[TILE_MAX];
    struct float_tile tile = {.a = a,
                              .a_step = 1,
                              .k = job->kv->k_dim,
                              .b_stride = piece->n,
                              .y_stride = piece->n,
                              .first = true};
    for (int at = 0; at < piece->n; at += tile.width) {
        tile.width = tile_width(job->kernels, piece->n - at);
        tile.b = local->queries + at;
        for (int i = 0; i < n; i += TILE_MAX) {
            tile.n = n - i < TILE_MAX ? n - i : TILE_MAX;
            for (int r = 0; r < tile.n; r++)
                a[r] = local->k + (int64_t)(i + r) * job->kv->k_dim;
            tile.y = local->scores + (int64_t)i * piece->n + at;
            job->kernels->tile(&tile);
        }
    }
}

static void cap_scores(const struct piece *piece, int n, float cap, float *scores)
{
    for (int q = 0; q < piece->n; q++)
        for (int i = 0; i < n; i++) {
            float *score = &scores[q * piece->to_query + i * piece->to_score];
            *score = cap * tanhf(*score / cap);
        }
}

/* Hides what a query does not see; `pos` is the position of the first score. */
static void mask_page(const struct piece *piece, int64_t pos, int n, float *scores)
{
    for (int i = 0; i < n; i++) {
        int32_t at = (int32_t)(pos + i);
        for (int q = 0; q < piece->n; q++)
            if (at < piece->from[q] || at >= piece->to[q])
                scores[q * piece->to_query + i * piece->to_score] = -INFINITY;
    }
}

static bool all_seen(const struct piece *piece, int64_t pos, int n)
{
    for (int q = 0; q < piece->n_queries; q++)
        if (pos < piece->from[q] || pos + n > piece->to[q])
            return false;
    return true;
}

static void add_values(const struct job *job, const struct piece *piece, int n,
                       const struct local *local)
{
    const float *a[TILE_MAX];
    int64_t stride = v_stride(job->kv);
    struct float_tile tile = {
        .a = a, .a_step = piece->to_score, .k = n, .b_stride = stride, .y_stride = stride};
    for (int q = 0; q < piece->n_queries; q++) {
        float *sums = local->state.sums + q * stride, shrink = local->state.shrink[q];
        for (int64_t k = 0; shrink != 1 && k < stride; k++)
            sums[k] *= shrink;
    }
    for (int q = 0; q < piece->n_queries; q += TILE_MAX) {
        tile.n = piece->n_queries - q < TILE_MAX ? piece->n_queries - q : TILE_MAX;
        for (int r = 0; r < tile.n; r++)
            a[r] = local->scores + (q + r) * piece->to_query;
        for (int64_t at = 0; at < stride; at += tile.width) {
            tile.width = tile_width(job->kernels, stride - at);
            tile.b = local->v + at;
            tile.y = local->state.sums + q * stride + at;
            job->kernels->tile(&tile);
        }
    }
}

static void score_few(const struct job *job, const struct piece *piece, int n,
                      const struct local *local)
{
    const struct few_scores few = {.queries = local->queries,
                                   .keys = local->k,
                                   .n_queries = piece->n,
                                   .n = n,
                                   .dim = job->kv->k_dim,
                                   .scores = local->scores,
                                   .stride = KV_PAGE};
    job->kernels->few_scores(&few);
}

static void soften(const struct job *job, const struct piece *piece, int n,
                   const struct local *local)
{
    const struct state *state = &local->state;
    const struct softmax_columns columns = {.scores = local->scores,
                                            .n = n,
                                            .stride = piece->n,
                                            .max = state->max,
                                            .total = state->total,
                                            .shrink = state->shrink};
    const struct softmax_rows rows = {.scores = local->scores,
                                      .rows = piece->n,
                                      .n = n,
                                      .stride = KV_PAGE,
                                      .max = state->max,
                                      .total = state->total,
                                      .shrink = state->shrink};
    if (piece->few)
        job->kernels->softmax_rows(&rows);
    else
        job->kernels->softmax(&columns);
}

static void add_page(const struct job *job, const struct piece *piece, int64_t pos, int n,
                     const struct local *local)
{
    read_page(job, piece, pos, n, local);
    if (piece->few)
        score_few(job, piece, n, local);
    else
        score_page(job, piece, n, local);
    if (job->params->softcap > 0)
        cap_scores(piece, n, job->params->softcap, local->scores);
    if (!all_seen(piece, pos, n))
        mask_page(piece, pos, n, local->scores);
    soften(job, piece, n, local);
    add_values(job, piece, n, local);
}

/* --- a piece ---------------------------------------------------------------------------------- */

static const float *query_at(const struct job *job, const struct piece *piece, int q)
{
    return view_row(&job->call->in[0], piece->head_kv * job->group + q % job->group,
                    piece->first + q / job->group);
}

/* Scaled queries, where many on their side. Those of the padding are zero. */
static void put_queries(const struct job *job, const struct piece *piece, float *queries)
{
    int dim = job->kv->k_dim, to_query = piece->few ? dim : 1, to_next = piece->few ? 1 : piece->n;
    for (int q = 0; q < piece->n_queries; q++) {
        const float *x = query_at(job, piece, q);
        for (int i = 0; i < dim; i++)
            queries[q * to_query + i * to_next] = x[i] * job->params->scale;
    }
    for (int q = piece->n_queries; q < piece->n; q++)
        for (int i = 0; i < dim; i++)
            queries[q * to_query + i * to_next] = 0;
}

/* The queries, and empty states. Queries of the padding see what the first one sees: nobody asks
 * for them. */
static void begin_piece(const struct job *job, const struct piece *piece, const struct local *local)
{
    const struct batch *batch = job->call->batch;
    put_queries(job, piece, local->queries);
    for (int q = 0; q < piece->n; q++) {
        bool there = q < piece->n_queries;
        int32_t pos = batch->pos[piece->first + (there ? q / job->group : 0)];
        int window = job->params->window;
        piece->from[q] = window > 0 && pos >= window ? pos - window + 1 : 0;
        piece->to[q] = pos + 1;
    }
    uint64_t queries = align_up((uint64_t)piece->n, LANES_MAX);
    for (uint64_t q = 0; q < queries; q++) {
        local->state.max[q] = -INFINITY;
        local->state.total[q] = 0;
    }
    memset(local->state.sums, 0, queries * (uint64_t)v_stride(job->kv) * sizeof(float));
}

/* Which positions: the split's whole pages of those that some query sees. */
static void cut_positions(const struct job *job, struct piece *piece, int split)
{
    const struct batch *batch = job->call->batch;
    int64_t seen = piece->from[0], last = batch->pos[piece->first + piece->n_tokens - 1];
    int64_t pages = last / KV_PAGE - seen / KV_PAGE + 1;
    int64_t begin = (seen / KV_PAGE + pages * split / job->splits) * KV_PAGE;
    int64_t end = (seen / KV_PAGE + pages * (split + 1) / job->splits) * KV_PAGE;
    piece->begin = begin > seen ? begin : seen;
    piece->end = end < last + 1 ? end : last + 1;
}

/* The sink is one more score, without a value. */
static void put_result(const struct job *job, const struct piece *piece, const struct state *state)
{
    const float *sinks = job->call->op->in[2] ? job->call->in[2].data : NULL;
    const struct kv_geom *kv = job->kv;
    for (int q = 0; q < piece->n_queries; q++) {
        int head = piece->head_kv * job->group + q % job->group;
        const float *sums = state->sums + q * v_stride(kv);
        float *y = (float *)view_row(&job->call->out[0], piece->first + q / job->group, 0) +
                   (int64_t)head * kv->v_dim;
        float factor = 1 / state->total[q];
        if (sinks) {
            float max = sinks[head] > state->max[q] ? sinks[head] : state->max[q];
            float own = expf(state->max[q] - max);
            factor = own / (state->total[q] * own + expf(sinks[head] - max));
        }
        for (int k = 0; k < kv->v_dim; k++)
            y[k] = sums[k] * factor;
    }
}

static void attend(const struct job *job, struct piece *piece, int split, const struct local *local)
{
    piece->from = local->from;
    piece->to = local->to;
    begin_piece(job, piece, local);
    cut_positions(job, piece, split);
    for (int64_t pos = piece->begin; pos < piece->end;) {
        int64_t next = (pos / KV_PAGE + 1) * KV_PAGE, end = next < piece->end ? next : piece->end;
        add_page(job, piece, pos, (int)(end - pos), local);
        pos = end;
    }
}

static struct piece piece_of(const struct job *job, int head_kv, int first, int end)
{
    const struct batch *batch = job->call->batch;
    struct piece piece = {.head_kv = head_kv, .first = first, .seq = batch->seq[first]};
    int last = first + 1;
    while (last < end && batch->seq[last] == piece.seq && batch->pos[last] > batch->pos[last - 1])
        last++;
    piece.n_tokens = last - first;
    piece.n_queries = piece.n_tokens * job->group;
    piece.few = piece.n_queries <= FEW && job->kv->k_dim % FEW_DIM == 0;
    if (piece.few)
        piece.n = piece.n_queries;
    else
        piece.n = piece.n_queries <= 8 ? 8 : (int)align_up((uint64_t)piece.n_queries, LANES_MAX);
    piece.to_query = piece.few ? KV_PAGE : 1;
    piece.to_score = piece.few ? 1 : piece.n;
    return piece;
}

static void local_of(const struct job *job, int thread, struct local *local)
{
    uint64_t bytes = local_layout(job->call->op, NULL, local);
    local_layout(job->call->op, job->bytes + (uint64_t)thread * bytes, local);
}

static void part_of(const struct job *job, int index, struct state *state)
{
    uint64_t queries = most_queries(job->group);
    uint64_t bytes = state_layout(job->kv, queries, NULL, state);
    state_layout(job->kv, queries, job->parts + (uint64_t)index * bytes, state);
}

static void run_piece(void *arg, int index, int thread)
{
    const struct job *job = arg;
    int split = index % job->splits, head = index / job->splits % job->kv->n_head_kv;
    int block = index / job->splits / job->kv->n_head_kv;
    int first = block * job->tokens, end = first + job->tokens;
    end = end < job->call->batch->n_tokens ? end : job->call->batch->n_tokens;
    struct local local;
    local_of(job, thread, &local);
    if (job->splits > 1)
        part_of(job, index, &local.state);
    while (first < end) {
        struct piece piece = piece_of(job, head, first, end);
        attend(job, &piece, split, &local);
        if (job->splits == 1)
            put_result(job, &piece, &local.state);
        first += piece.n_tokens;
    }
}

/* --- parts of the positions, put together ------------------------------------------------------*/

static void add_part(const struct job *job, const struct piece *piece, const struct state *part,
                     const struct state *whole)
{
    int64_t stride = v_stride(job->kv);
    for (int q = 0; q < piece->n_queries; q++) {
        float max = part->max[q] > whole->max[q] ? part->max[q] : whole->max[q];
        if (max == -INFINITY)
            continue;
        float old = expf(whole->max[q] - max), new = expf(part->max[q] - max);
        whole->max[q] = max;
        whole->total[q] = whole->total[q] * old + part->total[q] * new;
        for (int64_t k = 0; k < stride; k++)
            whole->sums[q * stride + k] =
                whole->sums[q * stride + k] * old + part->sums[q * stride + k] * new;
    }
}

static void join_parts(const struct job *job)
{
    for (int i = 0; i < job->blocks * job->kv->n_head_kv; i++) {
        struct piece piece = piece_of(job, i % job->kv->n_head_kv, i / job->kv->n_head_kv,
                                      i / job->kv->n_head_kv + 1);
        struct state whole, part;
        part_of(job, i * job->splits, &whole);
        for (int s = 1; s < job->splits; s++) {
            part_of(job, i * job->splits + s, &part);
            add_part(job, &piece, &part, &whole);
        }
        put_result(job, &piece, &whole);
    }
}

/* Positions are split where blocks are single tokens and the pieces would be few. */
static void cut(struct job *job, int n_threads)
{
    int n_tokens = job->call->batch->n_tokens, longest = 0, pieces;
    job->tokens = tokens_of_block(job->group);
    job->splits = 1;
    for (int t = 0; t < n_tokens; t++)
        longest = job->call->batch->pos[t] > longest ? job->call->batch->pos[t] : longest;
    if (n_tokens * job->kv->n_head_kv < n_threads * PIECES_PER_THREAD && longest >= 4 * KV_PAGE) {
        pieces = n_tokens * job->kv->n_head_kv;
        job->tokens = 1;
        job->splits = n_threads * PIECES_PER_THREAD / pieces;
    }
    job->blocks = (n_tokens + job->tokens - 1) / job->tokens;
}

void attention_run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    struct job job = {.call = call,
                      .params = &call->op->p.attention,
                      .kv = &call->op->in[1]->kv,
                      .kernels = scratch->row->floats,
                      .bytes = scratch->bytes};
    struct local local;
    int n_threads = pool_threads(scratch->pool);
    job.group = job.params->n_head / job.kv->n_head_kv;
    job.parts = job.bytes + local_layout(call->op, NULL, &local) * (uint64_t)n_threads;
    cut(&job, n_threads);
    int64_t work = (int64_t)call->batch->n_tokens * (call->batch->pos[0] + 1) * job.params->n_head *
                   (job.kv->k_dim + job.kv->v_dim);
    pool_run(work < 1 << 15 ? NULL : scratch->pool, run_piece, &job,
             job.blocks * job.kv->n_head_kv * job.splits);
    if (job.splits > 1)
        join_parts(&job);
}
