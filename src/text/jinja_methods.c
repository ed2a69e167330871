#include "text/jinja_value.h"

#include <math.h>

/* Methods of lists, tuples, dicts and the few other objects that have some. */

static bool none(struct value *out)
{
    *out = value_none();
    return true;
}

static bool list_append(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return jinja_list_append(j, self.list, args->slots[0]) && none(out);
}

static bool list_extend(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct list *more;
    if (!jinja_to_list(j, args->slots[0], &more))
        return false;
    for (size_t i = 0; i < more->count; i++)
        if (!jinja_list_append(j, self.list, more->items[i]))
            return false;
    return none(out);
}

static bool list_insert(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct list *list = self.list;
    int64_t at, n = (int64_t)list->count;
    if (!jinja_arg_int(j, args->slots[0], "index", &at) ||
        !jinja_list_append(j, list, args->slots[1]))
        return false;
    at = at < 0 ? (at + n < 0 ? 0 : at + n) : at > n ? n : at;
    memmove(&list->items[at + 1], &list->items[at], (size_t)(n - at) * sizeof *list->items);
    list->items[at] = args->slots[1];
    return none(out) && jinja_charge(j, (size_t)(n - at));
}

static void remove_at(struct list *list, size_t at)
{
    list->count--;
    memmove(&list->items[at], &list->items[at + 1], (list->count - at) * sizeof *list->items);
}

static bool list_pop(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct list *list = self.list;
    int64_t at = -1, n = (int64_t)list->count;
    if (args->slots[0].kind != VALUE_ABSENT && !jinja_arg_int(j, args->slots[0], "index", &at))
        return false;
    if (n == 0)
        return jinja_fail(j, "pop from empty list");
    at = at < 0 ? at + n : at;
    if (at < 0 || at >= n)
        return jinja_fail(j, "pop index out of range");
    *out = list->items[at];
    remove_at(list, (size_t)at);
    return jinja_charge(j, (size_t)(n - at));
}

/* The place of an item, or the length of the list. */
static bool place_of(struct jinja *j, const struct list *list, struct value item, size_t *out)
{
    bool same = false;
    for (*out = 0; *out < list->count; ++*out) {
        if (!jinja_equal(j, list->items[*out], item, &same))
            return false;
        if (same)
            break;
    }
    return true;
}

static bool list_remove(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    size_t at;
    if (!place_of(j, self.list, args->slots[0], &at))
        return false;
    if (at == self.list->count)
        return jinja_fail(j, "list.remove(x): x not in list");
    remove_at(self.list, at);
    return none(out);
}

static bool list_clear(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    (void)j;
    (void)args;
    self.list->count = 0;
    return none(out);
}

static bool list_copy(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct list *list;
    (void)args;
    if (!jinja_to_list(j, self, &list))
        return false;
    *out = value_list(list);
    return true;
}

static bool list_reverse(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct list *list = self.list;
    (void)args;
    for (size_t i = 0; i < list->count / 2; i++) {
        struct value swap = list->items[i];
        list->items[i] = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = swap;
    }
    return none(out) && jinja_charge(j, list->count);
}

static bool list_sort(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct list *keys;
    struct args call;
    if (!jinja_to_list(j, self, &keys))
        return false;
    for (size_t i = 0; value_given(args->slots[0]) && i < keys->count; i++) {
        call = (struct args){.items = &self.list->items[i], .count = 1};
        if (!jinja_call(j, args->slots[0], &call, &keys->items[i]))
            return false;
    }
    return jinja_sort(j, self.list->items, keys->items, keys->count, value_truth(args->slots[1])) &&
           none(out);
}

static bool sequence_count(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct cursor cursor;
    struct value item;
    int64_t n = 0;
    bool more = true, same;
    if (!jinja_cursor(j, self, &cursor))
        return false;
    while (more) {
        if (!jinja_next(j, &cursor, &item, &more) ||
            (more && !jinja_equal(j, item, args->slots[0], &same)))
            return false;
        n += more && same;
    }
    *out = value_int(n);
    return true;
}

static bool sequence_index(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct value slice[3] = {args->slots[1], args->slots[2], value_none()};
    struct list *list;
    struct range range;
    bool same = false;
    if (!jinja_to_list(j, self, &list) ||
        !jinja_slice_range(j, slice, (int64_t)list->count, &range))
        return false;
    for (int64_t i = 0; i < range.count; i++) {
        if (!jinja_equal(j, list->items[range.start + i], args->slots[0], &same))
            return false;
        if (same) {
            *out = value_int(range.start + i);
            return true;
        }
    }
    return jinja_fail(j, "the value is not in the %s", value_type_name(self));
}

const struct jinja_row jinja_list_methods[] = {
    {"append", list_append, "object", 1},
    {"clear", list_clear, "", 0},
    {"copy", list_copy, "", 0},
    {"extend", list_extend, "iterable", 1},
    {"insert", list_insert, "index object", 2},
    {"pop", list_pop, "index", 0},
    {"remove", list_remove, "value", 1},
    {"reverse", list_reverse, "", 0},
    {"sort", list_sort, "key reverse", 0},
    {0},
};

const struct jinja_row jinja_tuple_methods[] = {
    {"count", sequence_count, "value", 1},
    {"index", sequence_index, "value start stop", 1},
    {0},
};

static bool view(struct jinja *j, struct value self, enum view_kind kind, struct value *out)
{
    struct view *made = jinja_alloc(j, 1, sizeof *made);
    if (!made)
        return false;
    *made = (struct view){kind, self.dict};
    *out = (struct value){.kind = VALUE_VIEW, .view = made};
    return true;
}

static bool dict_keys(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    (void)args;
    return view(j, self, VIEW_KEYS, out);
}

static bool dict_values(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    (void)args;
    return view(j, self, VIEW_VALUES, out);
}

static bool dict_items(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    (void)args;
    return view(j, self, VIEW_ITEMS, out);
}

static bool dict_get(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct dict_entry *entry;
    if (!jinja_dict_find(j, self.dict, args->slots[0], &entry))
        return false;
    *out = entry                                 ? entry->value
           : args->slots[1].kind != VALUE_ABSENT ? args->slots[1]
                                                 : value_none();
    return true;
}

static bool dict_pop(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct dict_entry *entry;
    if (!jinja_dict_find(j, self.dict, args->slots[0], &entry))
        return false;
    *out = entry ? entry->value : args->slots[1];
    if (entry)
        return jinja_dict_remove(j, self.dict, entry);
    return out->kind != VALUE_ABSENT || jinja_fail(j, "pop(): the key is not in the dict");
}

static bool dict_popitem(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct dict *dict = self.dict;
    (void)args;
    if (dict->count == 0)
        return jinja_fail(j, "popitem(): dictionary is empty");
    struct dict_entry *last = &dict->entries[dict->count - 1];
    return jinja_pair(j, last->key, last->value, out) && jinja_dict_remove(j, dict, last);
}

static bool dict_setdefault(struct jinja *j, struct value self, struct args *args,
                            struct value *out)
{
    struct dict_entry *entry;
    if (!jinja_dict_find(j, self.dict, args->slots[0], &entry))
        return false;
    *out = entry                                 ? entry->value
           : args->slots[1].kind != VALUE_ABSENT ? args->slots[1]
                                                 : value_none();
    return entry || jinja_dict_set(j, self.dict, args->slots[0], *out);
}

static bool dict_update(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return jinja_dict_fill(j, self.dict, args) && none(out);
}

static bool dict_clear(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    (void)j;
    (void)args;
    *self.dict = (struct dict){0};
    return none(out);
}

static bool dict_copy(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct dict *copy = jinja_dict_new(j);
    (void)args;
    for (size_t i = 0; copy && i < self.dict->count; i++)
        if (!jinja_dict_set(j, copy, self.dict->entries[i].key, self.dict->entries[i].value))
            return false;
    *out = value_dict(copy);
    return copy != NULL;
}

const struct jinja_row jinja_dict_methods[] = {
    {"clear", dict_clear, "", 0},
    {"copy", dict_copy, "", 0},
    {"fromkeys", NULL, "*", 0},
    {"get", dict_get, "key default", 1},
    {"items", dict_items, "", 0},
    {"keys", dict_keys, "", 0},
    {"pop", dict_pop, "key default", 1},
    {"popitem", dict_popitem, "", 0},
    {"setdefault", dict_setdefault, "key default", 1},
    {"update", dict_update, "*", 0},
    {"values", dict_values, "", 0},
    {0},
};

static bool float_is_integer(struct jinja *j, struct value self, struct args *args,
                             struct value *out)
{
    (void)j;
    (void)args;
    *out = value_bool(isfinite(self.real) && floor(self.real) == self.real);
    return true;
}

static bool cycler_next(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct cycler *cycler = self.cycler;
    (void)j;
    (void)args;
    *out = cycler->list->items[cycler->at];
    cycler->at = (cycler->at + 1) % cycler->list->count;
    return true;
}

static bool cycler_reset(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    (void)j;
    (void)args;
    self.cycler->at = 0;
    return none(out);
}

const struct jinja_row jinja_object_methods[] = {
    {"is_integer", float_is_integer, "", 0},
    {"next", cycler_next, "", 0},
    {"reset", cycler_reset, "", 0},
    {0},
};
