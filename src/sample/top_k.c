#include "sample/stage.h"

static bool is_on(const struct sampler_params *params)
{
    return params->top_k > 0;
}

static void apply(const struct sampler *sampler, struct candidates *left)
{
    size_t k = (size_t)sampler->params.top_k;
    candidates_sort_first(left, k);
    if (left->count > k)
        left->count = k;
}

const struct sampler_stage stage_top_k = {"top-k", is_on, apply};
