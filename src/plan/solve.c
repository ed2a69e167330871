#include "plan/solve.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "plan/search.h"

struct cost_state solve_state(const struct cost *cost, int state)
{
    int n = cost->machine->n_devices;
    return state == n ? (struct cost_state){0, (int8_t)cost->stream_device, -1}
                      : (struct cost_state){(int8_t)state, (int8_t)state, -1};
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

/* Some of a layer's experts: any number of few, steps of many, as layers may differ. */
static void take_experts(struct enumeration *e, int at, const struct unit *unit, int device)
{
    static const int sixteenths[] = {1, 2, 4, 6, 8, 12, 16};
    enum { FEW = 16 };
    int modes = unit->allowed & 1u ? PREFILL_MODES : 0;
    int steps = unit->n <= FEW ? unit->n : (int)ARRAY_LEN(sixteenths);
    for (int i = 0; i < steps; i++) {
        int n = unit->n <= FEW ? i + 1 : unit->n * sixteenths[i] / 16;
        bool all = n == unit->n;
        if (!all && modes == 0)
            continue;
        for (int mode = 0; mode < (all ? 1 : modes); mode++)
            if (cost_allows(e->cost, unit, (enum prefill_mode)mode))
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
    for (int mode = 0; mode < PREFILL_MODES && unit->allowed & 1u; mode++)
        if (cost_allows(e->cost, unit, (enum prefill_mode)mode))
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
    double rank;   /* the same and a price for memory: of a cell's labels the least stays */
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
    int shift[MACHINE_MAX_DEVICES];        /* bytes >> shift is the cell along a device */
    size_t last[MACHINE_MAX_DEVICES];      /* the last cell */
    uint64_t (*base)[MACHINE_MAX_DEVICES]; /* [n_layers + 1]: bytes where cells begin */
    double price[MACHINE_MAX_DEVICES];     /* seconds per byte */
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
            x[i].n_ops != y[i].n_ops || x[i].n_cpu_ops != y[i].n_cpu_ops ||
            x[i].n_copies != y[i].n_copies || x[i].n != y[i].n || x[i].n_used != y[i].n_used ||
            x[i].allowed != y[i].allowed || !units_alike(units, &x[i], &y[i]))
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
    enum {
        FEW_LAYERS = 16,
        WORK_FEW = 32 << 20,
        WORK_MANY = 2 << 20,
        MOST_CELLS_LOG2 = 11,
        LEAST_CELLS_LOG2 = 4
    };
    double work = 0;
    int n_gpus = s->n_devices - 1, log2_cells = LEAST_CELLS_LOG2;
    for (int l = 0; l < s->n_layers; l++)
        for (int state = 0; state < s->n_states; state++)
            work += (double)s->options[s->kind_of[l]][state].count;
    while (log2_cells < MOST_CELLS_LOG2 && n_gpus > 0 &&
           work * pow(2, (log2_cells + 1) * n_gpus) <=
               (s->n_layers <= FEW_LAYERS ? WORK_FEW : WORK_MANY))
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
        uint64_t base = s->base[layer + 1][d];
        size_t along = (size_t)((to.bytes[d - 1] - base) >> s->shift[d]);
        if (to.bytes[d - 1] < base || along > s->last[d])
            return;
        cell += along * s->stride[d];
        to.rank += s->price[d] * (double)to.bytes[d - 1];
    }
    to.rank += to.time_s;
    if (to.rank >= s->next[cell].rank)
        return;
    s->next[cell] = to;
    s->back[(size_t)layer * (size_t)s->n_states * s->n_cells + cell] =
        (struct step_back){(int32_t)from, (int16_t)number};
}

static void clear_labels(const struct solver *s, struct label *labels)
{
    for (size_t i = 0; i < (size_t)s->n_states * s->n_cells; i++)
        labels[i].time_s = labels[i].rank = INFINITY;
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

/* The fastest that fits, if it is faster than *turn_s. */
static void trace(const struct solver *s, struct choice *choices, double *turn_s)
{
    const struct units *units = s->cost->units;
    size_t row = (size_t)s->n_states * s->n_cells, at = row;
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

/* What memory is worth at the limit, by what a tenth less of it costs. Labels of one cell differ a
 * little in memory: with a price on it, the one that is better in the end stays. */
static void set_prices(struct solver *s)
{
    for (int d = 1; d < s->n_devices; d++) {
        double all = INFINITY, less = INFINITY, tenth = (double)s->capacity[d] / 10;
        for (size_t i = 0; i < (size_t)s->n_states * s->n_cells; i++) {
            const struct label *label = &s->now[i];
            if (isinf(label->time_s) || !fits(s, label))
                continue;
            all = label->time_s < all ? label->time_s : all;
            if ((double)label->bytes[d - 1] <= 9 * tenth && label->time_s < less)
                less = label->time_s;
        }
        if (isfinite(less) && tenth > 0)
            s->price[d] = (less - all) / tenth;
    }
}

/* Cells of half the size, around the way that the choices go. */
static void look_closer(struct solver *s, const struct choice *choices)
{
    const struct units *units = s->cost->units;
    uint64_t bytes[MACHINE_MAX_DEVICES] = {0};
    for (int d = 1; d < s->n_devices; d++)
        s->shift[d] = s->shift[d] > 1 ? s->shift[d] - 1 : 0;
    for (int l = 0; l <= s->n_layers; l++) {
        for (int d = 1; d < s->n_devices; d++) {
            uint64_t half = (uint64_t)(s->last[d] + 1) << s->shift[d] >> 1;
            s->base[l][d] = bytes[d] > half ? bytes[d] - half : 0;
        }
        for (int i = units->layer_first[l]; l < s->n_layers && i < units->layer_first[l + 1]; i++)
            bytes[choices[i].device] += bytes_on_device(&units->items[i], choices[i]);
    }
}

/* Cells in several dimensions are coarse: once more with a price on memory, then closer around the
 * way that this showed, and closer. */
static void refine(struct solver *s, struct choice *choices, double *turn_s)
{
    enum { CLOSER = 4 };
    set_prices(s);
    for (int i = 0; i < CLOSER; i++) {
        walk(s);
        trace(s, choices, turn_s);
        look_closer(s, choices);
    }
}

/* --- two layers at a time --------------------------------------------------------------------- */

/* A placement by its options: what layers trade with each other. */
struct trade {
    int *state, *option; /* [n_layers]: the state before, and the option in its list */
    uint64_t bytes[MACHINE_MAX_DEVICES];
};

static const struct option_list *options_of(const void *user, int layer, int state)
{
    const struct solver *s = user;
    return &s->options[s->kind_of[layer]][state];
}

static const struct option_list *list_of(const struct solver *s, const struct trade *t, int layer)
{
    return options_of(s, layer, t->state[layer]);
}

static void find_trade(const struct solver *s, const struct choice *choices, struct trade *t)
{
    const struct units *units = s->cost->units;
    int state = 0;
    memset(t->bytes, 0, sizeof t->bytes);
    for (int l = 0; l < s->n_layers; l++) {
        size_t n = (size_t)(units->layer_first[l + 1] - units->layer_first[l]), o = 0;
        t->state[l] = state;
        const struct option_list *list = list_of(s, t, l);
        while (memcmp(list->items[o].choices, &choices[units->layer_first[l]],
                      n * sizeof *choices) != 0)
            o++;
        t->option[l] = (int)o;
        for (int d = 1; d < s->n_devices; d++)
            t->bytes[d] += list->items[o].bytes[d];
        state = list->items[o].out;
    }
}

/* The memory that is in use when `from` becomes `to` fits. */
static bool swap_bytes(const struct solver *s, uint64_t bytes[MACHINE_MAX_DEVICES],
                       const struct option *from, const struct option *to)
{
    bool fit = true;
    for (int d = 1; d < s->n_devices; d++) {
        bytes[d] = bytes[d] - from->bytes[d] + to->bytes[d];
        fit &= bytes[d] <= s->capacity[d];
    }
    return fit;
}

/* The best change of layer b after layer a has changed, both leaving the states behind them. */
static bool trade_pair(const struct solver *s, struct trade *t, int a, int b)
{
    const struct option_list *la = list_of(s, t, a), *lb = list_of(s, t, b);
    const struct option *now_a = &la->items[t->option[a]], *now_b = &lb->items[t->option[b]];
    double best_s = -1e-9 * (now_a->time_s + now_b->time_s);
    int best_a = -1, best_b = -1;
    for (size_t i = 0; i < la->count; i++) {
        const struct option *to_a = &la->items[i];
        uint64_t after_a[MACHINE_MAX_DEVICES];
        if (to_a->out != now_a->out)
            continue;
        memcpy(after_a, t->bytes, sizeof after_a);
        (void)swap_bytes(s, after_a, now_a, to_a);
        for (size_t k = 0; k < lb->count; k++) {
            const struct option *to_b = &lb->items[k];
            double change_s = to_a->time_s - now_a->time_s + to_b->time_s - now_b->time_s;
            uint64_t after[MACHINE_MAX_DEVICES];
            if (to_b->out != now_b->out || change_s >= best_s)
                continue;
            memcpy(after, after_a, sizeof after);
            if (!swap_bytes(s, after, now_b, to_b))
                continue;
            best_s = change_s;
            best_a = (int)i;
            best_b = (int)k;
        }
    }
    if (best_a < 0)
        return false;
    (void)swap_bytes(s, t->bytes, now_a, &la->items[best_a]);
    (void)swap_bytes(s, t->bytes, now_b, &lb->items[best_b]);
    t->option[a] = best_a;
    t->option[b] = best_b;
    return true;
}

static void trade_all(const struct solver *s, struct trade *t)
{
    enum { MOST_ROUNDS = 8 };
    bool better = true;
    for (int round = 0; round < MOST_ROUNDS && better; round++) {
        better = false;
        for (int a = 0; a < s->n_layers; a++)
            for (int b = a + 1; b < s->n_layers; b++)
                better |= trade_pair(s, t, a, b);
    }
}

/* The choices of a way through the layers, whose options have these numbers. */
static void choose(const struct solver *s, const int *way, struct choice *choices)
{
    const struct units *units = s->cost->units;
    for (int l = 0, state = 0; l < s->n_layers; l++) {
        const struct option *option = &options_of(s, l, state)->items[way[l]];
        memcpy(&choices[units->layer_first[l]], option->choices,
               (size_t)(units->layer_first[l + 1] - units->layer_first[l]) * sizeof *choices);
        state = option->out;
    }
}

static enum hth_status improve(const struct solver *s, struct choice *choices, double *turn_s,
                               const struct log *log)
{
    size_t n = (size_t)s->n_layers;
    uint64_t bytes[MACHINE_MAX_DEVICES];
    struct trade t = {mem_calloc(n, sizeof *t.state), mem_calloc(n, sizeof *t.option), {0}};
    struct search search = {s->n_layers, s->n_states, s->n_devices, options_of, s, {0}};
    enum hth_status status =
        t.state && t.option ? HTH_OK : log_fail_memory(log, "a plan", n * sizeof *t.option);
    memcpy(search.capacity, s->capacity, sizeof search.capacity);
    if (status == HTH_OK) {
        find_trade(s, choices, &t);
        trade_all(s, &t);
        choose(s, t.option, choices);
        *turn_s = solve_evaluate(s->cost, choices, bytes);
        status = search_faster(&search, t.option, turn_s, log);
    }
    if (status == HTH_OK)
        choose(s, t.option, choices);
    mem_free(t.state);
    mem_free(t.option);
    return status;
}

/* --- all of it -------------------------------------------------------------------------------- */

static enum hth_status alloc_labels(struct solver *s, const struct log *log)
{
    size_t row = (size_t)s->n_states * s->n_cells;
    s->now = mem_calloc(row, sizeof *s->now);
    s->next = mem_calloc(row, sizeof *s->next);
    s->back = mem_calloc(row * (size_t)s->n_layers, sizeof *s->back);
    return s->now && s->next && s->back
               ? HTH_OK
               : log_fail_memory(log, "a plan", row * (size_t)s->n_layers * sizeof *s->back);
}

static void free_solver(struct solver *s)
{
    for (int kind = 0; kind < s->n_kinds; kind++)
        for (int state = 0; state < s->n_states; state++)
            mem_free(s->options[kind][state].items);
    mem_free(s->options);
    mem_free(s->first_of_kind);
    mem_free(s->kind_of);
    mem_free(s->base);
    mem_free(s->now);
    mem_free(s->next);
    mem_free(s->back);
}

static enum hth_status solve_once(const struct cost *cost,
                                  const uint64_t capacity[MACHINE_MAX_DEVICES],
                                  struct choice *choices, double *turn_s, const struct log *log)
{
    struct solver s = {.cost = cost,
                       .n_devices = cost->machine->n_devices,
                       .n_states = solve_n_states(cost),
                       .n_layers = cost->units->n_layers + 1};
    size_t n = (size_t)s.n_layers;
    *turn_s = INFINITY;
    memcpy(s.capacity, capacity, sizeof s.capacity);
    s.kind_of = mem_calloc(n, sizeof *s.kind_of);
    s.first_of_kind = mem_calloc(n, sizeof *s.first_of_kind);
    s.options = mem_calloc(n, sizeof *s.options);
    s.base = mem_calloc(n + 1, sizeof *s.base);
    enum hth_status status = s.kind_of && s.first_of_kind && s.options && s.base
                                 ? list_options(&s, log)
                                 : log_fail_memory(log, "a plan", n * sizeof *s.options);
    if (status == HTH_OK) {
        choose_cells(&s);
        status = alloc_labels(&s, log);
    }
    if (status == HTH_OK) {
        walk(&s);
        trace(&s, choices, turn_s);
    }
    if (status == HTH_OK && s.n_devices > 2 && isfinite(*turn_s))
        refine(&s, choices, turn_s);
    if (status == HTH_OK && s.n_devices > 2 && isfinite(*turn_s))
        status = improve(&s, choices, turn_s, log);
    free_solver(&s);
    return status;
}

enum hth_status solve(const struct cost *cost, const uint64_t capacity[MACHINE_MAX_DEVICES],
                      struct choice *choices, double *turn_s, const struct log *log)
{
    enum hth_status status = solve_once(cost, capacity, choices, turn_s, log);
    size_t n = (size_t)cost->units->n_units;
    /* Above a power of two amounts are told apart half as finely: just above it, the plan for the
     * finer half may be better. */
    for (int d = 1; d < cost->machine->n_devices && status == HTH_OK; d++) {
        uint64_t less[MACHINE_MAX_DEVICES], power = 1;
        while (power <= capacity[d] / 2)
            power *= 2;
        if (capacity[d] < power || capacity[d] > power + power / 4)
            continue;
        memcpy(less, capacity, sizeof less);
        less[d] = power - 1;
        struct choice *other = mem_calloc(n, sizeof *other);
        double other_s = INFINITY;
        status = other ? solve_once(cost, less, other, &other_s, log)
                       : log_fail_memory(log, "a plan", n * sizeof *other);
        if (status == HTH_OK && other_s < *turn_s) {
            memcpy(choices, other, n * sizeof *other);
            *turn_s = other_s;
        }
        mem_free(other);
    }
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
