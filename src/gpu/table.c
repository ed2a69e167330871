#include "gpu/table.h"

#include <stdio.h>

#include "base/mem.h"

int64_t table_size(int64_t size)
{
    int64_t power = 1;
    while (2 * power <= size)
        power *= 2;
    return size >= power + power / 2 && power > 1 ? power + power / 2 : power;
}

int64_t table_columns(int64_t columns)
{
    int64_t least = 4;
    while (columns > least)
        least *= 2;
    return columns <= 4 ? columns : least < 256 ? least : 256;
}

bool table_class(const struct row_env *env, const struct op *op, char *out, size_t size)
{
    const struct row_family *family = row_family_of(op->kind);
    struct strbuf text = {0};
    if (!family || !family->describe)
        return false;
    family->describe(op, &text);
    if (env->float_only)
        strbuf_append(&text, STR(" float"));
    bool fits = !text.failed && text.len < size;
    if (fits)
        memcpy(out, text.ptr, text.len + 1);
    strbuf_free(&text);
    return fits;
}

struct table_entry *table_find(const struct table *table, const char *class)
{
    for (size_t i = 0; i < table->n; i++)
        if (strcmp(table->items[i].class, class) == 0)
            return &table->items[i];
    return NULL;
}

struct table_entry *table_add(struct table *table, const char *class)
{
    struct table_entry *found = table_find(table, class);
    if (found)
        return found;
    if (table->n == TABLE_MOST) {
        table->n--;
        memmove(table->items, table->items + 1, table->n * sizeof *table->items);
    }
    struct table_entry *grown =
        mem_grow(table->items, &table->capacity, table->n + 1, sizeof *grown);
    if (!grown)
        return NULL;
    table->items = grown;
    struct table_entry *entry = &grown[table->n++];
    *entry = (struct table_entry){0};
    snprintf(entry->class, sizeof entry->class, "%s", class);
    return entry;
}

void table_free(struct table *table)
{
    mem_free(table->items);
    *table = (struct table){0};
}

void table_clear(struct table_entry *entry)
{
    entry->row[0] = '\0';
    entry->n_knobs = 0;
    entry->gain = 1;
}

void table_set(struct table_entry *entry, const struct row *row, const uint32_t *values)
{
    snprintf(entry->row, sizeof entry->row, "%s", row->name);
    entry->n_knobs = 0;
    for (int k = 0; values && k < row->n_knobs; k++) {
        struct table_knob *knob = &entry->knobs[entry->n_knobs];
        if (!values[k])
            continue;
        snprintf(knob->name, sizeof knob->name, "%s", row->knobs[k].name);
        knob->value = values[k];
        entry->n_knobs++;
    }
}

static bool take_knob(const struct row *row, const struct table_knob *knob, uint32_t *values)
{
    for (int k = 0; k < row->n_knobs; k++)
        if (strcmp(row->knobs[k].name, knob->name) == 0) {
            values[k] = knob->value;
            return true;
        }
    return false;
}

const struct row *table_row(const struct table_entry *entry, const struct row_family *family,
                            uint32_t *values)
{
    const struct row *row = NULL;
    for (int r = 0; r < family->n_rows && !row; r++)
        if (strcmp(family->rows[r].name, entry->row) == 0)
            row = &family->rows[r];
    memset(values, 0, ROW_MAX_KNOBS * sizeof *values);
    for (int k = 0; row && k < entry->n_knobs; k++)
        if (!take_knob(row, &entry->knobs[k], values))
            return NULL;
    return row;
}

const struct row *table_select(const struct row_env *env, const struct row_family *family,
                               const struct op *op, struct row_choice *choice)
{
    char class[sizeof((struct table_entry *)0)->class];
    uint32_t values[ROW_MAX_KNOBS];
    if (!env->tuned || env->tuned->n == 0 || !table_class(env, op, class, sizeof class))
        return NULL;
    const struct table_entry *entry = table_find(env->tuned, class);
    const struct row *row = entry && entry->row[0] ? table_row(entry, family, values) : NULL;
    return row && row_turn(env, row, op, values, choice) ? row : NULL;
}
