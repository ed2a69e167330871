/*
 * cost.h — what a turn costs when units live where a plan puts them: the formulas, and only they.
 *
 * Seconds from bytes, flop and the machine's rates; docs/placement.md has the formulas in words.
 * Additive over layers but for the state between them (where the activations are), which is what
 * lets the solver look at one layer at a time. Owns nothing. Pure functions: any thread.
 */
#ifndef PLAN_COST_H
#define PLAN_COST_H

#include "plan/machine.h"
#include "plan/units.h"

/* How the weights that stay in the host's memory serve a batch of the prompt. Answers are always
 * computed by the device where the weights are. */
enum prefill_mode {
    PREFILL_CPU,    /* computed there */
    PREFILL_STREAM, /* copied to the GPU, one matrix ahead of what computes */
    PREFILL_DIRECT, /* read over the bus by the GPU's shaders */
    PREFILL_MODES,
};

/* Where a unit lives. */
struct choice {
    int8_t device;    /* 0: the host's memory; of experts: which GPU holds `resident` of them */
    uint8_t mode;     /* enum prefill_mode of what the host's memory holds */
    int16_t resident; /* experts on `device` */
};

/* What is asked: a turn of a conversation. */
struct turn {
    int n_in, n_out; /* tokens of prompt and answer */
    int depth;       /* positions in the cache before it */
    double skew;     /* the r-th most used expert is used ∝ 1 / r^skew */
    int n_batch;     /* tokens of a batch */
    int n_batches;   /* ⌈n_in / n_batch⌉ */
    bool no_cache;   /* experts on a GPU are fixed ones, not those in use */
    /* What runs do not do is left out: nothing is read directly, keys and values stay where they
     * are, and experts are streamed all or none. */
    bool as_run;
};

enum { COST_MAX_EXPERTS = 1024, DIRECT_TILE = 128 /* tokens per reading of a weight */ };

struct cost {
    const struct machine *machine;
    const struct units *units;
    struct turn turn;
    int fastest;       /* of the GPUs; 0: there is none */
    int stream_device; /* whose bus carries what is streamed or read directly; 0: nothing is */
    double ahead_s;    /* copies that staging has room for */
    struct machine_rates cache[MACHINE_MAX_DEVICES]; /* rates of attention */
    int width_class;                                 /* of the model's rows */
    double pace[MACHINE_MAX_DEVICES][PHASES]; /* what runs take, as multiples of what rates say */
    double file_part;                 /* of the host's weights, that do not fit into its memory */
    double kv_decode, kv_prefill;     /* positions that a token and a batch look at */
    double hit[COST_MAX_EXPERTS + 1]; /* share of choices that the r most used get */
    double distinct[COST_MAX_EXPERTS + 1]; /* of the r most used, those that a batch needs */
};

/* Bytes on a GPU that what is streamed is copied into, ahead of its use. */
uint64_t cost_staging_bytes(const struct units *units);

/* The same as runs have it: two matrices with all their experts, or what is usual for the size of
 * the model. */
uint64_t cost_ring_bytes(const struct units *units);

/* May what the host's memory holds of a unit serve batches in this way? */
bool cost_allows(const struct cost *cost, const struct unit *unit, enum prefill_mode mode);

/* `file_part`: what of the host's weights must come from the file each time. */
void cost_init(struct cost *cost, const struct machine *machine, const struct units *units,
               const struct turn *turn, double file_part);

/* Seconds of one unit, or of one layer. */
struct cost_parts {
    double decode_s;                                 /* of a token */
    double decode_gpu_s, decode_cpu_s, decode_hop_s; /* of which (overlapped parts count whole) */
    double cpu_s, gpu_s, hop_s;                      /* of a batch */
    double copy_s, streamed_s; /* of a batch: uploads, and the GPU's work on what was uploaded */
    double direct_s;  /* of a batch: the GPU reads over the bus, which then copies nothing */
    double prefill_s; /* of a batch, with what overlaps; of a layer only */
    double decode_gpu_bytes, decode_cpu_bytes; /* that a token reads there */
};

void cost_parts_add(struct cost_parts *sum, const struct cost_parts *parts);

/* Where the activations are: a device for answers and one for batches, which differ after weights
 * that are streamed. */
struct cost_state {
    int8_t decode, prefill;
    double ahead_s; /* that copies are ahead of the batch; negative: as if all layers were alike,
                     * so that a layer can be judged without those before it */
};

/* Adds what a unit costs after `state`, which becomes the one behind it: its own work, which is the
 * same after any, and what brings activations to it. */
void cost_unit(const struct cost *cost, const struct unit *unit, struct choice choice,
               struct cost_state *state, struct cost_parts *sum);
void cost_work(const struct cost *cost, const struct unit *unit, struct choice choice,
               struct cost_parts *sum);
void cost_hops(const struct cost *cost, const struct unit *unit, struct choice choice,
               struct cost_state *state, struct cost_parts *sum);

/* Seconds of the turn of a layer whose n units cost `each`, and of a batch, with what overlaps;
 * `state` is that before the layer and learns how far copies are ahead behind it. */
double cost_turn_s(const struct cost *cost, const struct cost_parts *each, int n,
                   struct cost_state *state, double *prefill_s);

/* All units of a layer, `choices` theirs in order; returns seconds of the turn. */
double cost_layer(const struct cost *cost, int layer, const struct choice *choices,
                  struct cost_state *state, struct cost_parts *parts);

#endif
