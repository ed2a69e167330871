/*
 * advice.h — what a model's file advises for sampling: its keys general.sampling.*.
 *
 * Owns the text of the chain. Keys and their meanings as they were introduced with
 * https://github.com/ggml-org/llama.cpp/pull/17120. Any thread once read.
 */
#ifndef SAMPLE_ADVICE_H
#define SAMPLE_ADVICE_H

#include "gguf/gguf.h"
#include "hearth/sampling.h"

struct advice {
    struct hth_sampler_options options; /* zero where the file says nothing */
    char *samplers;                     /* what options.samplers points to */
};

/* What cannot be meant (out of range, a sampler that there is not) is left out, with a warning that
 * names the key. Errors: HTH_ERROR_MEMORY; *advice is empty then. */
HTH_MUST_CHECK advice_read(struct advice *advice, const struct gguf *gguf, const struct log *log);
void advice_free(struct advice *advice);

#endif
