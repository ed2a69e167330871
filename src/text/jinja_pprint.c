#include "text/jinja_value.h"

/* The filter pprint: a value as Python's pprint module lays it out in 80 columns
 * (https://docs.python.org/3/library/pprint.html). */

enum { WIDTH = 80 };

/* Where something is put: its column, the columns that must be left behind it on its last line, how
 * deep it is nested. */
struct place {
    int64_t column, behind;
    int level;
};

/* What dicts hold comes sorted: by key, or by type where keys cannot be compared. */
static bool sorted_dicts(struct jinja *j, struct value v, struct value *out);

static bool sorted_dict(struct jinja *j, const struct dict *dict, struct value *out)
{
    struct dict *made = jinja_dict_new(j);
    struct value *keys = jinja_alloc(j, dict->count + 1, sizeof *keys), value;
    struct list *order = jinja_list_new(j, dict->count);
    bool strings = true;
    if (!made || !keys || !order)
        return false;
    for (size_t i = 0; i < dict->count; i++) {
        order->items[order->count++] = value_int((int64_t)i);
        strings = strings && dict->entries[i].key.kind == VALUE_STRING;
    }
    for (size_t i = 0; i < dict->count; i++) {
        keys[i] = dict->entries[i].key;
        if (!strings && !jinja_borrow(j, str_of(value_type_name(keys[i])), &value))
            return false;
        if (!strings && !jinja_pair(j, value, keys[i], &keys[i]))
            return false;
    }
    if (!jinja_sort(j, order->items, keys, dict->count, false))
        return false;
    for (size_t i = 0; i < dict->count; i++) {
        const struct dict_entry *entry = &dict->entries[order->items[i].integer];
        if (!sorted_dicts(j, entry->value, &value) || !jinja_dict_set(j, made, entry->key, value))
            return false;
    }
    *out = value_dict(made);
    return true;
}

static bool sorted_dicts(struct jinja *j, struct value v, struct value *out)
{
    bool ok = true;
    *out = v;
    if (!jinja_enter(j))
        return false;
    if (v.kind == VALUE_DICT) {
        ok = sorted_dict(j, v.dict, out);
    } else if (v.kind == VALUE_LIST || v.kind == VALUE_TUPLE) {
        struct list *list = jinja_list_new(j, v.list->count);
        for (size_t i = 0; list && ok && i < v.list->count; i++)
            ok = sorted_dicts(j, v.list->items[i], &list->items[list->count++]);
        out->list = list;
        ok = ok && list;
    }
    jinja_leave(j);
    return ok;
}

static bool repr_of(struct jinja *j, struct value v, struct value *out)
{
    size_t mark = jinja_mark(j);
    return jinja_put_repr(j, v) && jinja_take(j, mark, out);
}

static bool put_line(struct jinja *j, int64_t column)
{
    return jinja_put_str(j, "\n") && jinja_put_repeat(j, STR(" "), (uint64_t)column);
}

static bool put_value(struct jinja *j, struct value v, struct place at);

/* --- strings ---------------------------------------------------------------------------------- */

/* The end of a word and of the blanks behind it. */
static size_t word_end(struct str line, size_t at)
{
    uint32_t point;
    bool blank = false;
    for (size_t n; at < line.len; at += n) {
        n = jinja_point(line, at, &point);
        if (blank && !jinja_is_space(point))
            break;
        blank = jinja_is_space(point);
    }
    return at;
}

static bool add_piece(struct jinja *j, struct list *pieces, struct str text)
{
    struct value piece;
    return jinja_borrow(j, text, &piece) && repr_of(j, piece, &piece) &&
           jinja_list_append(j, pieces, piece);
}

static bool fits(struct jinja *j, struct str text, int64_t width, bool *out)
{
    struct value v;
    if (!jinja_borrow(j, text, &v) || !repr_of(j, v, &v))
        return false;
    *out = (int64_t)value_points(v) <= width;
    return true;
}

/* A line, or as many of its words as fit at a time. */
static bool add_line(struct jinja *j, struct list *pieces, struct str line, int64_t width,
                     int64_t behind)
{
    size_t from = 0;
    bool whole;
    if (!fits(j, line, width - behind, &whole))
        return false;
    if (whole)
        return add_piece(j, pieces, line);
    for (size_t at = 0, end; at < line.len; at = end) {
        end = word_end(line, at);
        int64_t room = end == line.len ? width - behind : width;
        if (!fits(j, str_slice(line, from, end), room, &whole))
            return false;
        if (whole)
            continue;
        if (at > from && !add_piece(j, pieces, str_slice(line, from, at)))
            return false;
        from = at;
    }
    return add_piece(j, pieces, str_slice(line, from, line.len));
}

/* Pieces below each other, in brackets unless they stand in something already. */
static bool put_string(struct jinja *j, struct str text, struct place at)
{
    struct list *pieces = jinja_list_new(j, 0);
    bool outermost = at.level == 1;
    if (!pieces)
        return false;
    at.column += outermost;
    at.behind += outermost;
    for (size_t from = 0, next; from < text.len; from = next) {
        jinja_line_end(text, from, &next);
        if (!add_line(j, pieces, str_slice(text, from, next), WIDTH - at.column,
                      next >= text.len ? at.behind : 0))
            return false;
    }
    outermost = outermost && pieces->count > 1;
    if (outermost && !jinja_put_str(j, "("))
        return false;
    for (size_t i = 0; i < pieces->count; i++)
        if ((i > 0 && !put_line(j, at.column)) || !jinja_put_text(j, pieces->items[i]))
            return false;
    return !outermost || jinja_put_str(j, ")");
}

/* --- what holds others ------------------------------------------------------------------------ */

static bool put_list(struct jinja *j, const struct list *list, bool tuple, struct place at)
{
    const char *close = !tuple ? "]" : list->count == 1 ? ",)" : ")";
    struct place item = {at.column + 1, 1, at.level};
    if (!jinja_put_str(j, tuple ? "(" : "["))
        return false;
    for (size_t i = 0; i < list->count; i++) {
        if (i + 1 == list->count)
            item.behind = at.behind + (int64_t)strlen(close);
        if ((i > 0 && (!jinja_put_str(j, ",") || !put_line(j, item.column))) ||
            !put_value(j, list->items[i], item))
            return false;
    }
    return jinja_put_str(j, close);
}

static bool put_dict(struct jinja *j, const struct dict *dict, struct place at)
{
    if (!jinja_put_str(j, "{"))
        return false;
    for (size_t i = 0; i < dict->count; i++) {
        struct value key;
        if ((i > 0 && (!jinja_put_str(j, ",") || !put_line(j, at.column + 1))) ||
            !repr_of(j, dict->entries[i].key, &key) || !jinja_put_text(j, key) ||
            !jinja_put_str(j, ": "))
            return false;
        struct place item = {at.column + 1 + (int64_t)value_points(key) + 2, 1, at.level};
        if (i + 1 == dict->count)
            item.behind = at.behind + 1;
        if (!put_value(j, dict->entries[i].value, item))
            return false;
    }
    return jinja_put_str(j, "}");
}

static bool put_value(struct jinja *j, struct value v, struct place at)
{
    struct value text;
    bool done;
    if (!repr_of(j, v, &text))
        return false;
    if ((int64_t)value_points(text) <= WIDTH - at.column - at.behind)
        return jinja_put_text(j, text);
    if (!jinja_enter(j))
        return false;
    at.level++;
    if (v.kind == VALUE_STRING && !v.markup && v.text->len > 0)
        done = put_string(j, value_str(v), at);
    else if (v.kind == VALUE_LIST || v.kind == VALUE_TUPLE)
        done = put_list(j, v.list, v.kind == VALUE_TUPLE, at);
    else if (v.kind == VALUE_DICT)
        done = put_dict(j, v.dict, at);
    else
        done = jinja_put_text(j, text);
    jinja_leave(j);
    return done;
}

bool jinja_pprint(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    size_t mark = jinja_mark(j);
    struct value sorted;
    (void)args;
    return sorted_dicts(j, self, &sorted) && put_value(j, sorted, (struct place){0}) &&
           jinja_take(j, mark, out);
}
