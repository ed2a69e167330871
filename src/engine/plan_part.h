/*
 * plan_part.h — what the files of planning share; nothing for others.
 *
 * plan.c: reports, for `hearth plan`; placing.c: the same for a model that is opened; hand.c:
 * options that say where; plan_machine.c: this machine as numbers; profile.c: another one;
 * plan_json.c: the result. Owns the report. One thread.
 */
#ifndef ENGINE_PLAN_PART_H
#define ENGINE_PLAN_PART_H

#include "engine/engine.h"
#include "engine/plan.h"
#include "plan/plan.h"

struct plan_report {
    struct log log;
    struct strbuf directory; /* of a made model */
    struct gguf *gguf;
    struct model *model;
    struct units units;
    struct machine machine;
    struct hand hand;
    struct plan plan;
};

/* The devices that a request may use, with budgets; rates are left to estimates. */
HTH_MUST_CHECK plan_read_machine(struct machine *machine, const struct plan_request *request,
                                 const struct log *log);

/* The same for those that a model was opened with. */
HTH_MUST_CHECK plan_own_machine(struct machine *machine, const struct placing_devices *devices,
                                const struct hth_model_options *options, const struct log *log);

/* Do --vram and --ram ask for more than one of the GPUs, or the host, has? Errors:
 * HTH_ERROR_ARGUMENT, with what there is. */
HTH_MUST_CHECK plan_check_limits(const struct machine *machine,
                                 const struct hth_model_options *options, const struct log *log);

/* What they leave of each memory: never more than there is, whichever GPUs are left by then. */
void plan_limit(struct machine *machine, const struct hth_model_options *options);

/* Of the heap that weights go to, in use or not. */
uint64_t plan_memory_bytes(const struct vk_caps *caps);

/* Bytes of a device that may be in use by us now; the driver would grant *margin more. */
uint64_t plan_room(struct vk *vk, const struct hth_model_options *options, uint64_t *margin);

/* What is measured: a machine, and by device what it is of. */
struct plan_measuring {
    struct machine *machine;
    struct vk *const *vk; /* from 1 on */
    struct pool *pool;
};

/* Measures the CPU and the GPUs, as far as they are not (`anew`: all), and keeps the result for
 * other times. Takes at most some two seconds. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK plan_measure(const struct plan_measuring *what, bool anew, const struct log *log);

/* Measures what formats of these units, and attention with their cache, take on those of `devices`
 * (bits) that are measured otherwise, and keeps it: some tens of milliseconds each. Errors:
 * HTH_ERROR_MEMORY. */
HTH_MUST_CHECK plan_measure_units(const struct plan_measuring *what, const struct units *units,
                                  unsigned devices, const struct log *log);

/* A machine from a JSON file. Errors: HTH_ERROR_IO, HTH_ERROR_FORMAT naming place and fault. */
HTH_MUST_CHECK profile_read(struct machine *machine, const char *path, const struct log *log);

/* Cuts a model for sessions of this shape. Errors: HTH_ERROR_MEMORY, HTH_ERROR_LIMIT. */
HTH_MUST_CHECK plan_cut_model(struct units *units, const struct model *model,
                              const struct hth_session_options *session, const struct log *log);

/* The result as JSON. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK plan_write_json(const struct plan *plan, struct strbuf *out, const struct log *log);

#endif
