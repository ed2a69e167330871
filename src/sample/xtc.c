#include "sample/stage.h"

#include "sample/same_math.h"

static bool is_on(const struct hth_sampler_options *options)
{
    return options->xtc_probability > 0.0f && options->xtc_threshold <= 0.5f;
}

/* Exclude top choices (p-e-w 2024, https://github.com/oobabooga/text-generation-webui/pull/6335):
 * with the given probability, of the tokens at least `threshold` likely only the least likely
 * stays, and so do all below. Above a threshold of ½ there can be no two. */
static void apply(struct sampler *sampler, struct candidates *left)
{
    bool lucky = rng_double(&sampler->rng) < (double)sampler->opt.xtc_probability;
    const struct candidate *last = NULL;
    if (!lucky || left->count < 2)
        return;
    float max = candidates_max(left);
    double mass = sampler->opt.xtc_threshold * candidates_mass(left, max);
    double least = max + same_log(mass); /* the logit of a token that is `threshold` likely */
    for (size_t i = 0; i < left->count; i++) {
        const struct candidate *item = &left->items[i];
        if (item->logit >= least && (!last || candidate_before(last, item)))
            last = item;
    }
    if (!last)
        return;
    const struct candidate stays = *last;
    size_t kept = 0, sorted = 0;
    for (size_t i = 0; i < left->count; i++) {
        if (candidate_before(&left->items[i], &stays))
            continue;
        sorted += i < left->n_sorted;
        left->items[kept++] = left->items[i];
    }
    left->count = kept;
    left->n_sorted = sorted;
}

const struct sampler_stage sampler_stage_xtc = {
    .names = {"xtc"},
    .letter = 'x',
    .cuts = true,
    .options = "xtc_probability",
    .is_on = is_on,
    .apply = apply,
};
