/*
 * tune_kernels.h — measures, for the ops of a model on each GPU in use, which kernels in which
 * shapes are fastest there, and keeps that for all models (kernels.h).
 *
 * Bounded in time: what is not measured then is the next time, the most important first. What ends
 * the process twice (a driver that crashes) is not tried again. Owns nothing that outlives a call.
 * For the program's `tune`; nothing of ops or devices is reached through it. One thread.
 */
#ifndef ENGINE_TUNE_KERNELS_H
#define ENGINE_TUNE_KERNELS_H

#include "hearth/hearth.h"

struct kernels_options {
    const char *model;               /* a path or synth:SHAPE:QUANT */
    struct hth_model_options device; /* where, for which session; the log too */
    double seconds;
};

/* A class of ops, of which something was measured now. */
struct kernels_item {
    const char *device;
    const char *what;        /* op, formats, sizes, columns */
    const char *row, *knobs; /* "", "": as it is by default; "SUBGROUP=32 ROWS=4" */
    double gain;             /* how many times as fast; 1: nothing is faster */
    int done, all;           /* classes */
};

struct kernels_reader {
    /* A GPU, of whose classes so many are left to measure. */
    void (*begin)(void *user, const char *device, int left, int all);
    void (*item)(void *user, const struct kernels_item *item);
    bool (*go_on)(void *user); /* false cancels; asked between two measurements */
    void *user;
};

struct kernels_report {
    int n_gpus, n_classes, n_measured; /* measured now */
    int n_faster;                      /* of all: those for which something faster is known */
    int n_left;                        /* for another time */
    int n_wrong;                       /* that would have been faster, but are not right */
    double most_gain, seconds;
};

/* Errors: those of opening; HTH_ERROR_CANCELLED, with all kept that was found; HTH_ERROR_MEMORY;
 * HTH_ERROR_DEVICE_LOST, after which what was at work is not tried again. Where no GPU is used
 * nothing is done. */
HTH_CHECKED kernels_tune(const struct kernels_options *options, const struct kernels_reader *reader,
                         struct kernels_report *out);

#endif
