#include "harness/virtual.h"

#include <math.h>

#include "base/mem.h"
#include "harness/test.h"
#include "kv/kv.h"

static const double READ_RAMP_GPU = 512 << 10, READ_RAMP_CPU = 64 << 10, COPY_RAMP = 512 << 10;
static const double CONTENTION = 0.12; /* of the CPU while a copy runs, and of the copy */
static const double WARM_AFTER_S = 20, WARM = 0.96;
enum { MOST_COMING = 64 };
static const double MODEST_GAIN = 0.97; /* CPU and GPU at once on one memory */

static double rate(const struct virtual_machine *vm, int device, enum machine_rate which)
{
    return vm->truth.devices[device].rate[which];
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* The part of a peak that a transfer of so many bytes reaches. */
static double ramp(double bytes, double size)
{
    return 1 - 0.5 * exp(-bytes / size);
}

static double warmth(const struct virtual_machine *vm, int device)
{
    return device > 0 && vm->gpu_busy_s > WARM_AFTER_S ? WARM : 1;
}

static double compute_s(struct virtual_machine *vm, int device, double bytes, double flop,
                        double file_part)
{
    double peak = rate(vm, device, RATE_READ) * warmth(vm, device);
    double part = ramp(bytes, device ? READ_RAMP_GPU : READ_RAMP_CPU);
    double read_s = bytes / (peak * part), seconds;
    if (device == 0 && file_part > 0)
        read_s = (1 - file_part) * read_s + file_part * bytes / vm->truth.disk_bytes_per_s;
    seconds = larger(read_s, flop / (rate(vm, device, RATE_MATRIX) * warmth(vm, device)));
    vm->gpu_busy_s += device ? seconds : 0;
    return seconds;
}

/* What a token's products with a unit (or one expert), or its attention, come to at the rates for
 * all formats. */
struct amount {
    double bytes, flop;
};

/* Products of several tokens on the CPU: its cores do not compute while they wait for weights.
 * Those of one column are done by the time that the next weights are there. */
static double cpu_products_s(struct virtual_machine *vm, struct amount one, double n_read,
                             double n_columns, double file_part)
{
    return compute_s(vm, 0, n_read * one.bytes, 0, file_part) +
           larger(n_columns - n_read, 0) * one.flop / rate(vm, 0, RATE_MATRIX);
}

static struct amount weigh_cache(const struct machine_device *d, const struct units *units,
                                 double position)
{
    const struct machine_rates *own = machine_cache_of(d, units->cache_name);
    struct amount all = {(double)units->kv_bytes_per_position * position,
                         units->attn_flop * position};
    if (own) {
        all.bytes *= d->rate[RATE_READ] / own->read;
        all.flop *= d->rate[RATE_MATRIX] / own->matrix;
    }
    return all;
}

static bool has_width(const struct machine_rates *format, int width)
{
    return format && format->products[width].read > 0;
}

static struct amount weigh(const struct virtual_machine *vm, const struct units *units,
                           const struct unit *unit, int device, double position)
{
    const struct machine_device *d = &vm->truth.devices[device];
    if (unit->kind == UNIT_KV)
        return weigh_cache(d, units, position);
    struct amount all = {(double)unit->bytes, 2 * unit->elems};
    for (int i = unit->shares; i; i = units->shares[i].next) {
        const struct unit_share *share = &units->shares[i];
        const struct machine_rates *format = machine_format_of(d, share->dtype);
        if (!format)
            continue;
        int width = machine_width_class(units->n_embd);
        double read = has_width(format, width) ? format->products[width].read : format->read;
        all.bytes += share->bytes * (d->rate[RATE_READ] / read - 1);
        all.flop += 2 * share->elems * (d->rate[RATE_MATRIX] / format->matrix - 1);
    }
    return all;
}

static double copy_s(const struct virtual_machine *vm, int device, double bytes, double file_part)
{
    double seconds = bytes / (rate(vm, device, RATE_COPY) * ramp(bytes, COPY_RAMP));
    return larger(seconds, file_part * bytes / vm->truth.disk_bytes_per_s) +
           rate(vm, device, RATE_LATENCY);
}

/* One way; bytes of activations. */
static double hop_s(struct virtual_machine *vm, int from, int to, double bytes)
{
    double seconds = 0, jitter = (double)rng_float(&vm->rng);
    if (from == to)
        return 0;
    if (from)
        seconds += rate(vm, from, RATE_HOP) + bytes / rate(vm, from, RATE_COPY);
    if (to)
        seconds += rate(vm, to, RATE_HOP) + bytes / rate(vm, to, RATE_COPY);
    return seconds * (0.9 + 0.3 * jitter * jitter);
}

void virtual_start(struct virtual_machine *vm, const struct machine *truth, uint64_t seed)
{
    *vm = (struct virtual_machine){
        .truth = *truth, .rng = rng_seed(seed), .routes = rng_seed(seed + 1)};
}

/* --- probes ----------------------------------------------------------------------------------- */

static double time_s(void *user, enum probe_kind kind, int device, uint64_t amount)
{
    struct virtual_machine *vm = user;
    double n = (double)amount, noise = 1 + 0.02 * ((double)rng_float(&vm->rng) - 0.5), seconds = 0;
    vm->gpu_busy_s = 0; /* measuring is short */
    switch (kind) {
    case PROBE_OP: seconds = rate(vm, device, RATE_DISPATCH); break;
    case PROBE_PRODUCT: /* of formats alone */
    case PROBE_FFN: return 0;
    case PROBE_READ:
        seconds = rate(vm, device, RATE_DISPATCH) + compute_s(vm, device, n, 0, 0);
        break;
    case PROBE_MATRIX:
        seconds = rate(vm, device, RATE_DISPATCH) + n / rate(vm, device, RATE_MATRIX);
        break;
    case PROBE_COPY: seconds = copy_s(vm, device, n, 0); break;
    case PROBE_DIRECT:
        seconds = rate(vm, device, RATE_DISPATCH) + n / rate(vm, device, RATE_DIRECT);
        break;
    case PROBE_HOP: seconds = hop_s(vm, 0, device, n) + hop_s(vm, device, 0, n); break;
    case PROBE_ACTIVATION:
        seconds = 2 * rate(vm, device, RATE_DISPATCH) + n / rate(vm, device, RATE_ACTIVATION);
        break;
    }
    return seconds * noise;
}

/* At rates that are like those of all where nothing else (NULL) is said. */
static double own_s(struct virtual_machine *vm, enum probe_kind kind, int device,
                    const struct machine_rates *own, uint64_t amount)
{
    const struct machine_device *d = &vm->truth.devices[device];
    double times = !own                   ? 1
                   : kind != PROBE_MATRIX ? d->rate[RATE_READ] / own->read
                                          : d->rate[RATE_MATRIX] / own->matrix;
    return times * (time_s(vm, kind, device, amount) - rate(vm, device, RATE_DISPATCH)) +
           rate(vm, device, RATE_DISPATCH);
}

/* What dispatches of a unit cost in an answer. */
static double product_op_s(const struct virtual_machine *vm, const struct units *units,
                           const struct unit *unit, int device)
{
    const struct machine_device *d = &vm->truth.devices[device];
    double seconds = d->rate[RATE_DISPATCH], own = 0, elems = 0;
    const struct machine_rates *cache = machine_cache_of(d, units->cache_name);
    double more = device == 0 ? unit->n_cpu_ops * seconds : 0;
    if (unit->kind == UNIT_KV && cache && cache->op_s > 0)
        return more + (unit->n_ops - 1) * seconds + cache->op_s;
    int width = machine_width_class(units->n_embd);
    for (int i = unit->shares; i; i = units->shares[i].next) {
        const struct unit_share *share = &units->shares[i];
        const struct machine_rates *format = machine_format_of(d, share->dtype);
        own += share->elems * (has_width(format, width) ? format->products[width].op_s : seconds);
        elems += share->elems;
    }
    return more + unit->n_ops * (elems > 0 ? own / elems : seconds);
}

static double format_s(void *user, enum probe_kind kind, int device, const struct dtype *dtype,
                       uint64_t amount)
{
    struct virtual_machine *vm = user;
    const struct machine_rates *own = machine_format_of(&vm->truth.devices[device], dtype);
    if (kind != PROBE_PRODUCT && kind != PROBE_FFN)
        return own_s(vm, kind, device, own, amount);
    struct machine_rates rates = own ? *own : (struct machine_rates){0};
    int width = machine_width_class((int)amount), n_products = kind == PROBE_FFN ? 2 : 1;
    double op_s = rate(vm, device, RATE_DISPATCH);
    uint64_t rows = kind == PROBE_FFN ? 3 * (uint64_t)machine_ffn_width((int)amount) : amount;
    amount = amount / dtype->block_elems * dtype->block_bytes * rows;
    if (!has_width(own, width))
        return own_s(vm, PROBE_READ, device, own, amount) + (n_products - 1) * op_s;
    rates.read = own->products[width].read;
    return own_s(vm, PROBE_READ, device, &rates, amount) - op_s +
           n_products * own->products[width].op_s;
}

static double cache_s(void *user, enum probe_kind kind, int device, const struct cache_shape *shape,
                      uint64_t amount)
{
    struct virtual_machine *vm = user;
    char name[64];
    machine_cache_name(shape, name);
    const struct machine_rates *own = machine_cache_of(&vm->truth.devices[device], name);
    struct kv_geom kv = shape->kv;
    double op_s = rate(vm, device, RATE_DISPATCH),
           more_s = own && own->op_s > 0 ? own->op_s - op_s : 0;
    if (kind == PROBE_OP)
        return own_s(vm, PROBE_READ, device, own, kv_layout(&kv, 1, NULL)) + more_s;
    return own_s(vm, kind, device, own, amount) + (kind == PROBE_READ ? more_s : 0);
}

struct probe virtual_probe(struct virtual_machine *vm)
{
    return (struct probe){.user = vm, .time_s = time_s, .format_s = format_s, .cache_s = cache_s};
}

void virtual_learn(struct virtual_machine *vm, struct machine *learned)
{
    struct probe probe = virtual_probe(vm);
    *learned = vm->truth;
    for (int d = 0; d < learned->n_devices; d++) {
        memset(learned->devices[d].rate, 0, sizeof learned->devices[d].rate);
        memset(learned->devices[d].formats, 0, sizeof learned->devices[d].formats);
        memset(learned->devices[d].caches, 0, sizeof learned->devices[d].caches);
        learned->devices[d].estimated = 0;
    }
    machine_measure(learned, &probe);
    assert_int_equal(machine_complete(learned, test_log()), HTH_OK);
    vm->gpu_busy_s = 0;
}

/* --- experts ---------------------------------------------------------------------------------- */

/* Those of one layer that the GPU holds are the policy's choice (plan/slots.h), or stay. */
struct runner {
    struct virtual_machine *vm;
    const struct virtual_job *job;
    struct routing *routings; /* [n_layers] */
    struct slots *slots;
    struct slots_swap coming[MOST_COMING]; /* under way since the last token */
    int n_coming;
    double token_bytes; /* of activations */
    double file_part;   /* of the host's weights, that its memory has no room for */
    double n_hits, n_chosen;
    double upload_s, token_s; /* copies under way; the last token */
};

static const struct unit *experts_of(const struct units *units, int layer)
{
    for (int i = 0; i < units->n_units; i++)
        if (units->items[i].kind == UNIT_EXPERTS && units->items[i].layer == layer)
            return &units->items[i];
    return NULL;
}

static void arrive(struct runner *run)
{
    for (int i = 0; i < run->n_coming; i++)
        slots_arrive(run->slots, &run->coming[i]);
    run->n_coming = 0;
}

/* What came is there, and what is worth it goes on its way: with a token, copies for an eighth of
 * its time. */
static void turn_over(struct runner *run)
{
    const struct virtual_job *job = run->job;
    double begun_s = 0;
    slots_step(run->slots, 1);
    arrive(run);
    while (!job->fixed && !job->turn.no_cache && run->n_coming < MOST_COMING &&
           (run->n_coming == 0 || begun_s < run->token_s / 8) &&
           slots_choose(run->slots, &run->coming[run->n_coming])) {
        const struct slots_swap *swap = &run->coming[run->n_coming++];
        const struct unit *unit = experts_of(job->units, swap->layer);
        int device = job->choices[unit - job->units->items].device;
        begun_s += copy_s(run->vm, device, (double)unit->bytes, 0);
        slots_begin(run->slots, swap);
    }
    run->upload_s += begun_s;
}

static bool is_here(const struct runner *run, int layer, int expert)
{
    return slots_place_of(run->slots, layer, expert) == SLOTS_HERE;
}

static void start_experts(struct runner *run)
{
    const struct virtual_job *job = run->job;
    const struct units *units = job->units;
    const struct unit *any = NULL;
    for (int l = 0; l < units->n_layers && !any; l++)
        any = experts_of(units, l);
    struct slots_options options = {
        .n_layers = units->n_layers, .n_expert = any ? any->n : 0, .n_used = any ? any->n_used : 0};
    if (run->vm->truth.n_devices > 1)
        options.price = slots_price(rate(run->vm, 0, RATE_READ), rate(run->vm, 1, RATE_COPY));
    assert_int_equal(slots_create(&run->slots, &options, test_log()), HTH_OK);
    for (int i = 0; i < units->n_units; i++) {
        const struct unit *unit = &units->items[i];
        if (unit->kind != UNIT_EXPERTS)
            continue;
        routing_start(&run->routings[unit->layer], &run->vm->routes, unit->n, unit->n_used,
                      job->turn.skew, job->local);
        for (int e = 0; e < job->choices[i].resident; e++)
            slots_fill(run->slots, unit->layer, e);
    }
}

/* --- the host's memory ------------------------------------------------------------------------ */

/* Bytes of a unit that the host holds: of experts that may change places all. */
static double bytes_of_host(const struct virtual_job *job, const struct unit *unit,
                            struct choice choice)
{
    bool stay = job->turn.no_cache || choice.resident == unit->n;
    int n = unit->kind != UNIT_EXPERTS ? choice.device == 0
            : stay                     ? unit->n - choice.resident
                                       : unit->n;
    return n * (double)unit->bytes;
}

/* What a GPU that shares the host's memory takes of it. */
static double bytes_of_shared(const struct virtual_machine *vm, const struct unit *unit,
                              struct choice choice)
{
    int n = unit->kind == UNIT_EXPERTS ? choice.resident : 1;
    bool shared = choice.device && vm->truth.devices[choice.device].kind == MACHINE_INTEGRATED;
    return shared ? n * (double)unit->bytes : 0;
}

static double missing_part(const struct virtual_machine *vm, const struct virtual_job *job)
{
    const struct units *units = job->units;
    double weights = 0, others = (double)units->host_bytes;
    others += (double)plan_working_bytes(units, job->turn.n_batch);
    for (int i = 0; i < units->n_units; i++) {
        const struct unit *unit = &units->items[i];
        double bytes = bytes_of_host(job, unit, job->choices[i]);
        *(unit->kind == UNIT_KV ? &others : &weights) += bytes;
        others += bytes_of_shared(vm, unit, job->choices[i]);
    }
    double room = (double)vm->truth.devices[0].budget_bytes - others;
    return weights > room ? 1 - larger(room, 0) / weights : 0;
}

/* --- answers ---------------------------------------------------------------------------------- */

static double decode_experts(struct runner *run, const struct unit *unit, struct choice choice)
{
    struct virtual_machine *vm = run->vm;
    struct routing *r = &run->routings[unit->layer];
    int g = choice.device, hits = 0;
    double gpu = 0, cpu = 0, file = run->file_part;
    struct amount on_gpu = weigh(vm, run->job->units, unit, g, 0);
    struct amount on_cpu = weigh(vm, run->job->units, unit, 0, 0);
    routing_next(r, &vm->routes);
    for (int k = 0; k < r->n_used; k++)
        hits += is_here(run, unit->layer, r->chosen[k]);
    slots_use(run->slots, unit->layer, r->chosen, 1);
    int misses = r->n_used - hits;
    if (hits)
        gpu = compute_s(vm, g, hits * on_gpu.bytes, hits * on_gpu.flop, 0) +
              product_op_s(vm, run->job->units, unit, g);
    if (misses)
        cpu = compute_s(vm, 0, misses * on_cpu.bytes, misses * on_cpu.flop, file) +
              product_op_s(vm, run->job->units, unit, 0);
    if (misses && g)
        cpu += hop_s(vm, g, 0, run->token_bytes) + hop_s(vm, 0, g, run->token_bytes);
    if (run->upload_s > 0 && cpu > 0) { /* beside the CPU's work, for its memory */
        double overlap = run->upload_s < cpu ? run->upload_s : cpu;
        cpu += CONTENTION * overlap;
        run->upload_s -= overlap;
    }
    run->n_hits += g ? hits : 0;
    run->n_chosen += g ? r->n_used : 0;
    bool shared = vm->truth.devices[g].kind == MACHINE_INTEGRATED;
    return shared ? MODEST_GAIN * (gpu + cpu) : larger(gpu, cpu);
}

static double decode_token(struct runner *run, double position)
{
    const struct virtual_job *job = run->job;
    const struct units *units = job->units;
    double seconds = 0;
    int at = 0;
    for (int i = 0; i < units->n_units; i++) {
        const struct unit *unit = &units->items[i];
        int device = job->choices[i].device;
        bool kv = unit->kind == UNIT_KV;
        struct amount work = weigh(run->vm, units, unit, device, position);
        seconds += hop_s(run->vm, at, device, run->token_bytes);
        if (unit->kind == UNIT_EXPERTS)
            seconds += decode_experts(run, unit, job->choices[i]);
        else
            seconds += compute_s(run->vm, device, work.bytes, work.flop, kv ? 0 : run->file_part) +
                       product_op_s(run->vm, units, unit, device);
        if (kv)
            seconds += hop_s(run->vm, device, at, run->token_bytes);
        else
            at = device;
    }
    return seconds + hop_s(run->vm, at, 0, units->n_vocab * sizeof(float));
}

/* The conversation before. */
static void warm_up(struct runner *run, int n_tokens)
{
    const struct units *units = run->job->units;
    run->token_s = n_tokens ? decode_token(run, run->job->turn.depth) : 0;
    run->n_hits = run->n_chosen = 0;
    for (int t = 0; t < n_tokens; t++) {
        for (int i = 0; i < units->n_units; i++) {
            int layer = units->items[i].layer;
            if (units->items[i].kind != UNIT_EXPERTS)
                continue;
            routing_next(&run->routings[layer], &run->vm->routes);
            slots_use(run->slots, layer, run->routings[layer].chosen, 1);
        }
        run->upload_s = 0; /* copied beside the token */
        turn_over(run);
    }
}

/* --- prompts ---------------------------------------------------------------------------------- */

enum { MOST_PLACES = 256, CACHE_PIECE = 16 << 20, BY_MATRIX = 16 << 20, MATRICES = 3 };

/* A ring that weights are copied into: a copy goes ahead as soon as there is room and the bus is
 * free. */
struct pipeline {
    double now_s, bus_free_s;
    double copy_s, compute_s;                       /* sums */
    double room, used;                              /* bytes of the ring */
    double bytes[MOST_PLACES], free_s[MOST_PLACES]; /* what lies there, and until when */
    int first, count;
};

static void compute(struct pipeline *p, double seconds)
{
    p->now_s += seconds;
    p->compute_s += seconds;
}

static void compute_on_cpu(struct pipeline *p, double seconds)
{
    double overlap = p->bus_free_s - p->now_s;
    overlap = overlap < 0 ? 0 : overlap < seconds ? overlap : seconds;
    p->bus_free_s += CONTENTION * overlap;
    compute(p, seconds + CONTENTION * overlap);
}

struct share {
    double bytes, flop, tokens; /* of weights in the host's memory; tokens through each */
    int n;                      /* matrices */
    double file_part;
};

/* When there is room for so much more. */
static double wait_for_room(struct pipeline *p, double bytes)
{
    double since = 0;
    while (p->count > 0 && (p->used + bytes > p->room || p->count == MOST_PLACES)) {
        since = larger(since, p->free_s[p->first]);
        p->used -= p->bytes[p->first];
        p->first = (p->first + 1) % MOST_PLACES;
        p->count--;
    }
    return since;
}

/* `n` matrices, copied and computed one after the other. */
static void stream(struct runner *run, struct pipeline *p, int device, const struct share *share)
{
    double bytes = share->bytes, flop = share->flop;
    int n = share->n;
    for (int i = 0; i < n; i++) {
        double copy = copy_s(run->vm, device, bytes / n, share->file_part);
        p->bus_free_s = larger(p->bus_free_s, wait_for_room(p, bytes / n)) + copy;
        p->copy_s += copy;
        p->now_s = larger(p->now_s, p->bus_free_s);
        compute(p, compute_s(run->vm, device, bytes / n, flop / n, 0));
        int last = (p->first + p->count++) % MOST_PLACES;
        p->bytes[last] = bytes / n;
        p->free_s[last] = p->now_s;
        p->used += bytes / n;
    }
}

static void run_remote(struct runner *run, struct pipeline *p, struct choice choice,
                       const struct share *share)
{
    int g = choice.device ? choice.device : run->job->stream_device;
    if (choice.mode == PREFILL_STREAM) {
        stream(run, p, g, share);
        return;
    }
    double passes = ceil(share->tokens / DIRECT_TILE);
    double bus = passes * share->bytes / rate(run->vm, g, RATE_DIRECT);
    double file = share->file_part * share->bytes / run->vm->truth.disk_bytes_per_s;
    double flop = share->flop / (rate(run->vm, g, RATE_MATRIX) * warmth(run->vm, g));
    p->now_s = larger(p->now_s, p->bus_free_s); /* one bus for both */
    compute(p, larger(larger(bus, file), flop));
    p->bus_free_s = p->now_s;
}

/* All that a prompt's tokens pass besides products. */
static double norms_s(struct runner *run, const struct unit *unit, int device)
{
    double row = run->job->units->n_embd, wide = unit->n_used * unit->elems / row;
    double bytes = run->job->turn.n_batch * (4 * row + wide) * sizeof(float);
    double bytes_per_s = rate(run->vm, device, RATE_ACTIVATION);
    return bytes_per_s > 0 ? bytes / bytes_per_s : 0;
}

static void prefill_experts(struct runner *run, struct pipeline *p, const struct unit *unit,
                            struct choice choice)
{
    struct virtual_machine *vm = run->vm;
    struct routing *r = &run->routings[unit->layer];
    static int tokens_of[COST_MAX_EXPERTS];
    int g = choice.device, n_here = 0, n_away = 0, tokens = run->job->turn.n_batch;
    double here = 0, away = 0, one = (double)unit->bytes;
    struct amount on_cpu = weigh(vm, run->job->units, unit, 0, 0);
    struct amount on_gpu = weigh(vm, run->job->units, unit, g, 0);
    memset(tokens_of, 0, sizeof tokens_of);
    for (int t = 0; t < tokens; t++) {
        routing_next(r, &vm->routes);
        for (int k = 0; k < r->n_used; k++)
            tokens_of[r->chosen[k]]++;
    }
    for (int i = 0; i < r->n; i++) {
        bool is = is_here(run, unit->layer, i);
        n_here += tokens_of[i] && is;
        n_away += tokens_of[i] && !is;
        *(is ? &here : &away) += tokens_of[i];
    }
    double gpu = n_here ? compute_s(vm, g, n_here * on_gpu.bytes, here * on_gpu.flop, 0) : 0;
    struct share share = {n_away * one, away * on_gpu.flop, n_away ? away / n_away : 0,
                          (one > BY_MATRIX ? MATRICES : 1) * n_away, run->file_part};
    if (run->job->turn.as_run && choice.mode == PREFILL_STREAM) { /* all come, asked for or not */
        share.bytes = (unit->n - choice.resident) * one;
        share.n = MATRICES;
    }
    if (choice.mode != PREFILL_CPU || n_away == 0) {
        compute(p, gpu + unit->n_ops * rate(vm, run->job->stream_device, RATE_DISPATCH));
        if (n_away)
            run_remote(run, p, choice, &share);
        return;
    }
    double cpu = cpu_products_s(vm, on_cpu, n_away, away, run->file_part) +
                 unit->n_ops * rate(vm, 0, RATE_DISPATCH);
    if (g)
        cpu += 2 * hop_s(vm, g, 0, tokens * run->token_bytes);
    bool shared = vm->truth.devices[g].kind == MACHINE_INTEGRATED;
    compute_on_cpu(p, shared ? MODEST_GAIN * (gpu + cpu) : larger(gpu, cpu));
}

static void prefill_unit(struct runner *run, struct pipeline *p, int index, double position)
{
    const struct virtual_job *job = run->job;
    const struct unit *unit = &job->units->items[index];
    struct choice choice = job->choices[index];
    bool kv = unit->kind == UNIT_KV;
    double tokens = job->turn.n_batch;
    int at = choice.device || choice.mode == PREFILL_CPU ? choice.device : job->stream_device;
    double bytes = kv ? (double)job->units->kv_bytes_per_position * position : (double)unit->bytes;
    struct amount work = weigh(run->vm, job->units, unit, at, position);
    double flop = tokens * work.flop;
    if (unit->kind == UNIT_EXPERTS) {
        compute(p, norms_s(run, unit, at));
        prefill_experts(run, p, unit, choice);
        return;
    }
    compute(p, unit->n_ops * rate(run->vm, at, RATE_DISPATCH));
    if (!kv)
        compute(p, norms_s(run, unit, at));
    if (choice.device == 0 && at) {
        int n = kv ? 1 + (int)(bytes / CACHE_PIECE) : unit->kind == UNIT_ATTENTION ? 4 : 3;
        struct share share = {bytes, flop, tokens, n, kv ? 0 : run->file_part};
        run_remote(run, p, choice, &share);
        return;
    }
    if (at)
        compute(p, compute_s(run->vm, at, work.bytes, flop, kv ? 0 : run->file_part));
    else if (kv)
        compute_on_cpu(p, compute_s(run->vm, at, work.bytes, flop, 0));
    else
        compute_on_cpu(p, cpu_products_s(run->vm, work, 1, tokens, run->file_part));
}

static void prefill_batch(struct runner *run, struct pipeline *p, double position)
{
    const struct virtual_job *job = run->job;
    double bytes = job->turn.n_batch * run->token_bytes;
    int at = 0;
    p->bus_free_s += run->upload_s; /* what is under way comes first (engine/experts.c) */
    run->upload_s = 0;
    arrive(run);
    for (int i = 0; i < job->units->n_units; i++) {
        const struct unit *unit = &job->units->items[i];
        struct choice choice = job->choices[i];
        int to = choice.device || choice.mode == PREFILL_CPU ? choice.device : job->stream_device;
        if (unit->kind == UNIT_HEAD) /* one position of one batch: nothing beside the rest */
            continue;
        compute(p, hop_s(run->vm, at, to, bytes));
        prefill_unit(run, p, i, position);
        if (unit->kind == UNIT_KV)
            compute(p, hop_s(run->vm, to, at, bytes));
        else
            at = to;
    }
}

struct virtual_result virtual_run(struct virtual_machine *vm, const struct virtual_job *job)
{
    enum { WARM_UP = 400, MOST_TOKENS = 60 };
    const struct units *units = job->units;
    struct runner run = {
        .vm = vm, .job = job, .token_bytes = units->n_embd * (double)sizeof(float)};
    run.file_part = missing_part(vm, job);
    struct virtual_result result = {0};
    run.routings = mem_calloc((size_t)units->n_layers + 1, sizeof *run.routings);
    assert_non_null(run.routings);
    start_experts(&run);
    warm_up(&run, job->cold ? 0 : WARM_UP);
    struct slots_count warm = slots_get_count(run.slots);
    bool as_run = job->turn.as_run;
    struct pipeline p = {.room =
                             (double)(as_run ? cost_ring_bytes(units) : cost_staging_bytes(units))};
    double position = job->turn.depth;
    for (int b = 0; b < job->turn.n_batches; b++) {
        prefill_batch(&run, &p, position + job->turn.n_batch / 2.0);
        position += job->turn.n_batch;
    }
    result.batch_s = p.now_s / job->turn.n_batches;
    result.copy_s = p.copy_s / job->turn.n_batches;
    result.compute_s = p.compute_s / job->turn.n_batches;
    result.prompt_tokens_per_s = job->turn.n_in / p.now_s;
    double seconds = 0;
    int n = job->cold || job->turn.n_out < MOST_TOKENS ? job->turn.n_out : MOST_TOKENS;
    for (int t = 0; t < n; t++) { /* spread over the answer */
        run.token_s = decode_token(&run, position + (t + 0.5) * job->turn.n_out / n);
        seconds += run.token_s;
        turn_over(&run);
    }
    result.answer_tokens_per_s = n / seconds;
    result.hit = run.n_chosen > 0 ? run.n_hits / run.n_chosen : 0;
    result.uploads = (double)(slots_get_count(run.slots).uploads - warm.uploads) / n;
    slots_destroy(run.slots);
    mem_free(run.routings);
    return result;
}
