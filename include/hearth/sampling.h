/*
 * hearth/sampling.h — how a token is chosen from a model's logits: the options of a sampler.
 *
 * Plain values: no threads, no ownership; what their pointers lead to is copied when a sampler is
 * created (hearth.h). docs/sampling.md has the formulas and where they come from.
 */
#ifndef HEARTH_SAMPLING_H
#define HEARTH_SAMPLING_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct hth_logit_bias {
    int32_t id;
    float bias; /* added to the token's logit; −∞: it never comes */
};

/* All zero: greedy. Zero means that something is off, or the number in brackets. What is off has no
 * place in the chain. */
struct hth_sampler_options {
    uint64_t seed; /* same seed, same text */

    /* The chain: names with semicolons between them, or letters; NULL, NULL:
     * "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature", "edskypmxt". Biases come
     * before it, the draw after it. */
    const char *samplers;
    const char *sampler_seq; /* not both */

    float temp;              /* logits are divided by it; 0: always the likeliest token left */
    float dynatemp_range;    /* temp ± this, by the entropy of what is left */
    float dynatemp_exponent; /* of the normalised entropy (1) */

    int top_k;         /* keep the k likeliest */
    float top_p;       /* keep the likeliest whose probabilities reach p together; 1: off */
    float min_p;       /* keep what is at least this times as likely as the likeliest */
    float typical_p;   /* keep the most typical whose probabilities reach p together; 1: off */
    float top_n_sigma; /* keep logits at most n standard deviations below the largest */

    float xtc_probability; /* how often the likeliest are dropped, 0 to 1 */
    float xtc_threshold;   /* all but the last token at least this likely (0.1); > 0.5: off */

    /* Mirostat 2 in place of all that cuts off: typical, top-k, top-p, min-p, top-nσ, XTC. */
    int mirostat;       /* 0 or 2 */
    float mirostat_tau; /* the surprise to aim at, bits per token (5) */
    float mirostat_eta; /* how fast to get there (0.1) */

    int repeat_last_n;       /* of how many last tokens the three below speak (64); −1: all */
    float repeat_penalty;    /* > 1 makes what was there less likely; 1: off */
    float frequency_penalty; /* off the logit, for each time that it was there */
    float presence_penalty;  /* off the logit, once */

    float dry_multiplier;   /* don't repeat yourself: off what would continue a repetition */
    float dry_base;         /* to the power of how much longer it is than allowed (1.75) */
    int dry_allowed_length; /* tokens that may be repeated freely (2) */
    int dry_last_n;         /* how many last tokens to look through; 0 and −1: all */
    const char *const *dry_breakers; /* no repetition goes across these texts; NULL at the end;
                                      * NULL: "\n", ":", "\"", "*" */

    const struct hth_logit_bias *logit_bias;
    size_t n_logit_bias;
};

#ifdef __cplusplus
}
#endif

#endif
