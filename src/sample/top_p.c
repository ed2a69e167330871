#include "sample/stage.h"

static bool is_on(const struct hth_sampler_options *options)
{
    return options->top_p > 0.0f && options->top_p < 1.0f;
}

/* Nucleus sampling, Holtzman et al. 2019 (arXiv:1904.09751): the fewest likeliest tokens whose
 * probabilities reach p together. */
static void apply(struct sampler *sampler, struct candidates *left)
{
    candidates_keep_share(left, candidates_max(left), (double)sampler->opt.top_p, 0.0, INFINITY);
}

const struct sampler_stage sampler_stage_top_p = {
    .names = {"top_p", "nucleus"},
    .letter = 'p',
    .cuts = true,
    .keeps_likeliest = true,
    .options = "top_p",
    .is_on = is_on,
    .apply = apply,
};
