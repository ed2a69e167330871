#include "sample/sampler.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "sample/stage.h"

static enum hth_status copy_biases(struct sampler *sampler,
                                   const struct hth_sampler_options *options, const struct log *log)
{
    size_t n = options->n_logit_bias;
    sampler->opt.logit_bias = NULL;
    for (size_t i = 0; i < n; i++)
        if (options->logit_bias[i].id < 0 || options->logit_bias[i].id >= sampler->n_vocab)
            return log_fail(log, HTH_ERROR_ARGUMENT,
                            "sampling: a bias is of token %d, but the vocabulary has 0 to %d",
                            options->logit_bias[i].id, sampler->n_vocab - 1);
    if (n == 0)
        return HTH_OK;
    struct hth_logit_bias *copy = mem_calloc(n, sizeof *copy);
    if (!copy)
        return log_fail_memory(log, "biases of tokens", n * sizeof *copy);
    memcpy(copy, options->logit_bias, n * sizeof *copy);
    sampler->opt.logit_bias = copy;
    return HTH_OK;
}

/* What the stages of the chain remember. */
static enum hth_status create_memories(struct sampler *sampler, const struct sampler_vocab *vocab,
                                       const char *const *breakers, const struct log *log)
{
    const struct hth_sampler_options *opt = &sampler->opt;
    bool counts = sampler->chain.needs & NEEDS_COUNTS,
         repeats = sampler->chain.needs & NEEDS_REPEATS;
    size_t n = (size_t)vocab->n_tokens, window = counts ? (size_t)opt->repeat_last_n : 0;
    size_t last_n = repeats ? (size_t)opt->dry_last_n : 0,
           capacity = last_n > window ? last_n : window;
    if (!history_create(&sampler->history, capacity, window, n))
        return log_fail_memory(log, "a sampler's recent tokens", (capacity + n) * sizeof(int32_t));
    if (!repeats)
        return HTH_OK;
    sampler->overlaps = mem_calloc(last_n, sizeof *sampler->overlaps);
    sampler->longest = mem_calloc(n, sizeof *sampler->longest);
    if (!sampler->overlaps || !sampler->longest)
        return log_fail_memory(log, "looking for repetitions", (capacity + n) * sizeof(int32_t));
    return breakers_create(&sampler->breakers, breakers, vocab, log);
}

enum hth_status sampler_create(struct sampler **out, const struct sampler_vocab *vocab,
                               const struct hth_sampler_options *options, const struct log *log)
{
    *out = NULL;
    enum hth_status status = sampler_check(options, log);
    if (status)
        return status;
    if (vocab->n_tokens < 1)
        return log_fail(log, HTH_ERROR_ARGUMENT, "sampling: a vocabulary of %d tokens",
                        vocab->n_tokens);
    struct sampler *sampler = mem_calloc(1, sizeof *sampler);
    if (!sampler)
        return log_fail_memory(log, "a sampler", sizeof *sampler);
    sampler->opt = *options;
    sampler->n_vocab = vocab->n_tokens;
    sampler_fill_defaults(&sampler->opt);
    status = copy_biases(sampler, options, log);
    if (!status)
        status = sampler_chain_parse(&sampler->chain, &sampler->opt, log);
    sampler->opt.samplers = sampler->opt.sampler_seq = NULL;
    sampler->opt.dry_breakers = NULL;
    if (!status)
        status = create_memories(sampler, vocab, options->dry_breakers, log);
    if (!status) {
        sampler->items = mem_calloc((size_t)vocab->n_tokens, sizeof *sampler->items);
        if (!sampler->items)
            status = log_fail_memory(log, "a sampler's candidates",
                                     (size_t)vocab->n_tokens * sizeof *sampler->items);
    }
    if (status) {
        sampler_destroy(sampler);
        return status;
    }
    sampler_reset(sampler);
    *out = sampler;
    return HTH_OK;
}

void sampler_destroy(struct sampler *sampler)
{
    if (!sampler)
        return;
    mem_free((void *)(uintptr_t)sampler->opt.logit_bias);
    mem_free(sampler->items);
    mem_free(sampler->overlaps);
    mem_free(sampler->longest);
    history_destroy(&sampler->history);
    breakers_destroy(&sampler->breakers);
    mem_free(sampler);
}

void sampler_reset(struct sampler *sampler)
{
    sampler->rng = rng_seed(sampler->opt.seed);
    sampler->mu = 2.0 * sampler->opt.mirostat_tau; /* as Basu et al. begin */
    sampler_forget(sampler);
}

void sampler_forget(struct sampler *sampler)
{
    history_clear(&sampler->history);
    breakers_reset(&sampler->breakers);
    sampler->since_breaker = 0;
}

void sampler_accept(struct sampler *sampler, int32_t id)
{
    if (id < 0 || id >= sampler->n_vocab)
        return;
    history_push(&sampler->history, id);
    sampler->since_breaker = breakers_push(&sampler->breakers, id) ? 0 : sampler->since_breaker + 1;
}

/* Are all of logits[n] neither NaN nor infinite? Then they become items. */
static bool gather_finite(const float *restrict logits, int n, struct candidate *restrict items)
{
    uint32_t greatest = 0;
    for (int i = 0; i < n; i++) { /* bits of |x| grow as it does, and NaN's are above all */
        uint32_t bits;
        memcpy(&bits, &logits[i], sizeof bits);
        bits &= INT32_MAX;
        greatest = bits > greatest ? bits : greatest;
    }
    for (int i = 0; i < n; i++)
        items[i] = (struct candidate){i, logits[i]};
    return greatest < 0x7f800000;
}

/* Candidates that may come at all; checks every logit. */
static enum hth_status gather(struct sampler *sampler, const float *logits, struct candidates *left,
                              const struct log *log)
{
    *left = (struct candidates){.items = sampler->items};
    bool finite = gather_finite(logits, sampler->n_vocab, left->items);
    left->count = finite ? (size_t)sampler->n_vocab : 0;
    for (int i = 0; !finite && i < sampler->n_vocab; i++) {
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
    logit_bias_apply(sampler, left);
    if (left->count == 0)
        return log_fail(log, HTH_ERROR_FORMAT,
                        "every token is forbidden: biases of -inf leave none of %d",
                        sampler->n_vocab);
    return HTH_OK;
}

static void run_chain(struct sampler *sampler, struct candidates *left)
{
    for (int i = 0; i < sampler->chain.count; i++)
        sampler->chain.stages[i]->apply(sampler, left);
}

enum hth_status sampler_run(struct sampler *sampler, const float *logits, struct candidates *left,
                            const struct log *log)
{
    enum hth_status status = gather(sampler, logits, left, log);
    if (status == HTH_OK)
        run_chain(sampler, left);
    return status;
}

static int32_t likeliest(const struct candidates *left)
{
    const struct candidate *best = &left->items[0];
    for (size_t i = 1; left->n_sorted == 0 && i < left->count; i++)
        if (candidate_before(&left->items[i], best))
            best = &left->items[i];
    return best->id;
}

/* One of those that the chain has left. */
static int32_t choose(struct sampler *sampler, struct candidates *left)
{
    if (sampler->opt.temp == 0.0f)
        return likeliest(left);
    if (sampler->opt.mirostat)
        return mirostat_draw(sampler, left);
    return left->items[candidates_draw(left, candidates_max(left), &sampler->rng)].id;
}

enum hth_status sampler_pick(struct sampler *sampler, const float *logits, int32_t *id,
                             const struct log *log)
{
    struct candidates left;
    enum hth_status status = sampler_run(sampler, logits, &left, log);
    *id = status ? -1 : choose(sampler, &left);
    return status;
}

/* Greedy needs one wherever that stays; else a top-k at the beginning of the chain says it. */
int sampler_best(const struct sampler *sampler)
{
    const struct sampler_chain *chain = &sampler->chain;
    bool stays = sampler->opt.temp == 0.0f;
    if (sampler->opt.n_logit_bias > 0)
        return 0;
    for (int i = 0; i < chain->count; i++)
        stays &= chain->stages[i]->keeps_likeliest;
    bool first = chain->count > 0 && chain->stages[0] == &sampler_stage_top_k;
    return stays ? 1 : first ? sampler->opt.top_k : 0;
}

int32_t sampler_pick_best(struct sampler *sampler, const int32_t *ids, const float *logits,
                          int count)
{
    struct candidates left = {sampler->items, (size_t)count, (size_t)count};
    for (int i = 0; i < count; i++)
        left.items[i] = (struct candidate){ids[i], logits ? logits[i] : 0.0f};
    run_chain(sampler, &left);
    return choose(sampler, &left);
}
