#include "text/jinja_value.h"

#include <utf8proc.h>

/* Methods of strings that cut them up, and those that ask what they consist of. */

static bool add_part(struct jinja *j, struct value self, struct list *list, struct str text)
{
    struct value v;
    if (!jinja_borrow(j, text, &v))
        return false;
    v.markup = self.markup;
    return jinja_list_append(j, list, v);
}

static void reverse(struct list *list)
{
    for (size_t i = 0; i < list->count / 2; i++) {
        struct value swap = list->items[i];
        list->items[i] = list->items[list->count - 1 - i];
        list->items[list->count - 1 - i] = swap;
    }
}

static bool split_spaces(struct jinja *j, struct value self, int64_t max, bool from_right,
                         struct list *list)
{
    struct str rest = jinja_strip(value_str(self), !from_right, from_right);
    uint32_t c;
    while (rest.len > 0) {
        if (max-- == 0)
            return add_part(j, self, list, rest);
        size_t end = from_right ? rest.len : 0;
        while (from_right ? end > 0 : end < rest.len) {
            size_t next = from_right ? jinja_point_before(rest, end) : end;
            size_t len = jinja_point(rest, next, &c);
            if (jinja_is_space(c))
                break;
            end = from_right ? next : end + len;
        }
        struct str word = from_right ? str_slice(rest, end, rest.len) : str_slice(rest, 0, end);
        if (!add_part(j, self, list, word))
            return false;
        rest = from_right ? str_slice(rest, 0, end) : str_slice(rest, end, rest.len);
        rest = jinja_strip(rest, !from_right, from_right);
    }
    return true;
}

/* How many times to cut (-1: wherever possible), and from which end. */
struct cut {
    int64_t max;
    bool from_right;
};

static bool split_by(struct jinja *j, struct value self, struct str by, struct cut cut,
                     struct list *list)
{
    struct str rest = value_str(self);
    for (; cut.max != 0; cut.max--) {
        size_t at;
        if (!(cut.from_right ? jinja_find_last(j, rest, by, &at) : jinja_find(j, rest, by, 0, &at)))
            return false;
        if (at == SIZE_MAX)
            break;
        struct str before = str_slice(rest, 0, at), after = str_slice(rest, at + by.len, rest.len);
        if (!add_part(j, self, list, cut.from_right ? after : before))
            return false;
        rest = cut.from_right ? before : after;
    }
    return add_part(j, self, list, rest);
}

static bool split(struct jinja *j, struct value self, struct args *args, bool from_right,
                  struct value *out)
{
    struct list *list = jinja_list_new(j, 0);
    struct str by;
    int64_t max = -1;
    if (!list || (args->slots[1].kind != VALUE_ABSENT &&
                  !jinja_arg_int(j, args->slots[1], "maxsplit", &max)))
        return false;
    if (max < 0)
        max = -1;
    *out = value_list(list);
    bool ok;
    if (!value_given(args->slots[0])) {
        ok = jinja_charge(j, self.text->len) && split_spaces(j, self, max, from_right, list);
    } else {
        if (!jinja_arg_str(j, args->slots[0], "sep", &by))
            return false;
        if (by.len == 0)
            return jinja_fail(j, "empty separator");
        ok = split_by(j, self, by, (struct cut){max, from_right}, list);
    }
    if (from_right)
        reverse(list);
    return ok;
}

static bool str_split(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return split(j, self, args, false, out);
}

static bool str_rsplit(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return split(j, self, args, true, out);
}

static bool str_splitlines(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct list *list = jinja_list_new(j, 0);
    struct str s = value_str(self);
    bool keep = value_truth(args->slots[0]);
    if (!list)
        return false;
    for (size_t at = 0, next; at < s.len; at = next) {
        size_t end = jinja_line_end(s, at, &next);
        if (!add_part(j, self, list, str_slice(s, at, keep ? next : end)))
            return false;
    }
    *out = value_list(list);
    return true;
}

static bool partition(struct jinja *j, struct value self, struct args *args, bool last,
                      struct value *out)
{
    struct str s = value_str(self), by;
    struct list *list = jinja_list_new(j, 3);
    size_t at;
    if (!list || !jinja_arg_str(j, args->slots[0], "sep", &by))
        return false;
    if (by.len == 0)
        return jinja_fail(j, "empty separator");
    if (!(last ? jinja_find_last(j, s, by, &at) : jinja_find(j, s, by, 0, &at)))
        return false;
    struct str parts[3] = {str_slice(s, 0, at), by, STR("")};
    if (at != SIZE_MAX) {
        parts[2] = str_slice(s, at + by.len, s.len);
    } else {
        parts[0] = last ? STR("") : s;
        parts[1] = STR("");
        parts[2] = last ? s : STR("");
    }
    for (int i = 0; i < 3; i++)
        if (!add_part(j, self, list, parts[i]))
            return false;
    *out = value_tuple(list);
    return true;
}

static bool str_partition(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return partition(j, self, args, false, out);
}

static bool str_rpartition(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    return partition(j, self, args, true, out);
}

const struct jinja_row jinja_split_methods[] = {
    {"partition", str_partition, "sep", 1},        {"rpartition", str_rpartition, "sep", 1},
    {"rsplit", str_rsplit, "sep maxsplit", 0},     {"split", str_split, "sep maxsplit", 0},
    {"splitlines", str_splitlines, "keepends", 0}, {0},
};

typedef bool class_fn(uint32_t c);

static bool is_alpha(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
}

static bool is_decimal(uint32_t c)
{
    return utf8proc_category((utf8proc_int32_t)c) == UTF8PROC_CATEGORY_ND;
}

/* Superscripts and circled digits too, the common ones. */
static bool is_digit(uint32_t c)
{
    return is_decimal(c) || c == 0xb2 || c == 0xb3 || c == 0xb9 || c == 0x2070 ||
           (c >= 0x2074 && c <= 0x2079) || (c >= 0x2080 && c <= 0x2089) ||
           (c >= 0x2460 && c <= 0x2468);
}

static bool is_numeric(uint32_t c)
{
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)c);
    return category >= UTF8PROC_CATEGORY_ND && category <= UTF8PROC_CATEGORY_NO;
}

static bool is_alnum(uint32_t c)
{
    return is_alpha(c) || is_numeric(c);
}

static bool is_ascii(uint32_t c)
{
    return c < 0x80;
}

static bool all_points(struct jinja *j, struct value self, class_fn *is, bool empty,
                       struct value *out)
{
    struct str s = value_str(self);
    uint32_t c;
    bool yes = s.len > 0 || empty;
    for (size_t at = 0; yes && at < s.len;) {
        at += jinja_point(s, at, &c);
        yes = is(c);
    }
    *out = value_bool(yes);
    return jinja_charge(j, s.len);
}

#define CLASS_METHOD(name, is, empty)                                                              \
    static bool str_##name(struct jinja *j, struct value self, struct args *args,                  \
                           struct value *out)                                                      \
    {                                                                                              \
        (void)args;                                                                                \
        return all_points(j, self, (is), (empty), out);                                            \
    }

CLASS_METHOD(isalnum, is_alnum, false)
CLASS_METHOD(isalpha, is_alpha, false)
CLASS_METHOD(isascii, is_ascii, true)
CLASS_METHOD(isdecimal, is_decimal, false)
CLASS_METHOD(isdigit, is_digit, false)
CLASS_METHOD(isnumeric, is_numeric, false)
CLASS_METHOD(isprintable, jinja_is_printable, true)
CLASS_METHOD(isspace, jinja_is_space, false)

static bool is_name_point(uint32_t c)
{
    return c == '_' || is_alnum(c);
}

static bool str_isidentifier(struct jinja *j, struct value self, struct args *args,
                             struct value *out)
{
    uint32_t c;
    (void)args;
    if (!all_points(j, self, is_name_point, false, out))
        return false;
    if (out->boolean) {
        jinja_point(value_str(self), 0, &c);
        out->boolean = c == '_' || is_alpha(c);
    }
    return true;
}

enum casing { CASING_LOWER, CASING_UPPER, CASING_TITLE };

static bool has_casing(struct jinja *j, struct value self, enum casing wanted, struct value *out)
{
    struct str s = value_str(self);
    bool any = false, wrong = false, in_word = false, lower, upper, title;
    uint32_t c;
    for (size_t at = 0; at < s.len;) {
        at += jinja_point(s, at, &c);
        bool cased = jinja_is_cased(c, &lower, &upper, &title);
        any = any || cased;
        if (wanted == CASING_TITLE)
            wrong = wrong || ((upper || title) && in_word) || (lower && !in_word);
        else
            wrong = wrong || title || (wanted == CASING_LOWER ? upper : lower);
        in_word = cased;
    }
    *out = value_bool(any && !wrong);
    return jinja_charge(j, s.len);
}

static bool str_islower(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    (void)args;
    return has_casing(j, self, CASING_LOWER, out);
}

static bool str_isupper(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    (void)args;
    return has_casing(j, self, CASING_UPPER, out);
}

static bool str_istitle(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    (void)args;
    return has_casing(j, self, CASING_TITLE, out);
}

const struct jinja_row jinja_string_tests[] = {
    {"isalnum", str_isalnum, "", 0},
    {"isalpha", str_isalpha, "", 0},
    {"isascii", str_isascii, "", 0},
    {"isdecimal", str_isdecimal, "", 0},
    {"isdigit", str_isdigit, "", 0},
    {"isidentifier", str_isidentifier, "", 0},
    {"islower", str_islower, "", 0},
    {"isnumeric", str_isnumeric, "", 0},
    {"isprintable", str_isprintable, "", 0},
    {"isspace", str_isspace, "", 0},
    {"istitle", str_istitle, "", 0},
    {"isupper", str_isupper, "", 0},
    {0},
};
