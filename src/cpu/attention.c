#include <math.h>

#include "base/mem.h"
#include "cpu/rows.h"

/* One piece of work is a head of the cache and a few tokens that stand together: each page's keys
 * and values are decoded once and used by all their query heads. Online softmax over pages (Milakov
 * & Gimelshein 2018, arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135). */

enum { TOKENS_AT_ONCE = 8 };

/* Of a query head: the largest score, Σ exp(score − max), Σ exp(score − max) × value. */
struct state {
    float max, total;
    float *sum;
};

struct job {
    const struct op_call *call;
    const struct attention_params *params;
    const struct kv_geom *kv;
    int group;  /* query heads per head of the cache */
    int blocks; /* of tokens */
    char *bytes;
    uint64_t thread_bytes;
};

/* A thread's part of the scratch. */
struct local {
    float *k, *v; /* a page's, decoded */
    struct state *states;
    float *sums;
};

static uint64_t lay_out(const struct op *op, char *base, struct local *local)
{
    const struct kv_geom *kv = &op->in[1]->kv;
    uint64_t k_bytes = (uint64_t)kv->k_dim * KV_PAGE * sizeof(float);
    uint64_t v_bytes = (uint64_t)kv->v_dim * KV_PAGE * sizeof(float);
    uint64_t n_states = (uint64_t)(op->p.attention.n_head / kv->n_head_kv) * TOKENS_AT_ONCE;
    uint64_t v_at = align_up(k_bytes, 64), states_at = v_at + align_up(v_bytes, 64);
    uint64_t sums_at = states_at + align_up(n_states * sizeof(struct state), 64);
    if (local)
        *local = (struct local){(void *)base, (void *)(base + v_at), (void *)(base + states_at),
                                (void *)(base + sums_at)};
    return sums_at + align_up(n_states * (uint64_t)kv->v_dim * sizeof(float), 64);
}

static size_t scratch_bytes(const struct op *op, int n_threads)
{
    return (size_t)(lay_out(op, NULL, NULL) * (uint64_t)n_threads);
}

static int64_t first_seen(const struct job *job, int64_t pos)
{
    return job->params->window > 0 && pos >= job->params->window ? pos - job->params->window + 1
                                                                 : 0;
}

/* Adds positions [begin, end) of the page at hand, counted from its beginning, to one query head.
 */
static void add_positions(const struct job *job, const struct local *local, const float *q,
                          struct state *state, int begin, int end)
{
    const struct kv_geom *kv = job->kv;
    float scores[KV_PAGE], max = state->max;
    for (int s = begin; s < end; s++) {
        float score = cpu_dot(q, local->k + (int64_t)s * kv->k_dim, kv->k_dim) * job->params->scale;
        if (job->params->softcap > 0)
            score = job->params->softcap * tanhf(score / job->params->softcap);
        scores[s] = score;
        max = score > max ? score : max;
    }
    float *restrict sum = state->sum;
    if (max > state->max) {
        float shrink = expf(state->max - max);
        state->total *= shrink;
        for (int i = 0; i < kv->v_dim; i++)
            sum[i] *= shrink;
        state->max = max;
    }
    for (int s = begin; s < end; s++) {
        const float *restrict v = local->v + (int64_t)s * kv->v_dim;
        float weight = expf(scores[s] - max);
        state->total += weight;
        for (int i = 0; i < kv->v_dim; i++)
            sum[i] += weight * v[i];
    }
}

/* Tokens [first, last) of one sequence, with all query heads of a head of the cache. */
static void begin_states(const struct job *job, const struct local *local, int head_kv,
                         int n_tokens)
{
    const float *sinks = job->call->op->in[2] ? job->call->in[2].data : NULL;
    for (int i = 0; i < n_tokens * job->group; i++) {
        struct state *state = &local->states[i];
        state->sum = local->sums + (int64_t)i * job->kv->v_dim;
        state->max = sinks ? sinks[head_kv * job->group + i % job->group] : -INFINITY;
        state->total = sinks ? 1 : 0;
        for (int k = 0; k < job->kv->v_dim; k++)
            state->sum[k] = 0;
    }
}

static void end_states(const struct job *job, const struct local *local, int head_kv, int first,
                       int n_tokens)
{
    for (int i = 0; i < n_tokens * job->group; i++) {
        const struct state *state = &local->states[i];
        int head = head_kv * job->group + i % job->group;
        float *y = (float *)view_row(&job->call->out[0], first + i / job->group, 0) +
                   (int64_t)head * job->kv->v_dim;
        for (int k = 0; k < job->kv->v_dim; k++)
            y[k] = state->sum[k] / state->total;
    }
}

static void add_page(const struct job *job, const struct local *local, int head_kv, int first,
                     int n_tokens, int64_t page_pos)
{
    const struct batch *batch = job->call->batch;
    for (int t = 0; t < n_tokens; t++) {
        int64_t pos = batch->pos[first + t], from = first_seen(job, pos) - page_pos;
        int begin = from > 0 ? (int)(from < KV_PAGE ? from : KV_PAGE) : 0;
        int end = pos - page_pos < KV_PAGE ? (int)(pos - page_pos) + 1 : KV_PAGE;
        for (int g = 0; g < job->group && begin < end; g++)
            add_positions(job, local,
                          view_row(&job->call->in[0], head_kv * job->group + g, first + t),
                          &local->states[t * job->group + g], begin, end);
    }
}

static void attend(const struct job *job, const struct local *local, int head_kv, int first,
                   int n_tokens)
{
    const struct kv_geom *kv = job->kv;
    const struct batch *batch = job->call->batch;
    int seq = batch->seq[first];
    int64_t seen = first_seen(job, batch->pos[first]), last = batch->pos[first + n_tokens - 1];
    begin_states(job, local, head_kv, n_tokens);
    for (int64_t page = seen / KV_PAGE; page <= last / KV_PAGE; page++) {
        int64_t pos = page * KV_PAGE, from = seen > pos ? seen : pos;
        int64_t to = last - pos < KV_PAGE ? last + 1 : pos + KV_PAGE;
        int slot = (int)(from - pos);
        kv->k_type->decode(call_k_row(job->call, kv, from, seq, head_kv),
                           local->k + (int64_t)slot * kv->k_dim, (size_t)((to - from) * kv->k_dim));
        kv->v_type->decode(call_v_row(job->call, kv, from, seq, head_kv),
                           local->v + (int64_t)slot * kv->v_dim, (size_t)((to - from) * kv->v_dim));
        add_page(job, local, head_kv, first, n_tokens, pos);
    }
    end_states(job, local, head_kv, first, n_tokens);
}

static void run_piece(void *arg, int index, int thread)
{
    const struct job *job = arg;
    const struct batch *batch = job->call->batch;
    struct local local;
    lay_out(job->call->op, job->bytes + job->thread_bytes * (uint64_t)thread, &local);
    int first = index % job->blocks * TOKENS_AT_ONCE, end = first + TOKENS_AT_ONCE;
    end = end < batch->n_tokens ? end : batch->n_tokens;
    while (first < end) {
        int last = first + 1;
        while (last < end && batch->seq[last] == batch->seq[first] &&
               batch->pos[last] > batch->pos[last - 1])
            last++;
        attend(job, &local, index / job->blocks, first, last - first);
        first = last;
    }
}

static void run(const struct op_call *call, const struct cpu_scratch *scratch)
{
    struct job job = {.call = call,
                      .params = &call->op->p.attention,
                      .kv = &call->op->in[1]->kv,
                      .bytes = scratch->bytes,
                      .thread_bytes = lay_out(call->op, NULL, NULL)};
    job.group = job.params->n_head / job.kv->n_head_kv;
    job.blocks = (call->batch->n_tokens + TOKENS_AT_ONCE - 1) / TOKENS_AT_ONCE;
    pool_run(scratch->pool, run_piece, &job, job.blocks * job.kv->n_head_kv);
}

const struct cpu_op cpu_op_attention_scalar = {
    .name = "attention_scalar",
    .kind = OP_ATTENTION,
    .level = CPU_SCALAR,
    .scratch_bytes = scratch_bytes,
    .run = run,
};
