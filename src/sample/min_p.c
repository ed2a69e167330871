#include "sample/stage.h"

#include "sample/same_math.h"

static bool is_on(const struct hth_sampler_options *options)
{
    return options->min_p > 0.0f;
}

/* Nguyen et al. 2024 (arXiv:2407.01082): p_i ≥ min_p × p_max, which in logits is a distance. */
static void apply(struct sampler *sampler, struct candidates *left)
{
    candidates_keep_from(left, candidates_max(left) + same_log((double)sampler->opt.min_p));
}

const struct sampler_stage sampler_stage_min_p = {
    .names = {"min_p"},
    .letter = 'm',
    .cuts = true,
    .keeps_likeliest = true,
    .options = "min_p",
    .is_on = is_on,
    .apply = apply,
};
