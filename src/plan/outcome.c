#include "plan/place_part.h"

#include <stdio.h>

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

/* --- the result ------------------------------------------------------------------------------- */

static double rate_of(double tokens, double seconds)
{
    return seconds > 0 ? tokens / seconds : 0;
}

void outcome_predict(struct plan *plan, const struct cost *cost, const struct choice *choices)
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

/* --- what it rests on ------------------------------------------------------------------------- */

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
 * tokens each reads the weights again, wherever they are. Changes `scratch`. */
static int stream_from(const struct cost *cost, const struct choice *choices,
                       struct choice *scratch)
{
    enum { FEW_TOKENS = 16 };
    bool any = false;
    for (int i = 0; i < cost->units->n_units; i++) {
        scratch[i] = choices[i];
        any |= choices[i].mode == PREFILL_STREAM;
        if (choices[i].mode == PREFILL_STREAM)
            scratch[i].mode = PREFILL_CPU;
    }
    int from = any ? cost->turn.n_batch : 0;
    for (int n = from / 2; n > FEW_TOKENS; n /= 2) {
        struct turn turn = cost->turn;
        struct cost smaller;
        turn.n_batch = n;
        cost_init(&smaller, cost->machine, cost->units, &turn, cost->file_part);
        if (prefill_s(&smaller, choices) >= prefill_s(&smaller, scratch))
            break;
        from = n;
    }
    return from;
}

/* Is a format of a unit's matrices one whose rates on a device were not measured for rows like the
 * model's, or its cache one, though the device's were? */
static bool guesses(const struct plan *plan, const struct unit *unit, int device)
{
    const struct machine_device *d = &plan->machine->devices[device];
    if (unit->kind == UNIT_KV && d->measured && !machine_cache_of(d, plan->units->cache_name))
        return true;
    const int width = machine_width_class(plan->units->n_embd);
    for (int i = unit->shares; i && d->measured; i = plan->units->shares[i].next) {
        const struct machine_rates *own = machine_format_of(d, plan->units->shares[i].dtype);
        if (!own || own->products[width].read <= 0)
            return true;
    }
    return false;
}

/* How fast the file is depends on what is in memory of it: a guess on a machine of one's own. */
static bool is_estimated(const struct plan *plan)
{
    bool is = plan->file_part > 0 && plan->machine->disk_estimated;
    for (int d = 0; d < plan->machine->n_devices; d++)
        is |= (plan->machine->devices[d].estimated & rates_behind(plan, d)) != 0;
    for (int i = 0; i < plan->units->n_units; i++) {
        const struct unit *unit = &plan->units->items[i];
        struct choice choice = plan->items[i].choice;
        bool part = unit->kind == UNIT_EXPERTS && choice.resident < unit->n;
        bool passes = choice.device == 0 && choice.mode != PREFILL_CPU;
        is |= guesses(plan, unit, choice.device) || (part && guesses(plan, unit, 0)) ||
              (passes && guesses(plan, unit, plan->stream_to));
    }
    return is;
}

void outcome_fill(struct plan *plan, const struct cost *cost, struct choice *choices,
                  struct choice *scratch)
{
    plan->turn = cost->turn;
    plan->file_part = cost->file_part;
    plan->stream_from = stream_from(cost, choices, scratch);
    for (int i = 0; i < plan->units->n_units; i++)
        plan->items[i] = (struct plan_unit){.choice = choices[i], .layout = LAYOUT_FILE};
    outcome_predict(plan, cost, choices);
    explain(plan, cost, choices);
    heaps_count(plan, cost);
    count_hits(plan, cost);
    plan->estimated = is_estimated(plan);
    if (plan->turn.n_out * plan->total.decode_s * 2 >= plan->turn_s)
        answer_bottleneck(plan, cost);
    else
        prompt_bottleneck(plan);
}
