#include "text/jinja_value.h"

/* Filters over sequences. */

static bool no_more(struct jinja *j, const char *hint, struct value *out)
{
    return jinja_undefined(j, hint, out);
}

static bool filter_length(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    int64_t n;
    (void)args;
    if (!jinja_length(j, self, &n))
        return false;
    *out = value_int(n);
    return true;
}

static bool filter_first(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct cursor cursor;
    bool more;
    (void)args;
    if (!jinja_cursor(j, self, &cursor) || !jinja_next(j, &cursor, out, &more))
        return false;
    return more || no_more(j, "No first item, sequence was empty.", out);
}

static bool filter_last(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct list *list;
    (void)args;
    if (!value_has_length(self))
        return jinja_fail(j, "'%s' object is not reversible", value_type_name(self));
    if (self.kind == VALUE_LIST || self.kind == VALUE_TUPLE)
        list = self.list;
    else if (!jinja_to_list(j, self, &list))
        return false;
    if (list->count == 0)
        return no_more(j, "No last item, sequence was empty.", out);
    *out = list->items[list->count - 1];
    return true;
}

static bool filter_random(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct list *list;
    (void)args;
    if (!jinja_to_list(j, self, &list))
        return false;
    if (list->count == 0)
        return no_more(j, "No random item, sequence was empty.", out);
    *out = list->items[rng_below(&j->rng, (uint32_t)list->count)];
    return true;
}

static bool filter_list(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct list *list;
    (void)args;
    if (!jinja_to_list(j, self, &list))
        return false;
    *out = value_list(list);
    return true;
}

static bool filter_reverse(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    static const struct value backwards[3] = {
        {.kind = VALUE_ABSENT}, {.kind = VALUE_ABSENT}, {.kind = VALUE_INT, .integer = -1}};
    struct list *list;
    (void)args;
    if (self.kind == VALUE_STRING)
        return jinja_slice(j, self, backwards, out);
    if (!jinja_to_list(j, self, &list))
        return false;
    for (size_t i = 0; i < list->count / 2; i++) {
        struct value swap = list->items[i];
        list->items[i] = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = swap;
    }
    if (self.kind == VALUE_ITER) {
        *out = value_list(list);
        return true;
    }
    return jinja_iter(j, list, "reversed", out);
}

bool jinja_ignore_case(struct jinja *j, struct value v, bool case_sensitive, struct value *out)
{
    *out = v;
    if (case_sensitive || v.kind != VALUE_STRING)
        return true;
    size_t mark = jinja_mark(j);
    return jinja_put_cased_all(j, value_str(v), CASE_LOWER) && jinja_take(j, mark, out);
}

static bool path_part(struct jinja *j, struct str part, struct value *out)
{
    bool digits = part.len > 0;
    for (size_t i = 0; i < part.len; i++)
        digits = digits && part.ptr[i] >= '0' && part.ptr[i] <= '9';
    int64_t number;
    if (digits && jinja_parse_int(part, 10, &number) == PARSED_INT) {
        *out = value_int(number);
        return true;
    }
    return jinja_borrow(j, part, out);
}

bool jinja_path(struct jinja *j, struct value item, struct value attribute, struct value missing,
                struct value *out)
{
    *out = item;
    if (!value_given(attribute))
        return true;
    if (attribute.kind != VALUE_STRING)
        return jinja_get_item(j, item, attribute, out);
    struct str path = value_str(attribute);
    for (size_t at = 0; at <= path.len;) {
        const char *dot = at < path.len ? memchr(path.ptr + at, '.', path.len - at) : NULL;
        size_t end = dot ? (size_t)(dot - path.ptr) : path.len;
        struct value part;
        if (!path_part(j, str_slice(path, at, end), &part) || !jinja_get_item(j, *out, part, out))
            return false;
        if (out->kind == VALUE_UNDEFINED && value_given(missing))
            *out = missing;
        at = end + 1;
    }
    return true;
}

/* The values of all attributes in "a,b" as one list; without attributes, a list of the item. That
 * it is a list shows: equal items need no order among them. */
static bool sort_key(struct jinja *j, struct value item, struct value attribute,
                     bool case_sensitive, struct value *out)
{
    struct value v, part = attribute, none = value_of_kind(VALUE_ABSENT);
    bool named = attribute.kind == VALUE_STRING;
    struct str names = named ? value_str(attribute) : STR("");
    struct list *list = jinja_list_new(j, 1);
    if (!list)
        return false;
    for (size_t at = 0; at <= names.len;) {
        const char *comma = at < names.len ? memchr(names.ptr + at, ',', names.len - at) : NULL;
        size_t end = comma ? (size_t)(comma - names.ptr) : names.len;
        if ((named && !jinja_borrow(j, str_slice(names, at, end), &part)) ||
            !jinja_path(j, item, part, none, &v) || !jinja_ignore_case(j, v, case_sensitive, &v) ||
            !jinja_list_append(j, list, v))
            return false;
        at = end + 1;
    }
    *out = value_list(list);
    return true;
}

static bool sort_list(struct jinja *j, struct list *list, const struct value options[3],
                      struct value *out)
{
    struct value *keys = jinja_alloc(j, list->count + 1, sizeof *keys);
    if (!keys)
        return false;
    for (size_t i = 0; i < list->count; i++)
        if (!sort_key(j, list->items[i], options[2], value_truth(options[1]), &keys[i]))
            return false;
    *out = value_list(list);
    return jinja_sort(j, list->items, keys, list->count, value_truth(options[0]));
}

static bool filter_sort(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct list *list;
    return jinja_to_list(j, self, &list) && sort_list(j, list, args->slots, out);
}

static bool filter_dictsort(struct jinja *j, struct value self, struct args *args,
                            struct value *out)
{
    bool by_value = false;
    struct list *list;
    struct value pair;
    if (self.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, self);
    if (self.kind != VALUE_DICT)
        return jinja_fail(j, "'%s' object has no attribute 'items'", value_type_name(self));
    if (args->slots[1].kind != VALUE_ABSENT) {
        struct str by;
        if (!jinja_arg_str(j, args->slots[1], "by", &by))
            return false;
        by_value = str_equal(by, STR("value"));
        if (!by_value && !str_equal(by, STR("key")))
            return jinja_fail(j, "you can only sort by either \"key\" or \"value\"");
    }
    list = jinja_list_new(j, self.dict->count);
    for (size_t i = 0; list && i < self.dict->count; i++)
        if (!jinja_pair(j, self.dict->entries[i].key, self.dict->entries[i].value, &pair) ||
            !jinja_list_append(j, list, pair))
            return false;
    struct value options[3] = {args->slots[2], args->slots[0], value_int(by_value)};
    return list && sort_list(j, list, options, out);
}

static bool filter_unique(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct cursor cursor;
    struct value item, key, none = value_of_kind(VALUE_ABSENT);
    struct list *list = jinja_list_new(j, 0);
    struct dict *seen = jinja_dict_new(j);
    bool more;
    if (!list || !seen || !jinja_cursor(j, self, &cursor))
        return false;
    for (;;) {
        struct dict_entry *entry;
        if (!jinja_next(j, &cursor, &item, &more))
            return false;
        if (!more)
            return jinja_iter(j, list, "generator", out);
        if (!jinja_path(j, item, args->slots[1], none, &key) ||
            !jinja_ignore_case(j, key, value_truth(args->slots[0]), &key) ||
            !jinja_dict_find(j, seen, key, &entry))
            return false;
        if (!entry && (!jinja_dict_set(j, seen, key, none) || !jinja_list_append(j, list, item)))
            return false;
    }
}

static bool extreme(struct jinja *j, struct value self, struct args *args, enum order wanted,
                    struct value *out)
{
    struct cursor cursor;
    struct value item, key, best = value_none(), none = value_of_kind(VALUE_ABSENT);
    bool more, any = false;
    if (!jinja_cursor(j, self, &cursor))
        return false;
    for (;;) {
        enum order order = wanted;
        if (!jinja_next(j, &cursor, &item, &more))
            return false;
        if (!more)
            return any || no_more(j, "No aggregated item, sequence was empty.", out);
        if (!jinja_path(j, item, args->slots[1], none, &key) ||
            !jinja_ignore_case(j, key, value_truth(args->slots[0]), &key) ||
            (any && !jinja_order(j, wanted == ORDER_LESS ? "<" : ">", key, best, &order)))
            return false;
        if (order == wanted) {
            *out = item;
            best = key;
        }
        any = true;
    }
}

static bool filter_min(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return extreme(j, self, args, ORDER_LESS, out);
}

static bool filter_max(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return extreme(j, self, args, ORDER_GREATER, out);
}

static bool filter_sum(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct cursor cursor;
    struct value item, none = value_of_kind(VALUE_ABSENT);
    struct value sum = args->slots[1].kind == VALUE_ABSENT ? value_int(0) : args->slots[1];
    bool more;
    if (sum.kind == VALUE_STRING)
        return jinja_fail(j, "sum() can't sum strings [use ''.join(seq) instead]");
    if (!jinja_cursor(j, self, &cursor))
        return false;
    for (;;) {
        if (!jinja_next(j, &cursor, &item, &more))
            return false;
        if (!more)
            break;
        if (!jinja_path(j, item, args->slots[0], none, &item) ||
            !jinja_binary(j, OP_ADD, sum, item, &sum))
            return false;
    }
    *out = sum;
    return true;
}

static bool filter_join(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct cursor cursor;
    struct value item, glue, none = value_of_kind(VALUE_ABSENT);
    size_t mark;
    bool more, first = true;
    if (args->slots[0].kind == VALUE_ABSENT ? !jinja_borrow(j, STR(""), &glue)
                                            : !jinja_to_text(j, args->slots[0], &glue))
        return false;
    if (!jinja_cursor(j, self, &cursor))
        return false;
    for (mark = jinja_mark(j);; first = false) {
        if (!jinja_next(j, &cursor, &item, &more))
            return false;
        if (!more)
            return jinja_take(j, mark, out);
        if ((!first && !jinja_put_text(j, glue)) ||
            !jinja_path(j, item, args->slots[1], none, &item) || !jinja_put_text(j, item))
            return false;
    }
}

static bool filter_batch(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct list *items, *row = NULL, *rows = jinja_list_new(j, 0);
    int64_t size = -1; /* what is no integer no row is as long as */
    bool fill = value_given(args->slots[1]);
    if (!rows || !jinja_to_list(j, self, &items))
        return false;
    if ((value_is_integer(args->slots[0]) || (fill && items->count > 0)) &&
        !jinja_arg_int(j, args->slots[0], "linecount", &size))
        return false;
    row = jinja_list_new(j, 0);
    for (size_t i = 0; row && i < items->count; i++) {
        if ((int64_t)row->count == size) {
            if (!jinja_list_append(j, rows, value_list(row)) || !(row = jinja_list_new(j, 0)))
                return false;
        }
        if (!jinja_list_append(j, row, items->items[i]))
            return false;
    }
    if (!row)
        return false;
    while (row->count > 0 && fill && (int64_t)row->count < size)
        if (!jinja_list_append(j, row, args->slots[1]))
            return false;
    if (row->count > 0 && !jinja_list_append(j, rows, value_list(row)))
        return false;
    return jinja_iter(j, rows, "generator", out);
}

static bool filter_slice(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct list *items, *rows = jinja_list_new(j, 0);
    int64_t slices;
    if (!rows || !jinja_arg_int(j, args->slots[0], "slices", &slices) ||
        !jinja_to_list(j, self, &items))
        return false;
    if (slices == 0)
        return jinja_fail(j, "integer division or modulo by zero");
    int64_t n = (int64_t)items->count, each = n / slices, extra = n % slices, at = 0;
    for (int64_t i = 0; i < slices; i++) {
        struct list *row = jinja_list_new(j, 0);
        int64_t take = each + (i < extra);
        if (!row || !jinja_list_append(j, rows, value_list(row)))
            return false;
        for (; take > 0; take--)
            if (!jinja_list_append(j, row, items->items[at++]))
                return false;
        if (value_given(args->slots[1]) && i >= extra && !jinja_list_append(j, row, args->slots[1]))
            return false;
    }
    return jinja_iter(j, rows, "generator", out);
}

static bool filter_items(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct list *list;
    struct view view = {VIEW_ITEMS, self.dict};
    (void)args;
    if (self.kind == VALUE_UNDEFINED) {
        list = jinja_list_new(j, 0);
    } else if (self.kind != VALUE_DICT) {
        return jinja_fail(j, "Can only get item pairs from a mapping.");
    } else if (!jinja_to_list(j, (struct value){.kind = VALUE_VIEW, .view = &view}, &list)) {
        return false;
    }
    return list && jinja_iter(j, list, "generator", out);
}

const struct jinja_row jinja_list_filters[] = {
    {"batch", filter_batch, "linecount fill_with", 1},
    {"count", filter_length, "", 0},
    {"dictsort", filter_dictsort, "case_sensitive by reverse", 0},
    {"first", filter_first, "", 0},
    {"items", filter_items, "", 0},
    {"join", filter_join, "d attribute", 0},
    {"last", filter_last, "", 0},
    {"length", filter_length, "", 0},
    {"list", filter_list, "", 0},
    {"max", filter_max, "case_sensitive attribute", 0},
    {"min", filter_min, "case_sensitive attribute", 0},
    {"random", filter_random, "", 0},
    {"reverse", filter_reverse, "", 0},
    {"slice", filter_slice, "slices fill_with", 1},
    {"sort", filter_sort, "reverse case_sensitive attribute", 0},
    {"sum", filter_sum, "attribute start", 0},
    {"unique", filter_unique, "case_sensitive attribute", 0},
    {0},
};
