#include "base/str.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include "base/mem.h"

bool str_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool str_equal_nocase(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return false;
    return true;
}

bool str_starts_with(struct str text, struct str prefix)
{
    return text.len >= prefix.len && str_equal(str_slice(text, 0, prefix.len), prefix);
}

bool str_ends_with(struct str text, struct str suffix)
{
    return text.len >= suffix.len &&
           str_equal(str_slice(text, text.len - suffix.len, text.len), suffix);
}

int str_compare(struct str a, struct str b)
{
    size_t common = a.len < b.len ? a.len : b.len;
    int order = common ? memcmp(a.ptr, b.ptr, common) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

struct str str_slice(struct str text, size_t from, size_t to)
{
    to = to > text.len ? text.len : to;
    from = from > to ? to : from;
    return (struct str){text.ptr ? text.ptr + from : NULL, to - from};
}

static bool reserve(struct strbuf *buf, size_t more)
{
    if (buf->failed || more > SIZE_MAX / 2 - buf->len)
        buf->failed = true;
    if (buf->failed)
        return false;
    char *grown = mem_grow(buf->ptr, &buf->capacity, buf->len + more + 1, 1);
    if (!grown) {
        buf->failed = true;
        return false;
    }
    buf->ptr = grown;
    return true;
}

void strbuf_reserve(struct strbuf *buf, size_t more)
{
    bool ignored = reserve(buf, more); /* `failed` says it */
    (void)ignored;
}

void strbuf_append(struct strbuf *buf, struct str text)
{
    /* a piece of the buffer itself moves with it */
    uintptr_t from = (uintptr_t)text.ptr, start = (uintptr_t)buf->ptr;
    bool own = buf->ptr && from >= start && from - start < buf->len;
    if (!reserve(buf, text.len))
        return;
    if (own)
        text.ptr = buf->ptr + (from - start);
    if (text.len)
        memcpy(buf->ptr + buf->len, text.ptr, text.len);
    buf->len += text.len;
    buf->ptr[buf->len] = '\0';
}

void strbuf_append_char(struct strbuf *buf, char c)
{
    strbuf_append(buf, (struct str){&c, 1});
}

void strbuf_append_utf8(struct strbuf *buf, unsigned cp)
{
    char bytes[4];
    size_t n = 0;
    if (cp > 0x10ffff || (cp >= 0xd800 && cp <= 0xdfff))
        cp = 0xfffd; /* no character: UTF-8 has no bytes for it */
    if (cp < 0x80) {
        bytes[n++] = (char)cp;
    } else if (cp < 0x800) {
        bytes[n++] = (char)(0xc0 | cp >> 6);
        bytes[n++] = (char)(0x80 | (cp & 0x3f));
    } else if (cp < 0x10000) {
        bytes[n++] = (char)(0xe0 | cp >> 12);
        bytes[n++] = (char)(0x80 | (cp >> 6 & 0x3f));
        bytes[n++] = (char)(0x80 | (cp & 0x3f));
    } else {
        bytes[n++] = (char)(0xf0 | cp >> 18);
        bytes[n++] = (char)(0x80 | (cp >> 12 & 0x3f));
        bytes[n++] = (char)(0x80 | (cp >> 6 & 0x3f));
        bytes[n++] = (char)(0x80 | (cp & 0x3f));
    }
    strbuf_append(buf, (struct str){bytes, n});
}

void strbuf_printf(struct strbuf *buf, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (len < 0)
        buf->failed = true;
    if (len < 0 || !reserve(buf, (size_t)len))
        return;
    va_start(args, fmt);
    vsnprintf(buf->ptr + buf->len, (size_t)len + 1, fmt, args);
    va_end(args);
    buf->len += (size_t)len;
}

void strbuf_clear(struct strbuf *buf)
{
    buf->len = 0;
    buf->failed = false;
    if (buf->ptr)
        buf->ptr[0] = '\0';
}

void strbuf_free(struct strbuf *buf)
{
    mem_free(buf->ptr);
    *buf = (struct strbuf){0};
}
