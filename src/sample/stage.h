/*
 * stage.h — one link of the sampler chain, for the files of this folder.
 *
 * A stage changes the candidates' logits or drops some of them, never all. Owns nothing; one thread
 * per sampler.
 */
#ifndef SAMPLE_STAGE_H
#define SAMPLE_STAGE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/rng.h"
#include "sample/sampler.h"

struct candidate {
    int32_t id;
    float logit;
};

/* What is left to choose from: at least one. Of the first `n_sorted` it is known that they are the
 * likeliest, in order (candidate_before). */
struct candidates {
    struct candidate *items;
    size_t count, n_sorted;
};

struct sampler {
    struct sampler_params params;
    int n_vocab;
    struct rng rng;
    struct candidate *items; /* [n_vocab] */
    int32_t *recent; /* a ring of the last tokens, [repeat_last_n]; NULL without a penalty */
    int n_recent, next_recent;
    int32_t *n_seen; /* [n_vocab]: how often each is in `recent`; NULL without a penalty */
};

struct sampler_stage {
    const char *name;
    bool (*is_on)(const struct sampler_params *params);
    void (*apply)(const struct sampler *sampler, struct candidates *left);
};

extern const struct sampler_stage stage_penalty, stage_top_k, stage_top_p, stage_min_p,
    stage_temperature;

/* The order of likelihood: higher logits first, then lower ids. */
static inline bool candidate_before(const struct candidate *a, const struct candidate *b)
{
    return a->logit > b->logit || (a->logit == b->logit && a->id < b->id);
}

/* Makes the likeliest `n` (at most count) stand first and in order; the rest stays unordered behind
 * them. */
void candidates_sort_first(struct candidates *left, size_t n);

/* The largest logit. */
float candidates_max(const struct candidates *left);

#endif
