/*
 * machine.h — a machine as the planner sees it: memories, rates and latencies, no device handle.
 *
 * Owns nothing but its numbers. They come from measuring (through `struct probe`, which the real
 * machine and tests' invented ones implement), from a profile, or, where neither knows, from
 * estimates by kind, which stay marked. Plain values: any thread.
 */
#ifndef PLAN_MACHINE_H
#define PLAN_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "op/op.h"

enum {
    MACHINE_MAX_DEVICES = 4, /* the CPU among them */
    MACHINE_WIDTHS = 4,
    MACHINE_MAX_FORMATS = 64, /* above all numbers that formats have in GGUF files */
    MACHINE_MAX_CACHES = 8,   /* whose rates are kept */
    MACHINE_CACHE_NAME = 64,  /* room for machine_cache_name */
};

enum machine_kind {
    MACHINE_CPU,
    MACHINE_DISCRETE,   /* memory of its own, behind a bus */
    MACHINE_INTEGRATED, /* the host's memory: nothing is copied */
};

/* Which figure is meant: an index of machine_device.rate. */
enum machine_rate {
    RATE_READ,   /* bytes/s of weights in its own memory, by matrix-vector products */
    RATE_MATRIX, /* flop/s of matrix products of many tokens */
    RATE_COPY,   /* bytes/s from the host's memory into its own */
    RATE_DIRECT, /* bytes/s of the host's memory, read by its shaders */
    /* bytes/s of a prompt's activations that norms, rotations and sums read and write; 0: not
     * measured, and then they cost nothing */
    RATE_ACTIVATION,
    RATE_DISPATCH, /* seconds that an op costs beside its work */
    RATE_HOP,      /* seconds for the activations of a token to come from or go to the host */
    RATE_LATENCY,  /* seconds that a copy costs beside its bytes */
    RATE_COUNT,
};

/* Products with rows of some width: each ends with a sum, of which short rows have more, and short
 * products are over before a device is full. */
struct machine_products {
    double read;   /* bytes/s, for one token; 0: not measured, then they are as any others */
    double op_s;   /* seconds that one of a token costs beside its bytes */
    double matrix; /* flop/s of many tokens, with what prepares them */
};

/* Rates of products with one format, or of attention with one cache; 0: not measured, those for all
 * stand for them. */
struct machine_rates {
    double read;   /* bytes/s that are read for one token, by long rows */
    double matrix; /* flop/s of many tokens */
    struct machine_products products[MACHINE_WIDTHS]; /* by machine_width_class */
    double op_s; /* of attention: seconds that one token's costs beside its bytes; 0: as any op */
};

/* Keys and values of a layer, whose offsets do not matter here, and the heads that look at them. */
struct cache_shape {
    struct kv_geom kv;
    int n_head;
};

/* Rates of attention with caches of a shape. */
struct machine_cache {
    char shape[MACHINE_CACHE_NAME];
    struct machine_rates rates;
};

enum phase { PHASE_PROMPT, PHASE_ANSWER, PHASES };

/* What the last runs took, as multiples of what the rates say; the newest last (learn.h). */
enum { PAST_RUNS = 5 };
struct past_runs {
    double times[PAST_RUNS];
    int n;
};

struct machine_device {
    char name[64];
    enum machine_kind kind;
    int number;              /* of a GPU: N of "vulkan:N" */
    uint64_t memory_bytes;   /* of the memory that it computes from */
    uint64_t budget_bytes;   /* what may be used of it; 0: machine_complete takes what is usual */
    double rate[RATE_COUNT]; /* 0: not known; machine_complete estimates it */
    unsigned estimated;      /* bit r: rate[r] is an estimate */
    struct machine_rates formats[MACHINE_MAX_FORMATS]; /* by dtype->gguf_id */
    struct machine_cache caches[MACHINE_MAX_CACHES];   /* the newest last */
    int n_caches;
    struct past_runs past[PHASES];
    bool measured;  /* its rates were: formats that have none of their own are estimates */
    bool outdated;  /* they were, but what was kept of that cannot be used any more */
    bool stands_in; /* a program in the place of a GPU: placed as if it took no time, as it is used
                     * because it was asked for, and predicted by its rates */
    bool one_queue; /* it copies and computes in turn, not at once */
};

/* devices[0] is the CPU, whose memory is the host's; the others are in the order of `vulkan:N`. */
struct machine {
    struct machine_device devices[MACHINE_MAX_DEVICES];
    int n_devices;
    double disk_bytes_per_s; /* of the model's file, when memory is too small; 0: estimated */
    bool disk_estimated;
    int n_threads;      /* of the CPU side */
    int n_threads_used; /* 0: all of them */
};

/* "cpu", "vulkan:0"; writes into `out`, which it returns. */
const char *machine_device_name(const struct machine *machine, int device, char out[24]);
const char *machine_kind_name(enum machine_kind kind);
const char *machine_rate_name(enum machine_rate rate);

/* Rates of a format on a device; NULL where they were not measured. */
static inline const struct machine_rates *machine_format_of(const struct machine_device *device,
                                                            const struct dtype *dtype)
{
    const struct machine_rates *format =
        dtype->gguf_id < MACHINE_MAX_FORMATS ? &device->formats[dtype->gguf_id] : NULL;
    return format && format->read > 0 && format->matrix > 0 ? format : NULL;
}

/* "F16 8x128 32": the cache's type, its heads by their width, the heads of queries; keys and values
 * that differ are both named. Writes into `out`, which it returns. */
const char *machine_cache_name(const struct cache_shape *shape, char out[MACHINE_CACHE_NAME]);

/* Is it the name of a cache that there could be? */
bool machine_is_cache_name(const char *name);

/* Rates of attention with such a cache; NULL where they were not measured. */
const struct machine_rates *machine_cache_of(const struct machine_device *device,
                                             const char *shape);

/* Keeps them as the newest, instead of the oldest if there are too many. */
void machine_add_cache(struct machine_device *device, const struct machine_cache *cache);

/* Could a machine have it? In bytes, flop and seconds. */
bool machine_rate_sensible(enum machine_rate rate, double value);

/* Fills in every figure that is 0 but RATE_ACTIVATION, marking it as an estimate, and scales the
 * CPU's to the threads in use. Errors: HTH_ERROR_ARGUMENT naming device and figure when one is no
 * sensible number. */
HTH_MUST_CHECK machine_complete(struct machine *machine, const struct log *log);

/* --- measuring -------------------------------------------------------------------------------- */

enum probe_kind {
    PROBE_OP,         /* one op with next to no work */
    PROBE_READ,       /* one matrix-vector product over `amount` bytes of weights */
    PROBE_MATRIX,     /* one matrix product of `amount` flop, compute-bound */
    PROBE_COPY,       /* one upload of `amount` bytes */
    PROBE_DIRECT,     /* one matrix product over `amount` bytes of the host's memory */
    PROBE_HOP,        /* activations of one token, `amount` bytes, to the device and back */
    PROBE_PRODUCT,    /* one of a token with a square matrix `amount` wide, in no cache */
    PROBE_FFN,        /* the same of a feed-forward block, inside machine_ffn_width(amount) wide */
    PROBE_ACTIVATION, /* norms of many tokens and gates, which read and write `amount` bytes */
};

/* PROBE_READ: attention of one token over `amount` bytes of keys and values. PROBE_MATRIX: of many
 * tokens, `amount` flop in all. PROBE_OP: of one token over a single page of them. */
typedef double probe_cache_fn(void *user, enum probe_kind kind, int device,
                              const struct cache_shape *shape, uint64_t amount);

/* What can time single actions. `time_s` returns seconds, or 0 where the device cannot do that. */
struct probe {
    void *user;
    int n_runs;          /* of which the median counts; 0: 9 */
    int cpu_matrix_part; /* a CPU multiplies so much less than a GPU; 0: the same */
    double (*time_s)(void *user, enum probe_kind kind, int device, uint64_t amount);
    /* The same for products with a format: READ, MATRIX, PRODUCT, FFN; may be NULL. */
    double (*format_s)(void *user, enum probe_kind kind, int device, const struct dtype *dtype,
                       uint64_t amount);
    probe_cache_fn *cache_s; /* may be NULL */
};

/* Measures every figure of a device, or of all, median of several runs, at two sizes where a figure
 * has a fixed and a proportional part; what the probe cannot time keeps its value. */
void machine_measure(struct machine *machine, const struct probe *probe);
void machine_measure_device(struct machine *machine, const struct probe *probe, int device);

/* Rows of 512, 1024, 2048, 4096 weights; each stands for those about as long. */
int machine_width_class(int width);

/* Of the feed-forward block that is measured: four times as much, of the widest the same, which is
 * as many weights as of half that. */
int machine_ffn_width(int width);

/* Measures the rates of one format on one device, products for rows about as long as `width`, which
 * takes some tens of milliseconds; true if there are any now. */
bool machine_measure_format(struct machine *machine, const struct probe *probe, int device,
                            const struct dtype *dtype, int width);

/* The same of attention. */
bool machine_measure_cache(struct machine *machine, const struct probe *probe, int device,
                           const struct cache_shape *shape);

#endif
