/*
 * sampler.h — from logits to a token: biases, a chain of stages, a draw.
 *
 * Owns the candidates' memory, the window of recent tokens and the random state; picking and
 * accepting allocate nothing. Each stage is a file with a row (stage.h). Same options, same logits,
 * same tokens, on every system that computes in IEEE floats and doubles without excess precision:
 * exp and log are our own (same_math.h), the only other function is sqrt, and sums have a fixed
 * order. One thread per sampler.
 */
#ifndef SAMPLE_SAMPLER_H
#define SAMPLE_SAMPLER_H

#include <stdint.h>

#include "base/log.h"
#include "base/str.h"
#include "hearth/sampling.h"

struct sampler;

/* Appends the bytes that a token stands for; nothing where it has no text. */
typedef void sampler_piece_fn(void *user, int32_t id, struct strbuf *out);

/* What a sampler must know of a vocabulary. */
struct sampler_vocab {
    int n_tokens;
    sampler_piece_fn *piece; /* for the breakers of DRY; NULL: there are no texts. Called by
                              * sampler_create only */
    void *user;
};

/* Are these options good, whatever the vocabulary? HTH_ERROR_ARGUMENT names the first that is out
 * of range, or the sampler that there is not. */
HTH_MUST_CHECK sampler_check(const struct hth_sampler_options *options, const struct log *log);

/* The same, with a warning of each sampler that is set but not in the chain which the options name.
 */
HTH_MUST_CHECK sampler_review(const struct hth_sampler_options *options, const struct log *log);

/* Errors: those of sampler_check; HTH_ERROR_ARGUMENT too for a vocabulary without tokens and for a
 * bias of a token outside of it; HTH_ERROR_MEMORY. */
HTH_MUST_CHECK sampler_create(struct sampler **out, const struct sampler_vocab *vocab,
                              const struct hth_sampler_options *options, const struct log *log);
void sampler_destroy(struct sampler *sampler);

/* As just created: the seed's first numbers, mirostat's first µ, no recent tokens. */
void sampler_reset(struct sampler *sampler);

/* No recent tokens; the rest stays. */
void sampler_forget(struct sampler *sampler);

/* A token has become part of the text (a prompt's too, if penalties should see it); ids outside of
 * the vocabulary are left out. */
void sampler_accept(struct sampler *sampler, int32_t id);

/* Picks from logits[n_tokens]; ties go to the lower id. Does not accept. −∞ is a token that must
 * not come. Errors: HTH_ERROR_FORMAT when a logit is NaN or +∞, or when none is left that may come.
 */
HTH_MUST_CHECK sampler_pick(struct sampler *sampler, const float *logits, int32_t *id,
                            const struct log *log);

/* How many of the likeliest tokens are enough to pick the same one by; 0: all. */
int sampler_best(const struct sampler *sampler);

/* The same as sampler_pick of all logits, of which the count likeliest are given in order;
 * sampler_best at least. `logits` may be NULL where count is 1. */
int32_t sampler_pick_best(struct sampler *sampler, const int32_t *ids, const float *logits,
                          int count);

#endif
