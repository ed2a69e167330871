#include <math.h>

#include "sample/mass.h"

static bool is_on(const struct hth_sampler_options *options)
{
    return options->top_n_sigma > 0.0f;
}

/* The mean of (logit − from)^power, power 1 or 2, over all candidates. */
static double mean(const struct candidates *left, double from, int power)
{
    double lanes[MASS_LANES] = {0};
    for (size_t i = 0; i < left->count; i++) {
        double distance = left->items[i].logit - from;
        lanes[i % MASS_LANES] += power == 2 ? distance * distance : distance;
    }
    return lanes_sum(lanes) / (double)left->count;
}

/* Top-nσ, Tang et al. 2024 (arXiv:2411.07641): l_i ≥ max − n σ, with σ² = Σ (l_i − mean)² / count
 * over all candidates. */
static void apply(struct sampler *sampler, struct candidates *left)
{
    double variance = mean(left, mean(left, 0.0, 1), 2);
    candidates_keep_from(left, candidates_max(left) - sampler->opt.top_n_sigma * sqrt(variance));
}

const struct sampler_stage sampler_stage_top_n_sigma = {
    .names = {"top_n_sigma"},
    .letter = 's',
    .cuts = true,
    .keeps_likeliest = true,
    .options = "top_n_sigma",
    .is_on = is_on,
    .apply = apply,
};
