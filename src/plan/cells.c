#include "plan/cells.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

struct label {
    double time_s;
    double rank; /* the same, with its memory's price: of a cell's labels the least stays */
    uint64_t bytes[MACHINE_MAX_DEVICES];
    uint64_t cell; /* with the state */
    int state;
};

/* Where a label comes from: one of the layer before, by an option. */
struct step_back {
    int32_t label;
    int32_t option;
};

/* Labels in front of a layer, in the order in which their cells were reached. */
struct front {
    struct label *items;
    size_t count, capacity;
};

/* Which label has a cell, in this layer of this round. */
struct slot {
    uint32_t stamp; /* of another: free */
    int32_t label;
};

struct walk {
    const struct chain *chain;
    const struct prices *prices;
    double most_s;                         /* what takes as long is of no use */
    int shift[MACHINE_MAX_DEVICES];        /* bytes >> shift is the cell along a device */
    uint64_t last[MACHINE_MAX_DEVICES];    /* the last cell */
    uint64_t (*base)[MACHINE_MAX_DEVICES]; /* [n_layers + 1]: bytes where cells begin */
    struct front now, next;
    struct slot *slots; /* [n_slots]: by hash, at most half of them taken */
    size_t n_slots;
    uint32_t stamp;
    struct step_back *back; /* of all layers */
    size_t n_back, back_capacity;
    size_t *first;  /* [n_layers]: in `back` */
    size_t n_tried; /* options, in a round */
    bool failed;
};

static size_t slot_of(const struct walk *w, uint64_t cell)
{
    uint64_t hash = cell * 0x9e3779b97f4a7c15u;
    size_t at = (size_t)(hash >> 32) & (w->n_slots - 1);
    while (w->slots[at].stamp == w->stamp && w->next.items[w->slots[at].label].cell != cell)
        at = (at + 1) & (w->n_slots - 1);
    return at;
}

static void grow_slots(struct walk *w)
{
    size_t n = w->n_slots ? 2 * w->n_slots : 1 << 10;
    struct slot *slots = mem_calloc(n, sizeof *slots);
    w->failed |= !slots;
    if (!slots)
        return;
    mem_free(w->slots);
    w->slots = slots;
    w->n_slots = n;
    for (size_t i = 0; i < w->next.count; i++)
        w->slots[slot_of(w, w->next.items[i].cell)] = (struct slot){w->stamp, (int32_t)i};
}

/* Room for one label more. */
static bool grow(struct walk *w)
{
    if (w->next.count * 2 >= w->n_slots)
        grow_slots(w);
    struct label *items =
        mem_grow(w->next.items, &w->next.capacity, w->next.count + 1, sizeof *w->next.items);
    w->next.items = items ? items : w->next.items;
    struct step_back *back = mem_grow(w->back, &w->back_capacity, w->n_back + 1, sizeof *w->back);
    w->back = back ? back : w->back;
    w->failed |= !items || !back;
    return !w->failed;
}

static void relax(struct walk *w, int layer, int32_t from, int number)
{
    const struct label *label = &w->now.items[from];
    const struct option *option = &chain_options(w->chain, layer, label->state)->items[number];
    struct label to = {.time_s = label->time_s + option->time_s, .state = option->out};
    w->n_tried++;
    to.cell = (uint64_t)option->out;
    for (int d = 1; d < w->chain->n_devices; d++) {
        to.bytes[d] = label->bytes[d] + option->bytes[d];
        uint64_t base = w->base[layer + 1][d], along = (to.bytes[d] - base) >> w->shift[d];
        if (to.bytes[d] > w->prices->capacity[d] || to.bytes[d] < base || along > w->last[d])
            return;
        to.cell = to.cell * (w->last[d] + 1) + along;
    }
    to.rank = to.time_s + prices_of(w->prices, to.bytes);
    size_t at = slot_of(w, to.cell);
    if (w->slots[at].stamp != w->stamp) {
        if (!grow(w))
            return;
        at = slot_of(w, to.cell);
        w->slots[at] = (struct slot){w->stamp, (int32_t)w->next.count++};
        w->n_back++;
    } else if (to.rank >= w->next.items[w->slots[at].label].rank) {
        return;
    }
    w->next.items[w->slots[at].label] = to;
    w->back[w->first[layer] + (size_t)w->slots[at].label] = (struct step_back){from, number};
}

static void pass_layer(struct walk *w, int layer)
{
    w->stamp++;
    w->next.count = 0;
    w->first[layer] = w->n_back;
    for (size_t i = 0; i < w->now.count && !w->failed; i++) {
        const struct label *label = &w->now.items[i];
        const struct order order = prices_order(w->prices, layer, label->state);
        double bound_s = prices_bound(w->prices, layer, label->state, label->time_s, label->bytes);
        for (size_t o = 0; o < order.count && bound_s + order.items[o].more_s < w->most_s; o++)
            relax(w, layer, (int32_t)i, order.items[o].option);
    }
    struct front swap = w->now;
    w->now = w->next;
    w->next = swap;
}

/* The fastest, if it is faster than *turn_s. */
static void trace(const struct walk *w, int *way, double *turn_s)
{
    int32_t at = -1;
    for (size_t i = 0; i < w->now.count; i++)
        if (w->now.items[i].time_s < *turn_s) {
            *turn_s = w->now.items[i].time_s;
            at = (int32_t)i;
        }
    for (int l = w->chain->n_layers - 1, next = at; l >= 0 && next >= 0; l--) {
        struct step_back back = w->back[w->first[l] + (size_t)next];
        way[l] = back.option;
        next = back.label;
    }
}

static void pass_all(struct walk *w, int *way, double *turn_s)
{
    w->n_tried = w->n_back = 0;
    w->now.items[0] = (struct label){0}; /* embedding rows come from the host */
    w->now.count = 1;
    for (int l = 0; l < w->chain->n_layers; l++)
        pass_layer(w, l);
    if (!w->failed)
        trace(w, way, turn_s);
}

/* Cells of half the size: twice as many where there is time for it, else as many around the best
 * way so far. */
static void look_closer(struct walk *w, const int *way, size_t most_tried)
{
    const struct chain *chain = w->chain;
    uint64_t bytes[MACHINE_MAX_DEVICES] = {0};
    bool more = w->n_tried < most_tried;
    for (int d = 1; d < chain->n_devices; d++) {
        if (more && w->shift[d] > 0)
            w->last[d] = 2 * w->last[d] + 1;
        w->shift[d] = w->shift[d] > 0 ? w->shift[d] - 1 : 0;
    }
    for (int l = 0, state = 0; l <= chain->n_layers; l++) {
        for (int d = 1; d < chain->n_devices; d++) {
            uint64_t half = (w->last[d] + 1) << w->shift[d] >> 1, all = w->prices->capacity[d];
            bool whole = all >> w->shift[d] <= w->last[d];
            w->base[l][d] = !whole && bytes[d] > half ? bytes[d] - half : 0;
        }
        if (l == chain->n_layers)
            break;
        const struct option *option = &chain_options(chain, l, state)->items[way[l]];
        for (int d = 1; d < chain->n_devices; d++)
            bytes[d] += option->bytes[d];
        state = option->out;
    }
}

static void choose_cells(struct walk *w)
{
    int log2_cells = w->chain->n_devices == 2 ? 8 : 4;
    for (int d = 1; d < w->chain->n_devices; d++) {
        while (w->prices->capacity[d] >> w->shift[d] >> log2_cells)
            w->shift[d]++;
        w->last[d] = w->prices->capacity[d] >> w->shift[d];
    }
}

static bool alloc(struct walk *w)
{
    w->base = mem_calloc((size_t)w->chain->n_layers + 1, sizeof *w->base);
    w->first = mem_calloc((size_t)w->chain->n_layers, sizeof *w->first);
    w->now.items = mem_grow(NULL, &w->now.capacity, 1, sizeof *w->now.items);
    w->next.items = mem_grow(NULL, &w->next.capacity, 1, sizeof *w->next.items);
    grow_slots(w);
    return w->base && w->first && w->now.items && w->next.items && !w->failed;
}

static void free_all(struct walk *w)
{
    mem_free(w->base);
    mem_free(w->first);
    mem_free(w->now.items);
    mem_free(w->next.items);
    mem_free(w->slots);
    mem_free(w->back);
}

enum hth_status cells_walk(const struct prices *prices, int *way, double *turn_s,
                           const struct log *log)
{
    enum { ROUNDS = 14, TRIED_FEW = 200000, TRIED_MANY = 20000, TRIED_FAR = 400000 };
    struct walk w = {.chain = prices->chain, .prices = prices};
    double slack = 0.01, near_s = 1.03 * prices->least_s;
    size_t most_near = chain_is_long(w.chain) ? TRIED_MANY : TRIED_FEW;
    choose_cells(&w);
    w.failed = !alloc(&w);
    for (int round = 0; round < ROUNDS && !w.failed; round++) {
        if (!prices_promise(prices->least_s, *turn_s))
            break;
        w.most_s = fmin(*turn_s * (1 - PRICES_LEAST_GAIN), prices->least_s * (1 + slack));
        double was_s = *turn_s;
        pass_all(&w, way, turn_s);
        bool near = *turn_s < near_s;
        if (isfinite(*turn_s))
            look_closer(&w, way, near ? most_near : TRIED_FAR);
        slack *= near && *turn_s < was_s ? 1 : 3;
    }
    free_all(&w);
    return w.failed ? log_fail_memory(log, "a plan", w.n_back * sizeof *w.back) : HTH_OK;
}
