#include "plan/walk.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"

/* The fastest way to an amount of memory. */
struct label {
    double time_s; /* infinite: none */
    uint64_t bytes;
};

struct step_back {
    int32_t label;
    int16_t option;
};

struct walk {
    const struct chain *chain;
    uint64_t capacity;
    int shift;                /* bytes >> shift is the cell */
    size_t n_cells, n_row;    /* of one state, and of all */
    struct label *now, *next; /* [n_row]: state by state */
    struct step_back *back;   /* [n_layers][n_row] */
};

/* How finely memory is told apart: a power of two of cells, as many as there is time for; steps of
 * bytes are powers of two as well, the same for a little more memory, so that a plan for less of it
 * is found again. */
static void choose_cells(struct walk *w)
{
    enum { WORK = 32 << 20, LEAST = 4, MOST = 11 };
    const struct chain *chain = w->chain;
    double work = 0;
    int log2_cells = LEAST;
    for (int l = 0; l < chain->n_layers; l++)
        for (int state = 0; state < chain->n_states; state++)
            work += (double)chain_options(chain, l, state)->count;
    while (log2_cells < MOST && work * pow(2, log2_cells + 1) <= WORK)
        log2_cells++;
    while (w->capacity >> w->shift >> log2_cells)
        w->shift++;
    w->n_cells = (size_t)(w->capacity >> w->shift) + 1;
    w->n_row = w->n_cells * (size_t)chain->n_states;
}

static void clear(const struct walk *w, struct label *labels)
{
    for (size_t i = 0; i < w->n_row; i++)
        labels[i].time_s = INFINITY;
}

/* What is too much is in the last cell until the end: which labels there are must not depend on how
 * much memory there is. */
static void relax(struct walk *w, int layer, size_t from, const struct option *option, int number)
{
    struct label to = {w->now[from].time_s + option->time_s, w->now[from].bytes + option->bytes[1]};
    size_t along = (size_t)(to.bytes >> w->shift), cell = (size_t)option->out * w->n_cells + along;
    if (along >= w->n_cells || to.time_s >= w->next[cell].time_s)
        return;
    w->next[cell] = to;
    w->back[(size_t)layer * w->n_row + cell] = (struct step_back){(int32_t)from, (int16_t)number};
}

static void pass_layer(struct walk *w, int layer)
{
    clear(w, w->next);
    for (size_t from = 0; from < w->n_row; from++) {
        if (isinf(w->now[from].time_s))
            continue;
        const struct option_list *list = chain_options(w->chain, layer, (int)(from / w->n_cells));
        for (size_t o = 0; o < list->count; o++)
            relax(w, layer, from, &list->items[o], (int)o);
    }
    struct label *swap = w->now;
    w->now = w->next;
    w->next = swap;
}

/* The fastest that fits, if it is faster than *turn_s. */
static void trace(const struct walk *w, int *way, double *turn_s)
{
    size_t at = w->n_row;
    for (size_t i = 0; i < w->n_row; i++)
        if (w->now[i].time_s < *turn_s && w->now[i].bytes <= w->capacity) {
            *turn_s = w->now[i].time_s;
            at = i;
        }
    for (int l = w->chain->n_layers - 1; l >= 0 && at < w->n_row; l--) {
        struct step_back back = w->back[(size_t)l * w->n_row + at];
        way[l] = back.option;
        at = (size_t)back.label;
    }
}

enum hth_status walk_fastest(const struct chain *chain, uint64_t capacity, int *way, double *turn_s,
                             const struct log *log)
{
    struct walk w = {.chain = chain, .capacity = capacity};
    choose_cells(&w);
    size_t n_back = w.n_row * (size_t)chain->n_layers;
    w.now = mem_calloc(w.n_row, sizeof *w.now);
    w.next = mem_calloc(w.n_row, sizeof *w.next);
    w.back = mem_calloc(n_back, sizeof *w.back);
    bool there = w.now && w.next && w.back;
    if (there) {
        clear(&w, w.now);
        w.now[0].time_s = 0; /* embedding rows come from the host */
        for (int l = 0; l < chain->n_layers; l++)
            pass_layer(&w, l);
        trace(&w, way, turn_s);
    }
    mem_free(w.now);
    mem_free(w.next);
    mem_free(w.back);
    return there ? HTH_OK : log_fail_memory(log, "a plan", n_back * sizeof *w.back);
}
