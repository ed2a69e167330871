#include "text/jinja_value.h"

#include <math.h>

/* Equality, order, membership and sorting, as Python's. */

static enum order order_of(double a, double b)
{
    return a < b ? ORDER_LESS : a > b ? ORDER_GREATER : a == b ? ORDER_EQUAL : ORDER_NONE;
}

/* Exact, although not every integer is a double. */
static enum order order_int_float(int64_t i, double d)
{
    if (isnan(d))
        return ORDER_NONE;
    if (d >= 0x1p63)
        return ORDER_LESS;
    if (d < -0x1p63)
        return ORDER_GREATER;
    double whole = trunc(d);
    if (i != (int64_t)whole)
        return i < (int64_t)whole ? ORDER_LESS : ORDER_GREATER;
    return order_of(whole, d);
}

static enum order order_numbers(struct value a, struct value b)
{
    if (a.kind == VALUE_FLOAT && b.kind == VALUE_FLOAT)
        return order_of(a.real, b.real);
    if (a.kind == VALUE_FLOAT) {
        enum order order = order_int_float(value_to_int(b), a.real);
        return order == ORDER_LESS ? ORDER_GREATER : order == ORDER_GREATER ? ORDER_LESS : order;
    }
    if (b.kind == VALUE_FLOAT)
        return order_int_float(value_to_int(a), b.real);
    int64_t x = value_to_int(a), y = value_to_int(b);
    return x < y ? ORDER_LESS : x > y ? ORDER_GREATER : ORDER_EQUAL;
}

/* The first index where two lists differ, or the length of the shorter. */
static bool first_difference(struct jinja *j, const struct list *a, const struct list *b,
                             size_t *out)
{
    size_t n = a->count < b->count ? a->count : b->count;
    if (!jinja_enter(j))
        return false;
    for (*out = 0; *out < n; ++*out) {
        bool same;
        if (!jinja_equal(j, a->items[*out], b->items[*out], &same))
            return false;
        if (!same)
            break;
    }
    jinja_leave(j);
    return true;
}

static bool equal_dicts(struct jinja *j, const struct dict *a, const struct dict *b, bool *out)
{
    *out = a->count == b->count;
    if (!jinja_enter(j))
        return false;
    for (size_t i = 0; i < a->count && *out; i++) {
        struct dict_entry *entry;
        if (!jinja_dict_find(j, b, a->entries[i].key, &entry))
            return false;
        if (!entry)
            *out = false;
        else if (!jinja_equal(j, a->entries[i].value, entry->value, out))
            return false;
    }
    jinja_leave(j);
    return true;
}

static bool equal_ranges(const struct range *a, const struct range *b)
{
    return a->count == b->count &&
           (a->count == 0 || (a->start == b->start && (a->count == 1 || a->step == b->step)));
}

bool jinja_equal(struct jinja *j, struct value a, struct value b, bool *out)
{
    *out = false;
    if (!jinja_step(j))
        return false;
    if (value_is_number(a) && value_is_number(b)) {
        *out = order_numbers(a, b) == ORDER_EQUAL;
        return true;
    }
    if (a.kind != b.kind)
        return true;
    size_t at;
    switch ((enum value_kind)a.kind) {
    case VALUE_ABSENT:
    case VALUE_UNDEFINED:
    case VALUE_NONE: *out = true; return true;
    case VALUE_STRING:
        *out = str_equal(value_str(a), value_str(b));
        return jinja_charge(j, a.text->len == b.text->len ? a.text->len : 0);
    case VALUE_LIST:
    case VALUE_TUPLE:
        if (a.list == b.list || a.list->count != b.list->count) {
            *out = a.list == b.list;
            return true;
        }
        if (!first_difference(j, a.list, b.list, &at))
            return false;
        *out = at == a.list->count;
        return true;
    case VALUE_DICT: return equal_dicts(j, a.dict, b.dict, out);
    case VALUE_RANGE: *out = equal_ranges(a.range, b.range); return true;
    default: *out = a.identity == b.identity; return true;
    }
}

bool jinja_order(struct jinja *j, const char *op, struct value a, struct value b, enum order *out)
{
    if (!jinja_step(j))
        return false;
    if (value_is_number(a) && value_is_number(b)) {
        *out = order_numbers(a, b);
        return true;
    }
    if (a.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, a);
    if (b.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, b);
    if (a.kind == VALUE_STRING && b.kind == VALUE_STRING) {
        int c = str_compare(value_str(a), value_str(b));
        *out = c < 0 ? ORDER_LESS : c > 0 ? ORDER_GREATER : ORDER_EQUAL;
        return jinja_charge(j, a.text->len < b.text->len ? a.text->len : b.text->len);
    }
    if (a.kind == b.kind && (a.kind == VALUE_LIST || a.kind == VALUE_TUPLE)) {
        size_t at, n_a = a.list->count, n_b = b.list->count;
        if (!first_difference(j, a.list, b.list, &at))
            return false;
        if (at < n_a && at < n_b) {
            if (!jinja_enter(j) || !jinja_order(j, op, a.list->items[at], b.list->items[at], out))
                return false;
            jinja_leave(j);
            return true;
        }
        *out = n_a < n_b ? ORDER_LESS : n_a > n_b ? ORDER_GREATER : ORDER_EQUAL;
        return true;
    }
    return jinja_fail(j, "'%s' not supported between instances of '%s' and '%s'", op,
                      value_type_name(a), value_type_name(b));
}

static bool contains_by_search(struct jinja *j, struct value container, struct value item,
                               bool *out)
{
    struct cursor cursor;
    struct value each;
    bool more = true;
    *out = false;
    if (!jinja_cursor(j, container, &cursor))
        return false;
    while (!*out) {
        if (!jinja_next(j, &cursor, &each, &more))
            return false;
        if (!more)
            break;
        if (!jinja_equal(j, each, item, out))
            return false;
    }
    return true;
}

bool jinja_contains(struct jinja *j, struct value container, struct value item, bool *out)
{
    struct dict_entry *entry;
    size_t at;
    switch ((enum value_kind)container.kind) {
    case VALUE_STRING:
        if (item.kind != VALUE_STRING)
            return jinja_fail(j, "'in <string>' requires string as left operand, not %s",
                              value_type_name(item));
        if (!jinja_find(j, value_str(container), value_str(item), 0, &at))
            return false;
        *out = at != SIZE_MAX;
        return true;
    case VALUE_DICT:
        if (!jinja_dict_find(j, container.dict, item, &entry))
            return false;
        *out = entry != NULL;
        return true;
    case VALUE_UNDEFINED:
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_RANGE:
    case VALUE_ITER:
    case VALUE_VIEW: return contains_by_search(j, container, item, out);
    default:
        return jinja_fail(j, "argument of type '%s' is not iterable", value_type_name(container));
    }
}

struct sortable {
    struct value item, key;
};

/* Merge sort, bottom up: only asks whether the right one is less, like Python, so it is stable in
 * both directions. */
static bool merge(struct jinja *j, const struct sortable *from, struct sortable *to,
                  const size_t bounds[3], bool reverse)
{
    size_t left = bounds[0], right = bounds[1], at = bounds[0];
    while (left < bounds[1] && right < bounds[2]) {
        enum order order;
        bool ok = reverse ? jinja_order(j, "<", from[left].key, from[right].key, &order)
                          : jinja_order(j, "<", from[right].key, from[left].key, &order);
        if (!ok)
            return false;
        to[at++] = order == ORDER_LESS ? from[right++] : from[left++];
    }
    while (left < bounds[1])
        to[at++] = from[left++];
    while (right < bounds[2])
        to[at++] = from[right++];
    return true;
}

bool jinja_sort(struct jinja *j, struct value *items, struct value *keys, size_t n, bool reverse)
{
    if (n < 2)
        return true;
    struct sortable *a = jinja_alloc(j, n, sizeof *a), *b = jinja_alloc(j, n, sizeof *b);
    if (!a || !b)
        return false;
    for (size_t i = 0; i < n; i++)
        a[i] = (struct sortable){items[i], keys[i]};
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t at = 0; at < n; at += 2 * width) {
            size_t middle = at + width < n ? at + width : n;
            size_t end = at + 2 * width < n ? at + 2 * width : n;
            if (!merge(j, a, b, (size_t[3]){at, middle, end}, reverse))
                return false;
        }
        struct sortable *swap = a;
        a = b;
        b = swap;
    }
    for (size_t i = 0; i < n; i++) {
        items[i] = a[i].item;
        keys[i] = a[i].key;
    }
    return true;
}
