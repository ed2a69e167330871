#include "text/jinja_value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

/* Filters on numbers, JSON, and for the web. */

static bool filter_abs(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    (void)args;
    if (self.kind == VALUE_FLOAT) {
        *out = value_float(fabs(self.real));
        return true;
    }
    if (self.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, self);
    if (!value_is_integer(self))
        return jinja_fail(j, "bad operand type for abs(): '%s'", value_type_name(self));
    return jinja_negate(j, value_to_int(self) < 0, self, out);
}

/* Reading a number takes as long as its text is. */
static bool charge_text(struct jinja *j, struct value v)
{
    return v.kind != VALUE_STRING || jinja_charge(j, v.text->len);
}

static bool filter_int(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    int64_t base = 10, n;
    double real;
    *out = args->slots[0].kind == VALUE_ABSENT ? value_int(0) : args->slots[0];
    if (!charge_text(j, self) ||
        (args->slots[1].kind != VALUE_ABSENT && !jinja_arg_int(j, args->slots[1], "base", &base)))
        return false;
    if (self.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, self);
    if (value_is_integer(self)) {
        *out = value_int(value_to_int(self));
    } else if (self.kind == VALUE_FLOAT && !isnan(self.real)) {
        if (!jinja_float_to_int(j, self.real, &n))
            return false;
        *out = value_int(n);
    } else if (self.kind == VALUE_STRING && base >= 0 && base <= 36 && base != 1) {
        enum parsed_int parsed = jinja_parse_int(value_str(self), (int)base, &n);
        if (parsed == PARSED_TOO_BIG)
            return jinja_fail(j, "an integer too large for 64 bits");
        if (parsed == PARSED_INT) {
            *out = value_int(n);
        } else if (jinja_parse_float(value_str(self), &real) && isfinite(real)) {
            if (!jinja_float_to_int(j, real, &n))
                return false;
            *out = value_int(n);
        }
    }
    return true;
}

static bool filter_float(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    double real;
    *out = args->slots[0].kind == VALUE_ABSENT ? value_float(0) : args->slots[0];
    if (!charge_text(j, self))
        return false;
    if (self.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, self);
    if (value_is_number(self))
        *out = value_float(value_to_double(self));
    else if (self.kind == VALUE_STRING && jinja_parse_float(value_str(self), &real))
        *out = value_float(real);
    return true;
}

/* round(): ties to even, on the exact binary value. */
static double round_common(double value, int64_t precision)
{
    char text[512];
    if (!isfinite(value) || precision > 22)
        return value;
    if (precision < 0) {
        double unit = pow(10, (double)-precision);
        return isfinite(unit) ? nearbyint(value / unit) * unit : copysign(0, value);
    }
    snprintf(text, sizeof text, "%.*f", (int)precision, value);
    return strtod(text, NULL);
}

static bool round_int(struct jinja *j, int64_t value, int64_t precision, struct value *out)
{
    int64_t unit = 1;
    for (; precision < 0; precision++)
        if (__builtin_mul_overflow(unit, 10, &unit)) {
            *out = value_int(0);
            return true;
        }
    int64_t down = value / unit, rest = value % unit;
    if (rest < 0) {
        rest += unit;
        down--;
    }
    if (rest > unit - rest || (rest == unit - rest && (down & 1)))
        down++;
    int64_t result;
    if (__builtin_mul_overflow(down, unit, &result))
        return jinja_fail(j, "an integer too large for 64 bits");
    *out = value_int(result);
    return true;
}

static bool filter_round(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    int64_t precision = 0;
    struct str method = STR("common");
    if ((args->slots[0].kind != VALUE_ABSENT &&
         !jinja_arg_int(j, args->slots[0], "precision", &precision)) ||
        (args->slots[1].kind != VALUE_ABSENT &&
         !jinja_arg_str(j, args->slots[1], "method", &method)))
        return false;
    bool common = str_equal(method, STR("common")), up = str_equal(method, STR("ceil"));
    if (!common && !up && !str_equal(method, STR("floor")))
        return jinja_fail(j, "method must be common, ceil or floor");
    if (self.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, self);
    if (!value_is_number(self))
        return jinja_fail(j, "type %s doesn't define __round__ method", value_type_name(self));
    if (common && value_is_integer(self))
        return round_int(j, value_to_int(self), precision, out);
    double value = value_to_double(self), unit = pow(10, (double)precision);
    if (!common && !isfinite(value))
        return jinja_fail(j, "cannot convert a float that is not finite to integer");
    *out = value_float(common ? round_common(value, precision)
                       : up   ? (ceil(value * unit) + 0.0) / unit
                              : (floor(value * unit) + 0.0) / unit);
    return true;
}

static bool filter_filesizeformat(struct jinja *j, struct value self, struct args *args,
                                  struct value *out)
{
    static const char prefixes[] = "kMGTPEZY";
    bool binary = value_truth(args->slots[0]);
    double bytes, base = binary ? 1024 : 1000, unit = base;
    size_t mark = jinja_mark(j);
    if (!charge_text(j, self))
        return false;
    if (self.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, self);
    if (value_is_number(self))
        bytes = value_to_double(self);
    else if (self.kind != VALUE_STRING || !jinja_parse_float(value_str(self), &bytes))
        return jinja_fail(j, "could not convert a %s to a number of bytes", value_type_name(self));
    if (bytes == 1)
        return jinja_put_str(j, "1 Byte") && jinja_take(j, mark, out);
    if (bytes < base)
        return jinja_put_printf(j, "%.0f Bytes", trunc(bytes) + 0.0) && jinja_take(j, mark, out);
    size_t i = 0;
    for (; i < sizeof prefixes - 2 && !(bytes < unit * base); i++)
        unit *= base;
    char prefix = binary && i == 0 ? 'K' : prefixes[i];
    return jinja_put_printf(j, "%.1f %c%sB", bytes / unit, prefix, binary ? "i" : "") &&
           jinja_take(j, mark, out);
}

static bool json_separators(struct jinja *j, struct value given, struct json_style *style)
{
    if (!value_given(given))
        return true;
    bool pair = (given.kind == VALUE_LIST || given.kind == VALUE_TUPLE) && given.list->count == 2;
    return (pair || jinja_fail(j, "separators must be a pair of strings")) &&
           jinja_arg_str(j, given.list->items[0], "separators", &style->item_separator) &&
           jinja_arg_str(j, given.list->items[1], "separators", &style->key_separator);
}

/* As transformers defines it: json.dumps(value, ensure_ascii=False, …), nothing escaped for HTML.
 */
static bool filter_tojson(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    struct json_style style = {.item_separator = STR(", "), .key_separator = STR(": ")};
    struct value indent = args->slots[1];
    size_t mark = jinja_mark(j);
    struct value spaces;
    style.ascii = value_truth(args->slots[0]);
    style.sorted = value_truth(args->slots[3]);
    if (value_given(indent)) {
        int64_t n = 0;
        style.indented = true;
        style.item_separator = STR(",");
        if (indent.kind == VALUE_STRING) {
            style.indent = value_str(indent);
        } else {
            if (!jinja_arg_int(j, indent, "indent", &n) ||
                !jinja_put_repeat(j, STR(" "), n > 0 ? (uint64_t)n : 0) ||
                !jinja_take(j, mark, &spaces))
                return false;
            style.indent = value_str(spaces);
        }
    }
    return json_separators(j, args->slots[2], &style) && jinja_put_json(j, self, &style, 0) &&
           jinja_take(j, mark, out);
}

/* Not Jinja's: some templates expect the host to bring it. */
static bool filter_from_json(struct jinja *j, struct value self, struct args *args,
                             struct value *out)
{
    struct str text;
    json_error_t error;
    (void)args;
    size_t most = j->limits.max_memory / 64; /* "[],": three bytes become about a hundred */
    if (!jinja_arg_str(j, self, "value", &text) || !charge_text(j, self))
        return false;
    if (text.len > most)
        return jinja_fail_status(j, HTH_ERROR_LIMIT, "from_json: the text exceeds %zu bytes", most);
    json_t *json = json_loadb(text.ptr, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!json)
        return jinja_fail(j, "from_json: %s", error.text);
    bool ok = jinja_from_json(j, json, out);
    json_decref(json);
    return ok;
}

static bool put_quoted(struct jinja *j, struct value v, bool query)
{
    struct value text;
    if (!jinja_to_text(j, v, &text))
        return false;
    for (size_t i = 0; i < text.text->len; i++) {
        unsigned char c = (unsigned char)text.text->ptr[i];
        bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') || c == '_' ||
                     c == '.' || c == '-' || c == '~' || (c == '/' && !query);
        bool ok = plain               ? jinja_put(j, (const char *)&c, 1)
                  : c == ' ' && query ? jinja_put(j, "+", 1)
                                      : jinja_put_printf(j, "%%%02X", c);
        if (!ok)
            return false;
    }
    return true;
}

static bool filter_urlencode(struct jinja *j, struct value self, struct args *args,
                             struct value *out)
{
    size_t mark = jinja_mark(j);
    struct view view = {VIEW_ITEMS, self.dict};
    struct value source = self, item;
    struct cursor cursor;
    bool more;
    (void)args;
    if (self.kind == VALUE_STRING || !value_is_iterable(self))
        return put_quoted(j, self, false) && jinja_take(j, mark, out);
    if (self.kind == VALUE_DICT)
        source = (struct value){.kind = VALUE_VIEW, .view = &view};
    if (!jinja_cursor(j, source, &cursor))
        return false;
    for (bool first = true;; first = false) {
        struct list *pair;
        if (!jinja_next(j, &cursor, &item, &more))
            return false;
        if (!more)
            return jinja_take(j, mark, out);
        if (!jinja_to_list(j, item, &pair))
            return false;
        if (pair->count != 2)
            return jinja_fail(j, "urlencode takes pairs of a name and a value");
        if ((!first && !jinja_put(j, "&", 1)) || !put_quoted(j, pair->items[0], true) ||
            !jinja_put(j, "=", 1) || !put_quoted(j, pair->items[1], true))
            return false;
    }
}

static bool put_xml_text(struct jinja *j, struct value v)
{
    struct value text;
    if (!jinja_to_text(j, v, &text))
        return false;
    return text.markup ? jinja_put_text(j, text) : jinja_put_escaped(j, value_str(text));
}

static bool filter_xmlattr(struct jinja *j, struct value self, struct args *args, struct value *out)
{
    size_t mark = jinja_mark(j);
    bool space = args->slots[0].kind == VALUE_ABSENT || value_truth(args->slots[0]);
    if (self.kind == VALUE_UNDEFINED)
        return jinja_fail_undefined(j, self);
    if (self.kind != VALUE_DICT)
        return jinja_fail(j, "xmlattr takes a mapping, not '%s'", value_type_name(self));
    for (size_t i = 0; i < self.dict->count; i++) {
        struct dict_entry *entry = &self.dict->entries[i];
        struct str key;
        if (!value_given(entry->value) || entry->value.kind == VALUE_UNDEFINED)
            continue;
        if (!jinja_arg_str(j, entry->key, "the name of an attribute", &key))
            return false;
        for (size_t at = 0; at < key.len; at++)
            if (key.ptr[at] && strchr(" \t\n\r\f\v/>=", key.ptr[at]))
                return jinja_fail(j, "invalid character in attribute name");
        if ((space && !jinja_put(j, " ", 1)) || !jinja_put_escaped(j, key) ||
            !jinja_put_str(j, "=\"") || !put_xml_text(j, entry->value) || !jinja_put(j, "\"", 1))
            return false;
        space = true;
    }
    return jinja_take(j, mark, out);
}

const struct jinja_row jinja_misc_filters[] = {
    {"abs", filter_abs, "", 0},
    {"filesizeformat", filter_filesizeformat, "binary", 0},
    {"float", filter_float, "default", 0},
    {"from_json", filter_from_json, "", 0},
    {"int", filter_int, "default base", 0},
    {"pprint", jinja_pprint, "", 0},
    {"round", filter_round, "precision method", 0},
    {"tojson", filter_tojson, "ensure_ascii indent separators sort_keys", 0},
    {"urlencode", filter_urlencode, "", 0},
    {"urlize", jinja_urlize, "trim_url_limit nofollow target rel extra_schemes", 0},
    {"wordwrap", jinja_wordwrap, "width break_long_words wrapstring break_on_hyphens", 0},
    {"xmlattr", filter_xmlattr, "autospace", 0},
    {0},
};
