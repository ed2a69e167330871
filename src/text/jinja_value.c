#include "text/jinja_value.h"

/* Making values and asking simple things of them; iteration. */

static bool new_text(struct jinja *j, const char *ptr, size_t len, struct value *out)
{
    struct text *text = jinja_alloc(j, 1, sizeof *text);
    if (!text)
        return false;
    *text = (struct text){ptr, len, SIZE_MAX};
    *out = (struct value){.kind = VALUE_STRING, .text = text};
    return true;
}

bool jinja_string(struct jinja *j, struct str text, struct value *out)
{
    char *copy = jinja_alloc(j, text.len + 1, 1);
    if (!copy)
        return false;
    if (text.len)
        memcpy(copy, text.ptr, text.len);
    return new_text(j, copy, text.len, out);
}

bool jinja_borrow(struct jinja *j, struct str text, struct value *out)
{
    return new_text(j, text.ptr ? text.ptr : "", text.len, out);
}

static struct undefined *new_undefined(struct jinja *j, struct value *out)
{
    struct undefined *undefined = jinja_alloc(j, 1, sizeof *undefined);
    *out = (struct value){.kind = VALUE_UNDEFINED, .undefined = undefined};
    return undefined;
}

bool jinja_undefined(struct jinja *j, const char *hint, struct value *out)
{
    struct undefined *undefined = new_undefined(j, out);
    if (!undefined)
        return false;
    undefined->hint = hint;
    return true;
}

bool jinja_undefined_name(struct jinja *j, struct str name, struct value *out)
{
    struct undefined *undefined = new_undefined(j, out);
    return undefined && jinja_borrow(j, name, &undefined->name);
}

bool jinja_undefined_member(struct jinja *j, struct value object, struct value name,
                            struct value *out)
{
    struct undefined *undefined = new_undefined(j, out);
    if (!undefined)
        return false;
    undefined->has_object = true;
    undefined->object = object;
    undefined->name = name;
    return true;
}

bool jinja_iter(struct jinja *j, struct list *list, const char *type_name, struct value *out)
{
    struct iter *iter = jinja_alloc(j, 1, sizeof *iter);
    if (!iter)
        return false;
    *iter = (struct iter){list, 0, type_name};
    *out = (struct value){.kind = VALUE_ITER, .iter = iter};
    return true;
}

struct list *jinja_list_new(struct jinja *j, size_t capacity)
{
    struct list *list = jinja_alloc(j, 1, sizeof *list);
    if (!list || capacity == 0)
        return list;
    list->items = jinja_alloc(j, capacity, sizeof *list->items);
    list->capacity = capacity;
    return list->items ? list : NULL;
}

bool jinja_list_append(struct jinja *j, struct list *list, struct value v)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 4;
        struct value *items = jinja_alloc(j, capacity, sizeof *items);
        if (!items)
            return false;
        if (list->count)
            memcpy(items, list->items, list->count * sizeof *items);
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->count++] = v;
    return true;
}

bool jinja_pair(struct jinja *j, struct value a, struct value b, struct value *out)
{
    struct list *list = jinja_list_new(j, 2);
    if (!list)
        return false;
    *out = value_tuple(list);
    return jinja_list_append(j, list, a) && jinja_list_append(j, list, b);
}

const char *value_type_name(struct value v)
{
    static const char *const views[] = {"dict_keys", "dict_values", "dict_items"};
    switch ((enum value_kind)v.kind) {
    case VALUE_ABSENT:
    case VALUE_UNDEFINED: return "Undefined";
    case VALUE_NONE: return "NoneType";
    case VALUE_BOOL: return "bool";
    case VALUE_INT: return "int";
    case VALUE_FLOAT: return "float";
    case VALUE_STRING: return v.markup ? "Markup" : "str";
    case VALUE_LIST: return "list";
    case VALUE_TUPLE: return "tuple";
    case VALUE_DICT: return "dict";
    case VALUE_RANGE: return "range";
    case VALUE_ITER: return v.iter->type_name;
    case VALUE_VIEW: return views[v.view->kind];
    case VALUE_NAMESPACE: return "Namespace";
    case VALUE_MACRO: return "Macro";
    case VALUE_FUNCTION: return "function";
    case VALUE_METHOD: return "builtin_function_or_method";
    case VALUE_LOOP: return "LoopContext";
    case VALUE_CYCLER: return "Cycler";
    case VALUE_JOINER: return "Joiner";
    }
    return "object";
}

bool value_truth(struct value v)
{
    switch ((enum value_kind)v.kind) {
    case VALUE_ABSENT:
    case VALUE_UNDEFINED:
    case VALUE_NONE: return false;
    case VALUE_BOOL: return v.boolean;
    case VALUE_INT: return v.integer != 0;
    case VALUE_FLOAT: return v.real != 0;
    case VALUE_STRING: return v.text->len > 0;
    case VALUE_LIST:
    case VALUE_TUPLE: return v.list->count > 0;
    case VALUE_DICT: return v.dict->count > 0;
    case VALUE_RANGE: return v.range->count > 0;
    case VALUE_VIEW: return v.view->dict->count > 0;
    default: return true;
    }
}

size_t value_points(struct value v)
{
    if (v.text->points == SIZE_MAX) {
        size_t n = 0;
        for (size_t i = 0; i < v.text->len; i++)
            n += ((unsigned char)v.text->ptr[i] & 0xc0) != 0x80;
        v.text->points = n;
    }
    return v.text->points;
}

bool value_has_length(struct value v)
{
    switch ((enum value_kind)v.kind) {
    case VALUE_UNDEFINED:
    case VALUE_STRING:
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_DICT:
    case VALUE_RANGE:
    case VALUE_VIEW: return true;
    default: return false;
    }
}

bool jinja_length(struct jinja *j, struct value v, int64_t *out)
{
    switch ((enum value_kind)v.kind) {
    case VALUE_UNDEFINED: *out = 0; return true;
    case VALUE_STRING: *out = (int64_t)value_points(v); return true;
    case VALUE_LIST:
    case VALUE_TUPLE: *out = (int64_t)v.list->count; return true;
    case VALUE_DICT: *out = (int64_t)v.dict->count; return true;
    case VALUE_RANGE: *out = v.range->count; return true;
    case VALUE_VIEW: *out = (int64_t)v.view->dict->count; return true;
    default: return jinja_fail(j, "object of type '%s' has no len()", value_type_name(v));
    }
}

bool value_is_iterable(struct value v)
{
    return value_has_length(v) || v.kind == VALUE_ITER;
}

bool jinja_cursor(struct jinja *j, struct value v, struct cursor *cursor)
{
    *cursor = (struct cursor){.v = v};
    if (v.kind == VALUE_DICT)
        cursor->size_at_start = v.dict->count;
    else if (v.kind == VALUE_VIEW)
        cursor->size_at_start = v.view->dict->count;
    return value_is_iterable(v) || jinja_fail(j, "'%s' object is not iterable", value_type_name(v));
}

static bool next_of_dict(struct jinja *j, struct cursor *c, struct value *out, bool *more)
{
    bool view = c->v.kind == VALUE_VIEW;
    const struct dict *dict = view ? c->v.view->dict : c->v.dict;
    enum view_kind kind = view ? c->v.view->kind : VIEW_KEYS;
    if (dict->count != c->size_at_start)
        return jinja_fail(j, "dictionary changed size during iteration");
    *more = c->at < dict->count;
    if (!*more)
        return true;
    const struct dict_entry *entry = &dict->entries[c->at++];
    if (kind == VIEW_ITEMS)
        return jinja_pair(j, entry->key, entry->value, out);
    *out = kind == VIEW_KEYS ? entry->key : entry->value;
    return true;
}

static bool next_of_string(struct jinja *j, struct cursor *c, struct value *out, bool *more)
{
    struct str text = value_str(c->v);
    uint32_t point;
    *more = c->at < text.len;
    if (!*more)
        return true;
    size_t len = jinja_point(text, c->at, &point);
    c->at += len;
    return jinja_borrow(j, (struct str){text.ptr + c->at - len, len}, out);
}

bool jinja_next(struct jinja *j, struct cursor *c, struct value *out, bool *more)
{
    *more = false;
    if (!jinja_step(j))
        return false;
    struct value v = c->v;
    switch ((enum value_kind)v.kind) {
    case VALUE_LIST:
    case VALUE_TUPLE:
        *more = c->at < v.list->count;
        if (*more)
            *out = v.list->items[c->at++];
        return true;
    case VALUE_ITER:
        *more = v.iter->at < v.iter->list->count;
        if (*more)
            *out = v.iter->list->items[v.iter->at++];
        return true;
    case VALUE_RANGE:
        *more = c->at < (size_t)v.range->count;
        if (*more)
            *out = value_int(v.range->start + (int64_t)c->at++ * v.range->step);
        return true;
    case VALUE_STRING: return next_of_string(j, c, out, more);
    case VALUE_DICT:
    case VALUE_VIEW: return next_of_dict(j, c, out, more);
    default: return true;
    }
}

bool jinja_to_list(struct jinja *j, struct value v, struct list **out)
{
    struct cursor cursor;
    struct value item;
    bool more;
    int64_t n = 0;
    if (value_has_length(v) && !jinja_length(j, v, &n))
        return false;
    *out = jinja_list_new(j, (size_t)n);
    if (!*out || !jinja_cursor(j, v, &cursor))
        return false;
    for (;;) {
        if (!jinja_next(j, &cursor, &item, &more))
            return false;
        if (!more)
            return true;
        if (!jinja_list_append(j, *out, item))
            return false;
    }
}

bool jinja_arg_int(struct jinja *j, struct value v, const char *name, int64_t *out)
{
    if (v.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, v);
    if (!value_is_integer(v))
        return jinja_fail(j, "'%s' must be an integer, not '%s'", name, value_type_name(v));
    *out = value_to_int(v);
    return true;
}

bool jinja_arg_str(struct jinja *j, struct value v, const char *name, struct str *out)
{
    if (v.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, v);
    if (v.kind != VALUE_STRING)
        return jinja_fail(j, "'%s' must be a string, not '%s'", name, value_type_name(v));
    *out = value_str(v);
    return true;
}
