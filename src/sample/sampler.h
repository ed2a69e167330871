/*
 * sampler.h — from logits to a token: a chain of samplers, in the order that the field uses.
 *
 * Owns the candidates' memory, the window of recent tokens and the random state; picking allocates
 * nothing. The chain: repetition penalty → top-k → top-p → min-p → temperature → draw. Each is a
 * row of a table (stage.h): another sampler is a file and a row. Same parameters, same logits, same
 * tokens, on every system with IEEE floats. One thread per sampler.
 */
#ifndef SAMPLE_SAMPLER_H
#define SAMPLE_SAMPLER_H

#include <stdint.h>

#include "base/log.h"

/* All zero: greedy, nothing cut off, no penalty. */
struct sampler_params {
    float temp;  /* 0: the likeliest token, always; else ≥ 0, logits are divided by it */
    int top_k;   /* keep the k likeliest; 0: all */
    float top_p; /* keep the likeliest whose probabilities reach p together; 0 and 1: all */
    float min_p; /* keep what is at least this times as likely as the likeliest; 0: all */
    float repeat_penalty; /* > 1 makes recent tokens less likely; 0 and 1: none */
    int repeat_last_n;    /* how many tokens are recent, at most 65536; 0: 64 */
    uint64_t seed;
};

struct sampler;

/* A sampler for vocabularies of `n_vocab` tokens. Errors: HTH_ERROR_ARGUMENT naming the parameter
 * that is out of range, HTH_ERROR_MEMORY. */
HTH_MUST_CHECK sampler_create(struct sampler **out, int n_vocab,
                              const struct sampler_params *params, const struct log *log);
void sampler_destroy(struct sampler *sampler);

/* As just created: the seed's first numbers, no recent tokens. */
void sampler_reset(struct sampler *sampler);

/* A token has become part of the text (a prompt's too, if penalties should see it); ids outside of
 * the vocabulary are left out. */
void sampler_accept(struct sampler *sampler, int32_t id);

/* Picks from logits[n_vocab]; ties go to the lower id. Does not accept. −∞ is a token that must not
 * come. Errors: HTH_ERROR_FORMAT when a logit is NaN or +∞, or when all are −∞. */
HTH_MUST_CHECK sampler_pick(struct sampler *sampler, const float *logits, int32_t *id,
                            const struct log *log);

#endif
