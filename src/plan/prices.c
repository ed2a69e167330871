#include "plan/prices.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

struct quest {
    struct prices *prices;
    int *way, *trial; /* [n_layers]: the fastest that fits, and the cheapest */
    double *turn_s;   /* of `way` */
};

/* The cheapest option of a layer, with all that follows; −1: none leads to the end. */
static int cheapest(const struct prices *p, int layer, int state, double *least_s)
{
    const struct option_list *list = chain_options(p->chain, layer, state);
    const double *rest_s = &p->rest_s[(layer + 1) * p->chain->n_states];
    int best = -1;
    *least_s = INFINITY;
    for (size_t o = 0; o < list->count; o++) {
        const struct option *option = &list->items[o];
        double all_s = option->time_s + prices_of(p, option->bytes) + rest_s[option->out];
        if (all_s < *least_s) {
            *least_s = all_s;
            best = (int)o;
        }
    }
    return best;
}

/* What all takes at least, at these prices. */
static double bound(struct prices *p)
{
    int n_states = p->chain->n_states;
    for (int l = p->chain->n_layers - 1; l >= 0; l--)
        for (int state = 0; state < n_states; state++)
            cheapest(p, l, state, &p->rest_s[l * n_states + state]);
    return p->rest_s[0] - prices_of(p, p->capacity);
}

/* The cheapest way, which is kept if it fits and is faster. `over`: its bytes beyond what each GPU
 * has. */
static bool follow(struct quest *q, double over[MACHINE_MAX_DEVICES])
{
    const struct prices *p = q->prices;
    const struct chain *chain = p->chain;
    double turn_s = 0, least_s;
    bool fits = true;
    for (int d = 1; d < chain->n_devices; d++)
        over[d] = -(double)p->capacity[d];
    for (int l = 0, state = 0; l < chain->n_layers; l++) {
        q->trial[l] = cheapest(p, l, state, &least_s);
        const struct option *option = &chain_options(chain, l, state)->items[q->trial[l]];
        for (int d = 1; d < chain->n_devices; d++)
            over[d] += (double)option->bytes[d];
        turn_s += option->time_s;
        state = option->out;
    }
    for (int d = 1; d < chain->n_devices; d++)
        fits &= over[d] <= 0;
    if (fits && turn_s < *q->turn_s) {
        *q->turn_s = turn_s;
        memcpy(q->way, q->trial, (size_t)chain->n_layers * sizeof *q->way);
    }
    return fits;
}

/* From no price on, until the cheapest way fits, if one does. */
static void raise_prices(struct quest *q)
{
    enum { DOUBLINGS = 40 };
    struct prices *p = q->prices;
    double over[MACHINE_MAX_DEVICES], bytes = 1, least_s = p->rest_s[0];
    bool fits = follow(q, over);
    for (int d = 1; d < p->chain->n_devices; d++)
        bytes += (double)p->capacity[d];
    for (int i = 0; i < DOUBLINGS && !fits; i++) {
        for (int d = 1; d < p->chain->n_devices; d++)
            p->price[d] = ldexp(least_s / bytes, i - 4);
        (void)bound(p);
        fits = follow(q, over);
    }
}

enum { GPUS = MACHINE_MAX_DEVICES - 1 };

/* Where a climb is: prices of GPUs 1 … n, the bound there, and how it grows with each. */
struct place {
    double price[GPUS], at_s, slope[GPUS];
};

static void look(struct quest *q, struct place *place)
{
    struct prices *p = q->prices;
    double over[MACHINE_MAX_DEVICES];
    for (int i = 0; i < p->chain->n_devices - 1; i++)
        p->price[i + 1] = place->price[i] = fmax(place->price[i], 0);
    place->at_s = bound(p);
    (void)follow(q, over);
    for (int i = 0; i < p->chain->n_devices - 1; i++) {
        bool free = place->price[i] <= 0 && over[i + 1] < 0; /* may not go below nothing */
        place->slope[i] = free ? 0 : over[i + 1];
    }
}

/* out = Bᵀ × v, made a unit's length; false: it has none. */
static bool turn_back(double b[GPUS][GPUS], const double *v, double *out, int n)
{
    double length2 = 0;
    for (int k = 0; k < n; k++) {
        out[k] = 0;
        for (int i = 0; i < n; i++)
            out[k] += b[i][k] * v[i];
        length2 += out[k] * out[k];
    }
    for (int k = 0; k < n && length2 > 0; k++)
        out[k] /= sqrt(length2);
    return length2 > 0;
}

/* Space where slopes have changed along r is made narrower in that direction: B × (I − r·rᵀ / 2).
 */
static void dilate(double b[GPUS][GPUS], const double *r, int n)
{
    for (int i = 0; i < n; i++) {
        double along = 0;
        for (int k = 0; k < n; k++)
            along += b[i][k] * r[k];
        for (int k = 0; k < n; k++)
            b[i][k] -= along * r[k] / 2;
    }
}

/* From `now` along a direction, until the bound falls or there is no time. Steps grow while one is
 * not enough and shrink where the first is too much. */
static struct place go(struct quest *q, struct place now, const double *way, double *step,
                       int *looks, struct place *best)
{
    int n = q->prices->chain->n_devices - 1, n_steps = 0;
    double slope = 1;
    while (slope > 0 && *looks > 0) {
        for (int i = 0; i < n; i++)
            now.price[i] += *step * way[i];
        look(q, &now);
        --*looks;
        slope = 0;
        for (int i = 0; i < n; i++)
            slope += now.slope[i] * way[i];
        *best = now.at_s > best->at_s ? now : *best;
        *step *= n_steps++ > 0 ? 1.5 : 1;
    }
    *step *= n_steps == 1 ? 0.7 : 1;
    return now;
}

/* The highest bound, by Shor's r-algorithm (1985, "Minimization Methods for Non-Differentiable
 * Functions"): along a subgradient until the slope turns, then space is dilated. From prices at
 * which the cheapest way fits. */
static void climb(struct quest *q)
{
    struct prices *p = q->prices;
    int n = p->chain->n_devices - 1, looks = 60;
    double b[GPUS][GPUS] = {{0}}, step = 0.25, unit[GPUS], way[GPUS];
    struct place now = {.at_s = 0}, best = {.at_s = p->least_s};
    for (int i = 0; i < n; i++)
        b[i][i] = now.price[i] = p->price[i + 1];
    look(q, &now);
    while (looks > 0 && prices_promise(best.at_s, *q->turn_s) && turn_back(b, now.slope, unit, n)) {
        for (int i = 0; i < n; i++) {
            way[i] = 0;
            for (int k = 0; k < n; k++)
                way[i] += b[i][k] * unit[k];
        }
        struct place next = go(q, now, way, &step, &looks, &best);
        for (int i = 0; i < n; i++)
            now.slope[i] = next.slope[i] - now.slope[i];
        if (turn_back(b, now.slope, unit, n))
            dilate(b, unit, n);
        now = next;
    }
    p->least_s = best.at_s;
    memcpy(p->price + 1, best.price, (size_t)n * sizeof *best.price);
    (void)bound(p);
}

static int by_promise(const void *a, const void *b)
{
    const struct promise *x = a, *y = b;
    if (x->more_s != y->more_s)
        return x->more_s < y->more_s ? -1 : 1;
    return x->option < y->option ? -1 : 1;
}

static bool takes_none(const struct prices *p, const struct option *option)
{
    for (int d = 1; d < p->chain->n_devices; d++)
        if (option->bytes[d] > 0)
            return false;
    return true;
}

static struct order order_list(const struct prices *p, int layer, int state, struct promise *out)
{
    enum { CORE = 6 };
    const struct option_list *list = chain_options(p->chain, layer, state);
    const double *rest_s = &p->rest_s[layer * p->chain->n_states];
    const double *behind_s = rest_s + p->chain->n_states;
    size_t core = chain_is_long(p->chain) ? CORE : list->count, kept = 0;
    for (size_t o = 0; o < list->count; o++) {
        const struct option *option = &list->items[o];
        double all_s = option->time_s + prices_of(p, option->bytes) + behind_s[option->out];
        out[o] = (struct promise){.more_s = all_s - rest_s[state], .option = (int)o};
    }
    qsort(out, list->count, sizeof *out, by_promise);
    for (size_t o = 0; o < list->count; o++)
        if (o < core || takes_none(p, &list->items[out[o].option]))
            out[kept++] = out[o];
    return (struct order){out, kept};
}

/* Orders of all lists; false: there is no memory for them. */
static bool order_all(struct prices *p)
{
    const struct chain *chain = p->chain;
    size_t n = 0;
    for (int l = 0; l < chain->n_layers; l++)
        for (int state = 0; state < chain->n_states; state++)
            n += chain_options(chain, l, state)->count;
    p->promises = mem_calloc(n, sizeof *p->promises);
    p->orders = mem_calloc((size_t)(chain->n_layers * chain->n_states), sizeof *p->orders);
    if (!p->promises || !p->orders)
        return false;
    n = 0;
    for (int l = 0; l < chain->n_layers; l++)
        for (int state = 0; state < chain->n_states; state++) {
            struct order *order = &p->orders[l * chain->n_states + state];
            *order = order_list(p, l, state, &p->promises[n]);
            n += order->count;
        }
    return true;
}

enum hth_status prices_find(struct prices *out, const struct chain *chain,
                            const uint64_t capacity[MACHINE_MAX_DEVICES], int *way, double *turn_s,
                            const struct log *log)
{
    size_t n_layers = (size_t)chain->n_layers, n_states = (size_t)chain->n_states;
    *out = (struct prices){.chain = chain};
    memcpy(out->capacity, capacity, sizeof out->capacity);
    out->rest_s = mem_calloc((n_layers + 1) * n_states, sizeof *out->rest_s);
    struct quest q = {out, way, mem_calloc(n_layers, sizeof *q.trial), turn_s};
    bool there = out->rest_s && q.trial;
    if (there)
        out->least_s = bound(out);
    if (there && isfinite(out->least_s)) {
        raise_prices(&q);
        climb(&q);
        there = order_all(out);
    }
    mem_free(q.trial);
    return there ? HTH_OK
                 : log_fail_memory(log, "a plan", (n_layers + 1) * n_states * sizeof *out->rest_s);
}

void prices_free(struct prices *prices)
{
    mem_free(prices->rest_s);
    mem_free(prices->promises);
    mem_free(prices->orders);
    *prices = (struct prices){0};
}
