#include "sample/stage.h"

#include "sample/same_math.h"

static bool is_on(const struct hth_sampler_options *options)
{
    return options->temp > 0.0f && (options->temp != 1.0f || options->dynatemp_range > 0.0f);
}

/* Dynamic temperature (https://github.com/ggml-org/llama.cpp/pull/4972): from temp − range, where
 * one token has all the probability, to temp + range, where all are equally likely; between them
 * by (H / ln n)^exponent, H = − Σ p ln p. */
static double by_entropy(const struct hth_sampler_options *opt, const struct candidates *left)
{
    float max = candidates_max(left);
    double total, moment = candidates_moment(left, max, &total), share = 0.0;
    double low = opt->temp > opt->dynatemp_range ? (double)opt->temp - opt->dynatemp_range : 0.0;
    double high = (double)opt->temp + opt->dynatemp_range;
    if (left->count > 1)
        share = (same_log(total) - moment / total) / same_log((double)left->count);
    share = share < 1.0 ? share : 1.0;
    share = share > 0.0 ? same_exp(same_log(share) * opt->dynatemp_exponent) : 0.0;
    return low + (high - low) * share;
}

static void apply(struct sampler *sampler, struct candidates *left)
{
    float max = candidates_max(left), temp = sampler->opt.temp, zero = 0.0f;
    if (sampler->opt.dynatemp_range > 0.0f)
        temp = (float)by_entropy(&sampler->opt, left);
    if (temp == 0.0f) {
        candidates_keep_likeliest(left);
        return;
    }
    if (!(fabsf(max / temp) < INFINITY))
        zero = max; /* of a tiny temperature the others go to −∞, not all to ±∞ */
    for (size_t i = 0; i < left->count; i++)
        left->items[i].logit = (left->items[i].logit - zero) / temp;
}

const struct sampler_stage sampler_stage_temperature = {
    .names = {"temperature", "temp"},
    .letter = 't',
    .options = "temp",
    .is_on = is_on,
    .apply = apply,
};
