#include "text/jinja_value.h"

#include <stdio.h>

#include "base/os.h"

/* Failing, counting, and text under construction. */

enum { CHECK_EVERY = 512 };

bool jinja_fail_status(struct jinja *j, enum hth_status status, const char *fmt, ...)
{
    if (j->status != HTH_OK)
        return false;
    char text[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    j->status = log_fail(j->log, status, "%s, line %d: %s", j->name, j->line, text);
    return false;
}

bool jinja_fail(struct jinja *j, const char *fmt, ...)
{
    char text[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return jinja_fail_status(j, HTH_ERROR_FORMAT, "%s", text);
}

bool jinja_fail_undefined(struct jinja *j, struct value v)
{
    const struct undefined *u = v.undefined;
    if (u->hint)
        return jinja_fail(j, "%s", u->hint);
    size_t mark = jinja_mark(j);
    bool is_string = u->name.kind == VALUE_STRING;
    if (!(is_string ? jinja_put_string_repr(j, value_str(u->name)) : jinja_put_repr(j, u->name)))
        return false;
    struct value name;
    if (!jinja_take(j, mark, &name))
        return false;
    int len = name.text->len < 200 ? (int)name.text->len : 200;
    if (!u->has_object)
        return jinja_fail(j, "%.*s is undefined", len, name.text->ptr);
    const char *space = u->object.kind == VALUE_NONE ? "" : " object";
    const char *type = u->object.kind == VALUE_NONE ? "None" : value_type_name(u->object);
    if (is_string)
        return jinja_fail(j, "'%s%s' has no attribute %.*s", type, space, len, name.text->ptr);
    return jinja_fail(j, "%s%s has no element %.*s", type, space, len, name.text->ptr);
}

bool jinja_check_limits(struct jinja *j)
{
    if (j->status != HTH_OK)
        return false;
    if (j->steps > j->limits.max_steps)
        return jinja_fail_status(j, HTH_ERROR_LIMIT,
                                 "stopped after %llu steps: the template may never end",
                                 (unsigned long long)j->limits.max_steps);
    if (os_time_ns() > j->deadline_ns)
        return jinja_fail_status(j, HTH_ERROR_LIMIT,
                                 "stopped after %u ms: the template may never end",
                                 (unsigned)j->limits.max_time_ms);
    uint64_t left = j->limits.max_steps - j->steps;
    j->next_check = j->steps + (left < CHECK_EVERY ? left + 1 : CHECK_EVERY);
    return true;
}

bool jinja_enter(struct jinja *j)
{
    if (++j->call_depth <= j->limits.max_depth)
        return true;
    return jinja_fail_status(j, HTH_ERROR_LIMIT,
                             "macros or values are nested more than %d levels deep",
                             j->limits.max_depth);
}

static bool out_of_memory(struct jinja *j)
{
    if (j->status == HTH_OK)
        j->status = log_fail(j->log, HTH_ERROR_MEMORY,
                             "%s: out of memory while it is read or rendered", j->name);
    return false;
}

void *jinja_alloc(struct jinja *j, size_t count, size_t size)
{
    size_t room =
        j->limits.max_memory > j->arena.used_bytes ? j->limits.max_memory - j->arena.used_bytes : 0;
    if (size && count > room / size) {
        (void)jinja_fail_status(j, HTH_ERROR_LIMIT, "the values of the template exceed %zu bytes",
                                j->limits.max_memory);
        return NULL;
    }
    void *ptr = jinja_charge(j, count * size / 8) ? arena_calloc(&j->arena, count, size) : NULL;
    if (!ptr)
        (void)out_of_memory(j);
    return ptr;
}

bool jinja_put(struct jinja *j, const char *ptr, size_t len)
{
    if (len > j->limits.max_output || j->out->len - j->out_start > j->limits.max_output - len)
        return jinja_fail_status(j, HTH_ERROR_LIMIT, "the text exceeds %zu bytes",
                                 j->limits.max_output);
    strbuf_append(j->out, (struct str){ptr, len});
    if (j->out->failed)
        return out_of_memory(j);
    return jinja_charge(j, len / 8);
}

bool jinja_put_str(struct jinja *j, const char *text)
{
    return jinja_put(j, text, strlen(text));
}

bool jinja_put_point(struct jinja *j, uint32_t c)
{
    char bytes[4];
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        bytes[i] = (char)(0x80 | (c & 0x3f));
    bytes[0] = (char)(first[n == 1 ? 0 : n] | c);
    return jinja_put(j, bytes, n);
}

bool jinja_put_repeat(struct jinja *j, struct str unit, uint64_t count)
{
    if (unit.len == 0)
        return true;
    if (count > j->limits.max_output / unit.len)
        return jinja_fail_status(j, HTH_ERROR_LIMIT, "the text exceeds %zu bytes",
                                 j->limits.max_output);
    char block[256]; /* several at once: a step each would be too many */
    size_t per_block = unit.len < sizeof block ? sizeof block / unit.len : 1;
    for (size_t i = 0; unit.len * per_block <= sizeof block && i < per_block; i++)
        memcpy(block + i * unit.len, unit.ptr, unit.len);
    for (; count >= per_block && per_block > 1; count -= per_block)
        if (!jinja_put(j, block, per_block * unit.len))
            return false;
    for (; count > 0; count--)
        if (!jinja_put(j, unit.ptr, unit.len))
            return false;
    return true;
}

bool jinja_put_printf(struct jinja *j, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof text)
        return jinja_fail(j, "a number too long to print");
    return jinja_put(j, text, (size_t)n);
}

bool jinja_take(struct jinja *j, size_t mark, struct value *out)
{
    bool ok = jinja_string(j, str_slice(strbuf_str(j->out), mark, j->out->len), out);
    j->out->len = mark;
    if (j->out->ptr)
        j->out->ptr[mark] = 0;
    return ok;
}
