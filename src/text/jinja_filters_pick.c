#include "text/jinja_value.h"

/* Filters that apply other filters and tests: map, select and their kin; default, attr, groupby. */

static bool filter_default(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    *out = self;
    if (self.kind != VALUE_UNDEFINED && !(value_truth(args->slots[1]) && !value_truth(self)))
        return true;
    *out = args->slots[0];
    return out->kind != VALUE_ABSENT || jinja_borrow(j, STR(""), out);
}

/* Attributes only: what a dict holds is not one. */
static bool filter_attr(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct str name;
    if (!jinja_arg_str(j, args->slots[0], "name", &name))
        return false;
    if (self.kind == VALUE_DICT && !jinja_method_find(self, name))
        return jinja_undefined_member(j, self, args->slots[0], out);
    return jinja_get_attr(j, self, args->slots[0], out);
}

/* A row by a name given at run time. */
static bool named_row(struct jinja *j, struct value name, bool filter, const struct jinja_row **row)
{
    const char *what = filter ? "filter" : "test";
    struct str text;
    if (!jinja_arg_str(j, name, what, &text))
        return false;
    *row = filter ? jinja_filter_find(text) : jinja_test_find(text);
    return *row || jinja_fail_status(j, HTH_ERROR_UNSUPPORTED, "hearth has no %s named '%.*s'",
                                     what, (int)(text.len < 100 ? text.len : 100), text.ptr);
}

/* The arguments from `skip` on. */
static struct args rest_of(const struct args *given, size_t skip)
{
    return (struct args){.items = given->items + skip,
                         .count = given->count - skip,
                         .keywords = given->keywords,
                         .n_keywords = given->n_keywords};
}

static bool apply(struct jinja *j, const struct jinja_row *row, struct args args, struct value item,
                  struct value *out)
{
    bool ok = jinja_enter(j) && jinja_call_row(j, row, item, &args, out);
    jinja_leave(j);
    return ok;
}

static bool map_attribute(struct jinja *j, struct value self, struct args *args, struct list *list)
{
    struct value attribute = value_of_kind(VALUE_ABSENT), missing = attribute, item;
    struct cursor cursor;
    bool more;
    for (size_t i = 0; i < args->n_keywords; i++) {
        struct str name = {args->keywords[i].name->ptr, args->keywords[i].name->len};
        if (str_equal(name, STR("attribute")))
            attribute = args->keywords[i].value;
        else if (str_equal(name, STR("default")))
            missing = args->keywords[i].value;
        else
            return jinja_fail(j, "unexpected keyword argument '%.*s'",
                              (int)(name.len < 100 ? name.len : 100), name.ptr);
    }
    if (attribute.kind == VALUE_ABSENT)
        return jinja_fail(j, "map requires a filter argument");
    if (!jinja_cursor(j, self, &cursor))
        return false;
    for (;;) {
        if (!jinja_next(j, &cursor, &item, &more))
            return false;
        if (!more)
            return true;
        if (!jinja_path(j, item, attribute, missing, &item) || !jinja_list_append(j, list, item))
            return false;
    }
}

static bool map_filter(struct jinja *j, struct value self, struct args *args, struct list *list)
{
    const struct jinja_row *row;
    struct cursor cursor;
    struct value item;
    bool more;
    if (!named_row(j, args->items[0], true, &row) || !jinja_cursor(j, self, &cursor))
        return false;
    for (;;) {
        if (!jinja_next(j, &cursor, &item, &more))
            return false;
        if (!more)
            return true;
        if (!apply(j, row, rest_of(args, 1), item, &item) || !jinja_list_append(j, list, item))
            return false;
    }
}

static bool filter_map(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct list *list = jinja_list_new(j, 0);
    if (!list)
        return false;
    bool ok = !value_truth(self) ? true
              : args->count == 0 ? map_attribute(j, self, args, list)
                                 : map_filter(j, self, args, list);
    return ok && jinja_iter(j, list, "generator", out);
}

struct choice {
    bool by_attribute, reject;
};

static bool choose(struct jinja *j, struct value self, struct args *args, struct choice choice,
                   struct value *out)
{
    struct list *list = jinja_list_new(j, 0);
    const struct jinja_row *row = NULL;
    struct cursor cursor;
    struct value item, key, verdict, none = value_of_kind(VALUE_ABSENT);
    size_t at = choice.by_attribute;
    bool more;
    if (!list)
        return false;
    if (!value_truth(self))
        return jinja_iter(j, list, "generator", out);
    if (args->count < at)
        return jinja_fail(j, "the name of an attribute is missing");
    if ((args->count > at && !named_row(j, args->items[at], false, &row)) ||
        !jinja_cursor(j, self, &cursor))
        return false;
    for (;;) {
        if (!jinja_next(j, &cursor, &item, &more))
            return false;
        if (!more)
            return jinja_iter(j, list, "generator", out);
        key = item;
        if (choice.by_attribute && !jinja_path(j, item, args->items[0], none, &key))
            return false;
        verdict = key;
        if (row && !apply(j, row, rest_of(args, at + 1), key, &verdict))
            return false;
        if (value_truth(verdict) != choice.reject && !jinja_list_append(j, list, item))
            return false;
    }
}

static bool filter_select(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return choose(j, self, args, (struct choice){false, false}, out);
}

static bool filter_reject(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return choose(j, self, args, (struct choice){false, true}, out);
}

static bool filter_selectattr(struct jinja *j, struct value self, struct args *args,
                              struct value *out)
{
    return choose(j, self, args, (struct choice){true, false}, out);
}

static bool filter_rejectattr(struct jinja *j, struct value self, struct args *args,
                              struct value *out)
{
    return choose(j, self, args, (struct choice){true, true}, out);
}

static bool filter_groupby(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct list *items, *groups = jinja_list_new(j, 0), *members = NULL;
    struct value missing = args->slots[1], name, group;
    bool case_sensitive = value_truth(args->slots[2]);
    if (!groups || !jinja_to_list(j, self, &items))
        return false;
    struct value *keys = jinja_alloc(j, items->count + 1, sizeof *keys);
    if (!keys)
        return false;
    for (size_t i = 0; i < items->count; i++)
        if (!jinja_path(j, items->items[i], args->slots[0], missing, &keys[i]) ||
            !jinja_ignore_case(j, keys[i], case_sensitive, &keys[i]))
            return false;
    if (!jinja_sort(j, items->items, keys, items->count, false))
        return false;
    for (size_t i = 0; i < items->count; i++) {
        bool same = false;
        if (i > 0 && !jinja_equal(j, keys[i - 1], keys[i], &same))
            return false;
        if (!same) {
            members = jinja_list_new(j, 0);
            if (!members || !jinja_path(j, items->items[i], args->slots[0], missing, &name) ||
                !jinja_pair(j, name, value_list(members), &group))
                return false;
            group.markup = true;
            if (!jinja_list_append(j, groups, group))
                return false;
        }
        if (!jinja_list_append(j, members, items->items[i]))
            return false;
    }
    *out = value_list(groups);
    return true;
}

const struct jinja_row jinja_pick_filters[] = {
    {"attr", filter_attr, "name", 1},
    {"d", filter_default, "default_value boolean", 0},
    {"default", filter_default, "default_value boolean", 0},
    {"groupby", filter_groupby, "attribute default case_sensitive", 1},
    {"map", filter_map, "*", 0},
    {"reject", filter_reject, "*", 0},
    {"rejectattr", filter_rejectattr, "*", 0},
    {"select", filter_select, "*", 0},
    {"selectattr", filter_selectattr, "*", 0},
    {0},
};
