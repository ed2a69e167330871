/*
 * virtual.h — a machine on a simulated clock: steps and copies take as long as a stated machine
 * would take.
 *
 * It has traits that the cost model does not know: rates that ramp up with size, copies and the CPU
 * that contend for memory, hops that jitter, a GPU that slows down when it has worked for a while,
 * weights that come from the file because the host has no room for them, experts that are drawn one
 * by one (routing.h) and change places by the policy that runs (plan/slots.h). The planner learns
 * of it only through `struct probe`, as of a real machine.
 */
#ifndef HARNESS_VIRTUAL_H
#define HARNESS_VIRTUAL_H

#include "base/rng.h"
#include "harness/routing.h"
#include "plan/plan.h"
#include "plan/slots.h"

struct virtual_machine {
    struct machine truth;   /* rates at their best */
    struct rng rng, routes; /* whatever happens, experts are chosen the same */
    double gpu_busy_s;      /* what makes it warm */
};

void virtual_start(struct virtual_machine *vm, const struct machine *truth, uint64_t seed);

/* Times single actions on it; `vm` must outlive the result. */
struct probe virtual_probe(struct virtual_machine *vm);

/* The same machine as the planner may know it: names and memories, every rate through the probe,
 * but the file's, which nobody measures; those by format and cache are left to
 * machine_measure_format and _cache. */
void virtual_learn(struct virtual_machine *vm, struct machine *learned);

/* Units placed by choices, and the turn to run. */
struct virtual_job {
    const struct units *units;
    const struct choice *choices;
    struct turn turn;
    int stream_device;
    double local; /* of the routing (routing.h); its skew is the turn's */
    bool fixed;   /* experts on a GPU stay there */
    bool cold;    /* nothing was said before; all of the answer counts */
};

struct virtual_result {
    double prompt_tokens_per_s, answer_tokens_per_s;
    double batch_s;           /* of prefill, each */
    double copy_s, compute_s; /* of a batch: the bus busy, and all computing one after the other */
    double hit;               /* of experts, where a GPU has some */
    double uploads;           /* of experts, with a token */
};

struct virtual_result virtual_run(struct virtual_machine *vm, const struct virtual_job *job);

#endif
