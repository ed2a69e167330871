#include "plan/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Less than this part of the time is not worth a search. */
static const double LEAST_GAIN = 0.002;
/* Labels that go on from a state: as many as there is time for, in steps of some nanoseconds, of
 * which sorting takes so many for each. Long chains have been searched well before. */
enum { FEW_LAYERS = 16, WORK_FEW = 16 << 20, WORK_MANY = 1 << 19, SORTED = 12 };
enum { LEAST_LABELS = 16, MOST_LABELS = 2048, MOST_MADE = 4 * MOST_LABELS };

struct label {
    double time_s, bound_s; /* so far; of the whole chain at least */
    uint64_t bytes[MACHINE_MAX_DEVICES];
    int32_t before; /* [n_states × MOST_LABELS]: the label in the layer before */
    int32_t number; /* in the order in which they came: of equals the first */
    int16_t option;
};

/* The labels in front of a state. */
struct front {
    struct label *items; /* [MOST_MADE]; sorted and few once the layer is done */
    int count;
};

struct step_back {
    int32_t before;
    int16_t option;
};

struct run {
    const struct search *search;
    double price[MACHINE_MAX_DEVICES]; /* seconds per byte */
    double *rest_s;                    /* [n_layers + 1][n_states]: the rest at these prices */
    double most_s;                     /* what takes as long is of no use */
    int n_labels;                      /* of a state, that go on */
    int32_t n_made;
    double work; /* so far */
    struct front now[MACHINE_MAX_DEVICES + 1], next[MACHINE_MAX_DEVICES + 1];
    struct step_back *back; /* [n_layers][n_states × MOST_LABELS] */
};

static const struct option_list *list_of(const struct run *run, int layer, int state)
{
    return run->search->options(run->search->user, layer, state);
}

static double *rest_at(const struct run *run, int layer, int state)
{
    return &run->rest_s[layer * run->search->n_states + state];
}

/* --- prices ----------------------------------------------------------------------------------- */

static double priced(const struct run *run, const struct option *option)
{
    double s = option->time_s;
    for (int d = 1; d < run->search->n_devices; d++)
        s += run->price[d] * (double)option->bytes[d];
    return s;
}

/* The cheapest option of a layer, with all that follows; −1: none leads to the end. */
static int cheapest(const struct run *run, int layer, int state, double *least_s)
{
    const struct option_list *list = list_of(run, layer, state);
    int best = -1;
    *least_s = INFINITY;
    for (size_t o = 0; o < list->count; o++) {
        const struct option *option = &list->items[o];
        double s = priced(run, option) + *rest_at(run, layer + 1, option->out);
        if (s < *least_s) {
            *least_s = s;
            best = (int)o;
        }
    }
    return best;
}

/* What the rest of the chain takes at these prices, and what all of it takes at least. */
static double bound(const struct run *run)
{
    const struct search *search = run->search;
    double all_s;
    for (int state = 0; state < search->n_states; state++)
        *rest_at(run, search->n_layers, state) = 0;
    for (int l = search->n_layers - 1; l >= 0; l--)
        for (int state = 0; state < search->n_states; state++)
            cheapest(run, l, state, rest_at(run, l, state));
    all_s = *rest_at(run, 0, 0);
    for (int d = 1; d < search->n_devices; d++)
        all_s -= run->price[d] * (double)search->capacity[d];
    return all_s;
}

/* Bytes of the cheapest chain beyond what each GPU has. */
static void excess(const struct run *run, double bytes[MACHINE_MAX_DEVICES])
{
    const struct search *search = run->search;
    double least_s;
    for (int d = 1; d < search->n_devices; d++)
        bytes[d] = -(double)search->capacity[d];
    for (int l = 0, state = 0; l < search->n_layers; l++) {
        const struct option *option =
            &list_of(run, l, state)->items[cheapest(run, l, state, &least_s)];
        for (int d = 1; d < search->n_devices; d++)
            bytes[d] += (double)option->bytes[d];
        state = option->out;
    }
}

/* Prices whose bound is high, by subgradient steps of the length that Polyak (1969) gives where the
 * best value is known: here, nearly. */
static void find_prices(struct run *run, double turn_s)
{
    enum { STEPS = 80, PATIENCE = 6 };
    double best[MACHINE_MAX_DEVICES] = {0}, best_s = -INFINITY, part = 1;
    for (int step = 0, since = 0; step < STEPS; step++) {
        double over[MACHINE_MAX_DEVICES], length2 = 0, at_s = bound(run);
        if (at_s > best_s) {
            best_s = at_s;
            since = 0;
            memcpy(best, run->price, sizeof best);
        } else if (++since == PATIENCE) {
            since = 0;
            part /= 2;
            memcpy(run->price, best, sizeof best);
        }
        if (at_s >= turn_s)
            break;
        excess(run, over);
        for (int d = 1; d < run->search->n_devices; d++) {
            bool free = run->price[d] == 0 && over[d] < 0; /* may not go below nothing */
            over[d] = free ? 0 : over[d];
            length2 += over[d] * over[d];
        }
        if (length2 == 0)
            break;
        for (int d = 1; d < run->search->n_devices; d++)
            run->price[d] = fmax(0, run->price[d] + part * (turn_s - at_s) / length2 * over[d]);
    }
    memcpy(run->price, best, sizeof best);
    (void)bound(run);
}

/* --- labels ----------------------------------------------------------------------------------- */

static int by_promise(const void *a, const void *b)
{
    const struct label *x = a, *y = b;
    if (x->bound_s != y->bound_s)
        return x->bound_s < y->bound_s ? -1 : 1;
    return x->number < y->number ? -1 : 1;
}

static bool beats(const struct label *a, const struct label *b, int n_devices)
{
    if (a->time_s > b->time_s)
        return false;
    for (int d = 1; d < n_devices; d++)
        if (a->bytes[d] > b->bytes[d])
            return false;
    return true;
}

/* The most promising stay, of those that no other beats. */
static void thin_out(struct run *run, struct front *front)
{
    int kept = 0;
    run->work += SORTED * front->count;
    qsort(front->items, (size_t)front->count, sizeof *front->items, by_promise);
    for (int i = 0; i < front->count && kept < run->n_labels; i++) {
        bool beaten = false;
        for (int k = 0; k < kept && !beaten; k++)
            beaten = beats(&front->items[k], &front->items[i], run->search->n_devices);
        run->work += kept;
        if (!beaten)
            front->items[kept++] = front->items[i];
    }
    front->count = kept;
}

static void go_on(struct run *run, int layer, int32_t from, const struct label *label,
                  const struct option *option, int16_t number)
{
    struct front *front = &run->next[option->out];
    run->work++;
    struct label to = {.time_s = label->time_s + option->time_s, .before = from, .option = number};
    to.bound_s = to.time_s + *rest_at(run, layer + 1, option->out);
    for (int d = 1; d < run->search->n_devices; d++) {
        to.bytes[d] = label->bytes[d] + option->bytes[d];
        to.bound_s += run->price[d] * ((double)to.bytes[d] - (double)run->search->capacity[d]);
        if (to.bytes[d] > run->search->capacity[d])
            return;
    }
    if (!(to.bound_s < run->most_s))
        return;
    if (front->count == MOST_MADE)
        thin_out(run, front);
    to.number = run->n_made++;
    front->items[front->count++] = to;
}

/* What is left of the time is for the layers that are left, of which none starves: half of an even
 * share is always there. A label meets each option, and each other label. */
static int count_labels(const struct run *run, int layer)
{
    const struct search *search = run->search;
    double options = 1, work = search->n_layers <= FEW_LAYERS ? WORK_FEW : WORK_MANY;
    double share =
        fmax(work / 2 / search->n_layers, (work - run->work) / (search->n_layers - layer));
    for (int state = 0; state < search->n_states; state++)
        options += (double)list_of(run, layer, state)->count;
    double n = fmin(share / options, sqrt(share));
    return n < LEAST_LABELS ? LEAST_LABELS : n > MOST_LABELS ? MOST_LABELS : (int)n;
}

static void pass_layer(struct run *run, int layer)
{
    const struct search *search = run->search;
    run->n_labels = count_labels(run, layer);
    for (int state = 0; state < search->n_states; state++)
        run->next[state].count = 0;
    for (int state = 0; state < search->n_states; state++) {
        const struct option_list *list = list_of(run, layer, state);
        for (int i = 0; i < run->now[state].count; i++)
            for (size_t o = 0; o < list->count; o++)
                go_on(run, layer, state * MOST_LABELS + i, &run->now[state].items[i],
                      &list->items[o], (int16_t)o);
    }
    for (int state = 0; state < search->n_states; state++) {
        struct front *front = &run->next[state], was = run->now[state];
        size_t first = (size_t)(layer * search->n_states + state) * MOST_LABELS;
        thin_out(run, front);
        for (int i = 0; i < front->count; i++)
            run->back[first + (size_t)i] =
                (struct step_back){front->items[i].before, front->items[i].option};
        run->now[state] = *front;
        *front = was;
    }
}

/* The way of the fastest label behind the last layer. */
static void trace(const struct run *run, int *way, double *turn_s)
{
    const struct search *search = run->search;
    int32_t at = -1;
    for (int state = 0; state < search->n_states; state++)
        for (int i = 0; i < run->now[state].count; i++)
            if (run->now[state].items[i].time_s < *turn_s) {
                *turn_s = run->now[state].items[i].time_s;
                at = state * MOST_LABELS + i;
            }
    for (int l = search->n_layers - 1; l >= 0 && at >= 0; l--) {
        size_t row = (size_t)(l * search->n_states) * MOST_LABELS;
        way[l] = run->back[row + (size_t)at].option;
        at = run->back[row + (size_t)at].before;
    }
}

/* --- all of it -------------------------------------------------------------------------------- */

static bool alloc(struct run *run)
{
    size_t n_states = (size_t)run->search->n_states, n_layers = (size_t)run->search->n_layers;
    run->rest_s = mem_calloc((n_layers + 1) * n_states, sizeof *run->rest_s);
    run->back = mem_calloc(n_layers * n_states * MOST_LABELS, sizeof *run->back);
    bool all = run->rest_s && run->back;
    for (size_t state = 0; state < n_states; state++) {
        run->now[state].items = mem_calloc(MOST_MADE, sizeof(struct label));
        run->next[state].items = mem_calloc(MOST_MADE, sizeof(struct label));
        all &= run->now[state].items && run->next[state].items;
    }
    return all;
}

static void free_all(struct run *run)
{
    mem_free(run->rest_s);
    mem_free(run->back);
    for (int state = 0; state < run->search->n_states; state++) {
        mem_free(run->now[state].items);
        mem_free(run->next[state].items);
    }
}

enum hth_status search_faster(const struct search *search, int *way, double *turn_s,
                              const struct log *log)
{
    struct run run = {.search = search, .most_s = *turn_s * (1 - LEAST_GAIN)};
    bool there = alloc(&run);
    if (there) {
        find_prices(&run, *turn_s);
        run.now[0].items[0] = (struct label){0};
        run.now[0].count = 1;
        for (int l = 0; l < search->n_layers; l++)
            pass_layer(&run, l);
        trace(&run, way, turn_s);
    }
    free_all(&run);
    return there ? HTH_OK : log_fail_memory(log, "a plan", sizeof(struct label));
}
