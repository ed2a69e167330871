#include "text/jinja_value.h"

/* Methods of strings, https://docs.python.org/3/library/stdtypes.html#string-methods */

static bool finish(struct jinja *j, bool ok, size_t mark, struct value self, struct value *out)
{
    if (!ok || !jinja_take(j, mark, out))
        return false;
    out->markup = self.markup;
    return true;
}

static bool part(struct jinja *j, struct value self, struct str text, struct value *out)
{
    if (!jinja_borrow(j, text, out))
        return false;
    out->markup = self.markup;
    return true;
}

#define CASE_METHOD(name, to)                                                                      \
    static bool str_##name(struct jinja *j, struct value self, struct args *args,                  \
                           struct value *out)                                                      \
    {                                                                                              \
        size_t mark = jinja_mark(j);                                                               \
        (void)args;                                                                                \
        return finish(j, jinja_put_cased_all(j, value_str(self), (to)), mark, self, out);          \
    }

CASE_METHOD(upper, CASE_UPPER)
CASE_METHOD(lower, CASE_LOWER)
CASE_METHOD(title, CASE_TITLE)
CASE_METHOD(casefold, CASE_FOLD)

static bool str_capitalize(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct str s = value_str(self);
    size_t mark = jinja_mark(j);
    uint32_t c;
    bool ok = true;
    (void)args;
    for (size_t at = 0; ok && at < s.len; at += jinja_point(s, at, &c))
        ok = jinja_put_cased(j, s, at, at == 0 ? CASE_TITLE : CASE_LOWER);
    return finish(j, ok, mark, self, out);
}

static bool str_swapcase(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct str s = value_str(self);
    size_t mark = jinja_mark(j);
    uint32_t c;
    bool ok = true, lower, upper, title;
    (void)args;
    for (size_t at = 0; ok && at < s.len;) {
        size_t len = jinja_point(s, at, &c);
        jinja_is_cased(c, &lower, &upper, &title);
        ok = lower   ? jinja_put_cased(j, s, at, CASE_UPPER)
             : upper ? jinja_put_cased(j, s, at, CASE_LOWER)
                     : jinja_put(j, s.ptr + at, len);
        at += len;
    }
    return finish(j, ok, mark, self, out);
}

static bool strip(struct jinja *j, struct value self, struct args *args, int sides,
                  struct value *out)
{
    struct str chars;
    bool given = value_given(args->slots[0]);
    if (given && !jinja_arg_str(j, args->slots[0], "chars", &chars))
        return false;
    struct str text;
    return jinja_strip_chars(j, value_str(self), given ? &chars : NULL, sides, &text) &&
           part(j, self, text, out);
}

static bool str_strip(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return strip(j, self, args, STRIP_LEFT | STRIP_RIGHT, out);
}

static bool str_lstrip(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return strip(j, self, args, STRIP_LEFT, out);
}

static bool str_rstrip(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return strip(j, self, args, STRIP_RIGHT, out);
}

static bool str_replace(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct str old, new_text;
    int64_t count = -1;
    if (!jinja_arg_str(j, args->slots[0], "old", &old) ||
        !jinja_arg_str(j, args->slots[1], "new", &new_text) ||
        (args->slots[2].kind != VALUE_ABSENT && !jinja_arg_int(j, args->slots[2], "count", &count)))
        return false;
    size_t mark = jinja_mark(j);
    struct value safe;
    if (self.markup && !args->slots[1].markup) { /* what joins marked text is escaped */
        if (!jinja_put_escaped(j, new_text) || !jinja_take(j, mark, &safe))
            return false;
        new_text = value_str(safe);
    }
    return finish(j, jinja_put_replaced(j, value_str(self), old, new_text, count), mark, self, out);
}

static bool str_join(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct cursor cursor;
    struct value item;
    size_t mark = jinja_mark(j);
    bool more;
    if (!jinja_cursor(j, args->slots[0], &cursor))
        return false;
    for (int64_t i = 0;; i++) {
        if (!jinja_next(j, &cursor, &item, &more))
            return false;
        if (!more)
            return finish(j, true, mark, self, out);
        if (item.kind == VALUE_UNDEFINED)
            return jinja_fail(j, "sequence item %lld: expected str instance, Undefined found",
                              (long long)i);
        if (item.kind != VALUE_STRING)
            return jinja_fail(j, "sequence item %lld: expected str instance, %s found",
                              (long long)i, value_type_name(item));
        if ((i > 0 && !jinja_put_text(j, self)) ||
            !(self.markup && !item.markup ? jinja_put_escaped(j, value_str(item))
                                          : jinja_put_text(j, item)))
            return false;
    }
}

/* The part of the string between the optional bounds of find(), count(), startswith() …; false in
 * *inside when the start is past the end. */
static bool window(struct jinja *j, struct value self, const struct value *bounds, struct str *out,
                   bool *inside)
{
    struct value slice[3] = {bounds[0], bounds[1], value_none()};
    struct range range;
    int64_t n = (int64_t)value_points(self);
    if (!jinja_slice_range(j, slice, n, &range))
        return false;
    size_t from = jinja_point_offset(self, (size_t)range.start);
    *out = str_slice(value_str(self), from,
                     range.count ? jinja_point_offset(self, (size_t)(range.start + range.count))
                                 : from);
    *inside = !(value_given(bounds[0]) && value_to_int(bounds[0]) > n);
    if (range.count == 0 && value_given(bounds[1])) {
        int64_t stop = value_to_int(bounds[1]);
        *inside = *inside && (stop < 0 ? stop + n : stop) >= range.start;
    }
    return true;
}

static bool find(struct jinja *j, struct value self, struct args *args, bool last, int64_t *out)
{
    struct str needle, text;
    size_t at;
    bool inside;
    if (!jinja_arg_str(j, args->slots[0], "sub", &needle) ||
        !window(j, self, &args->slots[1], &text, &inside))
        return false;
    if (!(last ? jinja_find_last(j, text, needle, &at) : jinja_find(j, text, needle, 0, &at)))
        return false;
    *out = -1;
    if (!inside || at == SIZE_MAX)
        return true;
    size_t bytes = (size_t)(text.ptr - self.text->ptr) + at;
    int64_t points = 0;
    for (size_t i = 0; i < bytes; i++)
        points += ((unsigned char)self.text->ptr[i] & 0xc0) != 0x80;
    *out = points;
    return jinja_charge(j, bytes);
}

static bool str_find(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    int64_t at;
    if (!find(j, self, args, false, &at))
        return false;
    *out = value_int(at);
    return true;
}

static bool str_rfind(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    int64_t at;
    if (!find(j, self, args, true, &at))
        return false;
    *out = value_int(at);
    return true;
}

static bool str_index(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return str_find(j, self, args, out) &&
           (out->integer >= 0 || jinja_fail(j, "substring not found"));
}

static bool str_rindex(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return str_rfind(j, self, args, out) &&
           (out->integer >= 0 || jinja_fail(j, "substring not found"));
}

static bool str_count(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct str needle, text;
    int64_t count = 0;
    bool inside;
    if (!jinja_arg_str(j, args->slots[0], "sub", &needle) ||
        !window(j, self, &args->slots[1], &text, &inside))
        return false;
    if (inside && needle.len == 0) {
        struct value part_value;
        if (!jinja_borrow(j, text, &part_value))
            return false;
        count = (int64_t)value_points(part_value) + 1;
    }
    for (size_t at = 0; inside && needle.len > 0; count++) {
        if (!jinja_find(j, text, needle, at, &at))
            return false;
        if (at == SIZE_MAX)
            break;
        at += needle.len;
    }
    *out = value_int(count);
    return true;
}

/* startswith and endswith take one string or a tuple of them. */
static bool has_affix(struct jinja *j, struct value self, struct args *args, bool end,
                      struct value *out)
{
    struct value one = args->slots[0];
    struct str text, affix;
    bool inside, yes = false;
    if (!window(j, self, &args->slots[1], &text, &inside))
        return false;
    size_t n = one.kind == VALUE_TUPLE ? one.list->count : 1;
    for (size_t i = 0; i < n; i++) {
        struct value each = one.kind == VALUE_TUPLE ? one.list->items[i] : one;
        if (!jinja_arg_str(j, each, end ? "suffix" : "prefix", &affix))
            return false;
        yes = yes || (inside && (end ? str_ends_with(text, affix) : str_starts_with(text, affix)));
    }
    *out = value_bool(yes);
    return true;
}

static bool str_startswith(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return has_affix(j, self, args, false, out);
}

static bool str_endswith(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return has_affix(j, self, args, true, out);
}

static bool str_removeprefix(struct jinja *j, struct value self, struct args *args,
                             struct value *out)
{
    struct str text = value_str(self), prefix;
    if (!jinja_arg_str(j, args->slots[0], "prefix", &prefix))
        return false;
    size_t cut = str_starts_with(text, prefix) ? prefix.len : 0;
    return part(j, self, str_slice(text, cut, text.len), out);
}

static bool str_removesuffix(struct jinja *j, struct value self, struct args *args,
                             struct value *out)
{
    struct str text = value_str(self), suffix;
    if (!jinja_arg_str(j, args->slots[0], "suffix", &suffix))
        return false;
    size_t cut = str_ends_with(text, suffix) ? suffix.len : 0;
    return part(j, self, str_slice(text, 0, text.len - cut), out);
}

/* Pads to a width: -1 on the right, 1 on the left, 0 on both sides. */
static bool pad(struct jinja *j, struct value self, struct args *args, int side, struct value *out)
{
    struct str fill = STR(" ");
    int64_t width, n = (int64_t)value_points(self);
    uint32_t c;
    if (!jinja_arg_int(j, args->slots[0], "width", &width) ||
        (args->slots[1].kind != VALUE_ABSENT &&
         !jinja_arg_str(j, args->slots[1], "fillchar", &fill)))
        return false;
    if (fill.len == 0 || jinja_point(fill, 0, &c) != fill.len)
        return jinja_fail(j, "the fill character must be exactly one character long");
    uint64_t missing = width > n ? (uint64_t)(width - n) : 0;
    /* The odd one goes left when the width is odd too: CPython, stringlib center(). */
    uint64_t left = side < 0   ? 0
                    : side > 0 ? missing
                               : missing / 2 + (missing & (uint64_t)width & 1);
    size_t mark = jinja_mark(j);
    bool ok = jinja_put_repeat(j, fill, left) && jinja_put_text(j, self) &&
              jinja_put_repeat(j, fill, missing - left);
    return finish(j, ok, mark, self, out);
}

static bool str_center(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return pad(j, self, args, 0, out);
}

static bool str_ljust(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return pad(j, self, args, -1, out);
}

static bool str_rjust(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return pad(j, self, args, 1, out);
}

static bool str_zfill(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct str s = value_str(self);
    int64_t width, n = (int64_t)value_points(self);
    if (!jinja_arg_int(j, args->slots[0], "width", &width))
        return false;
    size_t sign = s.len > 0 && (s.ptr[0] == '-' || s.ptr[0] == '+'), mark = jinja_mark(j);
    bool ok = jinja_put(j, s.ptr, sign) &&
              jinja_put_repeat(j, STR("0"), width > n ? (uint64_t)(width - n) : 0) &&
              jinja_put(j, s.ptr + sign, s.len - sign);
    return finish(j, ok, mark, self, out);
}

static bool str_expandtabs(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct str s = value_str(self);
    int64_t size = 8, column = 0;
    size_t mark = jinja_mark(j);
    bool ok = true;
    if (args->slots[0].kind != VALUE_ABSENT && !jinja_arg_int(j, args->slots[0], "tabsize", &size))
        return false;
    for (size_t i = 0; ok && i < s.len; i++) {
        char c = s.ptr[i];
        int64_t spaces = size > 0 ? size - column % size : 0;
        ok = c == '\t' ? jinja_put_repeat(j, STR(" "), (uint64_t)spaces) : jinja_put(j, &c, 1);
        column += c == '\t' ? spaces : ((unsigned char)c & 0xc0) != 0x80;
        if (c == '\n' || c == '\r')
            column = 0;
    }
    return finish(j, ok, mark, self, out);
}

static bool str_format(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return jinja_format(j, self, args, out);
}

static bool str_format_map(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct args inner = {0};
    if (args->slots[0].kind != VALUE_DICT)
        return jinja_fail(j, "format_map() takes a mapping");
    struct dict *dict = args->slots[0].dict;
    inner.keywords = jinja_alloc(j, dict->count + 1, sizeof *inner.keywords);
    if (!inner.keywords)
        return false;
    for (size_t i = 0; i < dict->count; i++)
        if (dict->entries[i].key.kind == VALUE_STRING)
            inner.keywords[inner.n_keywords++] =
                (struct keyword){dict->entries[i].key.text, dict->entries[i].value};
    return jinja_format(j, self, &inner, out);
}

const struct jinja_row jinja_string_methods[] = {
    {"capitalize", str_capitalize, "", 0},
    {"casefold", str_casefold, "", 0},
    {"center", str_center, "width fillchar", 1},
    {"count", str_count, "sub start end", 1},
    {"encode", NULL, "*", 0},
    {"endswith", str_endswith, "suffix start end", 1},
    {"expandtabs", str_expandtabs, "tabsize", 0},
    {"find", str_find, "sub start end", 1},
    {"format", str_format, "*", 0},
    {"format_map", str_format_map, "mapping", 1},
    {"index", str_index, "sub start end", 1},
    {"join", str_join, "iterable", 1},
    {"ljust", str_ljust, "width fillchar", 1},
    {"lower", str_lower, "", 0},
    {"lstrip", str_lstrip, "chars", 0},
    {"maketrans", NULL, "*", 0},
    {"removeprefix", str_removeprefix, "prefix", 1},
    {"removesuffix", str_removesuffix, "suffix", 1},
    {"replace", str_replace, "old new count", 2},
    {"rfind", str_rfind, "sub start end", 1},
    {"rindex", str_rindex, "sub start end", 1},
    {"rjust", str_rjust, "width fillchar", 1},
    {"rstrip", str_rstrip, "chars", 0},
    {"startswith", str_startswith, "prefix start end", 1},
    {"strip", str_strip, "chars", 0},
    {"swapcase", str_swapcase, "", 0},
    {"title", str_title, "", 0},
    {"translate", NULL, "*", 0},
    {"upper", str_upper, "", 0},
    {"zfill", str_zfill, "width", 1},
    {0},
};
