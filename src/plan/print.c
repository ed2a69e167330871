#include "plan/plan.h"

#include <inttypes.h>
#include <math.h>

#include "base/attr.h"
#include "plan/learn.h"

static double gib(uint64_t bytes)
{
    return (double)bytes / (1 << 30);
}

enum { BAR = 32 };

/* A bar per memory, a letter per kind of what lives in it. */
static void print_bar(const struct plan_heap *heap, struct strbuf *out)
{
    const struct {
        char letter;
        uint64_t bytes;
    } parts[] = {
        {'W', heap->weights},     {'E', heap->experts_cached}, {'K', heap->kv},
        {'a', heap->activations}, {'s', heap->staging},
    };
    double end = 0,
           scale = heap->budget > heap->planned ? (double)heap->budget : (double)heap->planned;
    int drawn = 0;
    strbuf_append(out, STR("["));
    for (size_t i = 0; i < ARRAY_LEN(parts) && scale > 0; i++) {
        end += (double)parts[i].bytes;
        for (; drawn < (int)(end / scale * BAR + 0.5); drawn++)
            strbuf_append_char(out, parts[i].letter);
    }
    for (; drawn < BAR; drawn++)
        strbuf_append_char(out, '.');
    strbuf_append(out, STR("]"));
}

static void print_heap(const struct plan *plan, int device, struct strbuf *out)
{
    const struct plan_heap *heap = &plan->heaps[device];
    char name[24];
    strbuf_printf(out, "%-9s ", machine_device_name(plan->machine, device, name));
    print_bar(heap, out);
    strbuf_printf(out, " %6.2f of %6.2f GiB: weights %.2f", gib(heap->planned), gib(heap->budget),
                  gib(heap->weights));
    if (heap->experts_cached)
        strbuf_printf(out, ", experts in use %.2f", gib(heap->experts_cached));
    strbuf_printf(out, ", keys and values %.2f, activations %.2f", gib(heap->kv),
                  gib(heap->activations));
    if (heap->staging)
        strbuf_printf(out, ", staging %.2f", gib(heap->staging));
    if (heap->in_file)
        strbuf_printf(out, "; left in the file %.2f", gib(heap->in_file));
    strbuf_append(out, STR("\n"));
}

static const char *kind_words(enum machine_kind kind)
{
    return kind == MACHINE_CPU ? "CPU" : kind == MACHINE_DISCRETE ? "card" : "integrated";
}

static void print_rate(const struct machine_device *device, enum machine_rate rate,
                       struct strbuf *out)
{
    double value = device->rate[rate];
    const char *mark = device->estimated >> rate & 1u ? " (estimated)" : "";
    switch (rate) {
    case RATE_READ: strbuf_printf(out, "reads %.0f GB/s%s", value / 1e9, mark); break;
    case RATE_MATRIX: strbuf_printf(out, ", %.2g Tflop/s%s", value / 1e12, mark); break;
    case RATE_COPY: strbuf_printf(out, ", copies %.1f GB/s%s", value / 1e9, mark); break;
    case RATE_DIRECT: strbuf_printf(out, ", over the bus %.1f GB/s%s", value / 1e9, mark); break;
    case RATE_HOP: strbuf_printf(out, ", hop %.0f us%s", value * 1e6, mark); break;
    default: break;
    }
}

/* Has the model a format that none of its shares before this one has? */
static bool is_new(const struct units *units, int share)
{
    for (int i = 1; i < share; i++)
        if (units->shares[i].dtype == units->shares[share].dtype)
            return false;
    return true;
}

/* Of a device that was measured: the model's formats, and what runs took since. */
static void print_measured(const struct plan *plan, int d, struct strbuf *out)
{
    const struct machine_device *device = &plan->machine->devices[d];
    const int width = machine_width_class(plan->units->n_embd);
    for (int i = 1, n = 0; i <= plan->units->n_shares; i++) {
        const struct dtype *dtype = plan->units->shares[i].dtype;
        const struct machine_rates *format = machine_format_of(device, dtype);
        if (!is_new(plan->units, i))
            continue;
        strbuf_printf(out, "%s%s", n++ ? "; " : "          ", dtype->name);
        double read = format ? format->products[width].read : 0;
        if (format)
            strbuf_printf(out, ": reads %.1f GB/s%s, %.2g Tflop/s",
                          (read > 0 ? read : format->read) / 1e9, read > 0 ? "" : " (estimated)",
                          (read > 0 ? format->products[width].matrix : format->matrix) / 1e12);
        else
            strbuf_append(out, STR(": as all (estimated)"));
    }
    const struct machine_rates *cache = machine_cache_of(device, plan->units->cache_name);
    if (cache)
        strbuf_printf(out, "; attention: reads %.1f GB/s, %.2g Tflop/s", cache->read / 1e9,
                      cache->matrix / 1e12);
    else
        strbuf_append(out, STR("; attention: as all (estimated)"));
    double prompt = learn_factor(&device->past[PHASE_PROMPT]);
    double answer = learn_factor(&device->past[PHASE_ANSWER]);
    if (prompt != 1 || answer != 1)
        strbuf_printf(out,
                      "\n          by its last runs prompts take %.2f times as long, answers "
                      "%.2f times",
                      prompt, answer);
    strbuf_append(out, STR("\n"));
}

static void print_machine(const struct plan *plan, struct strbuf *out)
{
    for (int d = 0; d < plan->machine->n_devices; d++) {
        const struct machine_device *device = &plan->machine->devices[d];
        char name[24];
        strbuf_printf(out, "%-9s %s (%s): ", machine_device_name(plan->machine, d, name),
                      device->name, kind_words(device->kind));
        for (int r = 0; r < RATE_COUNT; r++)
            if (device->kind == MACHINE_DISCRETE || r <= RATE_MATRIX ||
                (r == RATE_HOP && device->kind == MACHINE_INTEGRATED))
                print_rate(device, (enum machine_rate)r, out);
        strbuf_append(out, STR("\n"));
        if (device->measured)
            print_measured(plan, d, out);
    }
}

/* --- where units live ------------------------------------------------------------------------- */

/* Layers that follow each other and hold a kind of unit alike; of experts some more, some fewer. */
struct run {
    const struct unit *unit;
    struct choice choice; /* of the first */
    int first, last, n, least, most;
    uint64_t bytes;
};

static bool is_part(const struct unit *unit, struct choice choice)
{
    return unit->kind == UNIT_EXPERTS && choice.resident > 0 && choice.resident < unit->n;
}

static bool same_place(const struct unit *unit, struct choice x, struct choice y)
{
    return x.device == y.device && x.mode == y.mode && is_part(unit, x) == is_part(unit, y);
}

static void print_run(const struct plan *plan, const struct run *run, struct strbuf *out)
{
    const struct unit *unit = run->unit;
    char name[24];
    bool part = is_part(unit, run->choice);
    if (unit->kind == UNIT_HEAD)
        strbuf_printf(out, "  %-14s %9s", "output", "");
    else if (run->n == 1)
        strbuf_printf(out, "  %-14s layer %3d", unit_kind_name(unit->kind), run->last);
    else
        strbuf_printf(out, "  %-14s %3d-%-5d", unit_kind_name(unit->kind), run->first, run->last);
    strbuf_printf(out, " %7.2f GiB  %s", gib(run->bytes),
                  machine_device_name(plan->machine, run->choice.device, name));
    const char *which = plan->turn.no_cache ? "" : "the ", *used = which[0] ? " most used" : "";
    const char *cpu = which[0] ? "all" : "the others";
    if (part && run->least == run->most)
        strbuf_printf(out, " holds %s%d%s of %d, cpu %s", which, run->least, used, unit->n, cpu);
    else if (part)
        strbuf_printf(out, " holds %s%d to %d%s of %d, cpu %s", which, run->least, run->most, used,
                      unit->n, cpu);
    if ((run->choice.device == 0 || part) && unit->kind != UNIT_HEAD &&
        plan->machine->n_devices > 1)
        strbuf_printf(out, "; prompts: %s", plan_mode_name((enum prefill_mode)run->choice.mode));
    strbuf_append(out, STR("\n"));
}

static void print_units(const struct plan *plan, struct strbuf *out)
{
    const struct units *units = plan->units;
    for (int kind = 0; kind <= UNIT_HEAD; kind++) {
        struct run run = {0};
        for (int i = 0; i < units->n_units; i++) {
            const struct unit *unit = &units->items[i];
            struct choice choice = plan->items[i].choice;
            if (unit->kind != (enum unit_kind)kind)
                continue;
            if (run.n > 0 && !same_place(unit, run.choice, choice)) {
                print_run(plan, &run, out);
                run.n = 0;
            }
            if (run.n == 0)
                run = (struct run){.unit = unit,
                                   .choice = choice,
                                   .first = unit->layer,
                                   .least = choice.resident,
                                   .most = choice.resident};
            run.n++;
            run.last = unit->layer;
            run.bytes += unit->bytes * (uint64_t)unit->n;
            run.least = choice.resident < run.least ? choice.resident : run.least;
            run.most = choice.resident > run.most ? choice.resident : run.most;
        }
        if (run.n > 0)
            print_run(plan, &run, out);
    }
}

/* --- what did not make it --------------------------------------------------------------------- */

/* Per kind, units of which a GPU has none or not all: how many, and what the best would gain. */
static void print_gains(const struct plan *plan, struct strbuf *out)
{
    const struct units *units = plan->units;
    bool titled = false;
    for (int kind = 0; kind <= UNIT_HEAD; kind++) {
        int n = 0, best = -1;
        for (int i = 0; i < units->n_units; i++) {
            const struct plan_unit *item = &plan->items[i];
            if (units->items[i].kind != (enum unit_kind)kind || item->gain_s == 0)
                continue;
            n++;
            if (best < 0 || item->gain_s > plan->items[best].gain_s)
                best = i;
        }
        if (n == 0)
            continue;
        const struct unit *unit = &units->items[best];
        if (!titled)
            strbuf_append(out,
                          STR("not on a GPU, and what one more there would gain of a turn:\n"));
        titled = true;
        strbuf_printf(out, "  %-14s %3d layer%s at most %+.1f ms for %.1f MiB\n",
                      unit_kind_name(unit->kind), n, n == 1 ? " " : "s",
                      plan->items[best].gain_s * 1e3, (double)unit->bytes / (1 << 20));
    }
}

static void print_more(const struct plan *plan, struct strbuf *out)
{
    const struct plan_more *more = &plan->more;
    char name[24];
    if (more->device == 0)
        return;
    strbuf_printf(out,
                  "one more GiB on %s: prompt %.1f tokens/s (%+.1f %%), answer %.2f (%+.1f %%)\n",
                  machine_device_name(plan->machine, more->device, name), more->prompt_tokens_per_s,
                  100 * (more->prompt_tokens_per_s / plan->prompt_tokens_per_s - 1),
                  more->answer_tokens_per_s,
                  100 * (more->answer_tokens_per_s / plan->answer_tokens_per_s - 1));
}

static void print_so_far(const struct plan *plan, struct strbuf *out)
{
    const struct plan_so_far *so_far = &plan->so_far;
    bool alike = fabs(so_far->prompt_tokens_per_s / plan->prompt_tokens_per_s - 1) < 0.005 &&
                 fabs(so_far->answer_tokens_per_s / plan->answer_tokens_per_s - 1) < 0.005;
    if (so_far->answer_tokens_per_s > 0 && plan->machine->n_devices > 1 && !alike)
        strbuf_printf(out,
                      "  as models run so far, without shaders that read RAM over the bus or keys "
                      "and values that are streamed: prompt %.1f tokens/s, answer %.2f\n",
                      so_far->prompt_tokens_per_s, so_far->answer_tokens_per_s);
}

void plan_print(const struct plan *plan, struct strbuf *out)
{
    const char *mark = plan->estimated ? " (estimated)" : "";
    strbuf_printf(out, "prompt %.1f tokens/s, answer %.2f tokens/s%s\n", plan->prompt_tokens_per_s,
                  plan->answer_tokens_per_s, mark);
    strbuf_printf(out, "  for %d tokens in and %d out after %d, in batches of %d; context of %d\n",
                  plan->turn.n_in, plan->turn.n_out, plan->turn.depth, plan->turn.n_batch,
                  plan->units->n_ctx);
    strbuf_printf(out, "  %s\n", plan->bottleneck);
    print_so_far(plan, out);
    if (plan->stream_from > 0 && plan->turn.as_run)
        strbuf_printf(out, "  weights are streamed where a batch has about %d tokens or more\n",
                      plan->stream_from);
    if (plan->expert_hit > 0 && plan->expert_hit < 1)
        strbuf_printf(out,
                      "  the GPU is expected to have %.0f %% of a token's experts, where it has "
                      "any (use falls as 1/rank^%.2g: stated, not measured)\n",
                      100 * plan->expert_hit, plan->turn.skew);
    if (plan->file_part > 0)
        strbuf_printf(out,
                      "  RAM is too small: %.0f %% of what the CPU should hold is read from the "
                      "file for every token, at %.1f GB/s%s\n",
                      100 * plan->file_part, plan->machine->disk_bytes_per_s / 1e9,
                      plan->machine->disk_estimated ? " (estimated)" : "");
    strbuf_append(out, STR("\n"));
    for (int d = 0; d < plan->machine->n_devices; d++)
        print_heap(plan, d, out);
    strbuf_append(out, STR("W weights, E experts in use, K keys and values, a activations, "
                           "s staging\n\n"));
    print_machine(plan, out);
    strbuf_append(out, STR("\n"));
    print_units(plan, out);
    print_gains(plan, out);
    print_more(plan, out);
}
