#include "text/jinja_run.h"

/* object.name, object[key], object[a:b:c]. */

static const struct jinja_row *const string_tables[] = {jinja_string_methods, jinja_string_tests,
                                                        jinja_split_methods, NULL};
static const struct jinja_row *const list_tables[] = {jinja_list_methods, jinja_tuple_methods,
                                                      NULL};
static const struct jinja_row *const tuple_tables[] = {jinja_tuple_methods, NULL};
static const struct jinja_row *const dict_tables[] = {jinja_dict_methods, NULL};

const struct jinja_row *jinja_method_find(struct value self, struct str name)
{
    const struct jinja_row *const *tables = NULL;
    switch ((enum value_kind)self.kind) {
    case VALUE_STRING: tables = string_tables; break;
    case VALUE_LIST: tables = list_tables; break;
    case VALUE_RANGE:
    case VALUE_TUPLE: tables = tuple_tables; break;
    case VALUE_DICT: tables = dict_tables; break;
    default: break;
    }
    for (; tables && *tables; tables++) {
        const struct jinja_row *row = jinja_row_find(*tables, name);
        if (row)
            return row;
    }
    if (self.kind == VALUE_FLOAT && str_equal(name, STR("is_integer")))
        return jinja_row_find(jinja_object_methods, name);
    if (self.kind == VALUE_CYCLER &&
        (str_equal(name, STR("next")) || str_equal(name, STR("reset"))))
        return jinja_row_find(jinja_object_methods, name);
    return NULL;
}

static bool macro_attr(struct jinja *j, const struct macro *macro, struct str name,
                       struct value *out, bool *found)
{
    unsigned uses = macro->node->uses;
    *found = true;
    if (str_equal(name, STR("name"))) {
        *out = macro->node->value;
    } else if (str_equal(name, STR("arguments"))) {
        struct list *list = jinja_list_new(j, 0);
        if (!list)
            return false;
        for (const struct node *param = macro->node->a; param; param = param->next)
            if (!jinja_list_append(j, list, param->value))
                return false;
        *out = value_tuple(list);
    } else if (str_equal(name, STR("catch_kwargs"))) {
        *out = value_bool(uses & USES_KWARGS);
    } else if (str_equal(name, STR("catch_varargs"))) {
        *out = value_bool(uses & USES_VARARGS);
    } else if (str_equal(name, STR("caller"))) {
        *out = value_bool(uses & USES_CALLER);
    } else {
        *found = false;
    }
    return true;
}

static bool range_attr(const struct range *range, struct str name, struct value *out)
{
    bool start = str_equal(name, STR("start")), stop = str_equal(name, STR("stop"));
    if (!start && !stop && !str_equal(name, STR("step")))
        return false;
    *out = value_int(start ? range->start : stop ? range->stop : range->step);
    return true;
}

/* What Python would find as an attribute, without the fallback to items. */
static bool find_attr(struct jinja *j, struct value object, struct str name, struct value *out,
                      bool *found)
{
    struct dict_entry *entry;
    *found = false;
    switch ((enum value_kind)object.kind) {
    case VALUE_NAMESPACE:
        if (!jinja_dict_find_str(j, object.dict, name, &entry))
            return false;
        *found = entry != NULL;
        if (entry)
            *out = entry->value;
        return true;
    case VALUE_LOOP: return run_loop_attr(j, object.loop, name, out, found);
    case VALUE_MACRO: return macro_attr(j, object.macro, name, out, found);
    case VALUE_CYCLER:
        *found = str_equal(name, STR("current"));
        if (*found)
            *out = object.cycler->list->items[object.cycler->at];
        break;
    case VALUE_RANGE: *found = range_attr(object.range, name, out); break;
    case VALUE_TUPLE:
        *found = object.markup && (str_equal(name, STR("grouper")) || str_equal(name, STR("list")));
        if (*found)
            *out = object.list->items[str_equal(name, STR("list"))];
        break;
    default: break;
    }
    const struct jinja_row *row = *found ? NULL : jinja_method_find(object, name);
    if (!row)
        return true;
    struct method *method = jinja_alloc(j, 1, sizeof *method);
    if (!method)
        return false;
    *method = (struct method){row, object};
    *out = (struct value){.kind = VALUE_METHOD, .method = method};
    *found = true;
    return true;
}

bool jinja_get_attr(struct jinja *j, struct value object, struct value name, struct value *out)
{
    bool found;
    if (object.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, object);
    if (!find_attr(j, object, value_str(name), out, &found))
        return false;
    if (found)
        return true;
    if (object.kind == VALUE_DICT) {
        struct dict_entry *entry;
        if (!jinja_dict_find(j, object.dict, name, &entry))
            return false;
        if (entry) {
            *out = entry->value;
            return true;
        }
    }
    return jinja_undefined_member(j, object, name, out);
}

/* An index from the front, or false when it is outside. */
static bool place(int64_t index, int64_t n, int64_t *out)
{
    *out = index < 0 ? index + n : index;
    return *out >= 0 && *out < n;
}

static bool item_at(struct jinja *j, struct value object, int64_t index, struct value *out,
                    bool *found)
{
    int64_t n, at;
    *found = false;
    if (object.kind != VALUE_STRING && object.kind != VALUE_LIST && object.kind != VALUE_TUPLE &&
        object.kind != VALUE_RANGE)
        return true;
    if (!jinja_length(j, object, &n))
        return false;
    if (!place(index, n, &at))
        return true;
    *found = true;
    if (object.kind == VALUE_RANGE) {
        *out = value_int(object.range->start + at * object.range->step);
    } else if (object.kind == VALUE_STRING) {
        uint32_t c;
        struct str text = value_str(object);
        size_t from = jinja_point_offset(object, (size_t)at);
        size_t len = jinja_point(text, from, &c);
        if (!jinja_charge(j, value_points(object) == text.len ? 0 : from) ||
            !jinja_borrow(j, str_slice(text, from, from + len), out))
            return false;
        out->markup = object.markup;
    } else {
        *out = object.list->items[at];
    }
    return true;
}

bool jinja_get_item(struct jinja *j, struct value object, struct value key, struct value *out)
{
    bool found = false;
    if (object.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, object);
    if (object.kind == VALUE_DICT && value_hashable(key, 0)) {
        struct dict_entry *entry;
        if (!jinja_dict_find(j, object.dict, key, &entry))
            return false;
        found = entry != NULL;
        if (entry)
            *out = entry->value;
    } else if (value_is_integer(key)) {
        if (!item_at(j, object, value_to_int(key), out, &found))
            return false;
    }
    if (!found && key.kind == VALUE_STRING && !find_attr(j, object, value_str(key), out, &found))
        return false;
    return found || jinja_undefined_member(j, object, key, out);
}

static bool bound(struct jinja *j, struct value v, int64_t missing, int64_t *out)
{
    *out = missing;
    if (!value_given(v))
        return true;
    if (v.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, v);
    if (!value_is_integer(v))
        return jinja_fail(j, "slice indices must be integers or None, not '%s'",
                          value_type_name(v));
    *out = value_to_int(v);
    return true;
}

static int64_t clamp_bound(struct value v, int64_t at, int64_t n, const int64_t range[2])
{
    if (!value_given(v))
        return at;
    if (at < 0)
        at = at + n;
    return at < range[0] ? range[0] : at > range[1] ? range[1] : at;
}

/* As slice.indices(). */
bool jinja_slice_range(struct jinja *j, const struct value bounds[3], int64_t n, struct range *out)
{
    int64_t step, start, stop;
    if (!bound(j, bounds[2], 1, &step))
        return false;
    if (step == 0)
        return jinja_fail(j, "slice step cannot be zero");
    if (step < -INT64_MAX)
        step = -INT64_MAX;
    const int64_t range[2] = {step < 0 ? -1 : 0, step < 0 ? n - 1 : n};
    if (!bound(j, bounds[0], step < 0 ? n - 1 : 0, &start) ||
        !bound(j, bounds[1], step < 0 ? -1 : n, &stop))
        return false;
    start = clamp_bound(bounds[0], start, n, range);
    stop = clamp_bound(bounds[1], stop, n, range);
    int64_t span = step < 0 ? start - stop : stop - start;
    int64_t size = step < 0 ? -step : step;
    *out = (struct range){start, stop, step, span > 0 ? (span - 1) / size + 1 : 0};
    return true;
}

static bool slice_string(struct jinja *j, struct value v, struct range range, struct value *out)
{
    struct str text = value_str(v);
    uint32_t c;
    size_t n = value_points(v), mark = jinja_mark(j);
    if (range.step == 1 || range.count == 0) {
        size_t from = jinja_point_offset(v, (size_t)range.start);
        size_t to = jinja_point_offset(v, (size_t)(range.start + range.count));
        if (!jinja_charge(j, n == text.len ? 0 : to))
            return false;
        return jinja_borrow(j, range.count ? str_slice(text, from, to) : STR(""), out);
    }
    uint32_t *offsets = jinja_alloc(j, n + 1, sizeof *offsets);
    if (!offsets)
        return false;
    for (size_t i = 0, at = 0; at < text.len; i++) {
        offsets[i] = (uint32_t)at;
        at += jinja_point(text, at, &c);
    }
    for (int64_t i = 0; i < range.count; i++) {
        size_t from = offsets[range.start + i * range.step];
        if (!jinja_put(j, text.ptr + from, jinja_point(text, from, &c)))
            return false;
    }
    return jinja_take(j, mark, out);
}

bool jinja_slice(struct jinja *j, struct value object, const struct value bounds[3],
                 struct value *out)
{
    struct range range;
    int64_t n;
    if (object.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, object);
    bool is_list = object.kind == VALUE_LIST || object.kind == VALUE_TUPLE;
    if (object.kind != VALUE_STRING && object.kind != VALUE_RANGE && !is_list)
        return jinja_undefined_member(j, object, value_none(), out);
    if (!jinja_length(j, object, &n) || !jinja_slice_range(j, bounds, n, &range))
        return false;
    if (object.kind == VALUE_STRING) {
        bool ok = slice_string(j, object, range, out);
        out->markup = object.markup;
        return ok;
    }
    if (object.kind == VALUE_RANGE) {
        struct range *made = jinja_alloc(j, 1, sizeof *made);
        if (!made)
            return false;
        const struct range *old = object.range;
        *made = (struct range){old->start + range.start * old->step,
                               old->start + range.stop * old->step, old->step * range.step,
                               range.count};
        *out = (struct value){.kind = VALUE_RANGE, .range = made};
        return true;
    }
    struct list *list = jinja_list_new(j, (size_t)range.count);
    if (!list)
        return false;
    for (int64_t i = 0; i < range.count; i++)
        list->items[list->count++] = object.list->items[range.start + i * range.step];
    *out = (struct value){.kind = object.kind, .list = list};
    return true;
}
