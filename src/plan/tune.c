#include "plan/tune.h"

#include <stddef.h>

/* Less is noise. */
static const double CLEARLY = 1.03, STILL = 1.015;

enum { MOST_VALUES = 8 };

enum knob { KNOB_VRAM, KNOB_THREADS, KNOB_BATCH, KNOBS }; /* first what the others depend on */

struct search {
    const struct tune_options *opt;
    struct tune_result *result;
};

/* --- what is tried ---------------------------------------------------------------------------- */

static int *knob_of(struct tune_setting *setting, enum knob knob)
{
    return knob == KNOB_VRAM      ? &setting->vram_percent
           : knob == KNOB_THREADS ? &setting->n_threads
                                  : &setting->n_batch;
}

/* Appends a value above the last. */
static void add(int *values, int *n, int value)
{
    if (value > 0 && (*n == 0 || value > values[*n - 1]) && *n < MOST_VALUES)
        values[(*n)++] = value;
}

/* Values of a knob, rising, 0 where the plan is; *n is 0 where there is nothing to turn. */
static void list_values(const struct tune_options *opt, enum knob knob, int *values, int *n)
{
    static const int shares[] = {TUNE_NO_VRAM, 25, 50, 75, 90, 0};
    int threads = opt->n_threads;
    *n = 0;
    if (knob == KNOB_VRAM) {
        for (; opt->has_gpu && *n < (int)(sizeof shares / sizeof *shares); ++*n)
            values[*n] = shares[*n];
    } else if (knob == KNOB_THREADS && threads > 1) {
        add(values, n, threads / 4);
        add(values, n, threads / 2); /* one for each core of two threads */
        if (threads >= 8)
            add(values, n, threads - threads / 4);
        add(values, n, threads - 1); /* one is left for whatever else runs */
        values[(*n)++] = 0;
    } else if (knob == KNOB_BATCH && opt->n_batch > 0) {
        for (int batch = opt->n_batch / 4; batch < opt->n_batch; batch *= 2)
            add(values, n, batch);
        values[(*n)++] = 0;
        for (int i = 0, batch = opt->n_batch; i < 3 && batch < opt->most_batch; i++)
            values[(*n)++] = batch *= 2;
    }
}

/* --- measuring -------------------------------------------------------------------------------- */

/* *seconds is 0 for a setting that cannot be run. */
static enum hth_status measure(struct search *s, const struct tune_setting *setting,
                               double *seconds)
{
    *seconds = 0;
    enum hth_status status = s->opt->measure(s->opt->user, setting, seconds);
    s->result->n_measured++;
    if (status == HTH_ERROR_LIMIT || status == HTH_ERROR_MEMORY) {
        *seconds = 0;
        return HTH_OK;
    }
    return status;
}

/* Measures both a second time, in turn. */
static enum hth_status is_still_faster(struct search *s, const struct tune_setting *one,
                                       const struct tune_setting *other, bool *yes)
{
    double one_s, other_s;
    *yes = false;
    enum hth_status status = measure(s, other, &other_s);
    if (status == HTH_OK)
        status = measure(s, one, &one_s);
    if (status == HTH_OK)
        *yes = one_s > 0 && other_s > STILL * one_s;
    return status;
}

static enum hth_status try(struct search *s, const struct tune_setting *setting, bool *better)
{
    struct tune_result *result = s->result;
    double seconds;
    *better = false;
    enum hth_status status = measure(s, setting, &seconds);
    if (status)
        return status;
    if (s->opt->tell)
        s->opt->tell(s->opt->user, setting, seconds > 0 ? result->planned_s / seconds : 0);
    if (seconds <= 0 || result->best_s < CLEARLY * seconds)
        return HTH_OK;
    status = is_still_faster(s, setting, &result->best, better);
    if (*better) {
        result->best = *setting;
        result->best_s = seconds;
    }
    return status;
}

/* --- the search ------------------------------------------------------------------------------- */

/* From where the plan is, step by step, as long as that gains. */
static enum hth_status walk(struct search *s, enum knob knob, const int *values, int n, int step)
{
    int at = 0;
    bool better = true;
    enum hth_status status = HTH_OK;
    while (values[at] != 0)
        at++;
    for (at += step; status == HTH_OK && better && at >= 0 && at < n; at += step) {
        struct tune_setting setting = s->result->best;
        *knob_of(&setting, knob) = values[at];
        status = try(s, &setting, &better);
    }
    return status;
}

static bool is_planned(const struct tune_setting *setting)
{
    return !setting->n_threads && !setting->n_batch && !setting->vram_percent;
}

static enum hth_status turn_knob(struct search *s, enum knob knob)
{
    int values[MOST_VALUES], n;
    list_values(s->opt, knob, values, &n);
    enum hth_status status = n ? walk(s, knob, values, n, -1) : HTH_OK;
    if (status == HTH_OK && n && *knob_of(&s->result->best, knob) == 0)
        status = walk(s, knob, values, n, 1);
    /* half of the memory may be no better where none is best */
    if (status == HTH_OK && knob == KNOB_VRAM && n && is_planned(&s->result->best)) {
        bool better;
        status = try(s, &(struct tune_setting){.vram_percent = TUNE_NO_VRAM}, &better);
    }
    return status;
}

enum hth_status tune(const struct tune_options *options, struct tune_result *result)
{
    struct search s = {options, result};
    const struct tune_setting planned = {0};
    *result = (struct tune_result){0};
    enum hth_status status = options->measure(options->user, &planned, &result->planned_s);
    result->n_measured = 1;
    result->best_s = result->planned_s;
    for (int knob = 0; knob < KNOBS && status == HTH_OK; knob++)
        status = turn_knob(&s, (enum knob)knob);
    bool better = true;
    if (status == HTH_OK && !is_planned(&result->best))
        status = is_still_faster(&s, &result->best, &planned, &better);
    if (status == HTH_OK && !better) {
        result->best = planned;
        result->best_s = result->planned_s;
    }
    return status;
}
