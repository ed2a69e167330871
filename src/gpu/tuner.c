#include "gpu/tuner.h"

#include "base/mem.h"

/* Less is noise. */
static const double CLEARLY = 1.03;

/* A row with values of its knobs. */
struct setting {
    struct row_pick pick;
    uint32_t values[ROW_MAX_KNOBS];
};

struct search {
    struct tuner *tuner;
    const struct op *op;
    const struct row_family *family;
    struct setting plain, best; /* as rows say of themselves; the fastest so far, */
    double gain;                /* which is so many times as fast */
    struct row_pick tried[TUNER_MOST_TRIED];
    int n_tried;
};

/* --- measuring -------------------------------------------------------------------------------- */

/* Do both stay without helpers and with them? */
static double gain_of(const struct tuner_time *before, const struct tuner_time *now)
{
    double own = before->own / now->own;
    double with = (before->own + before->helpers) / (now->own + now->helpers);
    return own < with ? own : with;
}

static bool ends_all(enum hth_status status)
{
    return status == HTH_ERROR_MEMORY || status == HTH_ERROR_DEVICE_LOST;
}

/* *gain is 0 where one of them cannot be timed. */
static enum hth_status time_both(struct search *s, const struct setting *before,
                                 const struct setting *now, bool now_first, double *gain)
{
    struct tuner *t = s->tuner;
    struct tuner_time times[2];
    const struct setting *const order[] = {now_first ? now : before, now_first ? before : now};
    *gain = 0;
    for (int i = 0; i < 2; i++) {
        t->n_timed++;
        enum hth_status status = t->time(t->user, &order[i]->pick, &times[i]);
        if (status)
            return ends_all(status) ? status : HTH_OK;
        if (times[i].own <= 0)
            return HTH_OK;
    }
    *gain = now_first ? gain_of(&times[1], &times[0]) : gain_of(&times[0], &times[1]);
    return HTH_OK;
}

/* Both in turn: it has to win nearly each time, and by enough in the middle one. *gain is how many
 * times as fast it is; 0: it is not clearly faster. */
static enum hth_status compare(struct search *s, const struct setting *before,
                               const struct setting *now, double *gain)
{
    double gains[TUNER_PAIRS];
    int n_lost = 0;
    *gain = 0;
    for (int i = 0; i < TUNER_PAIRS; i++) {
        double one;
        enum hth_status status = time_both(s, before, now, i % 2 == 0, &one);
        if (status)
            return status;
        n_lost += one <= 1;
        if (n_lost > TUNER_PAIRS - TUNER_WON)
            return HTH_OK;
        int at = i;
        for (; at > 0 && gains[at - 1] > one; at--)
            gains[at] = gains[at - 1];
        gains[at] = one;
    }
    double middle = gains[TUNER_PAIRS / 2];
    *gain = middle >= CLEARLY ? middle : 0;
    return HTH_OK;
}

/* --- candidates ------------------------------------------------------------------------------- */

/* Of few columns nothing becomes less exact than it is: what a model says would otherwise depend on
 * how many tokens are computed at once. */
static bool is_exact_enough(const struct search *s, const struct row *row)
{
    const struct tensor *y = s->op->out[0];
    const struct row *plain = s->plain.pick.row;
    int own = row->integer ? 2 : row->half, most = plain->integer ? 2 : plain->half;
    return own <= most || y->ne[y->n_dims - 1] > ROW_FEW_TOKENS;
}

static bool was_tried(const struct search *s, const struct row_pick *pick)
{
    for (int i = 0; i < s->n_tried; i++)
        if (s->tried[i].row == pick->row && row_choice_equal(&s->tried[i].choice, &pick->choice))
            return true;
    return false;
}

/* Fills in the choice; false: it does not fit, or was tried. */
static bool make(const struct search *s, const struct row *row, struct setting *out)
{
    out->pick.row = row;
    return row_turn(&s->tuner->env, row, s->op, out->values, &out->pick.choice) &&
           !was_tried(s, &out->pick);
}

static void note_tried(struct search *s, const struct setting *setting)
{
    if (s->n_tried < TUNER_MOST_TRIED)
        s->tried[s->n_tried++] = setting->pick;
}

/* A first look at both, once each, rules most out; numbers are compared before it is measured
 * further. */
static enum hth_status try(struct search *s, const struct setting *setting)
{
    struct tuner *t = s->tuner;
    double gain;
    bool right = false;
    if (t->stop(t->user))
        return HTH_ERROR_CANCELLED;
    note_tried(s, setting);
    enum hth_status status = time_both(s, &s->best, setting, false, &gain);
    if (status || gain < CLEARLY)
        return status;
    status = t->check(t->user, &setting->pick, &right);
    if (status)
        return ends_all(status) ? status : HTH_OK;
    if (!right) {
        t->n_wrong++;
        return HTH_OK;
    }
    status = compare(s, &s->best, setting, &gain);
    if (status == HTH_OK && gain > 0) {
        s->best = *setting;
        s->gain *= gain;
    }
    return status;
}

/* Number i of a step: of the first a row as it says of itself, of the others a value of a knob of
 * the best. False: there is nothing to try. */
static bool candidate(const struct search *s, int step, int i, struct setting *out)
{
    if (step == 0) {
        const struct row *row = &s->family->rows[i];
        *out = (struct setting){0};
        return is_exact_enough(s, row) && make(s, row, out);
    }
    const struct row *row = s->best.pick.row;
    *out = s->best;
    out->values[step - 1] = row->knobs[step - 1].values[i];
    return out->values[step - 1] && make(s, row, out);
}

/* From where it was left: as many as there was time for are not tried again. */
static enum hth_status try_step(struct search *s, struct table_entry *entry)
{
    struct tuner *t = s->tuner;
    struct setting setting;
    int step = entry->n_done, n = step == 0 ? s->family->n_rows : ROW_KNOB_VALUES;
    for (int i = entry->n_tried; i < n && t->prepare && !t->stop(t->user); i++)
        if (candidate(s, step, i, &setting))
            t->prepare(t->user, &setting.pick);
    for (; entry->n_tried < n; entry->n_tried++) {
        if (!candidate(s, step, entry->n_tried, &setting))
            continue;
        enum hth_status status = try(s, &setting);
        if (status)
            return status;
    }
    entry->n_tried = 0;
    entry->n_done++;
    return HTH_OK;
}

/* --- the whole -------------------------------------------------------------------------------- */

static void keep(const struct search *s, struct table_entry *entry)
{
    table_clear(entry);
    if (row_choice_equal(&s->best.pick.choice, &s->plain.pick.choice) &&
        s->best.pick.row == s->plain.pick.row)
        return;
    table_set(entry, s->best.pick.row, s->best.values);
    entry->gain = s->gain;
}

/* From where the entry is; what it says is taken up if it still fits. */
static bool begin(struct search *s, struct table_entry *entry)
{
    s->family = row_family_of(s->op->kind);
    s->plain.pick.row = row_select(&s->tuner->env, s->op, &s->plain.pick.choice);
    if (!s->plain.pick.row)
        return false;
    note_tried(s, &s->plain);
    s->best = s->plain;
    s->gain = 1;
    struct setting found = {0};
    found.pick.row = entry->row[0] ? table_row(entry, s->family, found.values) : NULL;
    if (found.pick.row && make(s, found.pick.row, &found)) {
        note_tried(s, &found);
        s->best = found;
        s->gain = entry->gain;
    } else if (entry->row[0]) {
        entry->n_done = entry->n_tried = 0;
    }
    return true;
}

static enum hth_status search(struct search *s, struct table_entry *entry)
{
    enum hth_status status = HTH_OK;
    while (status == HTH_OK && entry->n_done <= s->best.pick.row->n_knobs)
        status = try_step(s, entry);
    return status;
}

/* The sum of many small steps is compared with where they began once more. */
static enum hth_status finish(struct search *s, struct table_entry *entry)
{
    enum hth_status status = HTH_OK;
    if (entry->row[0]) {
        status = compare(s, &s->plain, &s->best, &entry->gain);
        if (status == HTH_OK && entry->gain <= 0)
            table_clear(entry);
    }
    entry->whole = status == HTH_OK;
    return status;
}

enum hth_status tuner_run(struct tuner *tuner, const struct op *op, struct table_entry *entry)
{
    struct search s = {.tuner = tuner, .op = op};
    if (entry->whole)
        return HTH_OK;
    enum hth_status status = HTH_OK;
    if (begin(&s, entry)) {
        status = search(&s, entry);
        keep(&s, entry);
        if (status == HTH_OK)
            status = finish(&s, entry);
    } else {
        entry->whole = true;
    }
    if (status == HTH_ERROR_DEVICE_LOST) {
        table_clear(entry);
        entry->whole = true;
    }
    return status;
}
