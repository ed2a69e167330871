#include "gpu/row.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "gpu/table.h"

extern const struct row_family *const row_family_list[];

void choice_set(struct row_choice *choice, const char *name, uint32_t value)
{
    for (uint32_t i = 0; i < choice->blob->n_specs; i++)
        if (strcmp(choice->blob->specs[i].name, name) == 0)
            choice->spec[i] = value;
}

uint32_t choice_get(const struct row_choice *choice, const char *name, uint32_t fallback)
{
    for (uint32_t i = 0; i < choice->blob->n_specs; i++)
        if (strcmp(choice->blob->specs[i].name, name) == 0)
            return choice->spec[i];
    return fallback;
}

uint32_t row_subgroup(const struct vk_caps *caps, uint32_t wanted)
{
    if (!caps->subgroup_control)
        return 0;
    return wanted < caps->subgroup_min   ? caps->subgroup_min
           : wanted > caps->subgroup_max ? caps->subgroup_max
                                         : wanted;
}

bool row_has_many_registers(const struct vk_caps *caps)
{
    return caps->kind == VK_KIND_SOFTWARE || caps->subgroup_min >= 32;
}

uint32_t row_subgroup_actual(const struct vk_caps *caps, uint32_t demanded)
{
    return demanded ? demanded : caps->subgroup_default;
}

/* The weight whose format names the blob: the first input that is one. */
static const struct dtype *row_format(const struct op *op)
{
    for (int i = 0; i < OP_MAX_IN; i++)
        if (op->in[i] && op->in[i]->ne[1] > 1 && op->in[i]->kind == TENSOR_WEIGHT)
            return op->in[i]->dtype;
    return op->in[0] ? op->in[0]->dtype : NULL;
}

static const struct shader_blob *row_blob(const struct row_env *env, const struct row *row,
                                          const struct op *op)
{
    const struct dtype *format = row->by_format ? row_format(op) : NULL;
    if (row->by_format && (!format || !format->shader))
        return NULL;
    char name[64];
    int n = snprintf(name, sizeof name, "%s%s%s%s", row->blob, format ? "_" : "",
                     format ? format->shader : "", env->addresses ? "_addr" : "");
    return n > 0 && (size_t)n < sizeof name ? shader_blob_find(name) : NULL;
}

static bool has_forced_name(const struct row_env *env, const struct row *row)
{
    size_t n = strlen(env->forced);
    return strncmp(row->name, env->forced, n) == 0 && (row->name[n] == '\0' || row->name[n] == '_');
}

/* As many letters as both begin with. */
static size_t common_start(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    return n;
}

bool row_name_exists(const char *name, struct strbuf *close)
{
    const struct row_env env = {.forced = name};
    size_t longest = 0;
    for (size_t i = 0; row_at(i, NULL); i++) {
        const struct row *row = row_at(i, NULL);
        if (has_forced_name(&env, row))
            return true;
        size_t n = common_start(name, row->name);
        longest = n > longest ? n : longest;
    }
    const char *between = "";
    for (size_t i = 0; row_at(i, NULL); i++) {
        const char *candidate = row_at(i, NULL)->name;
        if (common_start(name, candidate) < longest)
            continue;
        strbuf_printf(close, "%s%s", between, candidate);
        between = ", ";
    }
    return false;
}

/* A forced name binds the ops that some row of this name has a blob for, whether it fits or not;
 * the others are chosen as ever (the F32 router beside matrices whose rows are forced). */
static bool forced_out(const struct row_env *env, const struct row_family *family,
                       const struct row *row, const struct op *op)
{
    if (!env->forced || has_forced_name(env, row))
        return false;
    for (int r = 0; r < family->n_rows; r++)
        if (has_forced_name(env, &family->rows[r]) && row_blob(env, &family->rows[r], op))
            return true;
    return false;
}

/* --- rows that are wrong ---------------------------------------------------------------------- */

static bool is_barred(const struct row_bars *bars, const char *row, const char *blob)
{
    for (size_t i = 0; bars && i < bars->n; i++)
        if (strcmp(bars->items[i].row, row) == 0 && strcmp(bars->items[i].blob, blob) == 0)
            return true;
    return false;
}

bool row_bars_add(struct row_bars *bars, const char *row, const char *blob)
{
    if (is_barred(bars, row, blob))
        return true;
    struct row_bar *grown = mem_grow(bars->items, &bars->capacity, bars->n + 1, sizeof *grown);
    if (!grown)
        return false;
    bars->items = grown;
    struct row_bar *bar = &grown[bars->n++];
    snprintf(bar->row, sizeof bar->row, "%s", row);
    snprintf(bar->blob, sizeof bar->blob, "%s", blob);
    return true;
}

void row_bars_free(struct row_bars *bars)
{
    mem_free(bars->items);
    *bars = (struct row_bars){0};
}

/* --- choosing --------------------------------------------------------------------------------- */

bool row_fits(const struct row_env *env, const struct row *row, const struct op *op,
              struct row_choice *choice)
{
    if ((row->integer || row->half) && env->float_only)
        return false;
    if (!op_has_layout(op, row->layout) || (row->fits && !row->fits(env, op)))
        return false;
    const struct shader_blob *blob = row_blob(env, row, op);
    if (!blob || !vk_blob_fits(env->caps, blob))
        return false;
    if (is_barred(env->bars, row->name, blob->name) && !(env->forced && has_forced_name(env, row)))
        return false;
    *choice = (struct row_choice){.blob = blob};
    for (uint32_t i = 0; i < blob->n_specs && i < VK_MAX_SPECS; i++)
        choice->spec[i] = blob->specs[i].value;
    if (row->shape)
        row->shape(env, op, choice);
    return true;
}

/* What Vulkan asks of any workgroup on this device. */
static bool group_fits(const struct vk_caps *caps, const struct row_choice *choice)
{
    uint32_t lanes = row_subgroup_actual(caps, choice->subgroup_size);
    uint32_t group = choice_get(choice, "GROUP", lanes), demanded = choice->subgroup_size;
    bool size_fits =
        !demanded || (caps->subgroup_control && (demanded & (demanded - 1)) == 0 &&
                      demanded >= caps->subgroup_min && demanded <= caps->subgroup_max);
    return size_fits && group >= lanes && group % lanes == 0 && group <= caps->max_invocations &&
           group <= caps->max_group[0] &&
           (!demanded || !caps->max_subgroups || group / lanes <= caps->max_subgroups);
}

static bool is_offered(const struct row_knob *knob, uint32_t value)
{
    for (int i = 0; i < ROW_KNOB_VALUES && knob->values[i]; i++)
        if (knob->values[i] == value)
            return true;
    return value == 0;
}

bool row_turn(const struct row_env *env, const struct row *row, const struct op *op,
              const uint32_t *values, struct row_choice *choice)
{
    bool any = false;
    for (int k = 0; k < row->n_knobs; k++) {
        if (!is_offered(&row->knobs[k], values[k]))
            return false;
        any |= values[k] != 0;
    }
    if (!row_fits(env, row, op, choice))
        return false;
    return !any || (row->turn(env, op, values, choice) && group_fits(env->caps, choice));
}

bool row_choice_equal(const struct row_choice *a, const struct row_choice *b)
{
    return a->blob == b->blob && a->subgroup_size == b->subgroup_size &&
           memcmp(a->spec, b->spec, sizeof a->spec) == 0;
}

/* By default what a row itself prefers, or else (`any`) what fits; with a forced name, what has it.
 */
static bool wanted(const struct row_env *env, const struct row_family *family,
                   const struct row *row, const struct op *op, bool any)
{
    if (forced_out(env, family, row, op))
        return false;
    return any || (env->forced && has_forced_name(env, row)) || !row->prefers ||
           row->prefers(env, op);
}

/* The rows of a family are ordered: what is fast on some device comes before what is plain. */
static const struct row *select_plain(const struct row_env *env, const struct row_family *family,
                                      const struct op *op, struct row_choice *choice)
{
    for (int r = family->n_rows - 1; r >= 0; r--) {
        const struct row *row = &family->rows[r];
        if (!row->integer && !row->half && row_fits(env, row, op, choice))
            return row;
    }
    return NULL;
}

static const struct row *select_from(const struct row_env *env, const struct row_family *family,
                                     const struct op *op, struct row_choice *choice, bool any)
{
    const struct row *found = NULL;
    for (int r = 0, left = env->passed_over; r < family->n_rows && left >= 0; r++) {
        struct row_choice one;
        if (!wanted(env, family, &family->rows[r], op, any) ||
            !row_fits(env, &family->rows[r], op, &one))
            continue;
        found = &family->rows[r];
        *choice = one;
        left--;
    }
    return found;
}

const struct row_family *row_family_of(enum op_kind kind)
{
    for (size_t f = 0; row_family_list[f]; f++)
        for (int k = 0; k < row_family_list[f]->n_kinds; k++)
            if (row_family_list[f]->kinds[k] == kind)
                return row_family_list[f];
    return NULL;
}

const struct row *row_select(const struct row_env *env, const struct op *op,
                             struct row_choice *choice)
{
    const struct row_family *family = row_family_of(op->kind);
    if (!family)
        return NULL;
    if (env->plain && !env->forced)
        return select_plain(env, family, op, choice);
    const struct row *row = env->forced ? NULL : table_select(env, family, op, choice);
    row = row ? row : select_from(env, family, op, choice, false);
    return row ? row : select_from(env, family, op, choice, true);
}

const struct row *row_at(size_t index, const struct row_family **family)
{
    for (size_t f = 0; row_family_list[f]; f++) {
        size_t n = (size_t)row_family_list[f]->n_rows;
        if (index < n) {
            if (family)
                *family = row_family_list[f];
            return &row_family_list[f]->rows[index];
        }
        index -= n;
    }
    return NULL;
}
