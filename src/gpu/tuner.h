/*
 * tuner.h — finds the row, and the values of its knobs, that are fastest for an op on a device.
 *
 * It begins with what rows say of themselves, tries the other rows that fit, and then one knob of
 * the best after the other. What is found is clearly faster, each time that both are measured in
 * turn, and right; else nothing is said. How something is timed and checked is the caller's: pure
 * but for that. Owns nothing. One thread.
 */
#ifndef GPU_TUNER_H
#define GPU_TUNER_H

#include "gpu/compile.h"
#include "gpu/table.h"

/* What is tried of an op, at most; how often two are measured in turn, and how often the faster has
 * to be so. */
enum { TUNER_MOST_TRIED = 64, TUNER_PAIRS = 7, TUNER_WON = 6 };

/* Nanoseconds. Helpers (activations in bytes) may serve several ops: how much of them is an op's
 * own is not known, so that only what is faster with and without them is faster. */
struct tuner_time {
    double own, helpers;
};

struct tuner {
    struct row_env env; /* without what was tuned */
    /* Errors: HTH_ERROR_MEMORY and HTH_ERROR_DEVICE_LOST end it, with all others the candidate is
     * out. */
    enum hth_status (*time)(void *user, const struct row_pick *pick, struct tuner_time *out);
    /* Are its numbers right? The same errors. */
    enum hth_status (*check)(void *user, const struct row_pick *pick, bool *right);
    /* Will soon be timed; may be NULL. Failures do not matter. */
    void (*prepare)(void *user, const struct row_pick *pick);
    bool (*stop)(void *user); /* asked before each candidate */
    void *user;
    int n_timed, n_wrong; /* so far */
};

/* Goes on with an op where its entry says, until all was tried (entry->whole) or `stop` says so:
 * then the entry has what was found until then, and where to go on. Errors: HTH_ERROR_CANCELLED for
 * `stop`, HTH_ERROR_MEMORY; HTH_ERROR_DEVICE_LOST, after which the entry says nothing and is whole.
 * An op of which nothing can be turned is none for this. */
HTH_MUST_CHECK tuner_run(struct tuner *tuner, const struct op *op, struct table_entry *entry);

#endif
