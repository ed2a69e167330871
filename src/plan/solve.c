#include "plan/solve.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

struct cost_state solve_state(const struct cost *cost, int state)
{
    int n = cost->machine->n_devices;
    return state == n ? (struct cost_state){0, (int8_t)cost->stream_device}
                      : (struct cost_state){(int8_t)state, (int8_t)state};
}

static int state_number(const struct cost *cost, struct cost_state state)
{
    return state.decode || !state.prefill ? state.decode : cost->machine->n_devices;
}

/* --- options of a layer ----------------------------------------------------------------------- */

struct enumeration {
    struct option_list *list;
    const struct cost *cost;
    int layer, state;
    struct option now;
    bool failed;
};

static uint64_t bytes_on_device(const struct unit *unit, struct choice choice)
{
    if (choice.device == 0)
        return 0;
    return unit->bytes * (uint64_t)(unit->kind == UNIT_EXPERTS ? choice.resident : 1);
}

static void enumerate(struct enumeration *e, int at);

static void take(struct enumeration *e, int at, struct choice choice)
{
    const struct units *units = e->cost->units;
    const struct unit *unit = &units->items[units->layer_first[e->layer] + at];
    uint64_t bytes = bytes_on_device(unit, choice);
    e->now.choices[at] = choice;
    e->now.bytes[choice.device] += bytes;
    enumerate(e, at + 1);
    e->now.bytes[choice.device] -= bytes;
}

/* Some of a layer's experts: fewer steps where there are many, as layers may differ. */
static void take_experts(struct enumeration *e, int at, const struct unit *unit, int device)
{
    static const int sixteenths[] = {1, 2, 4, 6, 8, 12, 16};
    int last = 0, modes = unit->allowed & 1u ? PREFILL_MODES : 0;
    for (size_t i = 0; i < ARRAY_LEN(sixteenths); i++) {
        int n = unit->n * sixteenths[i] / 16;
        bool all = n == unit->n;
        if (n == last || (!all && modes == 0))
            continue;
        last = n;
        for (int mode = 0; mode < (all ? 1 : modes); mode++)
            if (mode == PREFILL_CPU || e->cost->stream_device)
                take(e, at, (struct choice){(int8_t)device, (uint8_t)mode, (int16_t)n});
    }
}

static void add_option(struct enumeration *e)
{
    struct option_list *list = e->list;
    struct cost_state state = solve_state(e->cost, e->state);
    struct cost_parts parts;
    e->now.time_s = cost_layer(e->cost, e->layer, e->now.choices, &state, &parts);
    e->now.out = state_number(e->cost, state);
    struct option *grown =
        mem_grow(list->items, &list->capacity, list->count + 1, sizeof *list->items);
    e->failed |= !grown;
    if (!grown)
        return;
    list->items = grown;
    grown[list->count++] = e->now;
}

static void enumerate(struct enumeration *e, int at)
{
    const struct units *units = e->cost->units;
    int first = units->layer_first[e->layer];
    if (e->failed)
        return;
    if (first + at == units->layer_first[e->layer + 1]) {
        add_option(e);
        return;
    }
    const struct unit *unit = &units->items[first + at];
    int modes = e->cost->stream_device && unit->kind != UNIT_HEAD ? PREFILL_MODES : 1;
    for (int mode = 0; mode < modes && unit->allowed & 1u; mode++)
        take(e, at, (struct choice){.mode = (uint8_t)mode});
    for (int d = 1; d < e->cost->machine->n_devices; d++) {
        if (!(unit->allowed >> d & 1u))
            continue;
        if (unit->kind == UNIT_EXPERTS)
            take_experts(e, at, unit, d);
        else
            take(e, at, (struct choice){.device = (int8_t)d});
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

enum hth_status solve_options(struct option_list *out, const struct cost *cost, int layer,
                              int state, bool prune)
{
    struct enumeration e = {.list = out, .cost = cost, .layer = layer, .state = state};
    *out = (struct option_list){0};
    enumerate(&e, 0);
    if (e.failed) {
        mem_free(out->items);
        *out = (struct option_list){0};
        return HTH_ERROR_MEMORY;
    }
    if (prune)
        prune_options(out, cost->machine->n_devices);
    return HTH_OK;
}

/* --- labels ----------------------------------------------------------------------------------- */

/* The fastest way to an amount of memory: [state][cell]. */
struct label {
    double time_s; /* infinite: none */
    uint64_t bytes[MACHINE_MAX_DEVICES - 1];
};

struct step_back {
    int32_t label;
    int16_t option;
};

enum { MAX_STATES = MACHINE_MAX_DEVICES + 1 };

struct solver {
    const struct cost *cost;
    int n_devices, n_states, n_layers;
    struct option_list (*options)[MAX_STATES]; /* [n_kinds]: of layers that look alike */
    int *first_of_kind, *kind_of, n_kinds;     /* [n_layers] each */
    uint64_t capacity[MACHINE_MAX_DEVICES];
    int shift[MACHINE_MAX_DEVICES];   /* bytes >> shift is the cell along a device */
    size_t last[MACHINE_MAX_DEVICES]; /* the cell that holds the capacity */
    size_t stride[MACHINE_MAX_DEVICES], n_cells;
    struct label *now, *next;
    struct step_back *back; /* [n_layers][n_states × n_cells] */
};

static bool same_layer(const struct units *units, int a, int b)
{
    int n = units->layer_first[a + 1] - units->layer_first[a];
    const struct unit *x = &units->items[units->layer_first[a]];
    const struct unit *y = &units->items[units->layer_first[b]];
    if (n != units->layer_first[b + 1] - units->layer_first[b])
        return false;
    for (int i = 0; i < n; i++)
        if (x[i].kind != y[i].kind || x[i].bytes != y[i].bytes || x[i].elems != y[i].elems ||
            x[i].n_ops != y[i].n_ops || x[i].n != y[i].n || x[i].n_used != y[i].n_used ||
            x[i].allowed != y[i].allowed)
            return false;
    return true;
}

static enum hth_status list_options(struct solver *s, const struct log *log)
{
    for (int l = 0; l < s->n_layers; l++) {
        int kind = 0;
        while (kind < s->n_kinds && !same_layer(s->cost->units, l, s->first_of_kind[kind]))
            kind++;
        s->kind_of[l] = kind;
        if (kind < s->n_kinds)
            continue;
        s->first_of_kind[s->n_kinds++] = l;
        for (int state = 0; state < s->n_states; state++)
            if (solve_options(&s->options[kind][state], s->cost, l, state, true))
                return log_fail_memory(log, "ways to place a layer", sizeof(struct option));
    }
    return HTH_OK;
}

/* How finely memory is told apart: a power of two of cells, as many as there is time for; steps of
 * bytes are powers of two as well, the same for a little more memory, so that a plan for less of it
 * is found again. */
static void choose_cells(struct solver *s)
{
    enum { MOST_WORK = 3 << 20, MOST_CELLS_LOG2 = 11, LEAST_CELLS_LOG2 = 4 };
    double work = 0;
    int n_gpus = s->n_devices - 1, log2_cells = LEAST_CELLS_LOG2;
    for (int l = 0; l < s->n_layers; l++)
        for (int state = 0; state < s->n_states; state++)
            work += (double)s->options[s->kind_of[l]][state].count;
    while (log2_cells < MOST_CELLS_LOG2 && n_gpus > 0 &&
           work * pow(2, (log2_cells + 1) * n_gpus) <= MOST_WORK)
        log2_cells++;
    s->n_cells = 1;
    for (int d = 1; d < s->n_devices; d++) {
        for (s->shift[d] = 0; s->capacity[d] >> s->shift[d] >> log2_cells; s->shift[d]++)
            ;
        s->last[d] = (size_t)(s->capacity[d] >> s->shift[d]);
        s->stride[d] = s->n_cells;
        s->n_cells *= s->last[d] + 1;
    }
}

static void relax(struct solver *s, int layer, size_t from, const struct option *option, int number)
{
    const struct label *label = &s->now[from];
    struct label to = {.time_s = label->time_s + option->time_s};
    size_t cell = (size_t)option->out * s->n_cells;
    for (int d = 1; d < s->n_devices; d++) {
        to.bytes[d - 1] = label->bytes[d - 1] + option->bytes[d];
        size_t along = (size_t)(to.bytes[d - 1] >> s->shift[d]);
        if (along > s->last[d])
            return;
        cell += along * s->stride[d];
    }
    if (to.time_s >= s->next[cell].time_s)
        return;
    s->next[cell] = to;
    s->back[(size_t)layer * (size_t)s->n_states * s->n_cells + cell] =
        (struct step_back){(int32_t)from, (int16_t)number};
}

static void clear_labels(const struct solver *s, struct label *labels)
{
    for (size_t i = 0; i < (size_t)s->n_states * s->n_cells; i++)
        labels[i].time_s = INFINITY;
}

static void walk(struct solver *s)
{
    clear_labels(s, s->now);
    s->now[0] = (struct label){0}; /* embedding rows come from the host */
    for (int l = 0; l < s->n_layers; l++) {
        clear_labels(s, s->next);
        for (int state = 0; state < s->n_states; state++) {
            const struct option_list *list = &s->options[s->kind_of[l]][state];
            for (size_t cell = 0; cell < s->n_cells; cell++) {
                size_t from = (size_t)state * s->n_cells + cell;
                if (isinf(s->now[from].time_s))
                    continue;
                for (size_t o = 0; o < list->count; o++)
                    relax(s, l, from, &list->items[o], (int)o);
            }
        }
        struct label *swap = s->now;
        s->now = s->next;
        s->next = swap;
    }
}

static bool fits(const struct solver *s, const struct label *label)
{
    for (int d = 1; d < s->n_devices; d++)
        if (label->bytes[d - 1] > s->capacity[d])
            return false;
    return true;
}

static void trace(const struct solver *s, struct choice *choices, double *turn_s)
{
    const struct units *units = s->cost->units;
    size_t row = (size_t)s->n_states * s->n_cells, at = row;
    *turn_s = INFINITY;
    for (size_t i = 0; i < row; i++)
        if (s->now[i].time_s < *turn_s && fits(s, &s->now[i])) {
            *turn_s = s->now[i].time_s;
            at = i;
        }
    for (int l = s->n_layers - 1; l >= 0 && at < row; l--) {
        struct step_back back = s->back[(size_t)l * row + at];
        int state = (int)((size_t)back.label / s->n_cells), first = units->layer_first[l];
        memcpy(&choices[first], s->options[s->kind_of[l]][state].items[back.option].choices,
               (size_t)(units->layer_first[l + 1] - first) * sizeof *choices);
        at = (size_t)back.label;
    }
}

enum hth_status solve(const struct cost *cost, const uint64_t capacity[MACHINE_MAX_DEVICES],
                      struct choice *choices, double *turn_s, const struct log *log)
{
    struct solver s = {.cost = cost,
                       .n_devices = cost->machine->n_devices,
                       .n_states = solve_n_states(cost),
                       .n_layers = cost->units->n_layers + 1};
    *turn_s = INFINITY;
    memcpy(s.capacity, capacity, sizeof s.capacity);
    size_t n = (size_t)s.n_layers;
    s.kind_of = mem_calloc(n, sizeof *s.kind_of);
    s.first_of_kind = mem_calloc(n, sizeof *s.first_of_kind);
    s.options = mem_calloc(n, sizeof *s.options);
    enum hth_status status = s.kind_of && s.first_of_kind && s.options
                                 ? list_options(&s, log)
                                 : log_fail_memory(log, "a plan", n * sizeof *s.options);
    if (status == HTH_OK) {
        choose_cells(&s);
        size_t row = (size_t)s.n_states * s.n_cells;
        s.now = mem_calloc(row, sizeof *s.now);
        s.next = mem_calloc(row, sizeof *s.next);
        s.back = mem_calloc(row * (size_t)s.n_layers, sizeof *s.back);
        if (!s.now || !s.next || !s.back)
            status = log_fail_memory(log, "a plan", row * (size_t)s.n_layers * sizeof *s.back);
    }
    if (status == HTH_OK) {
        walk(&s);
        trace(&s, choices, turn_s);
    }
    for (int kind = 0; kind < s.n_kinds; kind++)
        for (int state = 0; state < s.n_states; state++)
            mem_free(s.options[kind][state].items);
    mem_free(s.options);
    mem_free(s.first_of_kind);
    mem_free(s.kind_of);
    mem_free(s.now);
    mem_free(s.next);
    mem_free(s.back);
    return status;
}

double solve_evaluate(const struct cost *cost, const struct choice *choices,
                      uint64_t bytes[MACHINE_MAX_DEVICES])
{
    const struct units *units = cost->units;
    struct cost_state state = solve_state(cost, 0);
    double turn_s = 0;
    memset(bytes, 0, MACHINE_MAX_DEVICES * sizeof *bytes);
    for (int l = 0; l <= units->n_layers; l++) {
        struct cost_parts parts;
        turn_s += cost_layer(cost, l, &choices[units->layer_first[l]], &state, &parts);
    }
    for (int i = 0; i < units->n_units; i++)
        bytes[choices[i].device] += bytes_on_device(&units->items[i], choices[i]);
    return turn_s;
}
