#include "gpu/hazard.h"

static bool overlap(const struct range *a, int n_a, const struct range *b, int n_b)
{
    for (int i = 0; i < n_a; i++)
        for (int j = 0; j < n_b; j++)
            if (a[i].chunk == b[j].chunk && a[i].from < b[j].to && b[j].from < a[i].to)
                return true;
    return false;
}

bool hazard_between(const struct access *first, const struct access *second)
{
    return overlap(first->writes, first->n_writes, second->reads, second->n_reads) ||
           overlap(first->reads, first->n_reads, second->writes, second->n_writes) ||
           overlap(first->writes, first->n_writes, second->writes, second->n_writes);
}

/* A barrier separates everything before it from everything after it, so only steps since the last
 * one matter; putting it right before the first step that depends on one of them is optimal. */
void hazard_solve(struct access **steps, size_t n_steps)
{
    size_t last = 0;
    for (size_t i = 0; i < n_steps; i++) {
        steps[i]->barrier = false;
        for (size_t j = last; j < i && !steps[i]->barrier; j++)
            steps[i]->barrier = hazard_between(steps[j], steps[i]);
        if (steps[i]->barrier)
            last = i;
    }
}
