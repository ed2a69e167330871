/*
 * keeping.h — where a model is while it is open: placed when it is opened, moved when memory of the
 * device is taken away or given back, placed anew when the device refuses memory or is lost.
 *
 * Owns the model's devices, its placing and the weights there. A move takes all sessions off the
 * devices (session_part.h); each comes back, by the new split, when it is next fed. Threads: all is
 * called with the model's device mutex held and no batch under way.
 */
#ifndef ENGINE_KEEPING_H
#define ENGINE_KEEPING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"

struct hth_model;

/* What is known of one GPU. */
struct keeping_device {
    uint64_t most;        /* bytes to plan for; less than its budget once it refused */
    uint64_t planned_for; /* what there was when it was planned */
    uint32_t n_refused;   /* of its refusals: those that were seen to */
    int n_lost, n_well;   /* losses; batches since the last that worked */
};

struct keeping {
    /* What the device says: errors are kept while they may be got over. */
    struct log log;
    atomic_bool keeps;
    char kept[1024]; /* the last */

    bool opened; /* the model is: from now on an empty device stays open */
    bool placed; /* else it is to be, before anything runs */

    /* Polling; tests set what they cannot wait for. */
    uint64_t every_ns;              /* the driver is asked no more often */
    uint64_t calm_ns;               /* room must have been there so long to be used again */
    uint64_t slack_bytes;           /* over the budget by so much is not over it yet */
    uint64_t polled_ns, cramped_ns; /* when it was asked, and when there last was no room */
};

/* Opens the devices that the options ask for, and places the model. Errors: those of opening. */
HTH_MUST_CHECK keeping_open(struct hth_model *model);
void keeping_close(struct hth_model *model);

/* Closes all GPUs, on which nothing of the model is. */
void keeping_drop_devices(struct hth_model *model);

/* Between keeping_begin and keeping_end errors of the device are kept. The end says the last one if
 * `status` is what came of it, and returns the status. */
void keeping_begin(struct hth_model *model);
HTH_MUST_CHECK keeping_end(struct hth_model *model, enum hth_status status);

/* Asks for the budget, if it is time to, and moves the model if it has to or may; then sees that
 * the model is placed. */
HTH_MUST_CHECK keeping_poll(struct hth_model *model);

/* After a failure on the device: HTH_OK if the model was placed anew, so that the same can be tried
 * again; else the status that is left. */
HTH_MUST_CHECK keeping_recover(struct hth_model *model, enum hth_status status);

/* A batch was computed. */
void keeping_well(struct hth_model *model);

#endif
