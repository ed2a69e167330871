#include "harness/routing.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* The part of choices that go deeper than a part x of all experts: exp(−(x / SCALE)^POWER). */
static const double SCALE = 0.1047, POWER = 0.583;

void routing_start(struct routing *r, struct rng *rng, int n, int n_used, double skew, double local)
{
    double sum = 0;
    *r = (struct routing){.n = n, .n_used = n_used, .local = local};
    for (int i = 0; i < n; i++) {
        sum += pow(i + 1, -skew);
        r->cumulative[i] = sum;
        r->expert_of_rank[i] = i;
        r->recent[i] = i;
    }
    for (int i = n - 1; i > 0; i--) { /* nobody knows before who is popular */
        int k = (int)rng_below(rng, (uint32_t)i + 1), swap = r->expert_of_rank[i];
        r->expert_of_rank[i] = r->expert_of_rank[k];
        r->expert_of_rank[k] = swap;
    }
}

static int by_popularity(const struct routing *r, struct rng *rng)
{
    double at = rng_double(rng) * r->cumulative[r->n - 1];
    int low = 0, high = r->n - 1;
    while (low < high) {
        int middle = (low + high) / 2;
        if (r->cumulative[middle] > at)
            high = middle;
        else
            low = middle + 1;
    }
    return r->expert_of_rank[low];
}

static int by_recency(const struct routing *r, struct rng *rng)
{
    double depth = SCALE * pow(-log(1 - rng_double(rng)), 1 / POWER) * r->n;
    return r->recent[depth < r->n ? (int)depth : (int)rng_below(rng, (uint32_t)r->n)];
}

static void use(struct routing *r, int32_t expert)
{
    int at = 0;
    while (r->recent[at] != expert)
        at++;
    memmove(r->recent + 1, r->recent, (size_t)at * sizeof *r->recent);
    r->recent[0] = expert;
}

void routing_next(struct routing *r, struct rng *rng)
{
    for (int k = 0; k < r->n_used;) {
        bool local = r->local > 0 && rng_double(rng) < r->local, twice = false;
        int expert = local ? by_recency(r, rng) : by_popularity(r, rng);
        for (int i = 0; i < k; i++)
            twice |= r->chosen[i] == expert;
        if (!twice)
            r->chosen[k++] = expert;
    }
    for (int k = 0; k < r->n_used; k++)
        use(r, r->chosen[k]);
}
