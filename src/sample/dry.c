#include "sample/stage.h"

static bool is_on(const struct hth_sampler_options *options)
{
    return options->dry_multiplier > 0.0f;
}

/* overlaps[k], 0 < k < n: how many of the last tokens (at most `most`) the text also has k tokens
 * earlier. That is the Z function of the text read backwards (Gusfield 1997, "Algorithms on
 * Strings, Trees, and Sequences", 1.3), which takes at most 2 n comparisons. */
static void find_overlaps(const struct history *history, size_t n, size_t most, int32_t *overlaps)
{
    size_t left = 0, right = 0; /* of the match that reaches furthest: [left, right) */
    for (size_t k = 1; k < n; k++) {
        size_t len = 0;
        if (k < right) {
            len = (size_t)overlaps[k - left];
            len = len < right - k ? len : right - k;
        }
        while (len < most && k + len < n &&
               history_last(history, len) == history_last(history, k + len))
            len++;
        if (k + len > right) {
            left = k;
            right = k + len;
        }
        overlaps[k] = (int32_t)len;
    }
}

/* base^n, rounded alike everywhere; ∞ where it is too large. */
static double power(double base, int n)
{
    double result = 1.0;
    for (; n > 0; n >>= 1, base *= base)
        if (n & 1)
            result *= base;
    return result;
}

/* "Don't repeat yourself" (p-e-w 2024,
 * https://github.com/oobabooga/text-generation-webui/pull/5677): if the last n tokens were there
 * before and token x came after them, x would continue the repetition and loses multiplier ×
 * base^(n − allowed). The longest such n counts, no n goes across a breaker, and tokens that hold a
 * breaker lose nothing. */
static void apply(struct sampler *sampler, struct candidates *left)
{
    const struct history *history = &sampler->history;
    size_t last_n = (size_t)sampler->opt.dry_last_n, n, most = sampler->since_breaker;
    int32_t allowed = sampler->opt.dry_allowed_length;
    bool any = false;
    n = history->count < last_n ? history->count : last_n;
    if (most < (size_t)allowed || n <= (size_t)allowed)
        return;
    find_overlaps(history, n, most, sampler->overlaps);
    for (size_t k = 1; k < n; k++) {
        int32_t *longest = &sampler->longest[history_last(history, k - 1)];
        if (sampler->overlaps[k] >= allowed && sampler->overlaps[k] > *longest) {
            *longest = sampler->overlaps[k];
            any = true;
        }
    }
    for (size_t i = 0; any && i < left->count; i++) {
        struct candidate *item = &left->items[i];
        int32_t longest = sampler->longest[item->id];
        if (longest == 0 || (sampler->breakers.count && sampler->breakers.inside[item->id]))
            continue;
        item->logit =
            clamp_logit((double)item->logit - sampler->opt.dry_multiplier *
                                                  power(sampler->opt.dry_base, longest - allowed));
        left->n_sorted = 0;
    }
    for (size_t k = 1; any && k < n; k++)
        sampler->longest[history_last(history, k - 1)] = 0;
}

const struct sampler_stage sampler_stage_dry = {
    .names = {"dry"},
    .letter = 'd',
    .needs = NEEDS_REPEATS,
    .options = "dry_multiplier",
    .is_on = is_on,
    .apply = apply,
};
