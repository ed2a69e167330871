#include "plan/place_part.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { DEFAULT_IN = 1000, DEFAULT_OUT = 300, MOST_BATCH = 4096 };

/* --- candidates ------------------------------------------------------------------------------- */

struct search {
    struct machine machine; /* as it is decided by */
    struct cost cost;
    const struct log *log;
    struct choice *best, *trial; /* [n_units] */
    double best_s;
    struct turn best_turn;
    double best_file_part;
};

static bool allowed(const struct units *units, const struct choice *choices)
{
    for (int i = 0; i < units->n_units; i++) {
        const struct unit *unit = &units->items[i];
        bool part = unit->kind == UNIT_EXPERTS && choices[i].resident < unit->n;
        if (!(unit->allowed >> choices[i].device & 1u) || (part && !(unit->allowed & 1u)))
            return false;
    }
    return true;
}

/* Keeps `trial` if it is allowed, fits and is faster. */
static void consider(struct search *search)
{
    uint64_t bytes[MACHINE_MAX_DEVICES];
    if (!allowed(search->cost.units, search->trial))
        return;
    double turn_s = solve_evaluate(&search->cost, search->trial, bytes);
    if (turn_s >= search->best_s || !heap_within(&search->cost, search->trial, bytes))
        return;
    search->best_s = turn_s;
    search->best_turn = search->cost.turn;
    search->best_file_part = search->cost.file_part;
    for (int i = 0; i < search->cost.units->n_units; i++)
        search->best[i] = search->trial[i];
}

/* The last n layers on GPUs, the head first of all, each GPU filled before the next; what is left
 * computes in one way. With `moe_apart` experts stay in the host's memory. */
static void try_layers(struct search *search, int n, enum prefill_mode mode, bool moe_apart)
{
    const struct units *units = search->cost.units;
    uint64_t capacity[MACHINE_MAX_DEVICES], used = 0;
    int device = 1, n_devices = search->cost.machine->n_devices;
    heap_capacities(&search->cost, mode == PREFILL_STREAM, capacity);
    for (int l = 0; l <= units->n_layers; l++) {
        bool on_gpu = l >= units->n_layers + 1 - n && device < n_devices;
        uint64_t layer_bytes = 0;
        for (int i = units->layer_first[l]; i < units->layer_first[l + 1]; i++)
            if (!moe_apart || units->items[i].kind != UNIT_EXPERTS)
                layer_bytes += units->items[i].bytes * (uint64_t)units->items[i].n;
        if (on_gpu && used + layer_bytes > capacity[device] && device + 1 < n_devices) {
            device++;
            used = 0;
        }
        used += on_gpu ? layer_bytes : 0;
        for (int i = units->layer_first[l]; i < units->layer_first[l + 1]; i++) {
            const struct unit *unit = &units->items[i];
            bool here = on_gpu && !(moe_apart && unit->kind == UNIT_EXPERTS);
            bool all = unit->kind == UNIT_EXPERTS && here;
            search->trial[i] = (struct choice){
                .device = (int8_t)(here ? device : 0),
                .mode =
                    (uint8_t)(!here && cost_allows(&search->cost, unit, mode) ? mode : PREFILL_CPU),
                .resident = (int16_t)(all ? unit->n : 0)};
        }
    }
    consider(search);
}

/* What people set by hand, so that no plan is worse than the best of it: every number of layers on
 * the GPU, with and without experts. */
static void try_by_hand(struct search *search)
{
    const struct units *units = search->cost.units;
    int runs = search->cost.turn.as_run ? PREFILL_STREAM + 1 : PREFILL_MODES;
    int modes = search->cost.stream_device ? runs : 1;
    bool moe = search->cost.hit[1] > 0;
    for (int n = 0; n <= units->n_layers + 1; n++)
        for (int mode = 0; mode < modes; mode++)
            for (int apart = 0; apart <= moe; apart++)
                try_layers(search, n, (enum prefill_mode)mode, apart);
}

static enum hth_status solve_with(struct search *search, bool staging)
{
    uint64_t capacity[MACHINE_MAX_DEVICES];
    double turn_s;
    heap_capacities(&search->cost, staging, capacity);
    enum hth_status status = solve(&search->cost, capacity, search->trial, &turn_s, search->log);
    if (status == HTH_OK && isfinite(turn_s))
        consider(search);
    return status;
}

/* What was said by hand may leave no room for copies: then nothing is streamed. */
static enum hth_status try_solver(struct search *search)
{
    int stream_device = search->cost.stream_device;
    enum hth_status status = solve_with(search, true);
    if (status || isfinite(search->best_s) || !stream_device)
        return status;
    search->cost.stream_device = 0;
    status = solve_with(search, false);
    search->cost.stream_device = stream_device;
    return status;
}

/* --- the search ------------------------------------------------------------------------------- */

static enum hth_status try_batch(struct search *search, const struct turn *turn, double part)
{
    const struct cost *cost = &search->cost;
    cost_init(&search->cost, cost->machine, cost->units, turn, part);
    try_by_hand(search);
    return try_solver(search);
}

/* A size of batch, cut so that all batches of the prompt are alike. */
static void set_batch(struct turn *turn, int n_batch)
{
    turn->n_batches = (turn->n_in + n_batch - 1) / n_batch;
    turn->n_batch = (turn->n_in + turn->n_batches - 1) / turn->n_batches;
}

static enum hth_status try_all(struct search *search, struct turn turn, int fixed, double part)
{
    enum hth_status status = HTH_OK;
    search->best_s = INFINITY;
    if (fixed) {
        set_batch(&turn, fixed);
        return try_batch(search, &turn, part);
    }
    for (int n = 256; status == HTH_OK; n *= 2) {
        set_batch(&turn, n);
        status = try_batch(search, &turn, part);
        if (n >= turn.n_in || n >= MOST_BATCH)
            break;
    }
    return status;
}

/* Where the host's memory is too small, how much comes from the file depends on the plan, and the
 * plan on that: once without, then with what came out. */
static enum hth_status find(struct search *search, const struct turn *turn, int fixed)
{
    const struct units *units = search->cost.units;
    enum hth_status status = try_all(search, *turn, fixed, 0);
    for (int round = 0; round < 3 && status == HTH_OK && isfinite(search->best_s); round++) {
        cost_init(&search->cost, search->cost.machine, units, &search->best_turn, 0);
        double part = heap_file_part(&search->cost, search->best);
        if (fabs(part - search->best_file_part) < 0.01)
            break;
        status = try_all(search, *turn, fixed, part);
    }
    return status;
}

/* The same for what runs. Experts change places where a GPU has a memory of its own and the host's
 * has room for all of them; elsewhere those that are on a GPU stay there. */
static enum hth_status find_as_run(struct search *search, struct turn *turn, int fixed)
{
    enum hth_status status = find(search, turn, fixed);
    if (status || !turn->as_run || turn->no_cache || search->best_file_part == 0)
        return status;
    turn->no_cache = true;
    return find(search, turn, fixed);
}

/* --- errors and the whole --------------------------------------------------------------------- */

static enum hth_status check_context(const struct machine *machine, const struct units *units,
                                     const struct log *log)
{
    uint64_t room = bytes_minus(machine->devices[0].budget_bytes,
                                units->host_bytes + heap_activation_bytes(units, 1, 0));
    for (int d = 1; d < machine->n_devices; d++)
        if (machine->devices[d].kind == MACHINE_DISCRETE)
            room +=
                bytes_minus(machine->devices[d].budget_bytes, heap_activation_bytes(units, 1, d));
    uint64_t need = units_kv_bytes(units);
    if (need <= room)
        return HTH_OK;
    uint64_t per_position =
        units->kv_bytes_per_position * (uint64_t)units->n_layers * (uint64_t)units->n_seqs;
    uint64_t most = room / per_position / KV_PAGE * KV_PAGE;
    char advice[160] = "what must be there besides leaves no room for a cache: a smaller model "
                       "or more memory (--vram, --ram) would";
    if (most)
        snprintf(advice, sizeof advice,
                 "at most --ctx %" PRIu64 " fits with this --kv, of which q4_0 takes least", most);
    return log_fail(log, HTH_ERROR_LIMIT,
                    "a context of %d tokens needs %.1f MiB of keys and values, and all memories "
                    "together have %.1f; %s",
                    units->n_ctx, (double)need / (1 << 20), (double)room / (1 << 20), advice);
}

static enum hth_status fail_bound(const struct units *units, const struct machine *machine,
                                  const struct log *log)
{
    uint64_t bound = 0, room = 0;
    for (int i = 0; i < units->n_units; i++)
        if (!(units->items[i].allowed & 1u))
            bound += units->items[i].bytes * (uint64_t)units->items[i].n;
    for (int d = 1; d < machine->n_devices; d++)
        room += machine->devices[d].budget_bytes;
    return log_fail(log, HTH_ERROR_LIMIT,
                    "what options put on the GPU takes %.1f GiB, keys and values included, and the "
                    "GPUs have %.1f to use; put fewer layers there, or shorten --ctx",
                    (double)bound / (1 << 30), (double)room / (1 << 30));
}

/* The same search with a GiB more on the first GPU that has memory of its own. */
static enum hth_status ask_for_more(struct plan *plan, struct search *search,
                                    const struct turn *turn, int fixed)
{
    struct machine larger = search->machine;
    int device = 0;
    for (int d = larger.n_devices - 1; d > 0; d--)
        device = plan->machine->devices[d].kind == MACHINE_DISCRETE ? d : device;
    plan->more = (struct plan_more){.device = device,
                                    .prompt_tokens_per_s = plan->prompt_tokens_per_s,
                                    .answer_tokens_per_s = plan->answer_tokens_per_s};
    bool all_there = true;
    for (int i = 0; i < plan->units->n_units; i++)
        all_there &=
            heap_host_bytes(&search->cost, &plan->units->items[i], plan->items[i].choice) == 0;
    if (device == 0 || all_there)
        return HTH_OK;
    larger.devices[device].budget_bytes += UINT64_C(1) << 30;
    search->cost.machine = &larger;
    enum hth_status status = find(search, turn, fixed);
    if (status == HTH_OK && search->best_s < plan->turn_s) {
        struct plan other = {.machine = &larger, .units = plan->units};
        cost_init(&search->cost, plan->machine, plan->units, &search->best_turn,
                  search->best_file_part);
        outcome_predict(&other, &search->cost, search->best);
        plan->more.prompt_tokens_per_s = other.prompt_tokens_per_s;
        plan->more.answer_tokens_per_s = other.answer_tokens_per_s;
    }
    search->cost.machine = plan->machine;
    return status;
}

/* What follows from the choices, by the machine as it is. */
static void fill(struct plan *plan, struct search *search)
{
    plan->stream_to = search->cost.stream_device; /* by the machine that it is decided by */
    cost_init(&search->cost, plan->machine, plan->units, &search->best_turn,
              search->best_file_part);
    outcome_fill(plan, &search->cost, search->best, search->trial);
}

static void end_search(struct search *search)
{
    if (!search)
        return;
    mem_free(search->best);
    mem_free(search->trial);
    mem_free(search);
}

/* A program that stands in for a GPU takes no time, so that all that fits is there. Only handing
 * over costs what it does on a card, of a small model less, so that layers stay whole. */
static void decide_by(struct machine *out, const struct machine *machine, const struct units *units)
{
    const double token_s = (double)units_weight_bytes(units) / machine->devices[0].rate[RATE_READ];
    const double hop_s = fmin(40e-6, token_s / 100);
    *out = *machine;
    for (int d = 1; d < out->n_devices; d++) {
        struct machine_device *device = &out->devices[d];
        if (!device->stands_in)
            continue;
        memset(device->formats, 0, sizeof device->formats);
        device->n_caches = 0;
        memset(device->past, 0, sizeof device->past);
        device->kind = MACHINE_DISCRETE;
        for (int r = 0; r < RATE_COUNT; r++)
            device->rate[r] = r < RATE_DISPATCH ? 1e15 : r == RATE_HOP ? hop_s : 1e-9;
    }
}

/* Room for what is found; NULL without memory, said. */
static struct search *begin_search(struct plan *plan, const struct machine *machine,
                                   const struct units *units, const struct log *log)
{
    size_t n = (size_t)units->n_units;
    struct search *search = mem_calloc(1, sizeof *search);
    *plan = (struct plan){.machine = machine, .units = units};
    plan->items = mem_calloc(n, sizeof *plan->items);
    if (search) {
        search->best = mem_calloc(n, sizeof *search->best);
        search->trial = mem_calloc(n, sizeof *search->trial);
        decide_by(&search->machine, machine, units);
        search->cost.machine = &search->machine;
        search->cost.units = units;
        search->log = log;
    }
    if (search && search->best && search->trial && plan->items)
        return search;
    enum hth_status said = log_fail_memory(log, "a plan", n * sizeof *plan->items);
    (void)said;
    end_search(search);
    plan_free(plan);
    return NULL;
}

/* A turn may be longer than the context: then it fills it; else the context is half full. */
static struct turn turn_of(const struct machine *machine, const struct units *units,
                           const struct plan_options *options)
{
    bool apart = false, several = machine->n_devices > 2; /* which have no experts in turn */
    for (int d = 1; d < machine->n_devices; d++)
        apart |= machine->devices[d].kind == MACHINE_DISCRETE;
    struct turn turn = {.n_in = options->n_in ? options->n_in : DEFAULT_IN,
                        .n_out = options->n_out ? options->n_out : DEFAULT_OUT,
                        .skew = options->skew,
                        .no_cache = options->as_run && (!apart || several),
                        .as_run = options->as_run};
    if (turn.n_in + turn.n_out > units->n_ctx) {
        turn.n_out = turn.n_out < units->n_ctx / 2 ? turn.n_out : units->n_ctx / 2;
        turn.n_out = turn.n_out > 0 ? turn.n_out : 1;
        turn.n_in = units->n_ctx > turn.n_out ? units->n_ctx - turn.n_out : 1;
    }
    int depth = (units->n_ctx - turn.n_in - turn.n_out) / 2;
    turn.depth = depth > 0 ? depth : 0;
    return turn;
}

enum hth_status plan_create(struct plan *plan, const struct machine *machine,
                            const struct units *units, const struct plan_options *options,
                            const struct log *log)
{
    struct search *search = begin_search(plan, machine, units, log);
    if (!search)
        return HTH_ERROR_MEMORY;
    struct turn turn = turn_of(machine, units, options);
    enum hth_status status = check_context(&search->machine, units, log);
    if (status == HTH_OK)
        status = find_as_run(search, &turn, options->n_batch);
    if (status == HTH_OK && isinf(search->best_s))
        status = fail_bound(units, machine, log);
    if (status == HTH_OK) {
        fill(plan, search);
        if (options->more)
            status = ask_for_more(plan, search, &turn, options->n_batch);
    }
    end_search(search);
    if (status)
        plan_free(plan);
    return status;
}

enum hth_status plan_judge(struct plan *plan, const struct machine *machine,
                           const struct units *units, const struct plan_options *options,
                           const struct choice *choices, const struct log *log)
{
    struct search *search = begin_search(plan, machine, units, log);
    if (!search)
        return HTH_ERROR_MEMORY;
    search->best_turn = turn_of(machine, units, options);
    set_batch(&search->best_turn, options->n_batch);
    for (int i = 0; i < units->n_units; i++)
        search->best[i] = choices[i];
    cost_init(&search->cost, machine, units, &search->best_turn, 0);
    search->best_file_part = heap_file_part(&search->cost, search->best);
    fill(plan, search);
    end_search(search);
    return HTH_OK;
}

void plan_free(struct plan *plan)
{
    mem_free(plan->items);
    *plan = (struct plan){0};
}
