/*
 * breakers.h — texts that end a repetition, found in a stream of tokens.
 *
 * A breaker may be a part of a token ("\n" in ".\n\n"), a whole one, or go across several. All are
 * found as bytes of the text that the tokens make, so that it does not matter how the vocabulary
 * cuts them. Owns copies of the breakers and of the vocabulary's texts. One thread at a time.
 */
#ifndef SAMPLE_BREAKERS_H
#define SAMPLE_BREAKERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "base/needle.h"
#include "sample/sampler.h"

enum { BREAKERS_MAX = 64, BREAKER_BYTES = 64 };

/* Zero: none, and none is ever found. */
struct breakers {
    struct needle *items;
    size_t count;
    struct strbuf bytes; /* texts of all tokens */
    size_t *ends;        /* [n_tokens] */
    bool *inside;        /* [n_tokens]: does the token alone hold a breaker? */
};

/* Breakers as in hth_sampler_options: NULL means the usual ones. Errors: HTH_ERROR_ARGUMENT (too
 * many, an empty or too long one). */
HTH_MUST_CHECK breakers_check(const char *const *texts, const struct log *log);

/* `texts` was checked. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK breakers_create(struct breakers *breakers, const char *const *texts,
                               const struct sampler_vocab *vocab, const struct log *log);
void breakers_destroy(struct breakers *breakers);

/* The stream begins anew. */
void breakers_reset(struct breakers *breakers);

/* The stream goes on with a token; does a breaker end in it? */
bool breakers_push(struct breakers *breakers, int32_t id);

#endif
