#include "sample/stage.h"

static bool is_on(const struct hth_sampler_options *options)
{
    return options->top_n_sigma > 0.0f;
}

/* Top-nσ, Tang et al. 2024 (arXiv:2411.07641): l_i ≥ max − n σ, with σ² = Σ (l_i − mean)² / count
 * over all candidates. */
static void apply(struct sampler *sampler, struct candidates *left)
{
    double mean = 0.0, variance = 0.0;
    for (size_t i = 0; i < left->count; i++)
        mean += left->items[i].logit;
    mean /= (double)left->count;
    for (size_t i = 0; i < left->count; i++) {
        double distance = left->items[i].logit - mean;
        variance += distance * distance;
    }
    variance /= (double)left->count;
    candidates_keep_from(left, candidates_max(left) - sampler->opt.top_n_sigma * sqrt(variance));
}

const struct sampler_stage sampler_stage_top_n_sigma = {
    .names = {"top_n_sigma"},
    .letter = 's',
    .cuts = true,
    .is_on = is_on,
    .apply = apply,
};
