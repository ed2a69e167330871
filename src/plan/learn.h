/*
 * learn.h — what runs achieved corrects what was measured.
 *
 * A profile goes stale: another power mode, slower memory, a machine that was busy when it was
 * measured. So each run that was predicted says how long it took, and what a device takes is, from
 * then on, what its rates say times the median of the last five runs. Runs that are not there yet
 * count as 1: a single one, however odd, changes nothing, and three alike are believed. Owns
 * nothing. Pure functions: any thread.
 */
#ifndef PLAN_LEARN_H
#define PLAN_LEARN_H

#include "plan/machine.h"

/* Nothing takes more than so many times as long as its rates say, or so much less. */
#define LEARN_MOST 8.0

/* Runs of less say nothing. */
enum { LEARN_MIN_PROMPT = 64, LEARN_MIN_ANSWER = 8 /* tokens */ };
#define LEARN_MIN_S 0.05

/* How many times as long as its rates say a device takes. */
double learn_factor(const struct past_runs *past);

/* A run: what was expected of it, by device, and what came of it. */
struct learn_run {
    int n_tokens;
    double expected_s[MACHINE_MAX_DEVICES];
    double others_s; /* expected beside: hand-overs */
    double achieved_s;
};

/* The device that this run tells something of, and what it took as a multiple of what its rates
 * say, the others being what they are thought to be: that with most of the time. −1: too short, or
 * no device has half of it. */
int learn_from(const struct machine *machine, enum phase phase, const struct learn_run *run,
               double *times);

/* Appends, dropping the oldest. */
void learn_add(struct past_runs *past, double times);

#endif
