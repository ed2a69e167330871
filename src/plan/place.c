#include "plan/plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "plan/solve.h"

enum { DEFAULT_IN = 1000, DEFAULT_OUT = 300, MOST_BATCH = 4096 };

const char *plan_mode_name(enum prefill_mode mode)
{
    static const char *const names[PREFILL_MODES] = {"cpu", "stream", "direct"};
    return names[mode];
}

const char *plan_layout_name(enum weight_layout layout)
{
    static const char *const names[] = {"file", "planes", "cpu"};
    return names[layout];
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Beside what grows with the batch: the tables of places, the batch buffer, pipelines. */
static const uint64_t DEVICE_OVERHEAD = 64u << 20;

uint64_t plan_working_bytes(const struct units *units, int n_batch)
{
    uint64_t logits = (uint64_t)units->n_vocab * sizeof(float);
    return DEVICE_OVERHEAD + units->token_bytes * (uint64_t)n_batch + logits;
}

static uint64_t activation_bytes(const struct units *units, int n_batch, int device)
{
    bool known = device > 0 && units->working_bytes;
    return (known ? units->working_bytes : plan_working_bytes(units, n_batch)) +
           units->taken_bytes[device];
}

static uint64_t minus(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

/* What a GPU holds for copies into it. */
static uint64_t staging_bytes(const struct cost *cost, int device)
{
    bool apart = cost->stream_device && cost->machine->devices[device].kind == MACHINE_DISCRETE;
    if (!apart)
        return 0;
    return cost->turn.as_run ? cost_ring_bytes(cost->units) : cost_staging_bytes(cost->units);
}

/* What a GPU holds beside units: nothing, where it has no work. */
static uint64_t working_bytes(const struct cost *cost, const struct choice *choices, int device)
{
    bool works = false, staged = false;
    for (int i = 0; i < cost->units->n_units; i++) {
        int at = choices[i].device ? choices[i].device : cost->stream_device;
        works |= choices[i].device == device || (at == device && choices[i].mode != PREFILL_CPU);
        staged |= at == device && choices[i].mode == PREFILL_STREAM;
    }
    return (works ? activation_bytes(cost->units, cost->turn.n_batch, device) : 0) +
           (staged ? staging_bytes(cost, device) : 0);
}

/* A GPU's memory for units. Integrated ones share the host's, of which they may have what the
 * budget of their heap says. */
static void capacities(const struct cost *cost, bool staging, uint64_t out[MACHINE_MAX_DEVICES])
{
    out[0] = minus(cost->machine->devices[0].budget_bytes,
                   activation_bytes(cost->units, cost->turn.n_batch, 0));
    for (int d = 1; d < cost->machine->n_devices; d++) {
        const struct machine_device *device = &cost->machine->devices[d];
        out[d] = minus(device->budget_bytes, activation_bytes(cost->units, cost->turn.n_batch, d));
        if (device->kind == MACHINE_INTEGRATED && out[d] > minus(out[0], cost->units->host_bytes))
            out[d] = minus(out[0], cost->units->host_bytes);
        if (staging)
            out[d] = minus(out[d], staging_bytes(cost, d));
    }
}

static bool within(const struct cost *cost, const struct choice *choices,
                   const uint64_t bytes[MACHINE_MAX_DEVICES])
{
    uint64_t capacity[MACHINE_MAX_DEVICES];
    capacities(cost, false, capacity);
    for (int d = 1; d < cost->machine->n_devices; d++) {
        uint64_t budget = cost->machine->devices[d].budget_bytes;
        if (bytes[d] > capacity[d] || bytes[d] + working_bytes(cost, choices, d) > budget)
            return false;
    }
    return true;
}

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
    if (turn_s >= search->best_s || !within(&search->cost, search->trial, bytes))
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
    capacities(&search->cost, mode == PREFILL_STREAM, capacity);
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
    capacities(&search->cost, staging, capacity);
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

/* --- what the host must hold ------------------------------------------------------------------ */

/* Bytes of one unit in the host's memory. Experts on a GPU that stand for those in use have a copy
 * there; where all are on the GPU, or those that are there stay, none. */
static uint64_t host_bytes(const struct cost *cost, const struct unit *unit, struct choice choice)
{
    int apart = cost->turn.no_cache || choice.resident == unit->n ? choice.resident : 0;
    if (unit->kind == UNIT_EXPERTS)
        return unit->bytes * (uint64_t)(unit->n - apart);
    return choice.device == 0 ? unit->bytes : 0;
}

static uint64_t host_kv_bytes(const struct cost *cost, const struct choice *choices)
{
    const struct units *units = cost->units;
    uint64_t bytes = 0;
    for (int i = 0; i < units->n_units; i++)
        if (units->items[i].kind == UNIT_KV)
            bytes += host_bytes(cost, &units->items[i], choices[i]);
    return bytes;
}

/* Weights in use that the host's memory has no room for, as a part of all that it should hold. */
static double file_part(const struct cost *cost, const struct choice *choices)
{
    const struct units *units = cost->units;
    uint64_t weights = 0, held = units->host_bytes + host_kv_bytes(cost, choices);
    for (int i = 0; i < units->n_units; i++)
        if (units->items[i].kind != UNIT_KV)
            weights += host_bytes(cost, &units->items[i], choices[i]);
    held += activation_bytes(units, cost->turn.n_batch, 0);
    for (int d = 1; d < cost->machine->n_devices; d++)
        if (cost->machine->devices[d].kind == MACHINE_INTEGRATED) /* takes of the same memory */
            for (int i = 0; i < units->n_units; i++)
                if (choices[i].device == d)
                    held +=
                        units->items[i].bytes *
                        (uint64_t)(units->items[i].kind == UNIT_EXPERTS ? choices[i].resident : 1);
    uint64_t room = minus(cost->machine->devices[0].budget_bytes, held);
    return weights > room ? (double)(weights - room) / (double)weights : 0;
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
        double part = file_part(&search->cost, search->best);
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

/* --- the result ------------------------------------------------------------------------------- */

static double rate_of(double tokens, double seconds)
{
    return seconds > 0 ? tokens / seconds : 0;
}

static void predict(struct plan *plan, const struct cost *cost, const struct choice *choices)
{
    const struct units *units = plan->units;
    struct cost_state state = {0};
    plan->turn_s = 0;
    plan->total = (struct cost_parts){0};
    for (int l = 0; l <= units->n_layers; l++) {
        struct cost_parts parts;
        int first = units->layer_first[l];
        struct cost_state walk_state = state;
        for (int i = first; plan->items && i < units->layer_first[l + 1]; i++) {
            struct cost_parts one = {0};
            cost_unit(cost, &units->items[i], choices[i], &walk_state, &one);
            plan->items[i].decode_s = one.decode_s;
        }
        plan->turn_s += cost_layer(cost, l, &choices[first], &state, &parts);
        cost_parts_add(&plan->total, &parts);
    }
    plan->answer_tokens_per_s = rate_of(1, plan->total.decode_s);
    plan->prompt_tokens_per_s =
        rate_of(cost->turn.n_in, cost->turn.n_batches * plan->total.prefill_s);
}

static void count_heaps(struct plan *plan, const struct cost *cost)
{
    const struct units *units = plan->units;
    bool staged[MACHINE_MAX_DEVICES] = {false}, works[MACHINE_MAX_DEVICES] = {false};
    plan->heaps[0].weights = units->host_bytes;
    for (int i = 0; i < units->n_units; i++) {
        const struct unit *unit = &units->items[i];
        struct choice choice = plan->items[i].choice;
        struct plan_heap *heap = &plan->heaps[choice.device];
        int at = choice.device ? choice.device : cost->stream_device;
        staged[at] |= choice.mode == PREFILL_STREAM;
        works[at] |= choice.mode != PREFILL_CPU;
        *(unit->kind == UNIT_KV ? &plan->heaps[0].kv : &plan->heaps[0].weights) +=
            host_bytes(cost, unit, choice);
        if (choice.device == 0)
            continue;
        if (unit->kind == UNIT_KV)
            heap->kv += unit->bytes;
        else if (unit->kind != UNIT_EXPERTS)
            heap->weights += unit->bytes;
        else
            *(choice.resident < unit->n && !cost->turn.no_cache ? &heap->experts_cached
                                                                : &heap->weights) +=
                unit->bytes * (uint64_t)choice.resident;
    }
    for (int d = 0; d < plan->machine->n_devices; d++) {
        struct plan_heap *heap = &plan->heaps[d];
        bool used = d == 0 || heap->weights + heap->experts_cached + heap->kv > 0;
        heap->budget = plan->machine->devices[d].budget_bytes;
        uint64_t held = activation_bytes(units, cost->turn.n_batch, d);
        uint64_t others = heap->kv + held, room = minus(heap->budget, others);
        if (d == 0 && heap->weights > room) {
            heap->in_file = heap->weights - room;
            heap->weights = room;
        }
        if (staged[d])
            heap->staging = staging_bytes(cost, d);
        heap->activations = used || works[d] ? held : 0;
        heap->planned =
            heap->weights + heap->experts_cached + heap->kv + heap->activations + heap->staging;
    }
}

/* What each unit in the host's memory would have gained on the fastest GPU, all others staying. */
static void explain(struct plan *plan, const struct cost *cost, struct choice *choices)
{
    const struct units *units = plan->units;
    uint64_t bytes[MACHINE_MAX_DEVICES];
    if (cost->fastest == 0)
        return;
    double now_s = solve_evaluate(cost, choices, bytes);
    for (int i = 0; i < units->n_units; i++) {
        const struct unit *unit = &units->items[i];
        struct choice was = choices[i];
        bool part = unit->kind == UNIT_EXPERTS && was.resident < unit->n;
        if (was.device > 0 && !part)
            continue;
        int device = was.device ? was.device : cost->fastest;
        choices[i] = (struct choice){.device = (int8_t)device,
                                     .mode = was.mode,
                                     .resident = (int16_t)(part ? was.resident + 1 : 0)};
        plan->items[i].gain_s = now_s - solve_evaluate(cost, choices, bytes);
        choices[i] = was;
    }
}

static void count_hits(struct plan *plan, const struct cost *cost)
{
    double sum = 0;
    int n = 0;
    for (int i = 0; i < plan->units->n_units; i++) {
        struct choice choice = plan->items[i].choice;
        if (plan->units->items[i].kind != UNIT_EXPERTS || choice.device == 0)
            continue;
        sum += cost->hit[choice.resident];
        n++;
    }
    plan->expert_hit = n ? sum / n : 0;
}

/* --- the bottleneck --------------------------------------------------------------------------- */

static const char *memory_of(const struct machine *machine, int device)
{
    return device == 0                                           ? "RAM"
           : machine->devices[device].kind == MACHINE_INTEGRATED ? "shared memory"
                                                                 : "VRAM";
}

static const char *kind_in_words(enum unit_kind kind)
{
    static const char *const words[] = {
        "attention weights", "keys and values", "feed-forward weights",
        "shared experts",    "experts",         "the output matrix"};
    return words[kind];
}

/* Of an answer's token: the kind of unit and the device that take longest. */
static void answer_bottleneck(struct plan *plan, const struct cost *cost)
{
    double seconds[MACHINE_MAX_DEVICES][UNIT_HEAD + 1] = {{0}};
    double bytes[MACHINE_MAX_DEVICES][UNIT_HEAD + 1] = {{0}};
    int device = 0, kind = 0;
    for (int i = 0; i < plan->units->n_units; i++) {
        const struct unit *unit = &plan->units->items[i];
        struct choice choice = plan->items[i].choice;
        struct cost_state here = {choice.device, choice.device, 0};
        struct cost_parts one = {0};
        cost_unit(cost, unit, choice, &here, &one);
        bool on_cpu = one.decode_cpu_s > one.decode_gpu_s;
        int at = on_cpu ? 0 : choice.device;
        seconds[at][unit->kind] += on_cpu ? one.decode_cpu_s : one.decode_gpu_s;
        bytes[at][unit->kind] += on_cpu ? one.decode_cpu_bytes : one.decode_gpu_bytes;
    }
    for (int d = 0; d < plan->machine->n_devices; d++)
        for (int k = 0; k <= UNIT_HEAD; k++)
            if (seconds[d][k] > seconds[device][kind]) {
                device = d;
                kind = k;
            }
    double share = seconds[device][kind] / plan->total.decode_s;
    if (plan->total.decode_hop_s > seconds[device][kind])
        snprintf(plan->bottleneck, sizeof plan->bottleneck,
                 "%.0f %% of each token is spent handing activations between devices",
                 100 * plan->total.decode_hop_s / plan->total.decode_s);
    else
        snprintf(plan->bottleneck, sizeof plan->bottleneck,
                 "%.0f %% of each token is spent reading %.1f GiB of %s from %s at %.0f GB/s",
                 100 * (share < 1 ? share : 1), bytes[device][kind] / (1 << 30),
                 kind_in_words((enum unit_kind)kind),
                 device == 0 && plan->file_part > 0 ? "the file and RAM"
                                                    : memory_of(plan->machine, device),
                 bytes[device][kind] / seconds[device][kind] / 1e9);
}

static void prompt_bottleneck(struct plan *plan)
{
    const struct cost_parts *t = &plan->total;
    double gpu = t->gpu_s + t->streamed_s, others = t->cpu_s + t->gpu_s + t->hop_s + t->direct_s;
    double wait = t->prefill_s - others - t->streamed_s; /* for copies */
    const struct {
        double seconds;
        const char *what;
    } parts[] = {{gpu, "computing on the GPU"},
                 {t->cpu_s, "computing on the CPU"},
                 {wait > 0 ? t->copy_s : 0, "copying weights to the GPU"},
                 {t->direct_s, "reading weights over the bus"},
                 {t->hop_s, "handing activations between devices"}};
    size_t most = 0;
    for (size_t i = 1; i < ARRAY_LEN(parts); i++)
        most = parts[i].seconds > parts[most].seconds ? i : most;
    double share = parts[most].seconds / t->prefill_s;
    snprintf(plan->bottleneck, sizeof plan->bottleneck,
             "%.0f %% of reading the prompt, which is most of a turn, is spent %s",
             100 * (share < 1 ? share : 1), parts[most].what);
}

/* --- errors and the whole --------------------------------------------------------------------- */

static enum hth_status check_context(const struct machine *machine, const struct units *units,
                                     const struct log *log)
{
    uint64_t room =
        minus(machine->devices[0].budget_bytes, units->host_bytes + activation_bytes(units, 1, 0));
    for (int d = 1; d < machine->n_devices; d++)
        if (machine->devices[d].kind == MACHINE_DISCRETE)
            room += minus(machine->devices[d].budget_bytes, activation_bytes(units, 1, d));
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
        all_there &= host_bytes(&search->cost, &plan->units->items[i], plan->items[i].choice) == 0;
    if (device == 0 || all_there)
        return HTH_OK;
    larger.devices[device].budget_bytes += UINT64_C(1) << 30;
    search->cost.machine = &larger;
    enum hth_status status = find(search, turn, fixed);
    if (status == HTH_OK && search->best_s < plan->turn_s) {
        struct plan other = {.machine = &larger, .units = plan->units};
        cost_init(&search->cost, plan->machine, plan->units, &search->best_turn,
                  search->best_file_part);
        predict(&other, &search->cost, search->best);
        plan->more.prompt_tokens_per_s = other.prompt_tokens_per_s;
        plan->more.answer_tokens_per_s = other.answer_tokens_per_s;
    }
    search->cost.machine = plan->machine;
    return status;
}

/* Bits of the rates of a device that a plan rests on: of one that runs as it is, those of what is
 * there. */
static unsigned rates_behind(const struct plan *plan, int device)
{
    const unsigned computing = 1u << RATE_READ | 1u << RATE_MATRIX;
    const unsigned handing = 1u << RATE_HOP | 1u << RATE_COPY | 1u << RATE_DISPATCH;
    const unsigned streaming = plan->heaps[device].staging ? 1u << RATE_LATENCY : 0;
    if (!plan->turn.as_run)
        return ~0u;
    if (device == 0)
        return computing;
    return plan->heaps[device].planned ? computing | handing | streaming : 0;
}

static double prefill_s(const struct cost *cost, const struct choice *choices)
{
    struct cost_state state = {0};
    double seconds = 0;
    for (int l = 0; l <= cost->units->n_layers; l++) {
        struct cost_parts parts;
        (void)cost_layer(cost, l, &choices[cost->units->layer_first[l]], &state, &parts);
        seconds += parts.prefill_s;
    }
    return seconds;
}

/* Batches get smaller by halves as long as they are read faster with weights streamed; of few
 * tokens each reads the weights again, wherever they are. Leaves `trial` changed. */
static int stream_from(struct search *search)
{
    enum { FEW_TOKENS = 16 };
    const struct units *units = search->cost.units;
    bool any = false;
    for (int i = 0; i < units->n_units; i++) {
        search->trial[i] = search->best[i];
        any |= search->best[i].mode == PREFILL_STREAM;
        if (search->best[i].mode == PREFILL_STREAM)
            search->trial[i].mode = PREFILL_CPU;
    }
    int from = any ? search->best_turn.n_batch : 0;
    for (int n = from / 2; n > FEW_TOKENS; n /= 2) {
        struct turn turn = search->best_turn;
        struct cost cost;
        turn.n_batch = n;
        cost_init(&cost, search->cost.machine, units, &turn, search->best_file_part);
        if (prefill_s(&cost, search->best) >= prefill_s(&cost, search->trial))
            break;
        from = n;
    }
    return from;
}

/* Is a format of a unit's matrices one whose rates on a device were not measured, though the
 * device's were? */
static bool guesses_format(const struct plan *plan, const struct unit *unit, int device)
{
    const struct machine_device *d = &plan->machine->devices[device];
    for (int i = unit->shares; i && d->measured; i = plan->units->shares[i].next)
        if (!machine_format_of(d, plan->units->shares[i].dtype))
            return true;
    return false;
}

static bool is_estimated(const struct plan *plan)
{
    bool is = false;
    for (int d = 0; d < plan->machine->n_devices; d++)
        is |= (plan->machine->devices[d].estimated & rates_behind(plan, d)) != 0;
    for (int i = 0; i < plan->units->n_units; i++) {
        const struct unit *unit = &plan->units->items[i];
        struct choice choice = plan->items[i].choice;
        bool part = unit->kind == UNIT_EXPERTS && choice.resident < unit->n;
        is |= guesses_format(plan, unit, choice.device) || (part && guesses_format(plan, unit, 0));
    }
    return is;
}

static void fill(struct plan *plan, struct search *search)
{
    plan->stream_to = search->cost.stream_device; /* by the machine that it is decided by */
    cost_init(&search->cost, plan->machine, plan->units, &search->best_turn,
              search->best_file_part);
    plan->turn = search->best_turn;
    plan->file_part = search->best_file_part;
    plan->stream_from = stream_from(search);
    for (int i = 0; i < plan->units->n_units; i++)
        plan->items[i] = (struct plan_unit){.choice = search->best[i], .layout = LAYOUT_FILE};
    predict(plan, &search->cost, search->best);
    explain(plan, &search->cost, search->best);
    count_heaps(plan, &search->cost);
    count_hits(plan, &search->cost);
    plan->estimated = is_estimated(plan);
    if (plan->turn.n_out * plan->total.decode_s * 2 >= plan->turn_s)
        answer_bottleneck(plan, &search->cost);
    else
        prompt_bottleneck(plan);
}

static void end_search(struct search *search)
{
    if (!search)
        return;
    mem_free(search->best);
    mem_free(search->trial);
    mem_free(search);
}

/* A program that stands in for a GPU takes no time, so that all that fits is there. */
static void decide_by(struct machine *out, const struct machine *machine)
{
    *out = *machine;
    for (int d = 1; d < out->n_devices; d++) {
        struct machine_device *device = &out->devices[d];
        if (!device->stands_in)
            continue;
        memset(device->formats, 0, sizeof device->formats);
        memset(device->past, 0, sizeof device->past);
        device->kind = MACHINE_DISCRETE;
        for (int r = 0; r < RATE_COUNT; r++)
            device->rate[r] = r < RATE_DISPATCH ? 1e15 : 1e-9;
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
        decide_by(&search->machine, machine);
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
    search->best_file_part = file_part(&search->cost, search->best);
    fill(plan, search);
    end_search(search);
    return HTH_OK;
}

void plan_free(struct plan *plan)
{
    mem_free(plan->items);
    *plan = (struct plan){0};
}
