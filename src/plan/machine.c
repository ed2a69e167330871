#include "plan/machine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "plan/learn.h"

static const char *const kind_names[] = {"cpu", "discrete", "integrated"};

/* As keys of a profile and words of a report. */
static const char *const rate_names[RATE_COUNT] = {
    "read_gb_per_s",       "matrix_tflops", "copy_gb_per_s", "direct_gb_per_s",
    "activation_gb_per_s", "dispatch_us",   "hop_us",        "latency_us",
};

const char *machine_device_name(const struct machine *machine, int device, char out[24])
{
    if (device == 0)
        snprintf(out, 24, "cpu");
    else
        snprintf(out, 24, "vulkan:%d", machine->devices[device].number);
    return out;
}

const char *machine_cache_name(const struct cache_shape *shape, char out[MACHINE_CACHE_NAME])
{
    const struct kv_geom *kv = &shape->kv;
    int n =
        snprintf(out, MACHINE_CACHE_NAME, "%s %dx%d", kv->k_type->name, kv->n_head_kv, kv->k_dim);
    if (kv->v_type != kv->k_type || kv->v_dim != kv->k_dim)
        n += snprintf(out + n, MACHINE_CACHE_NAME - (size_t)n, "/%s %d", kv->v_type->name,
                      kv->v_dim);
    snprintf(out + n, MACHINE_CACHE_NAME - (size_t)n, " %d", shape->n_head);
    return out;
}

const struct machine_rates *machine_cache_of(const struct machine_device *device, const char *shape)
{
    for (int i = 0; i < device->n_caches; i++)
        if (strcmp(device->caches[i].shape, shape) == 0)
            return &device->caches[i].rates;
    return NULL;
}

bool machine_is_cache_name(const char *name)
{
    char k_type[16], v_type[16], again[MACHINE_CACHE_NAME];
    struct cache_shape shape = {0};
    struct kv_geom *kv = &shape.kv;
    int n = sscanf(name, "%15s %9dx%9d/%15s %9d %9d", k_type, &kv->n_head_kv, &kv->k_dim, v_type,
                   &kv->v_dim, &shape.n_head);
    if (n == 3 && sscanf(name, "%*s %*dx%*d %9d", &shape.n_head) == 1) {
        memcpy(v_type, k_type, sizeof v_type);
        kv->v_dim = kv->k_dim;
        n = 6;
    }
    if (n != 6 || kv->n_head_kv < 1 || kv->k_dim < 1 || kv->v_dim < 1 || shape.n_head < 1)
        return false;
    kv->k_type = dtype_by_name(str_of(k_type));
    kv->v_type = dtype_by_name(str_of(v_type));
    return kv->k_type && kv->v_type && strcmp(machine_cache_name(&shape, again), name) == 0;
}

void machine_add_cache(struct machine_device *device, const struct machine_cache *cache)
{
    int at = 0, n = device->n_caches;
    while (at < n && strcmp(device->caches[at].shape, cache->shape) != 0)
        at++;
    if (at == MACHINE_MAX_CACHES)
        at = 0;
    if (at < n) {
        n--;
        memmove(device->caches + at, device->caches + at + 1, (size_t)(n - at) * sizeof *cache);
    }
    device->caches[n] = *cache;
    device->n_caches = n + 1;
}

const char *machine_kind_name(enum machine_kind kind)
{
    return kind_names[kind];
}

const char *machine_rate_name(enum machine_rate rate)
{
    return rate_names[rate];
}

/* --- estimates -------------------------------------------------------------------------------- */

/* A CPU's two channels of DDR4-3200 give 51 GB/s, of which products reach four fifths; a core with
 * 256-bit integer dot products some 40 Gflop/s. Half of the cores are enough to read at full rate.
 */
static const double CPU_READ = 40e9, CPU_MATRIX_PER_THREAD = 40e9;

/* A card of the middle: 300 GB/s; cooperative matrices or packed dot products reach some 60 flop
 * per byte that is read. */
static const double CARD_READ = 300e9, CARD_FLOP_PER_BYTE = 60;

/* PCIe 3 ×16, less its overhead; shaders that read the host's memory reach a little less. */
static const double BUS = 12e9, DIRECT_PART = 0.8;

static const double FILE_READ = 2e9; /* an NVMe drive, in the order of a model's layers */

/* A program that stands in for a GPU, on the CPU's cores: measured of Mesa's on two of them. */
static const double STAND_IN_READ = 0.25, STAND_IN_MATRIX = 0.1, STAND_IN_DISPATCH = 20e-6;

static double estimate(const struct machine *machine, const struct machine_device *device,
                       enum machine_rate rate)
{
    const struct machine_device *host = &machine->devices[0];
    if (device->stands_in && rate == RATE_READ)
        return STAND_IN_READ * host->rate[RATE_READ];
    if (device->stands_in && rate == RATE_MATRIX)
        return STAND_IN_MATRIX * host->rate[RATE_MATRIX];
    if (device->stands_in && rate == RATE_DISPATCH)
        return STAND_IN_DISPATCH;
    bool cpu = device->kind == MACHINE_CPU, apart = device->kind == MACHINE_DISCRETE;
    switch (rate) {
    case RATE_READ: return cpu ? CPU_READ : apart ? CARD_READ : 0.9 * host->rate[RATE_READ];
    case RATE_MATRIX:
        return cpu ? CPU_MATRIX_PER_THREAD * machine->n_threads
                   : CARD_FLOP_PER_BYTE * device->rate[RATE_READ];
    case RATE_COPY: return apart ? BUS : device->rate[RATE_READ];
    case RATE_DIRECT:
        return apart ? DIRECT_PART * device->rate[RATE_COPY] : device->rate[RATE_READ];
    case RATE_ACTIVATION: return 0;
    case RATE_DISPATCH: return cpu ? 2e-6 : 5e-6;
    case RATE_HOP: return cpu ? 0 : apart ? 40e-6 : 20e-6;
    case RATE_LATENCY: return apart ? 15e-6 : 0;
    case RATE_COUNT: break;
    }
    return 0;
}

/* Figures outside of these are mistakes: a clay tablet at one end, all of a data centre at the
 * other. */
bool machine_rate_sensible(enum machine_rate rate, double value)
{
    bool seconds = rate >= RATE_DISPATCH;
    return isfinite(value) && value >= (seconds ? 0 : 1e6) && value <= (seconds ? 1.0 : 1e17);
}

static uint64_t usual_budget(const struct machine_device *device)
{
    uint64_t part = device->memory_bytes / 20;
    return device->memory_bytes - (device->kind == MACHINE_DISCRETE ? part : 2 * part);
}

enum hth_status machine_complete(struct machine *machine, const struct log *log)
{
    if (machine->n_threads < 1)
        machine->n_threads = 8;
    for (int d = 0; d < machine->n_devices; d++) {
        struct machine_device *device = &machine->devices[d];
        for (int r = 0; r < RATE_COUNT; r++) {
            if (device->rate[r] != 0 &&
                !machine_rate_sensible((enum machine_rate)r, device->rate[r]))
                return log_fail(log, HTH_ERROR_ARGUMENT,
                                "%s: %s is %g in bytes, flop and seconds, which no machine has",
                                device->name, rate_names[r], device->rate[r]);
            if (device->rate[r] != 0 || r == RATE_ACTIVATION)
                continue;
            device->rate[r] = estimate(machine, device, (enum machine_rate)r);
            device->estimated |= 1u << r;
        }
        if (device->budget_bytes == 0)
            device->budget_bytes = usual_budget(device);
    }
    if (machine->disk_bytes_per_s != 0 &&
        !machine_rate_sensible(RATE_READ, machine->disk_bytes_per_s))
        return log_fail(log, HTH_ERROR_ARGUMENT,
                        "the model's file is read at %g bytes/s, which no machine does",
                        machine->disk_bytes_per_s);
    struct machine_device *cpu = &machine->devices[0];
    if (machine->n_threads_used > 0 && machine->n_threads_used < machine->n_threads) {
        double part = (double)machine->n_threads_used / machine->n_threads;
        double read_part = part < 0.5 ? 2 * part : 1;
        cpu->rate[RATE_MATRIX] *= part;
        cpu->rate[RATE_READ] *= read_part;
        cpu->rate[RATE_ACTIVATION] *= read_part;
        for (int f = 0; f < MACHINE_MAX_FORMATS; f++) {
            cpu->formats[f].matrix *= part;
            cpu->formats[f].read *= read_part;
            for (int w = 0; w < MACHINE_WIDTHS; w++) {
                cpu->formats[f].products[w].read *= read_part;
                cpu->formats[f].products[w].matrix *= part;
            }
        }
        for (int c = 0; c < cpu->n_caches; c++) { /* whose speed is the cores', not memory's */
            cpu->caches[c].rates.matrix *= part;
            cpu->caches[c].rates.read *= part;
        }
    }
    if (machine->disk_bytes_per_s == 0) {
        machine->disk_bytes_per_s = FILE_READ;
        machine->disk_estimated = true;
    }
    return HTH_OK;
}

/* --- measuring -------------------------------------------------------------------------------- */

enum { RUNS = 9 };

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What is timed: nothing in particular, products with a format, or attention with a cache. */
struct subject {
    const struct dtype *dtype;
    const struct cache_shape *cache;
};

static double one_s(const struct probe *probe, enum probe_kind kind, int device, struct subject of,
                    uint64_t amount)
{
    return of.cache   ? probe->cache_s(probe->user, kind, device, of.cache, amount)
           : of.dtype ? probe->format_s(probe->user, kind, device, of.dtype, amount)
                      : probe->time_s(probe->user, kind, device, amount);
}

static double median_s(const struct probe *probe, enum probe_kind kind, int device,
                       struct subject of, uint64_t amount)
{
    double times[RUNS];
    int n_runs = probe->n_runs > 0 && probe->n_runs < RUNS ? probe->n_runs : RUNS;
    for (int i = 0; i < n_runs; i++)
        times[i] = one_s(probe, kind, device, of, amount);
    qsort(times, (size_t)n_runs, sizeof *times, ascending);
    return times[n_runs / 2];
}

static void set_rate(struct machine_device *device, enum machine_rate rate, double value)
{
    if (!isfinite(value) || value < 0)
        return;
    device->rate[rate] = value;
    device->estimated &= ~(1u << rate);
}

/* A line through two sizes: time = fixed + amount / rate. A machine that is busy with something
 * else may give no time for one of them, or more for the smaller: then the other alone, or the
 * larger, says how fast it is. False where nothing was timed. */
static bool fit_line(const struct probe *probe, enum probe_kind kind, int device,
                     const uint64_t amounts[2], double *fixed_s, double *rate)
{
    double small = median_s(probe, kind, device, (struct subject){0}, amounts[0]);
    double large = median_s(probe, kind, device, (struct subject){0}, amounts[1]);
    const double part = (double)amounts[0] / (double)amounts[1];
    if (small <= 0 && large <= 0)
        return false;
    if (large <= 0)
        large = small / part;
    if (small <= 0 || large <= small)
        small = large * part;
    *rate = (double)(amounts[1] - amounts[0]) / (large - small);
    *fixed_s = small - (double)amounts[0] / *rate;
    *fixed_s = *fixed_s > 0 ? *fixed_s : 0;
    return true;
}

/* What is left of a time without its op, which is not most of one so long: an op that seems to be
 * was measured while the machine was busy. */
static double without_op_s(double seconds, double op_s)
{
    return seconds > 2 * op_s ? seconds - op_s : seconds / 2;
}

/* As much as small models have of them in a batch, which caches hold in part; two ops at least. */
static void measure_activations(struct machine_device *device, const struct probe *probe, int d)
{
    enum { BYTES = 5 << 20 };
    double seconds = median_s(probe, PROBE_ACTIVATION, d, (struct subject){0}, BYTES);
    if (seconds > 0)
        set_rate(device, RATE_ACTIVATION,
                 BYTES / without_op_s(seconds, 2 * device->rate[RATE_DISPATCH]));
}

/* Reading and computing, on any device. */
static void measure_products(struct machine *machine, const struct probe *probe, int d)
{
    /* sizes of what is timed: matrices of models, below and above the usual */
    static const uint64_t weights[2] = {8u << 20, 128u << 20};
    const bool slow = d == 0 || machine->devices[d].stands_in;
    const uint64_t less = slow && probe->cpu_matrix_part > 0 ? (uint64_t)probe->cpu_matrix_part : 1;
    const uint64_t flop[2] = {(UINT64_C(4) << 30) / less, (UINT64_C(64) << 30) / less};
    struct machine_device *device = &machine->devices[d];
    double fixed, rate;
    if (fit_line(probe, PROBE_READ, d, weights, &fixed, &rate)) {
        /* of the line it is a small difference of large times, and less than nothing where the
         * smaller product comes from a cache */
        double op = median_s(probe, PROBE_OP, d, (struct subject){0}, 0);
        set_rate(device, RATE_READ, rate);
        set_rate(device, RATE_DISPATCH, op > 0 ? op : fixed);
    }
    if (fit_line(probe, PROBE_MATRIX, d, flop, &fixed, &rate))
        set_rate(device, RATE_MATRIX, rate);
    measure_activations(device, probe, d);
}

void machine_measure_device(struct machine *machine, const struct probe *probe, int d)
{
    static const uint64_t copies[2] = {8u << 20, 128u << 20};
    enum { TOKEN_BYTES = 16 << 10 };
    struct machine_device *device = &machine->devices[d];
    double fixed, rate;
    measure_products(machine, probe, d);
    if (device->kind == MACHINE_CPU)
        return;
    if (fit_line(probe, PROBE_COPY, d, copies, &fixed, &rate)) {
        set_rate(device, RATE_COPY, rate);
        set_rate(device, RATE_LATENCY, fixed);
    }
    if (fit_line(probe, PROBE_DIRECT, d, copies, &fixed, &rate))
        set_rate(device, RATE_DIRECT, rate);
    double both_ways = median_s(probe, PROBE_HOP, d, (struct subject){0}, TOKEN_BYTES);
    if (both_ways > 0)
        set_rate(device, RATE_HOP, both_ways / 2 - TOKEN_BYTES / device->rate[RATE_COPY]);
}

void machine_measure(struct machine *machine, const struct probe *probe)
{
    for (int d = 0; d < machine->n_devices; d++)
        machine_measure_device(machine, probe, d);
}

/* As much work as takes some milliseconds, by the rate for all. */
static double some_flop(const struct machine_device *device)
{
    const double LEAST = 64e6, MOST = 64e9, WORK_S = 4e-3;
    double flop = WORK_S * device->rate[RATE_MATRIX];
    return flop < LEAST ? LEAST : flop > MOST ? MOST : flop;
}

/* Both rates of one subject; false if no machine has what was found. */
static bool measure_rates(const struct machine_device *device, const struct probe *probe, int d,
                          struct subject of, double bytes, struct machine_rates *out)
{
    double flop = some_flop(device), op_s = device->rate[RATE_DISPATCH];
    double read_s = without_op_s(median_s(probe, PROBE_READ, d, of, (uint64_t)bytes), op_s);
    double matrix_s = without_op_s(median_s(probe, PROBE_MATRIX, d, of, (uint64_t)flop), op_s);
    struct machine_rates found = {.read = bytes / read_s, .matrix = flop / matrix_s};
    if (read_s <= 0 || matrix_s <= 0 || !machine_rate_sensible(RATE_READ, found.read) ||
        !machine_rate_sensible(RATE_MATRIX, found.matrix))
        return false;
    /* this is what it takes now, and what past runs took comes on top */
    found.read *= learn_factor(&device->past[PHASE_ANSWER]);
    found.matrix *= learn_factor(&device->past[PHASE_PROMPT]);
    *out = found;
    return true;
}

static const double MORE_THAN_CACHES = 64 << 20; /* bytes */

int machine_width_class(int width)
{
    int class = width > 512 ? (int)lround(log2(width / 512.0)) : 0;
    return class < MACHINE_WIDTHS ? class : MACHINE_WIDTHS - 1;
}

int machine_ffn_width(int width)
{
    return width < 4096 ? 4 * width : width;
}

/* A square of the width, for many tokens; of what no machine does, the rate of large ones stays. */
static double measure_wide_matrix(const struct machine_device *device, const struct probe *probe,
                                  int d, const struct dtype *dtype, int width)
{
    const double TOKENS = 512, flop = 2 * TOKENS * width * width;
    const double usual = device->formats[dtype->gguf_id].matrix;
    double seconds =
        median_s(probe, PROBE_MATRIX, d, (struct subject){.dtype = dtype}, (uint64_t)flop);
    double matrix = flop / without_op_s(seconds, device->rate[RATE_DISPATCH]) *
                    learn_factor(&device->past[PHASE_PROMPT]);
    return seconds > 0 && machine_rate_sensible(RATE_MATRIX, matrix) ? matrix : usual;
}

/* Two equations: a square takes op + bytes / read, a block twice the op and its own bytes, with
 * norm, gate and sum. Where they give no rate that may be, the machine was busy: nothing is known.
 */
static struct machine_products measure_width(const struct machine_device *device,
                                             const struct probe *probe, int d,
                                             const struct dtype *dtype, int width)
{
    const double MOST = 8; /* times what long rows were read with, in a slow moment, too */
    const struct machine_products unknown = {0};
    const struct subject of = {.dtype = dtype};
    double row_bytes = (double)width / dtype->block_elems * dtype->block_bytes;
    double square_bytes = row_bytes * width, block_bytes = 3 * row_bytes * machine_ffn_width(width);
    double past = learn_factor(&device->past[PHASE_ANSWER]);
    double square_s = median_s(probe, PROBE_PRODUCT, d, of, (uint64_t)width) / past;
    double block_s = median_s(probe, PROBE_FFN, d, of, (uint64_t)width) / past;
    if (square_s <= 0 || block_s <= 2 * square_s)
        return unknown;
    double read = (block_bytes - 2 * square_bytes) / (block_s - 2 * square_s);
    if (!machine_rate_sensible(RATE_READ, read) ||
        read > MOST * device->formats[dtype->gguf_id].read)
        return unknown;
    double op_s = square_s - square_bytes / read;
    return (struct machine_products){
        .read = read,
        .op_s = op_s > 0 ? op_s : device->rate[RATE_DISPATCH],
        .matrix = measure_wide_matrix(device, probe, d, dtype, width),
    };
}

bool machine_measure_format(struct machine *machine, const struct probe *probe, int d,
                            const struct dtype *dtype, int width)
{
    struct machine_device *device = &machine->devices[d];
    int class = machine_width_class(width);
    if (!probe->format_s || dtype->gguf_id >= MACHINE_MAX_FORMATS)
        return false;
    struct machine_rates *format = &device->formats[dtype->gguf_id];
    if (format->read <= 0 && !measure_rates(device, probe, d, (struct subject){.dtype = dtype},
                                            MORE_THAN_CACHES, format))
        return false;
    format->products[class] = measure_width(device, probe, d, dtype, 512 << class);
    return true;
}

/* What attention takes of one token with little to look at, beside its bytes. Where that is less
 * than any op takes, the machine was busy when the rate was measured. */
static double measure_attention_op(const struct machine_device *device, const struct probe *probe,
                                   int d, const struct cache_shape *shape, double read)
{
    const struct kv_geom *kv = &shape->kv;
    const struct subject of = {.cache = shape};
    double page_bytes = (double)KV_PAGE * kv->n_head_kv *
                        (double)(dtype_row_bytes(kv->k_type, (size_t)kv->k_dim) +
                                 dtype_row_bytes(kv->v_type, (size_t)kv->v_dim));
    double seconds =
        median_s(probe, PROBE_OP, d, of, 0) / learn_factor(&device->past[PHASE_ANSWER]);
    double op_s = seconds - page_bytes / read;
    return op_s > device->rate[RATE_DISPATCH] && machine_rate_sensible(RATE_DISPATCH, op_s) ? op_s
                                                                                            : 0;
}

bool machine_measure_cache(struct machine *machine, const struct probe *probe, int d,
                           const struct cache_shape *shape)
{
    struct machine_device *device = &machine->devices[d];
    double bytes = device->stands_in ? MORE_THAN_CACHES / 8 : MORE_THAN_CACHES;
    struct machine_cache found = {0};
    machine_cache_name(shape, found.shape);
    if (!probe->cache_s ||
        !measure_rates(device, probe, d, (struct subject){.cache = shape}, bytes, &found.rates))
        return false;
    found.rates.op_s = measure_attention_op(device, probe, d, shape, found.rates.read);
    machine_add_cache(device, &found);
    return true;
}
