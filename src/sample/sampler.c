#include "sample/sampler.h"

#include "base/mem.h"
#include "sample/stage.h"

#include <string.h>

enum { RECENT_DEFAULT = 64, RECENT_MAX = 65536 };

/* In the order in which they work. */
static const struct sampler_stage *const stages[] = {
    &stage_penalty, &stage_top_k, &stage_top_p, &stage_min_p, &stage_temperature,
};

static enum hth_status check(const struct sampler_params *p, int n_vocab, const struct log *log)
{
    const struct {
        const char *name;
        double value, min, max;
    } bounds[] = {
        {"vocabulary size", n_vocab, 1, INT32_MAX},
        {"temp", p->temp, 0, 1e6},
        {"top_k", p->top_k, 0, INT32_MAX},
        {"top_p", p->top_p, 0, 1},
        {"min_p", p->min_p, 0, 1},
        {"repeat_penalty", p->repeat_penalty, 0, 1e6},
        {"repeat_last_n", p->repeat_last_n, 0, RECENT_MAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(bounds); i++)
        if (!(bounds[i].value >= bounds[i].min && bounds[i].value <= bounds[i].max))
            return log_fail(log, HTH_ERROR_ARGUMENT, "sampling: %s is %g, but must be %g to %g",
                            bounds[i].name, bounds[i].value, bounds[i].min, bounds[i].max);
    return HTH_OK;
}

enum hth_status sampler_create(struct sampler **out, int n_vocab,
                               const struct sampler_params *params, const struct log *log)
{
    struct sampler *sampler;
    enum hth_status status = check(params, n_vocab, log);
    *out = NULL;
    if (status)
        return status;
    sampler = mem_calloc(1, sizeof *sampler);
    if (!sampler)
        return log_fail_memory(log, "a sampler", sizeof *sampler);
    sampler->params = *params;
    sampler->n_vocab = n_vocab;
    if (!sampler->params.repeat_last_n)
        sampler->params.repeat_last_n = RECENT_DEFAULT;
    sampler->items = mem_calloc((size_t)n_vocab, sizeof *sampler->items);
    if (!sampler->items)
        goto fail;
    if (stage_penalty.is_on(params)) {
        size_t n = (size_t)sampler->params.repeat_last_n;
        sampler->recent = mem_calloc(n, sizeof *sampler->recent);
        sampler->n_seen = mem_calloc((size_t)n_vocab, sizeof *sampler->n_seen);
        if (!sampler->recent || !sampler->n_seen)
            goto fail;
    }
    sampler_reset(sampler);
    *out = sampler;
    return HTH_OK;
fail:
    status = log_fail_memory(log, "a sampler's candidates",
                             (unsigned long long)n_vocab * sizeof *sampler->items);
    sampler_destroy(sampler);
    return status;
}

void sampler_destroy(struct sampler *sampler)
{
    if (!sampler)
        return;
    mem_free(sampler->items);
    mem_free(sampler->recent);
    mem_free(sampler->n_seen);
    mem_free(sampler);
}

void sampler_reset(struct sampler *sampler)
{
    sampler->rng = rng_seed(sampler->params.seed);
    sampler->n_recent = 0;
    sampler->next_recent = 0;
    if (sampler->n_seen)
        memset(sampler->n_seen, 0, (size_t)sampler->n_vocab * sizeof *sampler->n_seen);
}

void sampler_accept(struct sampler *sampler, int32_t id)
{
    int32_t *place;
    if (!sampler->recent || id < 0 || id >= sampler->n_vocab)
        return;
    place = &sampler->recent[sampler->next_recent];
    if (sampler->n_recent == sampler->params.repeat_last_n)
        sampler->n_seen[*place]--;
    else
        sampler->n_recent++;
    *place = id;
    sampler->n_seen[id]++;
    sampler->next_recent = (sampler->next_recent + 1) % sampler->params.repeat_last_n;
}

/* Candidates that may come at all; checks every logit. */
static enum hth_status gather(struct sampler *sampler, const float *logits, struct candidates *left,
                              const struct log *log)
{
    *left = (struct candidates){.items = sampler->items};
    for (int i = 0; i < sampler->n_vocab; i++) {
        if (!(logits[i] < INFINITY))
            return log_fail(log, HTH_ERROR_FORMAT,
                            "the logit of token %d is %s: the model's file is damaged, or a kernel "
                            "went wrong (try --device cpu)",
                            i, logits[i] > 0.0f ? "infinite" : "not a number");
        if (logits[i] > -INFINITY)
            left->items[left->count++] = (struct candidate){i, logits[i]};
    }
    if (left->count == 0)
        return log_fail(log, HTH_ERROR_FORMAT, "every token is forbidden: all %d logits are -inf",
                        sampler->n_vocab);
    return HTH_OK;
}

/* Draws by softmax: u × Σ exp falls into one candidate's share. */
static int32_t draw(struct sampler *sampler, const struct candidates *left)
{
    double total = 0.0, u;
    float max = candidates_max(left);
    for (size_t i = 0; i < left->count; i++)
        total += exp((double)left->items[i].logit - max);
    u = rng_double(&sampler->rng) * total;
    for (size_t i = 0; i < left->count; i++) {
        u -= exp((double)left->items[i].logit - max);
        if (u < 0.0)
            return left->items[i].id;
    }
    return left->items[0].id; /* only by rounding */
}

static int32_t likeliest(const struct candidates *left)
{
    const struct candidate *best = &left->items[0];
    for (size_t i = 1; i < left->count; i++)
        if (candidate_before(&left->items[i], best))
            best = &left->items[i];
    return best->id;
}

enum hth_status sampler_pick(struct sampler *sampler, const float *logits, int32_t *id,
                             const struct log *log)
{
    struct candidates left;
    enum hth_status status = gather(sampler, logits, &left, log);
    *id = -1;
    if (status)
        return status;
    for (size_t i = 0; i < ARRAY_LEN(stages); i++)
        if (stages[i]->is_on(&sampler->params))
            stages[i]->apply(sampler, &left);
    *id = sampler->params.temp == 0.0f ? likeliest(&left) : draw(sampler, &left);
    return HTH_OK;
}
