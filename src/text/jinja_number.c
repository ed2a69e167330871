#include "text/jinja_value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* Numbers as Python's: floor division, true division, exact comparisons elsewhere; integers are 64
 * bits and say so when they overflow. */

static bool overflow(struct jinja *j)
{
    return jinja_fail(j, "an integer too large for 64 bits");
}

/* The shortest digits that read back as the same double; an exponent below 1e-4 and from 1e16. */
void jinja_float_repr(double value, char out[32])
{
    char digits[32];
    if (isnan(value) || isinf(value)) {
        snprintf(out, 32, "%s", isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
        return;
    }
    int precision = 0;
    do
        snprintf(digits, sizeof digits, "%.*e", precision, value);
    while (strtod(digits, NULL) != value && ++precision < 17);
    char *mark = strchr(digits, 'e');
    int exponent = atoi(mark + 1);
    if (exponent < -4 || exponent >= 16) {
        snprintf(out, 32, "%.*se%c%02d", (int)(mark - digits), digits, exponent < 0 ? '-' : '+',
                 abs(exponent));
        return;
    }
    int decimals = precision - exponent;
    snprintf(out, 32, "%.*f", decimals > 1 ? decimals : 1, value);
}

bool jinja_parse_float(struct str text, double *out)
{
    char clean[512];
    size_t n = 0;
    text = jinja_strip(text, true, true);
    if (text.len == 0 || text.len >= sizeof clean)
        return false;
    bool digit_before = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        bool digit = c >= '0' && c <= '9';
        if (c == '_') {
            if (!digit_before || i + 1 >= text.len || text.ptr[i + 1] < '0' ||
                text.ptr[i + 1] > '9')
                return false;
            continue;
        }
        if (c == 0 || (c | 32) == 'x' || c == '(' || c == 'p' || c == 'P')
            return false;
        digit_before = digit;
        clean[n++] = c;
    }
    clean[n] = 0;
    char first = clean[clean[0] == '-' || clean[0] == '+'];
    if (first != '.' && !(first >= '0' && first <= '9') && (first | 32) != 'i' &&
        (first | 32) != 'n')
        return false;
    char *end;
    *out = strtod(clean, &end);
    return *end == 0;
}

enum parsed_int jinja_parse_int(struct str text, int base, int64_t *out)
{
    text = jinja_strip(text, true, true);
    size_t at = 0;
    bool negative = false, digit_before = false;
    if (at < text.len && (text.ptr[at] == '-' || text.ptr[at] == '+'))
        negative = text.ptr[at++] == '-';
    if (text.len - at > 2 && text.ptr[at] == '0') {
        char kind = (char)(text.ptr[at + 1] | 32);
        int prefixed = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
        if (prefixed && (base == prefixed || base == 0)) {
            base = prefixed;
            at += 2;
            digit_before = true; /* an underscore may follow the prefix */
        }
    }
    if (base == 0)
        base = 10;
    *out = 0;
    bool any = false, big = false;
    for (; at < text.len; at++) {
        char c = text.ptr[at], lower = (char)(c | 32);
        int digit = c >= '0' && c <= '9' ? c - '0' : lower >= 'a' && lower <= 'z' ? lower - 87 : 99;
        if (c == '_' && digit_before) {
            digit_before = false;
            continue;
        }
        if (digit >= base)
            return PARSED_NOT;
        any = digit_before = true;
        big = big || __builtin_mul_overflow(*out, base, out) ||
              (negative ? __builtin_sub_overflow(*out, digit, out)
                        : __builtin_add_overflow(*out, digit, out));
    }
    if (!any || !digit_before)
        return PARSED_NOT;
    return big ? PARSED_TOO_BIG : PARSED_INT;
}

bool jinja_float_to_int(struct jinja *j, double value, int64_t *out)
{
    if (isnan(value))
        return jinja_fail(j, "cannot convert float NaN to integer");
    if (isinf(value))
        return jinja_fail(j, "cannot convert float infinity to integer");
    if (!(value > -0x1p63 && value < 0x1p63))
        return overflow(j);
    *out = (int64_t)value;
    return true;
}

/* a**b for b >= 0, by squaring. */
static bool power_int(struct jinja *j, int64_t a, int64_t b, int64_t *out)
{
    int64_t result = 1;
    while (b > 0) {
        if ((b & 1) && __builtin_mul_overflow(result, a, &result))
            return overflow(j);
        b >>= 1;
        if (b > 0 && __builtin_mul_overflow(a, a, &a))
            return overflow(j);
    }
    *out = result;
    return true;
}

static bool binary_ints(struct jinja *j, enum binary_op op, int64_t a, int64_t b, struct value *out)
{
    int64_t r = 0;
    bool big = false;
    if ((op == OP_FLOORDIV || op == OP_MOD || op == OP_DIV) && b == 0)
        return jinja_fail(j,
                          op == OP_DIV ? "division by zero" : "integer division or modulo by zero");
    switch (op) {
    case OP_ADD: big = __builtin_add_overflow(a, b, &r); break;
    case OP_SUB: big = __builtin_sub_overflow(a, b, &r); break;
    case OP_MUL: big = __builtin_mul_overflow(a, b, &r); break;
    case OP_FLOORDIV:
        if (b == -1)
            big = __builtin_sub_overflow(0, a, &r);
        else
            r = a / b - (a % b != 0 && (a % b < 0) != (b < 0));
        break;
    case OP_MOD:
        if (b != -1)
            r = a % b + (a % b != 0 && (a % b < 0) != (b < 0) ? b : 0);
        break;
    case OP_DIV: *out = value_float((double)a / (double)b); return true;
    case OP_POW:
        if (b < 0 && a == 0)
            return jinja_fail(j, "0.0 cannot be raised to a negative power");
        if (b < 0) {
            *out = value_float(pow((double)a, (double)b));
            return true;
        }
        if (!power_int(j, a, b, &r))
            return false;
        break;
    }
    *out = value_int(r);
    return !big || overflow(j);
}

/* a - floor(a / b) * b with the sign of b, as float.__mod__. */
static double mod_floats(double a, double b)
{
    double mod = fmod(a, b);
    if (mod != 0)
        return (b < 0) != (mod < 0) ? mod + b : mod;
    return copysign(0.0, b);
}

static double floordiv_floats(double a, double b)
{
    double mod = fmod(a, b), div = (a - mod) / b;
    if (mod != 0 && (b < 0) != (mod < 0))
        div -= 1;
    if (div == 0)
        return copysign(0.0, a / b);
    double whole = floor(div);
    return div - whole > 0.5 ? whole + 1 : whole;
}

static bool binary_floats(struct jinja *j, enum binary_op op, double a, double b, struct value *out)
{
    double r = 0;
    if ((op == OP_FLOORDIV || op == OP_MOD || op == OP_DIV) && b == 0)
        return jinja_fail(j, op == OP_DIV        ? "float division by zero"
                             : op == OP_FLOORDIV ? "float floor division by zero"
                                                 : "float modulo");
    switch (op) {
    case OP_ADD: r = a + b; break;
    case OP_SUB: r = a - b; break;
    case OP_MUL: r = a * b; break;
    case OP_DIV: r = a / b; break;
    case OP_FLOORDIV: r = floordiv_floats(a, b); break;
    case OP_MOD: r = mod_floats(a, b); break;
    case OP_POW:
        if (a == 0 && b < 0)
            return jinja_fail(j, "0.0 cannot be raised to a negative power");
        r = pow(a, b);
        if (isinf(r) && isfinite(a) && isfinite(b))
            return jinja_fail(j, "the result of '**' is too large");
        if (isnan(r) && !isnan(a) && !isnan(b))
            return jinja_fail(j, "the result of '**' is a complex number, which hearth lacks");
        break;
    }
    *out = value_float(r);
    return true;
}

static bool add_strings(struct jinja *j, struct value a, struct value b, struct value *out)
{
    size_t mark = jinja_mark(j);
    bool safe = a.markup || b.markup;
    bool ok = (safe && !a.markup ? jinja_put_escaped(j, value_str(a)) : jinja_put_text(j, a)) &&
              (safe && !b.markup ? jinja_put_escaped(j, value_str(b)) : jinja_put_text(j, b)) &&
              jinja_take(j, mark, out);
    out->markup = safe;
    return ok;
}

static bool add_lists(struct jinja *j, struct value a, struct value b, struct value *out)
{
    struct list *list = jinja_list_new(j, a.list->count + b.list->count);
    if (!list)
        return false;
    for (size_t i = 0; i < a.list->count; i++)
        list->items[list->count++] = a.list->items[i];
    for (size_t i = 0; i < b.list->count; i++)
        list->items[list->count++] = b.list->items[i];
    *out = (struct value){.kind = a.kind, .list = list};
    return true;
}

static bool repeat(struct jinja *j, struct value v, int64_t count, struct value *out)
{
    if (count < 0)
        count = 0;
    if (v.kind == VALUE_STRING) {
        size_t mark = jinja_mark(j);
        bool ok = jinja_put_repeat(j, value_str(v), (uint64_t)count) && jinja_take(j, mark, out);
        out->markup = v.markup;
        return ok;
    }
    size_t n = v.list->count;
    if (n && (uint64_t)count > SIZE_MAX / 64 / n)
        return jinja_fail_status(j, HTH_ERROR_LIMIT, "a list too long to repeat");
    struct list *list = jinja_list_new(j, n * (size_t)count);
    if (!list)
        return false;
    for (size_t i = 0; i < n * (size_t)count; i++)
        list->items[list->count++] = v.list->items[i % n];
    *out = (struct value){.kind = v.kind, .list = list};
    return jinja_charge(j, n * (size_t)count);
}

static bool is_sequence(struct value v)
{
    return v.kind == VALUE_STRING || v.kind == VALUE_LIST || v.kind == VALUE_TUPLE;
}

bool jinja_binary(struct jinja *j, enum binary_op op, struct value a, struct value b,
                  struct value *out)
{
    static const char *const names[] = {"+", "-", "*", "/", "//", "%", "** or pow()"};
    if (value_is_integer(a) && value_is_integer(b))
        return binary_ints(j, op, value_to_int(a), value_to_int(b), out);
    if (value_is_number(a) && value_is_number(b))
        return binary_floats(j, op, value_to_double(a), value_to_double(b), out);
    if (op == OP_MOD && a.kind == VALUE_STRING)
        return jinja_percent(j, a, b, out);
    if (a.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, a);
    if (b.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, b);
    if (op == OP_ADD && a.kind == b.kind && a.kind == VALUE_STRING)
        return add_strings(j, a, b, out);
    if (op == OP_ADD && a.kind == b.kind && is_sequence(a))
        return add_lists(j, a, b, out);
    if (op == OP_MUL && is_sequence(a) && value_is_integer(b))
        return repeat(j, a, value_to_int(b), out);
    if (op == OP_MUL && is_sequence(b) && value_is_integer(a))
        return repeat(j, b, value_to_int(a), out);
    if (op == OP_ADD && a.kind == VALUE_STRING)
        return jinja_fail(j, "can only concatenate str (not \"%s\") to str", value_type_name(b));
    return jinja_fail(j, "unsupported operand type(s) for %s: '%s' and '%s'", names[op],
                      value_type_name(a), value_type_name(b));
}

bool jinja_negate(struct jinja *j, bool minus, struct value a, struct value *out)
{
    if (a.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, a);
    if (a.kind == VALUE_FLOAT) {
        *out = value_float(minus ? -a.real : a.real);
        return true;
    }
    if (!value_is_integer(a))
        return jinja_fail(j, "bad operand type for unary %c: '%s'", minus ? '-' : '+',
                          value_type_name(a));
    if (minus && value_to_int(a) == INT64_MIN)
        return overflow(j);
    *out = value_int(minus ? -value_to_int(a) : value_to_int(a));
    return true;
}
