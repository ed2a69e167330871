#include "plan/learn.h"

#include <math.h>
#include <string.h>

double learn_factor(const struct past_runs *past)
{
    double sorted[PAST_RUNS];
    for (int i = 0; i < PAST_RUNS; i++) {
        double times = i < past->n ? past->times[i] : 1;
        int at = i;
        for (; at > 0 && sorted[at - 1] > times; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = times;
    }
    return sorted[PAST_RUNS / 2];
}

static double within(double value, double least, double most)
{
    return value < least ? least : value > most ? most : value;
}

int learn_from(const struct machine *machine, enum phase phase, const struct learn_run *run,
               double *times)
{
    int least_tokens = phase == PHASE_PROMPT ? LEARN_MIN_PROMPT : LEARN_MIN_ANSWER, most = 0;
    double all_s = run->others_s;
    for (int d = 0; d < machine->n_devices; d++) {
        all_s += run->expected_s[d];
        most = run->expected_s[d] > run->expected_s[most] ? d : most;
    }
    double own_s = run->expected_s[most];
    bool tells = run->n_tokens >= least_tokens && isfinite(run->achieved_s) && isfinite(all_s) &&
                 run->achieved_s >= LEARN_MIN_S && own_s > 0 && own_s >= all_s / 2;
    if (!tells)
        return -1;
    double took_s = run->achieved_s - (all_s - own_s); /* the device itself, in this run */
    double now = learn_factor(&machine->devices[most].past[phase]);
    *times = within(now * took_s / own_s, 1 / LEARN_MOST, LEARN_MOST);
    return most;
}

void learn_add(struct past_runs *past, double times)
{
    if (past->n == PAST_RUNS) {
        memmove(past->times, past->times + 1, (PAST_RUNS - 1) * sizeof *past->times);
        past->n--;
    }
    past->times[past->n++] = times;
}
