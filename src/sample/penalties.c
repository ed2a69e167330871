#include "sample/stage.h"

static bool is_on(const struct hth_sampler_options *options)
{
    return (options->repeat_penalty != 0.0f && options->repeat_penalty != 1.0f) ||
           options->frequency_penalty != 0.0f || options->presence_penalty != 0.0f;
}

/* Repetition: Keskar et al. 2019 (arXiv:1909.05858), section 4.1; negative logits are multiplied,
 * as the field does, so that the penalty lowers them too. Then frequency and presence, as in
 * https://platform.openai.com/docs/advanced-usage: − count × frequency − presence. */
static void apply(struct sampler *sampler, struct candidates *left)
{
    double repeat = sampler->opt.repeat_penalty == 0.0f ? 1.0 : sampler->opt.repeat_penalty;
    double frequency = sampler->opt.frequency_penalty, presence = sampler->opt.presence_penalty;
    for (size_t i = 0; i < left->count; i++) {
        struct candidate *item = &left->items[i];
        int32_t n = sampler->history.n_seen[item->id];
        if (n == 0)
            continue;
        double logit = item->logit > 0.0f ? item->logit / repeat : item->logit * repeat;
        item->logit = clamp_logit(logit - n * frequency - presence);
    }
    left->n_sorted = 0;
}

const struct sampler_stage sampler_stage_penalties = {
    .names = {"penalties"},
    .letter = 'e',
    .needs = NEEDS_COUNTS,
    .options = "repeat_penalty, frequency_penalty or presence_penalty",
    .is_on = is_on,
    .apply = apply,
};
