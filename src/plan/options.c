#include "plan/options.h"

#include <string.h>

#include "base/mem.h"

struct cost_state options_state(const struct cost *cost, int state)
{
    int n = cost->machine->n_devices;
    return state == n ? (struct cost_state){0, (int8_t)cost->stream_device, -1}
                      : (struct cost_state){(int8_t)state, (int8_t)state, -1};
}

static int state_number(const struct cost *cost, struct cost_state state)
{
    return state.decode || !state.prefill ? state.decode : cost->machine->n_devices;
}

uint64_t options_bytes(const struct unit *unit, struct choice choice)
{
    if (choice.device == 0)
        return 0;
    return unit->bytes * (uint64_t)(unit->kind == UNIT_EXPERTS ? choice.resident : 1);
}

/* --- ways of a unit --------------------------------------------------------------------------- */

struct way {
    struct choice choice;
    int place; /* its number among those of the unit, which differ in memory */
    struct cost_parts work;
};

struct way_list {
    struct way *items; /* mem_free */
    size_t count, capacity;
    int n_places;
};

struct enumeration {
    const struct cost *cost;
    int first, n; /* units of the layer */
    struct way_list ways[UNITS_PER_LAYER];
    struct cost_parts each[UNITS_PER_LAYER]; /* of what is chosen now */
    struct option now;
    struct option_list *list;
    int *fastest; /* [places of the layer][states behind it]: number + 1, or NULL: all are kept */
    bool failed;
};

static void add_way(struct enumeration *e, int at, struct choice choice)
{
    struct way_list *list = &e->ways[at];
    struct way *grown =
        mem_grow(list->items, &list->capacity, list->count + 1, sizeof *list->items);
    e->failed |= !grown;
    if (!grown)
        return;
    list->items = grown;
    struct way *way = &grown[list->count++];
    *way = (struct way){.choice = choice, .place = list->n_places - 1};
    cost_work(e->cost, &e->cost->units->items[e->first + at], choice, &way->work);
}

/* What stays in the host's memory serves prompts in several ways. */
static void add_modes(struct enumeration *e, int at, struct choice choice)
{
    const struct unit *unit = &e->cost->units->items[e->first + at];
    e->ways[at].n_places++;
    for (int mode = 0; mode < PREFILL_MODES; mode++) {
        choice.mode = (uint8_t)mode;
        if (cost_allows(e->cost, unit, (enum prefill_mode)mode))
            add_way(e, at, choice);
    }
}

static void add_whole(struct enumeration *e, int at, struct choice choice)
{
    e->ways[at].n_places++;
    add_way(e, at, choice);
}

/* Some of a layer's experts: any number of few, steps of many, as layers may differ. */
static void add_experts(struct enumeration *e, int at, int device)
{
    static const int sixteenths[] = {1, 2, 4, 6, 8, 12, 16};
    enum { FEW = 16 };
    const struct unit *unit = &e->cost->units->items[e->first + at];
    int steps = unit->n <= FEW ? unit->n : (int)ARRAY_LEN(sixteenths);
    for (int i = 0; i < steps; i++) {
        int n = unit->n <= FEW ? i + 1 : unit->n * sixteenths[i] / 16;
        struct choice choice = {.device = (int8_t)device, .resident = (int16_t)n};
        if (n == unit->n)
            add_whole(e, at, choice);
        else if (unit->allowed & 1u)
            add_modes(e, at, choice);
    }
}

static void list_ways(struct enumeration *e, int at)
{
    const struct unit *unit = &e->cost->units->items[e->first + at];
    if (unit->allowed & 1u)
        add_modes(e, at, (struct choice){0});
    for (int d = 1; d < e->cost->machine->n_devices; d++) {
        if (!(unit->allowed >> d & 1u))
            continue;
        if (unit->kind == UNIT_EXPERTS)
            add_experts(e, at, d);
        else
            add_whole(e, at, (struct choice){.device = (int8_t)d});
    }
}

/* --- options of a layer ----------------------------------------------------------------------- */

/* Of those that take the same memory and lead to the same state, the fastest; of equals the first.
 */
static void add_option(struct enumeration *e, int place, const struct cost_state *behind)
{
    struct option_list *list = e->list;
    struct cost_state state = *behind;
    double prefill_s;
    e->now.out = state_number(e->cost, state);
    e->now.time_s = cost_turn_s(e->cost, e->each, e->n, &state, &prefill_s);
    int *fastest = e->fastest ? &e->fastest[place * options_n_states(e->cost) + e->now.out] : NULL;
    if (fastest && *fastest) {
        if (e->now.time_s < list->items[*fastest - 1].time_s)
            list->items[*fastest - 1] = e->now;
        return;
    }
    struct option *grown =
        mem_grow(list->items, &list->capacity, list->count + 1, sizeof *list->items);
    e->failed |= !grown;
    if (!grown)
        return;
    list->items = grown;
    grown[list->count++] = e->now;
    if (fastest)
        *fastest = (int)list->count;
}

static void enumerate(struct enumeration *e, int at, int place, const struct cost_state *state)
{
    if (at == e->n || at >= UNITS_PER_LAYER) { /* than which n is never more */
        add_option(e, place, state);
        return;
    }
    const struct unit *unit = &e->cost->units->items[e->first + at];
    const struct way_list *ways = &e->ways[at];
    for (size_t i = 0; i < ways->count && !e->failed; i++) {
        const struct way *way = &ways->items[i];
        struct cost_state behind = *state;
        uint64_t bytes = options_bytes(unit, way->choice);
        e->each[at] = way->work;
        cost_hops(e->cost, unit, way->choice, &behind, &e->each[at]);
        e->now.choices[at] = way->choice;
        e->now.bytes[way->choice.device] += bytes;
        enumerate(e, at + 1, place * ways->n_places + way->place, &behind);
        e->now.bytes[way->choice.device] -= bytes;
    }
}

/* At least as good in everything; of equals the first. */
static bool beats(const struct option *a, const struct option *b, int n_devices)
{
    if (a->out != b->out || a->time_s > b->time_s)
        return false;
    for (int d = 1; d < n_devices; d++)
        if (a->bytes[d] > b->bytes[d])
            return false;
    return true;
}

static void prune_options(struct option_list *list, int n_devices)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        bool beaten = false;
        for (size_t k = 0; k < kept && !beaten; k++)
            beaten = beats(&list->items[k], &list->items[i], n_devices);
        if (beaten)
            continue;
        struct option one = list->items[i];
        size_t left = 0;
        for (size_t k = 0; k < kept; k++)
            if (!beats(&one, &list->items[k], n_devices))
                list->items[left++] = list->items[k];
        list->items[left++] = one;
        kept = left;
    }
    list->count = kept;
}

static void list_state(struct enumeration *e, int state, size_t n_fastest, bool prune)
{
    struct cost_state before = options_state(e->cost, state);
    if (e->fastest)
        memset(e->fastest, 0, n_fastest * sizeof *e->fastest);
    enumerate(e, 0, 0, &before);
    if (prune)
        prune_options(e->list, e->cost->machine->n_devices);
}

enum hth_status options_list(struct option_list out[OPTION_STATES], const struct cost *cost,
                             int layer, bool prune)
{
    const int *first = &cost->units->layer_first[layer];
    int n_states = options_n_states(cost);
    struct enumeration e = {.cost = cost, .first = first[0], .n = first[1] - first[0]};
    size_t n_fastest = (size_t)n_states;
    memset(out, 0, OPTION_STATES * sizeof *out);
    for (int at = 0; at < e.n; at++) {
        list_ways(&e, at);
        n_fastest *= (size_t)e.ways[at].n_places;
    }
    if (prune && n_fastest > 0) {
        e.fastest = mem_calloc(n_fastest, sizeof *e.fastest);
        e.failed |= !e.fastest;
    }
    for (int state = 0; state < n_states && !e.failed; state++) {
        e.list = &out[state];
        list_state(&e, state, n_fastest, prune);
    }
    for (int at = 0; at < e.n; at++)
        mem_free(e.ways[at].items);
    mem_free(e.fastest);
    return e.failed ? HTH_ERROR_MEMORY : HTH_OK;
}

void options_free(struct option_list lists[OPTION_STATES])
{
    for (int state = 0; state < OPTION_STATES; state++)
        mem_free(lists[state].items);
}

/* --- chains ----------------------------------------------------------------------------------- */

static bool same_layer(const struct units *units, int a, int b)
{
    int n = units->layer_first[a + 1] - units->layer_first[a];
    const struct unit *x = &units->items[units->layer_first[a]];
    const struct unit *y = &units->items[units->layer_first[b]];
    if (n != units->layer_first[b + 1] - units->layer_first[b])
        return false;
    for (int i = 0; i < n; i++)
        if (x[i].kind != y[i].kind || x[i].bytes != y[i].bytes || x[i].elems != y[i].elems ||
            x[i].n_ops != y[i].n_ops || x[i].n_cpu_ops != y[i].n_cpu_ops ||
            x[i].n_copies != y[i].n_copies || x[i].n != y[i].n || x[i].n_used != y[i].n_used ||
            x[i].allowed != y[i].allowed || !units_alike(units, &x[i], &y[i]))
            return false;
    return true;
}

/* The first layer of a kind; the list is short where there are many layers. */
static int first_of_kind(const struct chain *chain, int kind)
{
    int layer = 0;
    while (chain->kind_of[layer] != kind)
        layer++;
    return layer;
}

enum hth_status chain_create(struct chain *out, const struct cost *cost, const struct log *log)
{
    int n_layers = cost->units->n_layers + 1;
    *out = (struct chain){.cost = cost,
                          .n_layers = n_layers,
                          .n_states = options_n_states(cost),
                          .n_devices = cost->machine->n_devices};
    out->kind_of = mem_calloc((size_t)n_layers, sizeof *out->kind_of);
    out->lists = mem_calloc((size_t)n_layers, sizeof *out->lists);
    bool there = out->kind_of && out->lists;
    for (int l = 0; l < n_layers && there; l++) {
        int kind = 0;
        while (kind < out->n_kinds && !same_layer(cost->units, l, first_of_kind(out, kind)))
            kind++;
        out->kind_of[l] = kind;
        if (kind == out->n_kinds)
            there = options_list(out->lists[out->n_kinds++], cost, l, true) == HTH_OK;
    }
    return there ? HTH_OK : log_fail_memory(log, "ways to place a layer", sizeof(struct option));
}

void chain_free(struct chain *chain)
{
    for (int kind = 0; kind < chain->n_kinds; kind++)
        options_free(chain->lists[kind]);
    mem_free(chain->lists);
    mem_free(chain->kind_of);
    *chain = (struct chain){0};
}

void chain_choose(const struct chain *chain, const int *way, struct choice *choices)
{
    const struct units *units = chain->cost->units;
    for (int l = 0, state = 0; l < chain->n_layers; l++) {
        const struct option *option = &chain_options(chain, l, state)->items[way[l]];
        memcpy(&choices[units->layer_first[l]], option->choices,
               (size_t)(units->layer_first[l + 1] - units->layer_first[l]) * sizeof *choices);
        state = option->out;
    }
}
