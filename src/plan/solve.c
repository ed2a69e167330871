#include "plan/solve.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "plan/cells.h"
#include "plan/walk.h"

/* One GPU and few layers, or none. Above a power of two amounts are told apart half as finely: just
 * above it, the way for the finer half may be better. */
static enum hth_status walk(const struct chain *chain, const uint64_t *capacities, int *way,
                            double *turn_s, const struct log *log)
{
    uint64_t capacity = chain->n_devices > 1 ? capacities[1] : 0, power = 1;
    enum hth_status status = walk_fastest(chain, capacity, way, turn_s, log);
    while (power <= capacity / 2)
        power *= 2;
    if (status == HTH_OK && capacity >= power && capacity <= power + power / 4)
        status = walk_fastest(chain, power - 1, way, turn_s, log);
    return status;
}

/* What prices find on their way is the answer where nothing can be faster. */
static enum hth_status search(const struct chain *chain, const uint64_t *capacities, int *way,
                              double *turn_s, const struct log *log)
{
    struct prices prices;
    enum hth_status status = prices_find(&prices, chain, capacities, way, turn_s, log);
    if (status == HTH_OK && prices_promise(prices.least_s, *turn_s))
        status = cells_walk(&prices, way, turn_s, log);
    prices_free(&prices);
    return status;
}

enum hth_status solve(const struct cost *cost, const uint64_t capacity[MACHINE_MAX_DEVICES],
                      struct choice *choices, double *turn_s, const struct log *log)
{
    struct chain chain;
    enum hth_status status = chain_create(&chain, cost, log);
    int *way = mem_calloc((size_t)chain.n_layers, sizeof *way);
    bool few = chain.n_devices == 1 || (chain.n_devices == 2 && !chain_is_long(&chain));
    *turn_s = INFINITY;
    if (status == HTH_OK && !way)
        status = log_fail_memory(log, "a plan", (size_t)chain.n_layers * sizeof *way);
    if (status == HTH_OK)
        status = (few ? walk : search)(&chain, capacity, way, turn_s, log);
    if (status == HTH_OK && isfinite(*turn_s))
        chain_choose(&chain, way, choices);
    mem_free(way);
    chain_free(&chain);
    return status;
}

double solve_evaluate(const struct cost *cost, const struct choice *choices,
                      uint64_t bytes[MACHINE_MAX_DEVICES])
{
    const struct units *units = cost->units;
    struct cost_state state = options_state(cost, 0);
    double turn_s = 0;
    memset(bytes, 0, MACHINE_MAX_DEVICES * sizeof *bytes);
    for (int l = 0; l <= units->n_layers; l++) {
        struct cost_parts parts;
        turn_s += cost_layer(cost, l, &choices[units->layer_first[l]], &state, &parts);
    }
    for (int i = 0; i < units->n_units; i++)
        bytes[choices[i].device] += options_bytes(&units->items[i], choices[i]);
    return turn_s;
}
