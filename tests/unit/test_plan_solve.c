/* cost: 200 */
/* The solver against a branch and bound that looks at every placement, on invented cases. */
#include "harness/invented.h"
#include "harness/test.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/os.h"
#include "plan/prices.h"
#include "plan/solve.h"

/* --- branch and bound ------------------------------------------------------------------------- */

/* Is there any placement faster than `target`? Layer by layer, best options first; a branch ends
 * where even the relaxation cannot get there: memory for a price instead of a limit (Lagrange),
 * at the best of several prices, the rest of the layers walked exactly. */

enum { PRICES = 14, MOST_LAYERS = 16, MOST_NODES = 5 * 1000 * 1000 };

struct exact {
    const struct cost *cost;
    struct option_list options[MOST_LAYERS][OPTION_STATES];
    int n_layers, n_states, n_gpus, n_prices;
    double price[PRICES * PRICES][MACHINE_MAX_DEVICES];
    double least[MOST_LAYERS + 1][OPTION_STATES][PRICES * PRICES];
    double target;
    long n_nodes;
};

/* Placements of the first layers that leave the same memory: the slower of them is given up. */
struct seen {
    double room[2], time_s;
    int layer, state;
};
enum { SEEN = 1 << 18 };
static struct seen seen[SEEN];

static bool was_faster(int layer, int state, double time_s, const double *room)
{
    uint64_t hash = ((uint64_t)room[1] * 0x9e3779b97f4a7c15u) ^
                    ((uint64_t)room[2] * 0xc2b2ae3d27d4eb4fu) ^
                    (uint64_t)(layer * OPTION_STATES + state) * 0x165667b19e3779f9u;
    struct seen *entry = &seen[(hash ^ hash >> 31) % SEEN];
    bool same = entry->layer == layer && entry->state == state && entry->room[0] == room[1] &&
                entry->room[1] == room[2];
    if (same && entry->time_s <= time_s)
        return true;
    *entry = (struct seen){{room[1], room[2]}, time_s, layer, state};
    return false;
}

static int by_time(const void *a, const void *b)
{
    double x = ((const struct option *)a)->time_s, y = ((const struct option *)b)->time_s;
    return (x > y) - (x < y);
}

/* Sorted by time, an option goes when one before it takes no more memory anywhere. */
static void drop_beaten(struct option_list *list, int n_gpus)
{
    size_t kept = 0;
    qsort(list->items, list->count, sizeof *list->items, by_time);
    for (size_t i = 0; i < list->count; i++) {
        bool beaten = false;
        for (size_t k = 0; k < kept && !beaten; k++) {
            beaten = list->items[k].out == list->items[i].out;
            for (int d = 1; d <= n_gpus && beaten; d++)
                beaten = list->items[k].bytes[d] <= list->items[i].bytes[d];
        }
        if (!beaten)
            list->items[kept++] = list->items[i];
    }
    list->count = kept;
}

static void relax_all(struct exact *e)
{
    for (int p = 0; p < e->n_prices; p++)
        for (int l = e->n_layers; l >= 0; l--)
            for (int s = 0; s < e->n_states; s++) {
                double least = l == e->n_layers ? 0 : INFINITY;
                for (size_t o = 0; l < e->n_layers && o < e->options[l][s].count; o++) {
                    const struct option *option = &e->options[l][s].items[o];
                    double value = option->time_s + e->least[l + 1][option->out][p];
                    for (int d = 1; d <= e->n_gpus; d++)
                        value += e->price[p][d] * (double)option->bytes[d];
                    least = value < least ? value : least;
                }
                e->least[l][s][p] = least;
            }
}

static bool search(struct exact *e, int layer, int state, double time_s, const double *room)
{
    if (layer == e->n_layers)
        return time_s < e->target;
    if (e->n_nodes++ >= MOST_NODES)
        return false;
    for (int p = 0; p < e->n_prices; p++) {
        double bound = time_s + e->least[layer][state][p];
        for (int d = 1; d <= e->n_gpus; d++)
            bound -= e->price[p][d] * room[d];
        if (bound >= e->target)
            return false;
    }
    if (was_faster(layer, state, time_s, room))
        return false;
    const struct option_list *list = &e->options[layer][state];
    for (size_t o = 0; o < list->count; o++) {
        const struct option *option = &list->items[o];
        double left[MACHINE_MAX_DEVICES] = {0};
        bool fits = true;
        for (int d = 1; d <= e->n_gpus; d++) {
            left[d] = room[d] - (double)option->bytes[d];
            fits &= left[d] >= 0;
        }
        if (fits && search(e, layer + 1, option->out, time_s + option->time_s, left))
            return true;
    }
    return false;
}

/* Seconds of a turn per byte: none, and steps of `ratio` around a middle, for each GPU. */
static void set_prices(struct exact *e, const double *around, double ratio)
{
    int n2 = e->n_gpus == 2 ? PRICES : 1;
    e->n_prices = PRICES * n2;
    for (int p = 0; p < e->n_prices; p++)
        for (int d = 1; d <= e->n_gpus; d++) {
            int step = d == 1 ? p % PRICES : p / PRICES;
            e->price[p][d] = step ? around[d] * pow(ratio, step - PRICES / 2) : 0;
        }
}

static int best_price(const struct exact *e, const double *room)
{
    int best = 0;
    double highest = -INFINITY;
    for (int p = 0; p < e->n_prices; p++) {
        double bound = e->least[0][0][p];
        for (int d = 1; d <= e->n_gpus; d++)
            bound -= e->price[p][d] * room[d];
        if (bound > highest) {
            highest = bound;
            best = p;
        }
    }
    return best;
}

static int n_undecided; /* searches that had to be given up */

static bool faster_exists(const struct cost *cost, const uint64_t *capacity, double target)
{
    static struct exact e;
    double room[MACHINE_MAX_DEVICES] = {0};
    e = (struct exact){.cost = cost,
                       .n_layers = cost->units->n_layers + 1,
                       .n_states = options_n_states(cost),
                       .n_gpus = cost->machine->n_devices - 1,
                       .target = target};
    for (int l = 0; l < e.n_layers; l++) {
        assert_int_equal(options_list(e.options[l], cost, l, false), HTH_OK);
        for (int s = 0; s < e.n_states; s++)
            drop_beaten(&e.options[l][s], e.n_gpus);
    }
    for (int d = 1; d <= e.n_gpus; d++)
        room[d] = (double)capacity[d];
    double around[MACHINE_MAX_DEVICES] = {0, 5e-9, 5e-9};
    for (double ratio = 2; ratio > 1.05;
         ratio = sqrt(ratio)) { /* prices that bound best, closer each time */
        set_prices(&e, around, ratio);
        relax_all(&e);
        int best = best_price(&e, room);
        around[1] = e.price[best][1] > 0 ? e.price[best][1] : around[1];
        around[2] = e.price[best][2] > 0 ? e.price[best][2] : around[2];
    }
    memset(seen, 0, sizeof seen);
    bool found = search(&e, 0, 0, 0, room);
    for (int l = 0; l < e.n_layers; l++)
        options_free(e.options[l]);
    n_undecided += e.n_nodes >= MOST_NODES;
    return found;
}

/* --- cases ------------------------------------------------------------------------------------ */

struct example {
    struct units units;
    struct machine machine;
    struct cost cost;
    uint64_t capacity[MACHINE_MAX_DEVICES];
    struct choice choices[MOST_LAYERS * UNITS_PER_LAYER];
    double turn_s;
};

/* 20 to 30 units, one GPU or two, dense or with experts, memory for 5 to 95 % of it. */
static void make(struct example *x, uint64_t seed)
{
    struct rng rng = rng_seed(seed * 7919 + 1);
    struct invented_model model = {.n_layers = 6 + (int)rng_below(&rng, 4),
                                   .layer_mib = 20 + rng_below(&rng, 300)};
    if (rng_below(&rng, 2)) {
        model.n_expert = seed % 4 == 0 ? 32 : 8; /* of more than 16 the solver tries sixteenths */
        model.n_used = 1 + (int)rng_below(&rng, 3);
        model.mixed = rng_below(&rng, 2);
    }
    model.alike = rng_below(&rng, 4) == 0;
    invent_units(&x->units, &model, seed);
    double part = 0.05 + 0.9 * (double)rng_float(&rng);
    invent_machine(&x->machine, &x->units, 1 + (int)(seed % 2), part, seed);
    struct turn turn = {.n_in = 1000, .n_out = 300, .depth = 1000, .skew = 0.7};
    turn.n_batch = 250 << rng_below(&rng, 3);
    turn.n_batches = 1000 / turn.n_batch;
    cost_init(&x->cost, &x->machine, &x->units, &turn, 0);
    for (int d = 1; d < x->machine.n_devices; d++)
        x->capacity[d] = x->machine.devices[d].budget_bytes;
}

static void solve_example(struct example *x)
{
    uint64_t bytes[MACHINE_MAX_DEVICES];
    assert_int_equal(solve(&x->cost, x->capacity, x->choices, &x->turn_s, test_log()), HTH_OK);
    assert_true(isfinite(x->turn_s));
    double again = solve_evaluate(&x->cost, x->choices, bytes);
    assert_true(fabs(again - x->turn_s) <= 1e-9 * again);
    for (int d = 1; d < x->machine.n_devices; d++)
        assert_true(bytes[d] <= x->capacity[d]);
}

#if defined(__SANITIZE_ADDRESS__)
enum { EVERY = 20 }; /* what they look for shows in few cases */
#else
enum { EVERY = 1 };
#endif

/* What no way is faster than, is no more than the plan takes. */
static void hold_bound(const struct example *x)
{
    struct chain chain;
    struct prices prices;
    int way[MOST_LAYERS];
    double seen_s = INFINITY;
    assert_int_equal(chain_create(&chain, &x->cost, test_log()), HTH_OK);
    assert_int_equal(prices_find(&prices, &chain, x->capacity, way, &seen_s, test_log()), HTH_OK);
    assert_true(prices.least_s <= x->turn_s * (1 + 1e-9));
    assert_true(seen_s >= prices.least_s * (1 - 1e-9));
    prices_free(&prices);
    chain_free(&chain);
}

static void hold_against_exact(uint64_t from, uint64_t to)
{
    static struct example x;
    int n_units = 0, n = (int)(to - from) / EVERY;
    n_undecided = 0;
    for (uint64_t seed = from; seed < to; seed += EVERY) {
        make(&x, seed);
        solve_example(&x);
        n_units += x.units.n_units;
        hold_bound(&x);
        if (faster_exists(&x.cost, x.capacity, x.turn_s * 0.99))
            fail_msg("seed %d: more than 1 %% from the best", (int)seed);
        units_free(&x.units);
    }
    print_message("%d cases of %.1f units, %d undecided\n", n, (double)n_units / n, n_undecided);
    assert_true(n_undecided <= 1 + n / 50);
}

TEST(within_one_percent_of_exact_1)
{
    hold_against_exact(1, 251);
}

TEST(within_one_percent_of_exact_2)
{
    hold_against_exact(251, 501);
}

TEST(within_one_percent_of_exact_3)
{
    hold_against_exact(501, 751);
}

TEST(within_one_percent_of_exact_4)
{
    hold_against_exact(751, 1001);
}

/* The branch and bound must find what is really better than a plan that leaves half of each GPU's
 * memory empty. */
TEST(the_exact_search_finds_better_plans)
{
    static struct example x;
    int n_worse = 0, n_found = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        make(&x, seed);
        solve_example(&x);
        double best_s = x.turn_s;
        for (int d = 1; d < x.machine.n_devices; d++)
            x.capacity[d] /= 2;
        solve_example(&x);
        for (int d = 1; d < x.machine.n_devices; d++)
            x.capacity[d] *= 2;
        if (x.turn_s > 1.02 * best_s) {
            n_worse++;
            n_found += faster_exists(&x.cost, x.capacity, 0.99 * x.turn_s);
        }
        units_free(&x.units);
    }
    print_message("%d of %d found\n", n_found, n_worse);
    assert_true(n_worse >= 20);
    assert_int_equal(n_found, n_worse);
}

TEST(same_case_same_plan)
{
    static struct example x;
    struct choice before[MOST_LAYERS * UNITS_PER_LAYER];
    for (uint64_t seed = 1; seed <= 20; seed++) {
        make(&x, seed);
        solve_example(&x);
        memcpy(before, x.choices, sizeof before);
        solve_example(&x);
        assert_memory_equal(before, x.choices, (size_t)x.units.n_units * sizeof *before);
        units_free(&x.units);
    }
}

/* Memory in small and large steps, across powers of two as well. With two GPUs, up to what the
 * search thinks is worth it. */
static void grow_memory(int device, uint64_t first_seed, uint64_t last_seed, double slack)
{
    static struct example x;
    for (uint64_t seed = first_seed; seed <= last_seed; seed += 2) {
        make(&x, seed);
        double before = INFINITY;
        uint64_t all = units_weight_bytes(&x.units) + units_kv_bytes(&x.units);
        for (int step = 0; step <= 48; step += EVERY > 1 ? 6 : 1) {
            x.capacity[device] = all / 48 * (uint64_t)step;
            solve_example(&x);
            if (x.turn_s > before * (1 + slack))
                fail_msg("seed %d: with %d/48 of all bytes %.9g s, with one less %.9g s", (int)seed,
                         step, x.turn_s, before);
            before = x.turn_s < before ? x.turn_s : before;
        }
        units_free(&x.units);
    }
}

TEST(more_memory_is_never_slower)
{
    grow_memory(1, 2, 40, 1e-12);
}

/* From a power of two on, amounts are told apart half as finely. */
TEST(one_byte_more_is_never_slower)
{
    static struct example x;
    for (uint64_t seed = 2; seed <= 40; seed += 2) {
        make(&x, seed);
        for (int log2 = 24; log2 < 32; log2++) {
            x.capacity[1] = (UINT64_C(1) << log2) - 1;
            solve_example(&x);
            double before_s = x.turn_s;
            x.capacity[1]++;
            solve_example(&x);
            assert_true(x.turn_s <= before_s * (1 + 1e-12));
        }
        units_free(&x.units);
    }
}

TEST(more_memory_of_two_gpus_is_hardly_slower)
{
    grow_memory(1, 1, 9, 0.003);
    grow_memory(2, 1, 9, 0.003);
}

TEST(never_below_what_reading_takes)
{
    static struct example x;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        make(&x, seed);
        solve_example(&x);
        double fastest = 0, bytes = 0;
        for (int d = 0; d < x.machine.n_devices; d++)
            fastest += x.machine.devices[d].rate[RATE_READ];
        for (int i = 0; i < x.units.n_units; i++)
            bytes += x.units.items[i].kind == UNIT_KV
                         ? 0
                         : (double)x.units.items[i].bytes * x.units.items[i].n_used;
        assert_true(x.turn_s >= 300 * bytes / fastest);
        units_free(&x.units);
    }
}

/* 94 layers of 128 experts, a fifth of which fits into the GPUs. */
struct large {
    struct units units;
    struct machine machine;
    struct cost cost;
    uint64_t capacity[MACHINE_MAX_DEVICES];
    struct choice *choices;
};

static void make_large(struct large *x, int n_gpus, bool alike, uint64_t seed)
{
    struct invented_model model = {
        .n_layers = 94, .n_expert = 128, .n_used = 8, .layer_mib = 1400, .alike = alike};
    *x = (struct large){0};
    invent_units(&x->units, &model, seed);
    invent_machine(&x->machine, &x->units, n_gpus, 0.2, seed);
    struct turn turn = {.n_in = 1000, .n_out = 300, .skew = 0.7, .n_batch = 1000, .n_batches = 1};
    cost_init(&x->cost, &x->machine, &x->units, &turn, 0);
    for (int d = 1; d <= n_gpus; d++)
        x->capacity[d] = x->machine.devices[d].budget_bytes;
    x->choices = mem_calloc((size_t)x->units.n_units, sizeof *x->choices);
}

static void free_large(struct large *x)
{
    mem_free(x->choices);
    units_free(&x->units);
}

/* The best of five, milliseconds. */
static double large_model_ms(int n_gpus, bool alike)
{
    struct large x;
    uint64_t best = UINT64_MAX;
    make_large(&x, n_gpus, alike, 5);
    for (int i = 0; i < 5; i++) {
        double turn_s;
        uint64_t began = os_time_ns();
        assert_int_equal(solve(&x.cost, x.capacity, x.choices, &turn_s, test_log()), HTH_OK);
        uint64_t took = os_time_ns() - began;
        best = took < best ? took : best;
    }
    free_large(&x);
    print_message("94 layers of 128 experts, %s, %d GPUs: %.1f ms\n",
                  alike ? "alike" : "each another", n_gpus, (double)best / 1e6);
    return (double)best / 1e6;
}

TEST(large_models_take_milliseconds)
{
    assert_true(large_model_ms(1, true) < 50);
    assert_true(large_model_ms(1, false) < 100);
    assert_true(large_model_ms(2, true) < 150);
    assert_true(large_model_ms(2, false) < 400);
}

/* No way is faster than the bound, which small cases hold against exact: that a large model's plan
 * is near it says what no exact search could. Returns by how much more it is at most. */
static double above_bound(int n_gpus)
{
    enum { SEEDS = 12 };
    double most = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct large x;
        struct chain chain;
        struct prices prices;
        double turn_s, seen_s = INFINITY;
        make_large(&x, n_gpus, seed % 2 == 0, seed);
        int *way = mem_calloc((size_t)x.units.n_layers + 1, sizeof *way);
        assert_int_equal(chain_create(&chain, &x.cost, test_log()), HTH_OK);
        assert_int_equal(prices_find(&prices, &chain, x.capacity, way, &seen_s, test_log()),
                         HTH_OK);
        assert_int_equal(solve(&x.cost, x.capacity, x.choices, &turn_s, test_log()), HTH_OK);
        most = fmax(most, turn_s / prices.least_s - 1);
        prices_free(&prices);
        chain_free(&chain);
        mem_free(way);
        free_large(&x);
    }
    print_message("%d GPUs: at most %.2f %% above the bound\n", n_gpus, 100 * most);
    return most;
}

TEST(large_models_are_near_the_bound)
{
    assert_true(above_bound(1) < 0.01);
    assert_true(above_bound(2) < 0.02);
    assert_true(above_bound(3) < 0.04);
}
