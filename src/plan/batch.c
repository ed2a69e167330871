#include "plan/plan.h"

/* Both are predicted by the same rates, so little says much: most of a turn is its answer. */
static const double CLEARLY = 0.98;

static bool decides_by_rates(const struct machine *machine)
{
    bool decides = machine->n_devices > 1;
    for (int d = 1; d < machine->n_devices; d++)
        decides &= !machine->devices[d].stands_in;
    return decides;
}

enum hth_status plan_choose_batch(int *n_batch, const struct machine *machine,
                                  const struct units *units, const struct plan_options *options,
                                  const struct log *log)
{
    struct plan usual, best;
    struct plan_options with = *options;
    if (!decides_by_rates(machine))
        return HTH_OK;
    with.n_batch = *n_batch;
    enum hth_status status = plan_create(&usual, machine, units, &with, log);
    if (status)
        return status;
    with.n_batch = 0;
    status = plan_create(&best, machine, units, &with, log);
    if (status == HTH_OK) {
        bool gains = best.stream_from > 0 && best.turn_s < CLEARLY * usual.turn_s;
        if (gains && best.turn.n_batch > *n_batch)
            *n_batch = best.turn.n_batch;
        plan_free(&best);
    }
    plan_free(&usual);
    return status;
}
