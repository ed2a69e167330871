/*
 * tune.h — measures around a plan for what is faster than it.
 *
 * A plan is made of rates; a machine has hybrid cores, shared caches, power limits and drivers that
 * no rate tells of. So what a plan takes for granted (threads, tokens computed at once, how much of
 * the GPU's memory is used) is tried a step to either side and on for as long as that gains. What
 * is measured is the caller's. Owns nothing; one thread.
 */
#ifndef PLAN_TUNE_H
#define PLAN_TUNE_H

#include <stdbool.h>

#include "base/log.h"

/* All zero: as planned. */
struct tune_setting {
    int n_threads, n_batch;
    int vram_percent; /* of what the plan may use of the GPU; TUNE_NO_VRAM: nothing */
};
#define TUNE_NO_VRAM (-1)

/* What a turn takes with a setting, in seconds. Errors: HTH_ERROR_LIMIT and _MEMORY say that it
 * cannot be run here; all others, and _CANCELLED, end the search. */
typedef enum hth_status tune_measure_fn(void *user, const struct tune_setting *setting,
                                        double *seconds);

/* Something was measured: `gain` is how many times as fast as planned it is; 0: cannot be run. */
typedef void tune_tell_fn(void *user, const struct tune_setting *setting, double gain);

struct tune_options {
    tune_measure_fn *measure;
    tune_tell_fn *tell; /* may be NULL */
    void *user;
    int n_threads;  /* that the plan has; 0: the caller has said how many */
    int n_batch;    /* the same */
    int most_batch; /* tokens that there are: larger than one batch of them all is none */
    bool has_gpu;   /* and what it holds is not said by hand */
};

struct tune_result {
    struct tune_setting best; /* all zero where nothing is faster than the plan */
    double planned_s, best_s; /* what a turn takes, 0: was not measured */
    int n_measured;
};

/* A setting counts as faster when it is by 3 %, and is again when both are measured a second time;
 * what is found in the end is compared with the plan once more. So it is never slower than the plan
 * as far as can be measured. After an error `result` has what was found until then. */
HTH_MUST_CHECK tune(const struct tune_options *options, struct tune_result *result);

#endif
