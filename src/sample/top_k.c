#include "sample/stage.h"

static bool is_on(const struct hth_sampler_options *options)
{
    return options->top_k > 0;
}

static void apply(struct sampler *sampler, struct candidates *left)
{
    candidates_keep_first(left, (size_t)sampler->opt.top_k);
}

const struct sampler_stage sampler_stage_top_k = {
    .names = {"top_k"},
    .letter = 'k',
    .cuts = true,
    .keeps_likeliest = true,
    .options = "top_k",
    .is_on = is_on,
    .apply = apply,
};
