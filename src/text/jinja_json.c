#include "text/jinja_value.h"

#include <math.h>

#include <jansson.h>

/* JSON in, and out as Python's json.dumps writes it. */

static bool object_from_json(struct jinja *j, const json_t *json, struct value *out)
{
    struct dict *dict = jinja_dict_new(j);
    if (!dict)
        return false;
    json_t *object = (json_t *)json; /* jansson's iterators are not const; nothing is changed */
    for (void *it = json_object_iter(object); it; it = json_object_iter_next(object, it)) {
        struct value key, value;
        struct str name = {json_object_iter_key(it), json_object_iter_key_len(it)};
        if (!jinja_string(j, name, &key) ||
            !jinja_from_json(j, json_object_iter_value(it), &value) ||
            !jinja_dict_set(j, dict, key, value))
            return false;
    }
    *out = value_dict(dict);
    return true;
}

static bool array_from_json(struct jinja *j, const json_t *json, struct value *out)
{
    struct list *list = jinja_list_new(j, json_array_size(json));
    struct value item;
    if (!list)
        return false;
    for (size_t i = 0; i < json_array_size(json); i++)
        if (!jinja_from_json(j, json_array_get(json, i), &item) ||
            !jinja_list_append(j, list, item))
            return false;
    *out = value_list(list);
    return true;
}

bool jinja_from_json(struct jinja *j, const struct json_t *json, struct value *out)
{
    bool ok = true;
    if (!jinja_enter(j))
        return false;
    switch (json_typeof(json)) {
    case JSON_OBJECT: ok = object_from_json(j, json, out); break;
    case JSON_ARRAY: ok = array_from_json(j, json, out); break;
    case JSON_STRING:
        ok = jinja_string(j, (struct str){json_string_value(json), json_string_length(json)}, out);
        break;
    case JSON_INTEGER: *out = value_int(json_integer_value(json)); break;
    case JSON_REAL: *out = value_float(json_real_value(json)); break;
    case JSON_TRUE: *out = value_bool(true); break;
    case JSON_FALSE: *out = value_bool(false); break;
    case JSON_NULL: *out = value_none(); break;
    }
    jinja_leave(j);
    return ok;
}

static bool put_json_point(struct jinja *j, uint32_t c)
{
    if (c < 0x10000)
        return jinja_put_printf(j, "\\u%04x", (unsigned)c);
    c -= 0x10000;
    return jinja_put_printf(j, "\\u%04x\\u%04x", (unsigned)(0xd800 + (c >> 10)),
                            (unsigned)(0xdc00 + (c & 0x3ff)));
}

static bool put_json_string(struct jinja *j, struct str text, bool ascii)
{
    static const char escapes[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    uint32_t c;
    if (!jinja_put(j, "\"", 1))
        return false;
    for (size_t at = 0; at < text.len;) {
        size_t len = jinja_point(text, at, &c), i = 0;
        while (i + 1 < sizeof escapes && (unsigned char)escapes[i] != c)
            i += 2;
        bool ok;
        if (c && i + 1 < sizeof escapes)
            ok = jinja_put(j, "\\", 1) && jinja_put(j, &escapes[i + 1], 1);
        else if (c < 0x20 || (ascii && c > 0x7e))
            ok = put_json_point(j, c);
        else
            ok = jinja_put(j, text.ptr + at, len);
        if (!ok)
            return false;
        at += len;
    }
    return jinja_put(j, "\"", 1);
}

static bool put_json_float(struct jinja *j, double value)
{
    char text[32];
    if (isnan(value))
        return jinja_put_str(j, "NaN");
    if (isinf(value))
        return jinja_put_str(j, value > 0 ? "Infinity" : "-Infinity");
    jinja_float_repr(value, text);
    return jinja_put_str(j, text);
}

static bool put_line(struct jinja *j, const struct json_style *style, int level)
{
    return !style->indented ||
           (jinja_put(j, "\n", 1) && jinja_put_repeat(j, style->indent, (uint64_t)level));
}

static bool put_separator(struct jinja *j, const struct json_style *style, size_t i, int level)
{
    return (i == 0 || jinja_put(j, style->item_separator.ptr, style->item_separator.len)) &&
           put_line(j, style, level);
}

static bool put_array(struct jinja *j, const struct list *list, const struct json_style *style,
                      int level)
{
    if (list->count == 0)
        return jinja_put_str(j, "[]");
    if (!jinja_put(j, "[", 1))
        return false;
    for (size_t i = 0; i < list->count; i++)
        if (!put_separator(j, style, i, level + 1) ||
            !jinja_put_json(j, list->items[i], style, level + 1))
            return false;
    return put_line(j, style, level) && jinja_put(j, "]", 1);
}

static bool put_key(struct jinja *j, struct value key, const struct json_style *style)
{
    if (key.kind == VALUE_STRING)
        return put_json_string(j, value_str(key), style->ascii);
    if (!value_is_number(key) && key.kind != VALUE_NONE)
        return jinja_fail(j, "keys must be str, int, float, bool or None, not %s",
                          value_type_name(key));
    return jinja_put(j, "\"", 1) && jinja_put_json(j, key, style, 0) && jinja_put(j, "\"", 1);
}

/* The entries as (key, value) in the order to write. */
static bool order_entries(struct jinja *j, const struct dict *dict, bool sorted,
                          struct value **keys, struct value **values)
{
    *keys = jinja_alloc(j, dict->count, sizeof **keys);
    *values = jinja_alloc(j, dict->count, sizeof **values);
    if (!*keys || !*values)
        return false;
    for (size_t i = 0; i < dict->count; i++) {
        (*keys)[i] = dict->entries[i].key;
        (*values)[i] = dict->entries[i].value;
    }
    return !sorted || jinja_sort(j, *values, *keys, dict->count, false);
}

static bool put_object(struct jinja *j, const struct dict *dict, const struct json_style *style,
                       int level)
{
    struct value *keys, *values;
    if (dict->count == 0)
        return jinja_put_str(j, "{}");
    if (!jinja_put(j, "{", 1) || !order_entries(j, dict, style->sorted, &keys, &values))
        return false;
    for (size_t i = 0; i < dict->count; i++)
        if (!put_separator(j, style, i, level + 1) || !put_key(j, keys[i], style) ||
            !jinja_put(j, style->key_separator.ptr, style->key_separator.len) ||
            !jinja_put_json(j, values[i], style, level + 1))
            return false;
    return put_line(j, style, level) && jinja_put(j, "}", 1);
}

bool jinja_put_json(struct jinja *j, struct value v, const struct json_style *style, int level)
{
    bool ok;
    if (!jinja_enter(j) || !jinja_step(j))
        return false;
    switch ((enum value_kind)v.kind) {
    case VALUE_NONE: ok = jinja_put_str(j, "null"); break;
    case VALUE_BOOL: ok = jinja_put_str(j, v.boolean ? "true" : "false"); break;
    case VALUE_INT: ok = jinja_put_printf(j, "%lld", (long long)v.integer); break;
    case VALUE_FLOAT: ok = put_json_float(j, v.real); break;
    case VALUE_STRING: ok = put_json_string(j, value_str(v), style->ascii); break;
    case VALUE_LIST:
    case VALUE_TUPLE: ok = put_array(j, v.list, style, level); break;
    case VALUE_DICT: ok = put_object(j, v.dict, style, level); break;
    default: ok = jinja_fail(j, "Object of type %s is not JSON serializable", value_type_name(v));
    }
    jinja_leave(j);
    return ok;
}
