#include "sample/stage.h"

static bool is_on(const struct hth_sampler_options *options)
{
    return options->typical_p > 0.0f && options->typical_p < 1.0f;
}

/* Locally typical sampling, Meister et al. 2022 (arXiv:2202.00666): the fewest tokens, those first
 * whose surprise is nearest to the entropy, whose probabilities reach p together. With
 * − ln p_i = ln Z − l_i and H = ln Z − Σ p_j l_j, | − ln p_i − H | is |l_i − Σ p_j l_j|: the
 * distance of a logit from the mean logit. */
static void apply(struct sampler *sampler, struct candidates *left)
{
    float max = candidates_max(left);
    double total, moment = candidates_moment(left, max, &total);
    candidates_keep_share(left, max, (double)sampler->opt.typical_p, total, max + moment / total);
}

const struct sampler_stage sampler_stage_typical = {
    .names = {"typ_p", "typical_p", "typical", "typ"},
    .letter = 'y',
    .cuts = true,
    .options = "typical_p",
    .is_on = is_on,
    .apply = apply,
};
