#include "sample/stage.h"

static bool is_on(const struct sampler_params *params)
{
    return params->top_p > 0.0f && params->top_p < 1.0f;
}

/* Nucleus sampling, Holtzman et al. 2019 (arXiv:1904.09751): the fewest likeliest tokens whose
 * probabilities reach p together. Sorting goes only as far as they do. */
static void apply(const struct sampler *sampler, struct candidates *left)
{
    double total = 0.0, reached = 0.0;
    float max = candidates_max(left);
    for (size_t i = 0; i < left->count; i++)
        total += exp((double)left->items[i].logit - max);
    for (size_t i = 0; i < left->count; i++) {
        if (i >= left->n_sorted)
            candidates_sort_first(left, i < 32 ? 64 : 2 * i);
        reached += exp((double)left->items[i].logit - max);
        if (reached >= (double)sampler->params.top_p * total) {
            left->count = i + 1;
            left->n_sorted = left->count;
        }
    }
}

const struct sampler_stage stage_top_p = {"top-p", is_on, apply};
