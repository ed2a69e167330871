#include "sample/stage.h"

static bool is_on(const struct sampler_params *params)
{
    return params->min_p > 0.0f;
}

/* Nguyen et al. 2024 (arXiv:2407.01082): p_i ≥ min_p × p_max, which in logits is a distance. */
static void apply(const struct sampler *sampler, struct candidates *left)
{
    double least = candidates_max(left) + log((double)sampler->params.min_p);
    size_t kept = 0, sorted = 0;
    for (size_t i = 0; i < left->count; i++) {
        if ((double)left->items[i].logit < least)
            continue;
        sorted += i < left->n_sorted;
        left->items[kept++] = left->items[i];
    }
    left->count = kept;
    left->n_sorted = sorted;
}

const struct sampler_stage stage_min_p = {"min-p", is_on, apply};
