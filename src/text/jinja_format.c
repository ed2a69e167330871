#include "text/jinja_value.h"

#include <math.h>
#include <stdio.h>

/* "…" % values, https://docs.python.org/3/library/stdtypes.html#printf-style-string-formatting,
 * and "…".format(values). */

struct percent {
    struct str format;
    size_t at;
    struct value values;
    size_t next; /* of a tuple */
    bool used, escaped;
};

static bool next_value(struct jinja *j, struct percent *p, struct value *out)
{
    if (p->values.kind == VALUE_TUPLE) {
        if (p->next >= p->values.list->count)
            return jinja_fail(j, "not enough arguments for format string");
        *out = p->values.list->items[p->next++];
        return true;
    }
    if (p->used)
        return jinja_fail(j, "not enough arguments for format string");
    p->used = true;
    *out = p->values;
    return true;
}

static bool mapped_value(struct jinja *j, struct percent *p, struct value *out)
{
    size_t end;
    struct dict_entry *entry;
    if (p->values.kind != VALUE_DICT)
        return jinja_fail(j, "format requires a mapping");
    if (!jinja_find(j, p->format, STR(")"), p->at, &end))
        return false;
    if (end == SIZE_MAX)
        return jinja_fail(j, "incomplete format key");
    struct str key = str_slice(p->format, p->at + 1, end);
    if (!jinja_dict_find_str(j, p->values.dict, key, &entry))
        return false;
    if (!entry)
        return jinja_fail(j, "the key '%.*s' is missing", (int)(key.len < 100 ? key.len : 100),
                          key.ptr);
    *out = entry->value;
    p->at = end + 1;
    p->used = true;
    return true;
}

static char peek(const struct percent *p)
{
    return p->at < p->format.len ? p->format.ptr[p->at] : 0;
}

/* Digits, or "*" for the next value; -1 if there are none. */
static bool read_size(struct jinja *j, struct percent *p, int64_t *out)
{
    struct value v;
    *out = -1;
    if (peek(p) == '*') {
        p->at++;
        return next_value(j, p, &v) && jinja_arg_int(j, v, "*", out);
    }
    while (peek(p) >= '0' && peek(p) <= '9') {
        *out = (*out < 0 ? 0 : *out) * 10 + (p->format.ptr[p->at++] - '0');
        if (*out > INT32_MAX)
            return jinja_fail(j, "a width or precision too large");
    }
    return true;
}

struct conversion {
    bool left, zero, plus, space, alternate, escaped;
    int64_t width, precision;
    char type;
};

/* The value of %s, %r, %a and %c as text. */
static bool put_as_text(struct jinja *j, const struct conversion *c, struct value v)
{
    if (c->type == 's')
        return jinja_put_text(j, v);
    if (c->type == 'r' || c->type == 'a')
        return jinja_put_repr(j, v);
    if (v.kind == VALUE_STRING && value_points(v) == 1)
        return jinja_put_text(j, v);
    if (value_is_integer(v))
        return jinja_put_formatted(j, v, STR("c"));
    return jinja_fail(j, "%%c requires int or char");
}

static bool put_text(struct jinja *j, const struct conversion *c, struct value v)
{
    size_t mark = jinja_mark(j);
    struct value text;
    if (!put_as_text(j, c, v) || !jinja_take(j, mark, &text))
        return false;
    if (c->escaped && !v.markup &&
        (!jinja_put_escaped(j, value_str(text)) || !jinja_take(j, mark, &text)))
        return false;
    struct str s = value_str(text);
    if (c->precision >= 0 && c->type != 'c') {
        s = str_slice(s, 0, jinja_point_offset(text, (size_t)c->precision));
        if (!jinja_borrow(j, s, &text))
            return false;
    }
    int64_t n = (int64_t)value_points(text);
    uint64_t missing = c->width > n ? (uint64_t)(c->width - n) : 0;
    return jinja_put_repeat(j, STR(" "), c->left ? 0 : missing) && jinja_put(j, s.ptr, s.len) &&
           jinja_put_repeat(j, STR(" "), c->left ? missing : 0);
}

static bool put_number(struct jinja *j, const struct conversion *c, struct value v)
{
    char spec[64];
    bool real = strchr("eEfFgG", c->type) != NULL;
    char type = c->type == 'i' || c->type == 'u' ? 'd' : c->type;
    if (v.kind == VALUE_UNDEFINED || !value_is_number(v))
        return jinja_fail(j, "%%%c format: a real number is required, not %s", c->type,
                          value_type_name(v));
    if (!real && v.kind == VALUE_FLOAT) {
        int64_t whole;
        if (type != 'd')
            return jinja_fail(j, "%%%c format: an integer is required, not float", c->type);
        if (!jinja_float_to_int(j, v.real, &whole))
            return false;
        v = value_int(whole);
    }
    int n = snprintf(spec, sizeof spec, "%s%s%s",
                     c->left   ? "<"
                     : c->zero ? "0="
                               : ">",
                     c->plus    ? "+"
                     : c->space ? " "
                                : "",
                     c->alternate ? "#" : "");
    if (c->width > 0)
        n += snprintf(spec + n, sizeof spec - (size_t)n, "%lld", (long long)c->width);
    if (c->precision >= 0 && real)
        n += snprintf(spec + n, sizeof spec - (size_t)n, ".%lld", (long long)c->precision);
    snprintf(spec + n, sizeof spec - (size_t)n, "%c", type);
    if (c->precision > 0 && !real) /* least number of digits: zeros in front */
        snprintf(spec, sizeof spec, "0=%s%lld%c", c->plus ? "+" : "",
                 (long long)c->precision + (value_to_int(v) < 0 || c->plus), type);
    return jinja_put_formatted(j, v, str_of(spec));
}

static bool put_conversion(struct jinja *j, struct percent *p)
{
    struct conversion c = {0};
    struct value v;
    bool mapped = peek(p) == '(';
    if (mapped && !mapped_value(j, p, &v))
        return false;
    for (;; p->at++) {
        char flag = peek(p);
        if (flag == '-')
            c.left = true;
        else if (flag == '0')
            c.zero = true;
        else if (flag == '+')
            c.plus = true;
        else if (flag == ' ')
            c.space = true;
        else if (flag == '#')
            c.alternate = true;
        else
            break;
    }
    c.precision = -1;
    c.escaped = p->escaped;
    if (!read_size(j, p, &c.width))
        return false;
    if (c.width < -1) {
        c.left = true;
        c.width = -c.width;
    }
    if (peek(p) == '.') {
        p->at++;
        if (!read_size(j, p, &c.precision))
            return false;
        if (c.precision < 0)
            c.precision = 0;
    }
    while (peek(p) == 'l' || peek(p) == 'h' || peek(p) == 'L')
        p->at++;
    c.type = peek(p);
    if (!c.type)
        return jinja_fail(j, "incomplete format");
    p->at++;
    if (c.type == '%')
        return jinja_put(j, "%", 1);
    if (!strchr("srcadiuxXoeEfFgG", c.type))
        return jinja_fail(j, "unsupported format character '%c'", c.type);
    if (!mapped && !next_value(j, p, &v))
        return false;
    return strchr("srca", c.type) ? put_text(j, &c, v) : put_number(j, &c, v);
}

bool jinja_percent(struct jinja *j, struct value format, struct value values, struct value *out)
{
    struct percent p = {.format = value_str(format), .values = values, .escaped = format.markup};
    size_t mark = jinja_mark(j);
    while (p.at < p.format.len) {
        const char *hit = memchr(p.format.ptr + p.at, '%', p.format.len - p.at);
        size_t end = hit ? (size_t)(hit - p.format.ptr) : p.format.len;
        if (!jinja_put(j, p.format.ptr + p.at, end - p.at))
            return false;
        p.at = end + 1;
        if (hit && !put_conversion(j, &p))
            return false;
    }
    bool mapping = values.kind == VALUE_DICT || values.kind == VALUE_LIST;
    bool left = values.kind == VALUE_TUPLE ? p.next < values.list->count : !p.used && !mapping;
    if (left)
        return jinja_fail(j, "not all arguments converted during string formatting");
    if (!jinja_take(j, mark, out))
        return false;
    out->markup = format.markup;
    return true;
}

struct fields {
    const struct args *args;
    bool escaped; /* the format is marked safe, what goes into it is not */
    size_t next;
};

static bool put_fields(struct jinja *j, struct fields *fields, struct str format, int depth);

static bool keyword_value(struct jinja *j, const struct args *args, struct str name,
                          struct value *out)
{
    for (size_t i = 0; i < args->n_keywords; i++) {
        const struct text *known = args->keywords[i].name;
        if (str_equal((struct str){known->ptr, known->len}, name)) {
            *out = args->keywords[i].value;
            return true;
        }
    }
    return jinja_fail(j, "format() lacks the key '%.*s'", (int)(name.len < 100 ? name.len : 100),
                      name.ptr);
}

/* "0", "name", "name.attr[key]" or nothing for the next one. */
static bool field_value(struct jinja *j, struct fields *fields, struct str name, struct value *out)
{
    size_t end = 0;
    int64_t index;
    while (end < name.len && name.ptr[end] != '.' && name.ptr[end] != '[')
        end++;
    struct str first = str_slice(name, 0, end);
    bool number = first.len == 0 || jinja_parse_int(first, 10, &index) == PARSED_INT;
    if (number) {
        size_t at = first.len ? (size_t)index : fields->next++;
        if (at >= fields->args->count)
            return jinja_fail(j, "replacement index %zu out of range for positional args", at);
        *out = fields->args->items[at];
    } else if (!keyword_value(j, fields->args, first, out)) {
        return false;
    }
    while (end < name.len) {
        struct value key;
        bool item = name.ptr[end] == '[';
        size_t from = end + 1, to = from;
        while (to < name.len &&
               (item ? name.ptr[to] != ']' : name.ptr[to] != '.' && name.ptr[to] != '['))
            to++;
        struct str part = str_slice(name, from, to);
        if (item && jinja_parse_int(part, 10, &index) == PARSED_INT)
            key = value_int(index);
        else if (!jinja_borrow(j, part, &key))
            return false;
        if (!(item ? jinja_get_item(j, *out, key, out) : jinja_get_attr(j, *out, key, out)))
            return false;
        end = item ? to + 1 : to;
    }
    return true;
}

static bool put_field(struct jinja *j, struct fields *fields, struct str field, int depth)
{
    const char *colon = field.len ? memchr(field.ptr, ':', field.len) : NULL;
    struct str name = str_slice(field, 0, colon ? (size_t)(colon - field.ptr) : field.len);
    struct str spec = colon ? str_slice(field, name.len + 1, field.len) : STR("");
    struct value v, expanded;
    char conversion = 0;
    if (name.len >= 2 && name.ptr[name.len - 2] == '!') {
        conversion = name.ptr[name.len - 1];
        name.len -= 2;
    }
    if (!field_value(j, fields, name, &v))
        return false;
    size_t mark = jinja_mark(j);
    if (conversion) {
        if (!(conversion == 's' ? jinja_put_text(j, v) : jinja_put_repr(j, v)) ||
            !jinja_take(j, mark, &v))
            return false;
    }
    if (!put_fields(j, fields, spec, depth + 1) || !jinja_take(j, mark, &expanded))
        return false;
    if (!fields->escaped || v.markup)
        return jinja_put_formatted(j, v, value_str(expanded));
    struct value text;
    return jinja_put_formatted(j, v, value_str(expanded)) && jinja_take(j, mark, &text) &&
           jinja_put_escaped(j, value_str(text));
}

static bool put_fields(struct jinja *j, struct fields *fields, struct str format, int depth)
{
    if (depth > 2)
        return jinja_fail(j, "max string recursion exceeded");
    for (size_t at = 0; at < format.len;) {
        char c = format.ptr[at];
        bool twice = at + 1 < format.len && format.ptr[at + 1] == c;
        if ((c != '{' && c != '}') || twice) {
            if (!jinja_put(j, &c, 1))
                return false;
            at += 1 + (twice && (c == '{' || c == '}'));
            continue;
        }
        if (c == '}')
            return jinja_fail(j, "single '}' encountered in format string");
        size_t end = at + 1;
        int open = 1;
        for (; end < format.len; end++) {
            open += format.ptr[end] == '{';
            open -= format.ptr[end] == '}';
            if (open == 0)
                break;
        }
        if (open != 0)
            return jinja_fail(j, "expected '}' before end of string");
        if (!put_field(j, fields, str_slice(format, at + 1, end), depth))
            return false;
        at = end + 1;
    }
    return true;
}

bool jinja_format(struct jinja *j, struct value format, struct args *args, struct value *out)
{
    struct fields fields = {.args = args, .escaped = format.markup};
    size_t mark = jinja_mark(j);
    if (!put_fields(j, &fields, value_str(format), 0) || !jinja_take(j, mark, out))
        return false;
    out->markup = format.markup;
    return true;
}
