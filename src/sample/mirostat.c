#include "sample/stage.h"

#include "sample/same_math.h"

/* Mirostat 2, Basu et al. 2021 (arXiv:2007.14966) and https://github.com/basusourya/mirostat: what
 * surprises by more than µ bits is cut off, and µ moves against the error of what was drawn,
 * µ ← µ − η (S − τ), with S = − log2 p among those that were left. */
int32_t mirostat_draw(struct sampler *sampler, struct candidates *left)
{
    const double ln2 = 0x1.62e42fefa39efp-1;
    float max = candidates_max(left);
    double total = candidates_mass(left, max);
    candidates_keep_from(left, max + same_log(total) - sampler->mu * ln2);
    total = candidates_mass(left, max);
    const struct candidate *drawn = &left->items[candidates_draw(left, max, &sampler->rng)];
    double surprise = (same_log(total) - ((double)drawn->logit - max)) / ln2;
    sampler->mu -= sampler->opt.mirostat_eta * (surprise - sampler->opt.mirostat_tau);
    return drawn->id;
}
