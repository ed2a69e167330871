#include "sample/stage.h"

/* The candidate of an id in a list that is sorted by ids; NULL if it is not there. */
static struct candidate *find(const struct candidates *left, int32_t id)
{
    size_t low = 0, high = left->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (left->items[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < left->count && left->items[low].id == id ? &left->items[low] : NULL;
}

void logit_bias_apply(const struct sampler *sampler, struct candidates *left)
{
    size_t kept = 0;
    bool forbidden = false;
    for (size_t i = 0; i < sampler->opt.n_logit_bias; i++) {
        const struct hth_logit_bias *bias = &sampler->opt.logit_bias[i];
        struct candidate *item = find(left, bias->id);
        if (!item)
            continue;
        forbidden |= bias->bias == -INFINITY;
        item->logit = bias->bias == -INFINITY || item->logit == -INFINITY
                          ? -INFINITY
                          : clamp_logit((double)item->logit + bias->bias);
    }
    for (size_t i = 0; forbidden && i < left->count; i++)
        if (left->items[i].logit > -INFINITY)
            left->items[kept++] = left->items[i];
    if (forbidden)
        left->count = kept;
}
