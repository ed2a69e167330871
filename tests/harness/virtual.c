#include "harness/virtual.h"

#include <math.h>

#include "base/mem.h"
#include "harness/test.h"

static const double READ_RAMP_GPU = 512 << 10, READ_RAMP_CPU = 64 << 10, COPY_RAMP = 512 << 10;
static const double CONTENTION = 0.12; /* of the CPU while a copy runs, and of the copy */
static const double WARM_AFTER_S = 20, WARM = 0.96;
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

/* What a token's products with a unit (or one expert) come to at the rates for all formats. */
struct amount {
    double bytes, flop;
};

static struct amount weigh(const struct virtual_machine *vm, const struct units *units,
                           const struct unit *unit, int device)
{
    const struct machine_device *d = &vm->truth.devices[device];
    struct amount all = {(double)unit->bytes, 2 * unit->elems};
    for (int i = unit->shares; i; i = units->shares[i].next) {
        const struct unit_share *share = &units->shares[i];
        const struct machine_format *format = machine_format_of(d, share->dtype);
        if (!format)
            continue;
        all.bytes += share->bytes * (d->rate[RATE_READ] / format->read - 1);
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
    *vm = (struct virtual_machine){.truth = *truth, .rng = rng_seed(seed)};
}

/* --- probes ----------------------------------------------------------------------------------- */

static double time_s(void *user, enum probe_kind kind, int device, uint64_t amount)
{
    struct virtual_machine *vm = user;
    double n = (double)amount, noise = 1 + 0.02 * ((double)rng_float(&vm->rng) - 0.5), seconds = 0;
    vm->gpu_busy_s = 0; /* measuring is short */
    switch (kind) {
    case PROBE_OP: seconds = rate(vm, device, RATE_DISPATCH); break;
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
    }
    return seconds * noise;
}

/* Of a format that is like all others where nothing else is said. */
static double format_s(void *user, enum probe_kind kind, int device, const struct dtype *dtype,
                       uint64_t amount)
{
    struct virtual_machine *vm = user;
    const struct machine_device *d = &vm->truth.devices[device];
    const struct machine_format *format = machine_format_of(d, dtype);
    double times = !format              ? 1
                   : kind == PROBE_READ ? d->rate[RATE_READ] / format->read
                                        : d->rate[RATE_MATRIX] / format->matrix;
    return times * (time_s(user, kind, device, amount) - rate(vm, device, RATE_DISPATCH)) +
           rate(vm, device, RATE_DISPATCH);
}

struct probe virtual_probe(struct virtual_machine *vm)
{
    return (struct probe){.user = vm, .time_s = time_s, .format_s = format_s};
}

void virtual_learn(struct virtual_machine *vm, struct machine *learned)
{
    struct probe probe = virtual_probe(vm);
    *learned = vm->truth;
    for (int d = 0; d < learned->n_devices; d++) {
        memset(learned->devices[d].rate, 0, sizeof learned->devices[d].rate);
        memset(learned->devices[d].formats, 0, sizeof learned->devices[d].formats);
        learned->devices[d].estimated = 0;
    }
    machine_measure(learned, &probe);
    assert_int_equal(machine_complete(learned, test_log()), HTH_OK);
    vm->gpu_busy_s = 0;
}

/* --- experts ---------------------------------------------------------------------------------- */

/* Of one layer: who is used how often, and whom the GPU holds. */
struct routing {
    int n, n_used, resident;
    double cumulative[COST_MAX_EXPERTS]; /* of popularity, by rank */
    int expert_of_rank[COST_MAX_EXPERTS];
    double used[COST_MAX_EXPERTS]; /* counts that fade */
    bool here[COST_MAX_EXPERTS];
    int chosen[COST_MAX_EXPERTS];
};

static void init_routing(struct virtual_machine *vm, struct routing *r, const struct unit *unit,
                         int resident, double skew)
{
    double sum = 0;
    *r = (struct routing){.n = unit->n, .n_used = unit->n_used, .resident = resident};
    for (int i = 0; i < r->n; i++) {
        sum += pow(i + 1, -skew);
        r->cumulative[i] = sum;
        r->expert_of_rank[i] = i;
        r->here[i] = i < resident;
    }
    for (int i = r->n - 1; i > 0; i--) { /* nobody knows before who is popular */
        int k = (int)rng_below(&vm->rng, (uint32_t)i + 1), swap = r->expert_of_rank[i];
        r->expert_of_rank[i] = r->expert_of_rank[k];
        r->expert_of_rank[k] = swap;
    }
}

static void route(struct virtual_machine *vm, struct routing *r)
{
    for (int k = 0; k < r->n_used;) {
        double at = (double)rng_float(&vm->rng) * r->cumulative[r->n - 1];
        int low = 0, high = r->n - 1;
        while (low < high) {
            int middle = (low + high) / 2;
            if (r->cumulative[middle] > at)
                high = middle;
            else
                low = middle + 1;
        }
        bool twice = false;
        for (int i = 0; i < k; i++)
            twice |= r->chosen[i] == r->expert_of_rank[low];
        if (!twice)
            r->chosen[k++] = r->expert_of_rank[low];
    }
}

/* Counts a token's choices and lets one that was missing take the place of the least used, if it
 * is used clearly more. True: an upload. */
static bool keep_in_use(struct routing *r)
{
    int least = -1, most = -1;
    for (int i = 0; i < r->n; i++)
        r->used[i] *= 0.998;
    for (int k = 0; k < r->n_used; k++)
        r->used[r->chosen[k]] += 1;
    if (r->resident == 0 || r->resident == r->n)
        return false;
    for (int i = 0; i < r->n; i++) {
        if (r->here[i] && (least < 0 || r->used[i] < r->used[least]))
            least = i;
        if (!r->here[i] && (most < 0 || r->used[i] > r->used[most]))
            most = i;
    }
    if (r->used[most] < 1.3 * r->used[least] + 0.5)
        return false;
    r->here[most] = true;
    r->here[least] = false;
    return true;
}

/* --- answers ---------------------------------------------------------------------------------- */

struct runner {
    struct virtual_machine *vm;
    const struct virtual_job *job;
    struct routing *routings; /* [n_layers] */
    double token_bytes;       /* of activations */
    double n_hits, n_chosen, upload_s;
};

static double decode_experts(struct runner *run, const struct unit *unit, struct choice choice)
{
    struct virtual_machine *vm = run->vm;
    struct routing *r = &run->routings[unit->layer];
    int g = choice.device, hits = 0;
    double one = (double)unit->bytes, gpu = 0, cpu = 0, file = run->job->file_part;
    struct amount on_gpu = weigh(vm, run->job->units, unit, g);
    struct amount on_cpu = weigh(vm, run->job->units, unit, 0);
    route(vm, r);
    for (int k = 0; k < r->n_used; k++)
        hits += r->here[r->chosen[k]];
    int misses = r->n_used - hits;
    if (hits)
        gpu = compute_s(vm, g, hits * on_gpu.bytes, hits * on_gpu.flop, 0) +
              unit->n_ops * rate(vm, g, RATE_DISPATCH);
    if (misses)
        cpu = compute_s(vm, 0, misses * on_cpu.bytes, misses * on_cpu.flop, file) +
              unit->n_ops * rate(vm, 0, RATE_DISPATCH);
    if (misses && g)
        cpu += hop_s(vm, g, 0, run->token_bytes) + hop_s(vm, 0, g, run->token_bytes);
    if (run->upload_s > 0 && cpu > 0) { /* beside the CPU's work, for its memory */
        double overlap = run->upload_s < cpu ? run->upload_s : cpu;
        cpu += CONTENTION * overlap;
        run->upload_s -= overlap;
    }
    if (keep_in_use(r))
        run->upload_s += copy_s(vm, g, one, 0);
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
        struct amount work = weigh(run->vm, units, unit, device);
        double bytes = kv ? (double)units->kv_bytes_per_position * position : work.bytes;
        double flop = kv ? units->attn_flop * position : work.flop;
        seconds += hop_s(run->vm, at, device, run->token_bytes);
        if (unit->kind == UNIT_EXPERTS)
            seconds += decode_experts(run, unit, job->choices[i]);
        else
            seconds += compute_s(run->vm, device, bytes, flop, kv ? 0 : job->file_part) +
                       unit->n_ops * rate(run->vm, device, RATE_DISPATCH);
        if (kv)
            seconds += hop_s(run->vm, device, at, run->token_bytes);
        else
            at = device;
    }
    return seconds + hop_s(run->vm, at, 0, units->n_vocab * sizeof(float));
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

static void prefill_experts(struct runner *run, struct pipeline *p, const struct unit *unit,
                            struct choice choice)
{
    struct virtual_machine *vm = run->vm;
    struct routing *r = &run->routings[unit->layer];
    static int tokens_of[COST_MAX_EXPERTS];
    int g = choice.device, n_here = 0, n_away = 0, tokens = run->job->turn.n_batch;
    double here = 0, away = 0, one = (double)unit->bytes;
    struct amount on_cpu = weigh(vm, run->job->units, unit, 0);
    struct amount on_gpu = weigh(vm, run->job->units, unit, g);
    memset(tokens_of, 0, sizeof tokens_of);
    for (int t = 0; t < tokens; t++) {
        route(vm, r);
        for (int k = 0; k < r->n_used; k++)
            tokens_of[r->chosen[k]]++;
    }
    for (int i = 0; i < r->n; i++) {
        n_here += tokens_of[i] && r->here[i];
        n_away += tokens_of[i] && !r->here[i];
        *(r->here[i] ? &here : &away) += tokens_of[i];
    }
    double gpu = n_here ? compute_s(vm, g, n_here * on_gpu.bytes, here * on_gpu.flop, 0) : 0;
    struct share share = {n_away * one, away * on_gpu.flop, n_away ? away / n_away : 0,
                          (one > BY_MATRIX ? MATRICES : 1) * n_away, run->job->file_part};
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
    double cpu = compute_s(vm, 0, n_away * on_cpu.bytes, away * on_cpu.flop, run->job->file_part) +
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
    double tokens = job->turn.n_batch, seconds;
    int at = choice.device || choice.mode == PREFILL_CPU ? choice.device : job->stream_device;
    double bytes = kv ? (double)job->units->kv_bytes_per_position * position : (double)unit->bytes;
    struct amount work = weigh(run->vm, job->units, unit, at);
    double flop = tokens * (kv ? job->units->attn_flop * position : work.flop);
    if (unit->kind == UNIT_EXPERTS) {
        prefill_experts(run, p, unit, choice);
        return;
    }
    compute(p, unit->n_ops * rate(run->vm, at, RATE_DISPATCH));
    if (choice.device == 0 && at) {
        int n = kv ? 1 + (int)(bytes / CACHE_PIECE) : unit->kind == UNIT_ATTENTION ? 4 : 3;
        struct share share = {bytes, flop, tokens, n, kv ? 0 : job->file_part};
        run_remote(run, p, choice, &share);
        return;
    }
    seconds = compute_s(run->vm, at, kv ? bytes : work.bytes, flop, kv ? 0 : job->file_part);
    if (at)
        compute(p, seconds);
    else
        compute_on_cpu(p, seconds);
}

static void prefill_batch(struct runner *run, struct pipeline *p, double position)
{
    const struct virtual_job *job = run->job;
    double bytes = job->turn.n_batch * run->token_bytes;
    int at = 0;
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
    struct virtual_result result = {0};
    run.routings = mem_calloc((size_t)units->n_layers + 1, sizeof *run.routings);
    assert_non_null(run.routings);
    for (int i = 0; i < units->n_units; i++) {
        if (units->items[i].kind != UNIT_EXPERTS)
            continue;
        struct routing *r = &run.routings[units->items[i].layer];
        init_routing(vm, r, &units->items[i], job->choices[i].resident, job->turn.skew);
        for (int t = 0; t < WARM_UP; t++) { /* the conversation before */
            route(vm, r);
            (void)keep_in_use(r);
        }
    }
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
    int n = job->turn.n_out < MOST_TOKENS ? job->turn.n_out : MOST_TOKENS;
    for (int t = 0; t < n; t++) /* spread over the answer */
        seconds += decode_token(&run, position + (t + 0.5) * job->turn.n_out / n);
    result.answer_tokens_per_s = n / seconds;
    result.hit = run.n_chosen > 0 ? run.n_hits / run.n_chosen : 0;
    mem_free(run.routings);
    return result;
}
