/*
 * routing.h — which experts tokens take: synthetic routing of a stated skew and locality.
 *
 * Skew: by rank, the r-th most popular expert is taken ∝ 1 / r^skew. Locality: with probability
 * `local` a choice is instead one of those used lately, by how many others were used since (an LRU
 * stack, Mattson et al. 1970). The depths there are fitted to what was measured of a model with 512
 * experts of which a token takes 10: an LRU cache with 64 slots a layer hits 67 %, one with 128
 * hits 81 %, while those most used in one half of the texts are hardly more so in the other
 * (github.com/ggml-org/llama.cpp/pull/27861). For other models depths are scaled by the number of
 * experts. Owns nothing. One thread.
 */
#ifndef HARNESS_ROUTING_H
#define HARNESS_ROUTING_H

#include "base/rng.h"

enum { ROUTING_MOST = 1024 };

/* Of one layer. */
struct routing {
    int n, n_used;
    double local;
    double cumulative[ROUTING_MOST]; /* of popularity, by rank */
    int expert_of_rank[ROUTING_MOST];
    int32_t recent[ROUTING_MOST]; /* the last used first */
    int32_t chosen[ROUTING_MOST]; /* [n_used]: by the last token */
};

void routing_start(struct routing *routing, struct rng *rng, int n, int n_used, double skew,
                   double local);
void routing_next(struct routing *routing, struct rng *rng);

#endif
