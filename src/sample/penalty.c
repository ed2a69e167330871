#include "sample/stage.h"

#include <float.h>

static bool is_on(const struct sampler_params *params)
{
    return params->repeat_penalty != 0.0f && params->repeat_penalty != 1.0f;
}

/* Keskar et al. 2019 (arXiv:1909.05858), section 4.1; negative logits are multiplied, as the field
 * does, so that the penalty lowers them too. */
static void apply(const struct sampler *sampler, struct candidates *left)
{
    float penalty = sampler->params.repeat_penalty;
    for (size_t i = 0; i < left->count; i++) {
        struct candidate *item = &left->items[i];
        if (!sampler->n_seen[item->id])
            continue;
        item->logit = item->logit > 0.0f ? item->logit / penalty : item->logit * penalty;
        item->logit = fmaxf(fminf(item->logit, FLT_MAX), -FLT_MAX); /* a softmax of ∞ is NaN */
    }
    left->n_sorted = 0;
}

const struct sampler_stage stage_penalty = {"repetition penalty", is_on, apply};
