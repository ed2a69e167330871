#include "plan/cost.h"

#include <math.h>

#include "base/attr.h"
#include "plan/learn.h"

/* --- experts ---------------------------------------------------------------------------------- */

/* How often a token takes each expert, the most used first: 1 − exp(−t / r^skew), with t such that
 * a token takes n_used in all. */
static void inclusion(double *q, int n, int n_used, double skew)
{
    double low = 0, high = 1e9, weight[COST_MAX_EXPERTS];
    for (int r = 0; r < n; r++)
        weight[r] = pow(r + 1, -skew);
    for (int step = 0; step < 60; step++) {
        double t = step == 0 ? n_used : low > 0 ? sqrt(low * high) : high / 2, sum = 0;
        for (int r = 0; r < n; r++)
            sum += q[r] = 1 - exp(-t * weight[r]);
        if (sum > n_used)
            high = t;
        else
            low = t;
    }
}

static void init_experts(struct cost *cost, const struct unit *unit)
{
    double q[COST_MAX_EXPERTS];
    int n = unit->n, tokens = cost->turn.n_batch;
    inclusion(q, n, unit->n_used, cost->turn.skew);
    for (int r = 0; r < n; r++) {
        double share = q[r] / unit->n_used, needed = 1 - pow(1 - q[r], tokens);
        cost->hit[r + 1] = cost->hit[r] + (cost->turn.no_cache ? 1.0 / n : share);
        cost->distinct[r + 1] = cost->distinct[r] + needed;
    }
    for (int r = 0; r <= n; r++) /* what rounding leaves */
        cost->hit[r] /= cost->hit[n];
}

/* --- what all units share --------------------------------------------------------------------- */

static double rate(const struct cost *cost, int device, enum machine_rate which)
{
    return cost->machine->devices[device].rate[which];
}

/* Of what has none of its own. */
static struct machine_rates usual_rates(const struct machine_device *device)
{
    return (struct machine_rates){.read = device->rate[RATE_READ],
                                  .matrix = device->rate[RATE_MATRIX]};
}

/* Bytes/s of the host's weights that are read at `read` where they are in memory. */
static double with_file(const struct cost *cost, double read)
{
    double part = cost->file_part;
    return part > 0 ? 1 / ((1 - part) / read + part / cost->machine->disk_bytes_per_s) : read;
}

void cost_init(struct cost *cost, const struct machine *machine, const struct units *units,
               const struct turn *turn, double file_part)
{
    *cost =
        (struct cost){.machine = machine, .units = units, .turn = *turn, .file_part = file_part};
    for (int d = 1; d < machine->n_devices; d++)
        if (cost->fastest == 0 ||
            rate(cost, d, RATE_MATRIX) > rate(cost, cost->fastest, RATE_MATRIX))
            cost->fastest = d;
    const struct machine_device *fastest = &machine->devices[cost->fastest];
    bool apart = cost->fastest && (fastest->kind == MACHINE_DISCRETE || fastest->stands_in);
    cost->stream_device = turn->as_run && !apart ? 0 : cost->fastest;
    uint64_t staging = turn->as_run ? cost_ring_bytes(units) : cost_staging_bytes(units);
    if (cost->stream_device)
        cost->ahead_s = (double)staging / rate(cost, cost->stream_device, RATE_COPY);
    for (int d = 0; d < machine->n_devices; d++) {
        const struct machine_rates *own = machine_cache_of(&machine->devices[d], units->cache_name);
        cost->cache[d] = own ? *own : usual_rates(&machine->devices[d]);
        for (int phase = 0; phase < PHASES; phase++)
            cost->pace[d][phase] = learn_factor(&machine->devices[d].past[phase]);
    }
    cost->width_class = machine_width_class(units->n_embd);
    cost->kv_decode = turn->depth + turn->n_in + turn->n_out / 2.0;
    cost->kv_prefill = turn->depth + turn->n_in / 2.0;
    for (int i = 0; i < units->n_units; i++)
        if (units->items[i].kind == UNIT_EXPERTS) {
            init_experts(cost, &units->items[i]);
            return;
        }
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* Activations of `tokens` tokens from one device to another, by way of the host. */
static double hop_s(const struct cost *cost, int from, int to, double tokens)
{
    double bytes = tokens * cost->units->n_embd * sizeof(float), seconds = 0;
    if (from == to)
        return 0;
    for (int side = 0; side < 2; side++) {
        int device = side ? to : from;
        if (device > 0)
            seconds += rate(cost, device, RATE_HOP) + bytes / rate(cost, device, RATE_COPY);
    }
    return seconds;
}

/* What goes to a cache elsewhere, and comes back from it: queries, keys and values are three, two
 * copies more than a hop has. */
static double cache_hops_s(const struct cost *cost, int from, int to, double tokens)
{
    double seconds = 2 * hop_s(cost, from, to, tokens);
    for (int side = 0; side < 2 && from != to; side++) {
        int device = side ? to : from;
        seconds += device > 0 ? 2 * rate(cost, device, RATE_DISPATCH) : 0;
    }
    return seconds;
}

/* GPU and CPU at work at the same time. Where they share a memory, neither gains by that. */
static double together(const struct cost *cost, int device, double gpu, double cpu)
{
    bool shared = cost->machine->devices[device].kind == MACHINE_INTEGRATED;
    return shared ? gpu + cpu : larger(gpu, cpu);
}

uint64_t cost_staging_bytes(const struct units *units)
{
    const uint64_t usual = UINT64_C(128) << 20, least = 2 * units->largest_bytes;
    return least > usual ? least : usual;
}

uint64_t cost_ring_bytes(const struct units *units)
{
    enum { PARTS = 8 };
    const uint64_t part = units_weight_bytes(units) / PARTS, usual = UINT64_C(128) << 20;
    const uint64_t least = 2 * units->largest_stack_bytes, most = part < usual ? part : usual;
    return least > most ? least : most;
}

bool cost_allows(const struct cost *cost, const struct unit *unit, enum prefill_mode mode)
{
    bool runs = mode == PREFILL_STREAM && unit->kind != UNIT_KV;
    return mode == PREFILL_CPU ||
           (cost->stream_device && unit->kind != UNIT_HEAD && (runs || !cost->turn.as_run));
}

/* Who computes, and for what: each device has a pace for prompts and one for answers. */
struct worker {
    int device;
    enum phase phase;
};

static double pace(const struct cost *cost, struct worker worker)
{
    return cost->pace[worker.device][worker.phase];
}

/* A GPU is bound by reading weights or by arithmetic. Cores that wait for weights compute nothing,
 * those of a CPU and those that stand in for a GPU: both take their time, but for the arithmetic of
 * a matrix's first column, which is in the rate of reading. */
static double bound_s(const struct cost *cost, int device, const struct machine_rates *rates,
                      const struct unit_share *share, double n_read, double n_columns)
{
    double bytes = n_read * share->bytes, column_s = 2 * share->elems / rates->matrix;
    double read_s = bytes / (device == 0 ? with_file(cost, rates->read) : rates->read);
    if (device == 0 || cost->machine->devices[device].stands_in)
        return read_s + larger(n_columns - n_read, 0) * column_s;
    return larger(read_s, n_columns * column_s);
}

/* Of what is known of products with rows like the model's; NULL: nothing. */
static const struct machine_products *products_of(const struct cost *cost,
                                                  const struct machine_rates *own)
{
    const struct machine_products *products = own ? &own->products[cost->width_class] : NULL;
    return products && products->read > 0 ? products : NULL;
}

/* Products with a unit's matrices (or those of one expert): read n_read times, and multiplied with
 * n_columns tokens in all. Formats whose rates are known take their time, the others that of the
 * rates for all. */
static double product_s(const struct cost *cost, struct worker worker, const struct unit *unit,
                        double n_read, double n_columns)
{
    const struct machine_device *device = &cost->machine->devices[worker.device];
    const struct machine_rates usual = usual_rates(device);
    struct unit_share rest = {.bytes = (double)unit->bytes, .elems = unit->elems};
    double seconds = 0;
    for (int i = unit->shares; i; i = cost->units->shares[i].next) {
        const struct unit_share *share = &cost->units->shares[i];
        const struct machine_rates *own = machine_format_of(device, share->dtype);
        if (!own)
            continue;
        const struct machine_products *products = products_of(cost, own);
        struct machine_rates rates = *own;
        if (products) {
            rates.read = products->read;
            rates.matrix = products->matrix;
        }
        seconds += bound_s(cost, worker.device, &rates, share, n_read, n_columns);
        rest.bytes -= share->bytes;
        rest.elems -= share->elems;
    }
    rest.bytes = larger(rest.bytes, 0);
    rest.elems = larger(rest.elems, 0);
    seconds += bound_s(cost, worker.device, &usual, &rest, n_read, n_columns);
    return pace(cost, worker) * seconds;
}

/* Attention over keys and values, which are never in a file. */
static double cache_s(const struct cost *cost, struct worker worker, double bytes, double flop)
{
    const struct machine_rates *rates = &cost->cache[worker.device];
    return pace(cost, worker) * larger(bytes / rates->read, flop / rates->matrix);
}

static int more_ops(struct worker worker, const struct unit *unit)
{
    return worker.device == 0 ? unit->n_cpu_ops : 0;
}

static double dispatch_s(const struct cost *cost, struct worker worker, const struct unit *unit)
{
    int n = unit->n_ops + more_ops(worker, unit);
    return pace(cost, worker) * n * rate(cost, worker.device, RATE_DISPATCH);
}

/* Of a cache's: what rotates and writes, and attention. */
static double cache_dispatches_s(const struct cost *cost, struct worker worker,
                                 const struct unit *unit)
{
    double op_s = rate(cost, worker.device, RATE_DISPATCH), own_s = cost->cache[worker.device].op_s;
    int n_others = unit->n_ops - 1 + more_ops(worker, unit);
    return pace(cost, worker) * (n_others * op_s + larger(op_s, own_s));
}

/* Dispatches of one token's products. */
static double product_dispatches_s(const struct cost *cost, struct worker worker,
                                   const struct unit *unit)
{
    const struct machine_device *device = &cost->machine->devices[worker.device];
    double op_s = device->rate[RATE_DISPATCH], own_s = 0, elems = 0;
    for (int i = unit->shares; i; i = cost->units->shares[i].next) {
        const struct unit_share *share = &cost->units->shares[i];
        const struct machine_rates *own = machine_format_of(device, share->dtype);
        const struct machine_products *products = products_of(cost, own);
        if (!products)
            continue;
        own_s += share->elems * products->op_s;
        elems += share->elems;
    }
    double all = larger(unit->elems, elems);
    double mean_s = all > 0 ? (own_s + (all - elems) * op_s) / all : op_s;
    return pace(cost, worker) * (unit->n_ops * mean_s + more_ops(worker, unit) * op_s);
}

/* What is no product: norms read and write rows of activations, rotations, gates and sums what a
 * token's products make, about as wide as their elements by a row. */
static double activation_s(const struct cost *cost, struct worker worker, const struct unit *unit,
                           double tokens)
{
    double row = cost->units->n_embd, bytes_per_s = rate(cost, worker.device, RATE_ACTIVATION);
    if (bytes_per_s <= 0 || row <= 0)
        return 0;
    double bytes = tokens * (4 * row + unit->n_used * unit->elems / row) * sizeof(float);
    return pace(cost, worker) * bytes / bytes_per_s;
}

/* Weights or keys and values in the host's memory that a GPU works with, for a batch. */
struct remote {
    double bytes, n_copies;
    double tokens;             /* that go through each matrix */
    double file_part;          /* of the bytes */
    double streamed_s, flop_s; /* of the GPU: once they are there; of arithmetic alone */
};

/* Uploads are no faster than what they come from. */
static double copy_s(const struct cost *cost, int device, const struct remote *work)
{
    double seconds = work->bytes / rate(cost, device, RATE_COPY);
    double from_file = work->file_part * work->bytes / cost->machine->disk_bytes_per_s;
    return larger(seconds, from_file) + work->n_copies * rate(cost, device, RATE_LATENCY);
}

static void add_remote(const struct cost *cost, int device, enum prefill_mode mode,
                       const struct remote *work, struct cost_parts *sum)
{
    if (mode == PREFILL_STREAM) {
        sum->streamed_s += work->streamed_s;
        sum->copy_s += copy_s(cost, device, work);
        return;
    }
    double passes = ceil(work->tokens / DIRECT_TILE);
    double bus = passes * work->bytes / rate(cost, device, RATE_DIRECT);
    double file = work->file_part * work->bytes / cost->machine->disk_bytes_per_s;
    sum->direct_s += larger(larger(bus, file), work->flop_s);
}

/* --- one unit --------------------------------------------------------------------------------- */

static int prefill_device(const struct cost *cost, struct choice choice)
{
    return choice.device > 0 ? choice.device : choice.mode == PREFILL_CPU ? 0 : cost->stream_device;
}

static void add_decode(int device, double bytes, double seconds, struct cost_parts *sum)
{
    *(device ? &sum->decode_gpu_bytes : &sum->decode_cpu_bytes) += bytes;
    sum->decode_s += seconds;
    *(device ? &sum->decode_gpu_s : &sum->decode_cpu_s) += seconds;
}

static void add_prefill(int device, double seconds, struct cost_parts *sum)
{
    *(device ? &sum->gpu_s : &sum->cpu_s) += seconds;
}

/* The cache of a layer: what a token, and a batch, looks at. */
static void cost_cache(const struct cost *cost, const struct unit *unit, struct choice choice,
                       struct cost_parts *sum)
{
    int at = prefill_device(cost, choice), tokens = cost->turn.n_batch;
    struct worker answer = {choice.device, PHASE_ANSWER}, prompt = {at, PHASE_PROMPT};
    double position = (double)cost->units->kv_bytes_per_position, flop = cost->units->attn_flop;
    double bytes = position * cost->kv_decode;
    add_decode(choice.device, bytes,
               cache_s(cost, answer, bytes, flop * cost->kv_decode) +
                   cache_dispatches_s(cost, answer, unit),
               sum);
    bytes = position * cost->kv_prefill;
    flop *= tokens * cost->kv_prefill;
    double seconds = cache_s(cost, prompt, bytes, flop);
    struct remote work = {.bytes = bytes,
                          .n_copies = unit->n_copies,
                          .tokens = tokens,
                          .streamed_s = seconds,
                          .flop_s = cache_s(cost, prompt, 0, flop)};
    add_prefill(at, dispatch_s(cost, prompt, unit), sum);
    if (choice.device == 0 && at > 0)
        add_remote(cost, at, (enum prefill_mode)choice.mode, &work, sum);
    else
        add_prefill(at, seconds, sum);
}

/* Matrices that every token goes through. */
static void cost_plain(const struct cost *cost, const struct unit *unit, struct choice choice,
                       struct cost_parts *sum)
{
    int at = prefill_device(cost, choice), tokens = cost->turn.n_batch;
    struct worker answer = {choice.device, PHASE_ANSWER}, prompt = {at, PHASE_PROMPT};
    add_decode(choice.device, (double)unit->bytes,
               product_s(cost, answer, unit, 1, 1) + product_dispatches_s(cost, answer, unit), sum);
    if (unit->kind == UNIT_HEAD) /* of one position of a prompt only */
        return;
    double seconds = product_s(cost, prompt, unit, 1, tokens);
    struct remote work = {.bytes = (double)unit->bytes,
                          .n_copies = unit->n_copies,
                          .tokens = tokens,
                          .file_part = cost->file_part,
                          .streamed_s = seconds,
                          .flop_s = product_s(cost, prompt, unit, 0, tokens)};
    add_prefill(at, dispatch_s(cost, prompt, unit) + activation_s(cost, prompt, unit, tokens), sum);
    if (choice.device == 0 && at > 0)
        add_remote(cost, at, (enum prefill_mode)choice.mode, &work, sum);
    else
        add_prefill(at, seconds, sum);
}

/* A token's experts, part on a GPU and part on the CPU at the same time: the expectation over how
 * many of them the GPU has not. */
static void experts_decode(const struct cost *cost, const struct unit *unit, struct choice choice,
                           struct cost_parts *sum)
{
    int g = choice.device, k = unit->n_used;
    double miss = g ? 1 - cost->hit[choice.resident] : 1, bytes = (double)unit->bytes;
    miss = choice.resident == unit->n ? 0 : miss;
    struct worker host = {0, PHASE_ANSWER}, there = {g, PHASE_ANSWER};
    double cpu_one = product_s(cost, host, unit, 1, 1);
    double gpu_one = g ? product_s(cost, there, unit, 1, 1) : 0;
    double hops = g ? 2 * hop_s(cost, g, 0, 1) : 0, chance = pow(1 - miss, k), expected = 0;
    for (int m = 0; m <= k; m++) { /* chance of m misses: binomial */
        double gpu = m < k ? (k - m) * gpu_one + product_dispatches_s(cost, there, unit) : 0;
        double cpu = m ? m * cpu_one + product_dispatches_s(cost, host, unit) + hops : 0;
        if (miss >= 1)
            chance = m == k;
        expected += chance * together(cost, g, gpu, cpu);
        chance *= miss < 1 ? (k - m) / (m + 1.0) * miss / (1 - miss) : 0;
    }
    sum->decode_s += expected;
    sum->decode_gpu_bytes += (1 - miss) * k * bytes;
    sum->decode_cpu_bytes += miss * k * bytes;
    sum->decode_gpu_s += (1 - miss) * k * gpu_one;
    sum->decode_cpu_s += miss * k * cpu_one;
}

static void cost_experts(const struct cost *cost, const struct unit *unit, struct choice choice,
                         struct cost_parts *sum)
{
    int g = choice.device, r = choice.resident, at = prefill_device(cost, choice);
    struct worker gpu_worker = {g, PHASE_PROMPT}, host = {0, PHASE_PROMPT},
                  there = {at, PHASE_PROMPT};
    experts_decode(cost, unit, choice, sum);
    double tokens = cost->turn.n_batch, columns = unit->n_used * tokens;
    double hit = r == unit->n ? 1 : cost->hit[r], have = cost->distinct[r];
    bool whole =
        cost->turn.as_run && choice.mode == PREFILL_STREAM; /* all come, asked for or not */
    double rest = whole ? unit->n - r : cost->distinct[unit->n] - have,
           missed = (1 - hit) * columns;
    double gpu = 0;
    add_prefill(at, activation_s(cost, there, unit, tokens), sum);
    if (r > 0)
        gpu = product_s(cost, gpu_worker, unit, have, hit * columns) +
              dispatch_s(cost, gpu_worker, unit);
    if (r == unit->n) {
        sum->gpu_s += gpu;
    } else if (choice.mode == PREFILL_CPU) {
        double cpu = product_s(cost, host, unit, rest, missed) + dispatch_s(cost, host, unit);
        sum->cpu_s += together(cost, g, gpu, cpu + 2 * hop_s(cost, g, 0, tokens));
    } else {
        struct remote work = {.bytes = rest * (double)unit->bytes,
                              .n_copies = whole ? unit->n_copies : rest,
                              .tokens = rest > 0 ? missed / rest : 0,
                              .file_part = cost->file_part,
                              .streamed_s = product_s(cost, there, unit, rest, missed),
                              .flop_s = product_s(cost, there, unit, 0, missed)};
        sum->gpu_s += r > 0 ? gpu : dispatch_s(cost, there, unit);
        add_remote(cost, at, (enum prefill_mode)choice.mode, &work, sum);
    }
}

void cost_work(const struct cost *cost, const struct unit *unit, struct choice choice,
               struct cost_parts *sum)
{
    (unit->kind == UNIT_EXPERTS ? cost_experts
     : unit->kind == UNIT_KV    ? cost_cache
                                : cost_plain)(cost, unit, choice, sum);
}

void cost_hops(const struct cost *cost, const struct unit *unit, struct choice choice,
               struct cost_state *state, struct cost_parts *sum)
{
    int at = prefill_device(cost, choice);
    double tokens = unit->kind == UNIT_HEAD ? 0 : cost->turn.n_batch, hop;
    if (unit->kind != UNIT_KV) { /* attention's output is computed where its weights are */
        hop = hop_s(cost, state->decode, choice.device, 1);
        sum->hop_s += tokens > 0 ? hop_s(cost, state->prefill, at, tokens) : 0;
        state->decode = choice.device;
        state->prefill = (int8_t)at;
    } else {
        hop = cache_hops_s(cost, state->decode, choice.device, 1);
        sum->hop_s += cache_hops_s(cost, state->prefill, at, tokens);
    }
    if (unit->kind == UNIT_HEAD && choice.device > 0) /* the logits */
        hop += rate(cost, choice.device, RATE_HOP) +
               cost->units->n_vocab * sizeof(float) / rate(cost, choice.device, RATE_COPY);
    sum->decode_s += hop;
    sum->decode_hop_s += hop;
}

void cost_unit(const struct cost *cost, const struct unit *unit, struct choice choice,
               struct cost_state *state, struct cost_parts *sum)
{
    cost_work(cost, unit, choice, sum);
    cost_hops(cost, unit, choice, state, sum);
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

/* Seconds of a unit when copies are *ahead_s ahead of it, and how far they are after it. Copies run
 * beside all other work until staging is full. */
static double overlap_s(const struct cost *cost, const struct cost_parts *unit, double *ahead_s)
{
    double others = unit->cpu_s + unit->gpu_s + unit->hop_s;
    double ahead = smaller(cost->ahead_s, *ahead_s + others);
    if (cost->machine->devices[cost->stream_device].one_queue)
        return others + unit->direct_s + unit->copy_s + unit->streamed_s;
    double wait = larger(unit->copy_s - ahead, 0), took = larger(wait, unit->streamed_s);
    *ahead_s = smaller(cost->ahead_s, larger(ahead - unit->copy_s, 0) + took - wait);
    return others + unit->direct_s + took;
}

double cost_turn_s(const struct cost *cost, const struct cost_parts *each, int n,
                   struct cost_state *state, double *prefill_s)
{
    bool alone = state->ahead_s < 0;
    double ahead_s = alone ? 0 : state->ahead_s, decode_s = 0;
    for (int i = 0; i < n; i++)
        decode_s += each[i].decode_s;
    for (int round = 0; round < 1 + alone; round++) { /* alone: the layer before was like it */
        *prefill_s = 0;
        for (int i = 0; i < n; i++)
            *prefill_s += overlap_s(cost, &each[i], &ahead_s);
    }
    state->ahead_s = alone ? -1 : ahead_s;
    return cost->turn.n_out * decode_s + cost->turn.n_batches * *prefill_s;
}

double cost_layer(const struct cost *cost, int layer, const struct choice *choices,
                  struct cost_state *state, struct cost_parts *parts)
{
    const struct units *units = cost->units;
    int first = units->layer_first[layer], n = units->layer_first[layer + 1] - first;
    struct cost_parts each[UNITS_PER_LAYER] = {{0}};
    *parts = (struct cost_parts){0};
    for (int i = 0; i < n; i++) {
        cost_unit(cost, &units->items[first + i], choices[i], state, &each[i]);
        cost_parts_add(parts, &each[i]);
    }
    return cost_turn_s(cost, each, n, state, &parts->prefill_s);
}

void cost_parts_add(struct cost_parts *sum, const struct cost_parts *parts)
{
    sum->decode_s += parts->decode_s;
    sum->decode_gpu_s += parts->decode_gpu_s;
    sum->decode_cpu_s += parts->decode_cpu_s;
    sum->decode_hop_s += parts->decode_hop_s;
    sum->decode_gpu_bytes += parts->decode_gpu_bytes;
    sum->decode_cpu_bytes += parts->decode_cpu_bytes;
    sum->cpu_s += parts->cpu_s;
    sum->gpu_s += parts->gpu_s;
    sum->hop_s += parts->hop_s;
    sum->copy_s += parts->copy_s;
    sum->streamed_s += parts->streamed_s;
    sum->direct_s += parts->direct_s;
    sum->prefill_s += parts->prefill_s;
}
