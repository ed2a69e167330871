/*
 * selftest.h — every kernel that a device can run, or those of one model, compared with the CPU:
 * what a report to send is made of.
 *
 * Owns nothing that outlives a call, and remembers nothing. For tools of hearth's own; nothing of
 * ops or devices is reached through it. One thread.
 */
#ifndef ENGINE_SELFTEST_H
#define ENGINE_SELFTEST_H

#include "engine/rows.h"

enum selftest_outcome { OUTCOME_RIGHT, OUTCOME_WRONG, OUTCOME_FAILED };

/* One row with one shader, specialization and shape. */
struct selftest_item {
    const char *row, *blob;
    const char *what; /* specialization, op, shapes */
    enum selftest_outcome outcome;
    double nmse, tolerance; /* the NMSE may be infinite */
    uint64_t time_ns;       /* of the small case that it was checked with */
    const char *why;        /* of what failed to run: the driver's words; of what is wrong by one
                             * element: which numbers say so; else "" */
};

/* The device, before the first item. */
struct selftest_device {
    const char *name, *driver, *build;
    unsigned vendor_id, device_id, driver_version, api_version;
    unsigned subgroup_default, subgroup_min, subgroup_max;
};

struct selftest_reader {
    void (*device)(void *user, const struct selftest_device *device);
    bool (*item)(void *user, const struct selftest_item *item); /* false cancels */
    void *user;
};

/* Tests the rows of options->model, or of made models of every architecture, format and cache; with
 * options->device.rows only those of this name, or NAME_…; with float_only no others. Errors: those
 * of opening, HTH_ERROR_ARGUMENT where the device is the CPU, HTH_ERROR_MEMORY,
 * HTH_ERROR_CANCELLED. Wrong rows are no error, nor are those that the device is lost with: it is
 * opened anew for the others. */
HTH_CHECKED selftest_list(const struct rows_options *options, const struct selftest_reader *reader);

#endif
