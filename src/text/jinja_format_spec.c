#include "text/jinja_value.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>

/* One value by a format specification,
 * https://docs.python.org/3/library/string.html#format-specification-mini-language */

enum { MAX_PRECISION = 300, MAX_DIGITS = 1024 };

struct spec {
    struct str fill;
    char align; /* < > ^ =, 0: by the value */
    char sign;  /* + - or space */
    char type;  /* 0: by the value */
    char grouping;
    bool alternate;
    int64_t width, precision; /* precision -1: not given */
};

static bool is_align(char c)
{
    return c && strchr("<>^=", c);
}

static bool read_number(struct jinja *j, struct str s, size_t *at, int64_t *out)
{
    *out = 0;
    for (; *at < s.len && s.ptr[*at] >= '0' && s.ptr[*at] <= '9'; ++*at) {
        *out = *out * 10 + (s.ptr[*at] - '0');
        if (*out > INT32_MAX)
            return jinja_fail(j, "too many decimal digits in format string");
    }
    return true;
}

static bool read_spec(struct jinja *j, struct str s, struct spec *spec)
{
    uint32_t c;
    size_t at = 0;
    *spec = (struct spec){.fill = STR(" "), .sign = '-', .precision = -1};
    size_t first = s.len ? jinja_point(s, 0, &c) : 0;
    if (first && first < s.len && is_align(s.ptr[first])) {
        spec->fill = str_slice(s, 0, first);
        spec->align = s.ptr[first];
        at = first + 1;
    } else if (first && is_align(s.ptr[0])) {
        spec->align = s.ptr[at++];
    }
    if (at < s.len && s.ptr[at] && strchr("+- ", s.ptr[at]))
        spec->sign = s.ptr[at++];
    if (at < s.len && s.ptr[at] == '#') {
        spec->alternate = true;
        at++;
    }
    if (at < s.len && s.ptr[at] == '0') {
        if (!spec->align) {
            spec->fill = STR("0");
            spec->align = '=';
        }
        at++;
    }
    if (!read_number(j, s, &at, &spec->width))
        return false;
    if (at < s.len && (s.ptr[at] == ',' || s.ptr[at] == '_'))
        spec->grouping = s.ptr[at++];
    if (at < s.len && s.ptr[at] == '.') {
        at++;
        if (at >= s.len || !isdigit((unsigned char)s.ptr[at]))
            return jinja_fail(j, "format specifier missing precision");
        if (!read_number(j, s, &at, &spec->precision))
            return false;
    }
    if (at < s.len)
        spec->type = s.ptr[at++];
    return at == s.len || jinja_fail(j, "invalid format specifier");
}

static bool put_padded(struct jinja *j, const struct spec *spec, struct str prefix, struct str text,
                       char align)
{
    struct value v;
    if (!jinja_borrow(j, text, &v))
        return false;
    int64_t n = (int64_t)(value_points(v) + prefix.len);
    uint64_t missing = spec->width > n ? (uint64_t)(spec->width - n) : 0;
    uint64_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
    return jinja_put_repeat(j, spec->fill, left) && jinja_put(j, prefix.ptr, prefix.len) &&
           jinja_put_repeat(j, spec->fill, align == '=' ? missing : 0) &&
           jinja_put(j, text.ptr, text.len) &&
           jinja_put_repeat(j, spec->fill, align == '=' ? 0 : missing - left);
}

/* Separators between groups of three (or four, for powers of two) of the leading digits. */
static bool group_digits(struct jinja *j, struct str digits, char separator, int size,
                         struct value *out)
{
    size_t mark = jinja_mark(j), n = 0;
    while (n < digits.len && isxdigit((unsigned char)digits.ptr[n]) && digits.ptr[n] != 'e' &&
           digits.ptr[n] != 'E')
        n++;
    for (size_t i = 0; i < n; i++)
        if ((i > 0 && (n - i) % (size_t)size == 0 && !jinja_put(j, &separator, 1)) ||
            !jinja_put(j, digits.ptr + i, 1))
            return false;
    return jinja_put(j, digits.ptr + n, digits.len - n) && jinja_take(j, mark, out);
}

static bool put_number(struct jinja *j, const struct spec *spec, bool negative,
                       const char *base_prefix, struct str digits)
{
    char prefix[4] = {0};
    snprintf(prefix, sizeof prefix, "%s%s",
             negative            ? "-"
             : spec->sign == '-' ? ""
             : spec->sign == '+' ? "+"
                                 : " ",
             base_prefix);
    struct value grouped;
    if (spec->grouping) {
        bool power = spec->type && strchr("xXob", spec->type);
        if (!group_digits(j, digits, spec->grouping, power ? 4 : 3, &grouped))
            return false;
        digits = value_str(grouped);
    }
    return put_padded(j, spec, str_of(prefix), digits, spec->align ? spec->align : '>');
}

static bool put_int(struct jinja *j, struct spec *spec, int64_t value)
{
    char digits[72];
    size_t at = sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    unsigned base = spec->type == 'x' || spec->type == 'X' ? 16
                    : spec->type == 'o'                    ? 8
                    : spec->type == 'b'                    ? 2
                                                           : 10;
    const char *letters = spec->type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    char base_prefix[3] = {'0', spec->type, 0};
    if (spec->precision >= 0)
        return jinja_fail(j, "precision not allowed in integer format specifier");
    do {
        digits[--at] = letters[rest % base];
        rest /= base;
    } while (rest);
    return put_number(j, spec, value < 0, spec->alternate && base != 10 ? base_prefix : "",
                      (struct str){digits + at, sizeof digits - at});
}

static bool put_float(struct jinja *j, struct spec *spec, double value)
{
    char digits[MAX_DIGITS], pattern[8];
    char type = spec->type == 'n' || spec->type == 0 ? 'g' : spec->type;
    bool percent = type == '%', negative = signbit(value) && !isnan(value);
    int64_t precision = spec->precision < 0 ? 6 : spec->precision;
    if (precision > MAX_PRECISION)
        return jinja_fail_status(j, HTH_ERROR_LIMIT, "a precision of more than %d digits",
                                 MAX_PRECISION);
    if (spec->type == 0 && spec->precision < 0) {
        jinja_float_repr(fabs(value), digits);
    } else {
        snprintf(pattern, sizeof pattern, "%%%s.*%c", spec->alternate ? "#" : "",
                 percent ? 'f' : type);
        int n = snprintf(digits, sizeof digits - 2, pattern, (int)precision,
                         fabs(percent ? value * 100 : value));
        if (n < 0 || n >= MAX_DIGITS - 2)
            return jinja_fail(j, "a number too long to print");
        if (spec->type == 0 && !strpbrk(digits, ".en"))
            strcat(digits, ".0");
    }
    if (percent)
        strcat(digits, "%");
    return put_number(j, spec, negative, "", str_of(digits));
}

static bool put_string(struct jinja *j, const struct spec *spec, struct value v)
{
    struct str text = value_str(v);
    if (spec->align == '=' && spec->fill.ptr[0] != '0')
        return jinja_fail(j, "'=' alignment not allowed in string format specifier");
    if (spec->precision >= 0)
        text = str_slice(text, 0, jinja_point_offset(v, (size_t)spec->precision));
    char align = spec->align == 0 || spec->align == '=' ? '<' : spec->align;
    return put_padded(j, spec, STR(""), text, align);
}

static bool bad_type(struct jinja *j, char type, struct value v)
{
    return jinja_fail(j, "unknown format code '%c' for object of type '%s'", type,
                      value_type_name(v));
}

bool jinja_put_formatted(struct jinja *j, struct value v, struct str text)
{
    struct spec spec;
    if (text.len == 0)
        return jinja_put_text(j, v);
    if (!read_spec(j, text, &spec))
        return false;
    if (v.kind == VALUE_STRING)
        return spec.type && spec.type != 's' ? bad_type(j, spec.type, v) : put_string(j, &spec, v);
    if (!value_is_number(v))
        return jinja_fail(j, "unsupported format string passed to %s.__format__",
                          value_type_name(v));
    if (v.kind != VALUE_FLOAT && spec.type == 'c') {
        int64_t c = value_to_int(v);
        if (c < 0 || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
            return jinja_fail(j, "%%c arg not in range(0x110000)");
        return jinja_put_point(j, (uint32_t)c);
    }
    if (v.kind != VALUE_FLOAT && (!spec.type || strchr("dnxXob", spec.type)))
        return put_int(j, &spec, value_to_int(v));
    if (spec.type && !strchr("eEfFgGn%", spec.type))
        return bad_type(j, spec.type, v);
    return put_float(j, &spec, value_to_double(v));
}
