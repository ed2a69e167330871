#include "sample/stage.h"

static bool is_on(const struct sampler_params *params)
{
    return params->temp > 0.0f && params->temp != 1.0f;
}

/* Distances to the likeliest, so that a tiny temperature overflows to −∞ and not to NaN. */
static void apply(const struct sampler *sampler, struct candidates *left)
{
    float max = candidates_max(left);
    for (size_t i = 0; i < left->count; i++)
        left->items[i].logit = (left->items[i].logit - max) / sampler->params.temp;
}

const struct sampler_stage stage_temperature = {"temperature", is_on, apply};
