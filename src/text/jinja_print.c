#include "text/jinja_value.h"

#include "text/jinja_run.h"

/* str() and repr(), https://docs.python.org/3/reference/datamodel.html#object.__repr__ */

static bool put_escape(struct jinja *j, uint32_t c)
{
    const char *simple = c == '\\' ? "\\\\" : c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    if (c == '\\' || c == '\n' || c == '\r' || c == '\t')
        return jinja_put_str(j, simple);
    if (c < 0x100)
        return jinja_put_printf(j, "\\x%02x", (unsigned)c);
    return jinja_put_printf(j, c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
}

bool jinja_put_string_repr(struct jinja *j, struct str text)
{
    bool single = text.len && memchr(text.ptr, '\'', text.len);
    bool both = single && memchr(text.ptr, '"', text.len);
    char quote = single && !both ? '"' : '\'';
    uint32_t c;
    if (!jinja_put(j, &quote, 1))
        return false;
    for (size_t at = 0; at < text.len;) {
        size_t len = jinja_point(text, at, &c);
        bool ok;
        if (c == '\\' || !jinja_is_printable(c))
            ok = put_escape(j, c);
        else if (c == (unsigned char)quote)
            ok = jinja_put_str(j, "\\'");
        else
            ok = jinja_put(j, text.ptr + at, len);
        if (!ok)
            return false;
        at += len;
    }
    return jinja_put(j, &quote, 1);
}

static bool put_items(struct jinja *j, const struct list *list, const char *open, const char *close)
{
    if (!jinja_enter(j) || !jinja_put_str(j, open))
        return false;
    for (size_t i = 0; i < list->count; i++)
        if ((i > 0 && !jinja_put_str(j, ", ")) || !jinja_put_repr(j, list->items[i]))
            return false;
    jinja_leave(j);
    return jinja_put_str(j, close);
}

static bool put_dict(struct jinja *j, const struct dict *dict)
{
    if (!jinja_enter(j) || !jinja_put_str(j, "{"))
        return false;
    for (size_t i = 0; i < dict->count; i++)
        if ((i > 0 && !jinja_put_str(j, ", ")) || !jinja_put_repr(j, dict->entries[i].key) ||
            !jinja_put_str(j, ": ") || !jinja_put_repr(j, dict->entries[i].value))
            return false;
    jinja_leave(j);
    return jinja_put_str(j, "}");
}

static bool put_range(struct jinja *j, const struct range *range)
{
    long long start = range->start, stop = range->stop;
    if (range->step == 1)
        return jinja_put_printf(j, "range(%lld, %lld)", start, stop);
    return jinja_put_printf(j, "range(%lld, %lld, %lld)", start, stop, (long long)range->step);
}

static bool put_view(struct jinja *j, struct value v)
{
    struct list *items;
    return jinja_to_list(j, v, &items) && jinja_put_str(j, value_type_name(v)) &&
           put_items(j, items, "([", "])");
}

static bool put_number(struct jinja *j, struct value v)
{
    char text[32];
    if (v.kind == VALUE_INT)
        return jinja_put_printf(j, "%lld", (long long)v.integer);
    jinja_float_repr(v.real, text);
    return jinja_put_str(j, text);
}

bool jinja_put_repr(struct jinja *j, struct value v)
{
    if (!jinja_step(j))
        return false;
    switch ((enum value_kind)v.kind) {
    case VALUE_ABSENT:
    case VALUE_UNDEFINED: return jinja_put_str(j, "Undefined");
    case VALUE_NONE: return jinja_put_str(j, "None");
    case VALUE_BOOL: return jinja_put_str(j, v.boolean ? "True" : "False");
    case VALUE_INT:
    case VALUE_FLOAT: return put_number(j, v);
    case VALUE_STRING:
        if (v.markup)
            return jinja_put_str(j, "Markup(") && jinja_put_string_repr(j, value_str(v)) &&
                   jinja_put_str(j, ")");
        return jinja_put_string_repr(j, value_str(v));
    case VALUE_LIST: return put_items(j, v.list, "[", "]");
    case VALUE_TUPLE: return put_items(j, v.list, "(", v.list->count == 1 ? ",)" : ")");
    case VALUE_DICT: return put_dict(j, v.dict);
    case VALUE_RANGE: return put_range(j, v.range);
    case VALUE_VIEW: return put_view(j, v);
    case VALUE_NAMESPACE:
        return jinja_put_str(j, "<Namespace ") && put_dict(j, v.dict) && jinja_put_str(j, ">");
    case VALUE_MACRO: return jinja_put_macro(j, v.macro);
    case VALUE_LOOP: return jinja_put_loop(j, v.loop);
    case VALUE_FUNCTION: return jinja_put_printf(j, "<function %s>", v.function->name);
    default: return jinja_put_printf(j, "<%s object>", value_type_name(v));
    }
}

bool jinja_put_text(struct jinja *j, struct value v)
{
    if (v.kind == VALUE_STRING)
        return jinja_put(j, v.text->ptr, v.text->len);
    if (v.kind == VALUE_UNDEFINED)
        return true;
    return jinja_put_repr(j, v);
}

bool jinja_to_text(struct jinja *j, struct value v, struct value *out)
{
    *out = v;
    if (v.kind == VALUE_STRING)
        return true;
    size_t mark = jinja_mark(j);
    return jinja_put_text(j, v) && jinja_take(j, mark, out);
}
