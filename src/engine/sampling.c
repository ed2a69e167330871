/* Samplers: the part of hearth.h that src/sample does. */
#include "sample/sampler.h"

#include "base/mem.h"
#include "engine/engine.h"

struct hth_sampler {
    struct sampler *chain;
    const struct log *log;
};

static const struct hth_sampler_options greedy = {0};

/* Control tokens have texts too: a breaker of DRY may be one. */
static void append_piece(void *user, int32_t id, struct strbuf *out)
{
    const struct tokenizer *tokenizer = user;
    if ((size_t)id < tokenizer_n_vocab(tokenizer))
        tokenizer_piece(tokenizer, id, true, false, out);
}

enum hth_status hth_sampler_check(const struct hth_sampler_options *options, hth_log_fn *log,
                                  void *log_user)
{
    struct log to = {log, log_user, HTH_LOG_WARNING};
    return sampler_review(options ? options : &greedy, &to);
}

struct hth_sampler_options hth_model_get_sampling(const struct hth_model *model)
{
    return model->advice.options;
}

enum hth_status hth_sampler_create(struct hth_sampler **out, const struct hth_model *model,
                                   const struct hth_sampler_options *options)
{
    *out = NULL;
    if (!model->model)
        return log_fail(&model->log, HTH_ERROR_ARGUMENT,
                        "a model opened for its vocabulary only has nothing to sample from");
    struct sampler_vocab vocab = {.n_tokens = model->model->hp.n_vocab,
                                  .piece = model->tokenizer ? append_piece : NULL,
                                  .user = model->tokenizer};
    struct hth_sampler *sampler = mem_calloc(1, sizeof *sampler);
    if (!sampler)
        return log_fail_memory(&model->log, "a sampler", sizeof *sampler);
    sampler->log = &model->log;
    enum hth_status status =
        sampler_create(&sampler->chain, &vocab, options ? options : &greedy, &model->log);
    if (status) {
        mem_free(sampler);
        return status;
    }
    *out = sampler;
    return HTH_OK;
}

void hth_sampler_destroy(struct hth_sampler *sampler)
{
    if (!sampler)
        return;
    sampler_destroy(sampler->chain);
    mem_free(sampler);
}

void hth_sampler_set_history(struct hth_sampler *sampler, const int32_t *ids, size_t count)
{
    sampler_forget(sampler->chain);
    for (size_t i = 0; i < count; i++)
        sampler_accept(sampler->chain, ids[i]);
}

void hth_sampler_reset(struct hth_sampler *sampler)
{
    sampler_reset(sampler->chain);
}

enum hth_status hth_sample(struct hth_sampler *sampler, const struct hth_session *session,
                           int index, int32_t *id)
{
    const float *logits = hth_session_logits(session, index);
    const struct hth_best best = hth_session_best(session, index);
    int needed = sampler_best(sampler->chain);
    enum hth_status status = HTH_OK;
    if (logits)
        status = sampler_pick(sampler->chain, logits, id, sampler->log);
    else if (!best.count)
        return log_fail(sampler->log, HTH_ERROR_ARGUMENT, "no logits to sample from");
    else if (needed == 0 || needed > best.count)
        return log_fail(sampler->log, HTH_ERROR_ARGUMENT,
                        "of the logits only the best %d were asked for, but the sampler must know "
                        "%s: feed with the n_best that hth_sampler_best gives",
                        best.count, needed ? "more of them" : "all");
    else
        *id = sampler_pick_best(sampler->chain, best.ids, best.logits, best.count);
    if (status == HTH_OK)
        sampler_accept(sampler->chain, *id);
    return status;
}

int hth_sampler_best(const struct hth_sampler *sampler)
{
    int n_best = sampler_best(sampler->chain);
    return n_best <= HTH_BEST_MOST ? n_best : 0;
}
