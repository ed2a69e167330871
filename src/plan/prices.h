/*
 * prices.h — what memory is worth: a bound below every way through the layers of a model.
 *
 * With a price on each GPU's memory instead of a limit, the cheapest way through the rest of the
 * layers is found exactly, and no way that fits takes less than it, less the price of all memory
 * (Lagrange multipliers; Handler and Zang 1980, "A dual algorithm for the constrained shortest path
 * problem"). Owns its table. Deterministic; any thread.
 */
#ifndef PLAN_PRICES_H
#define PLAN_PRICES_H

#include "plan/options.h"

/* An option, and how much higher the bound of ways is that take it. */
struct promise {
    double more_s;
    int option;
};

struct order {
    struct promise *items;
    size_t count;
};

struct prices {
    const struct chain *chain;
    uint64_t capacity[MACHINE_MAX_DEVICES]; /* of each GPU, in bytes */
    double price[MACHINE_MAX_DEVICES];      /* seconds per byte */
    double *rest_s;                         /* [n_layers + 1][n_states]: with its price */
    struct promise *promises;               /* of all lists */
    struct order *orders;                   /* [n_layers][n_states]: see prices_order */
    double least_s;                         /* no way takes less; infinite: there is none */
};

/* Looks for prices whose bound is high. way[n_layers]: numbers of the options of the fastest way
 * seen on the way there that fits, if it takes less than *turn_s, which becomes its time.
 * prices_free in any case. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK prices_find(struct prices *out, const struct chain *chain,
                           const uint64_t capacity[MACHINE_MAX_DEVICES], int *way, double *turn_s,
                           const struct log *log);
void prices_free(struct prices *prices);

/* The options of a layer after a state, the most promising first. Of long chains the most promising
 * only (the core of a knapsack: Balas and Zemel 1980), and those that take no memory. */
static inline struct order prices_order(const struct prices *prices, int layer, int state)
{
    return prices->orders[layer * prices->chain->n_states + state];
}

/* What memory costs: `bytes` is of each GPU, from 1 on. */
static inline double prices_of(const struct prices *prices, const uint64_t *bytes)
{
    double all_s = 0;
    for (int d = 1; d < prices->chain->n_devices; d++)
        all_s += prices->price[d] * (double)bytes[d];
    return all_s;
}

/* Seconds that a way takes at least, which is in `state` before `layer` after time_s, with `bytes`
 * taken. */
static inline double prices_bound(const struct prices *prices, int layer, int state, double time_s,
                                  const uint64_t *bytes)
{
    return time_s + prices->rest_s[layer * prices->chain->n_states + state] +
           prices_of(prices, bytes) - prices_of(prices, prices->capacity);
}

/* Less than this part of the time is not worth a search. */
static const double PRICES_LEAST_GAIN = 0.002;

/* May what takes so long at least be faster than what is at hand? */
static inline bool prices_promise(double bound_s, double turn_s)
{
    return bound_s < turn_s * (1 - PRICES_LEAST_GAIN);
}

#endif
