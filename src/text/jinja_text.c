#include "text/jinja_value.h"

#include <utf8proc.h>

/* Code points, and what filters and methods on strings share. */

size_t jinja_point(struct str text, size_t at, uint32_t *codepoint)
{
    const unsigned char *s = (const unsigned char *)text.ptr + at;
    if (s[0] < 0x80) {
        *codepoint = s[0];
        return 1;
    }
    size_t len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (len > text.len - at) { /* cannot happen in valid text; never read past the end */
        *codepoint = 0xfffd;
        return 1;
    }
    uint32_t c = s[0] & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++)
        c = c << 6 | (s[i] & 0x3f);
    *codepoint = c;
    return len;
}

size_t jinja_point_before(struct str text, size_t to)
{
    do
        to--;
    while (to > 0 && ((unsigned char)text.ptr[to] & 0xc0) == 0x80);
    return to;
}

size_t jinja_point_offset(struct value v, size_t index)
{
    if (value_points(v) == v.text->len)
        return index < v.text->len ? index : v.text->len;
    size_t at = 0;
    while (at < v.text->len) {
        if (((unsigned char)v.text->ptr[at] & 0xc0) != 0x80 && index-- == 0)
            break;
        at++;
    }
    return at;
}

/* str.isspace(): bidirectional type WS, B or S, or category Zs. */
bool jinja_is_space(uint32_t c)
{
    if (c < 0x80)
        return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1c && c <= 0x1f);
    return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
           c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

bool jinja_is_printable(uint32_t c)
{
    if (c < 0x80)
        return c >= 0x20 && c < 0x7f;
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP: return false;
    default: return true;
    }
}

bool jinja_is_word(uint32_t c)
{
    if (c < 0x80)
        return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
               c == '_';
    switch (utf8proc_category((utf8proc_int32_t)c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO: return true;
    default: return false;
    }
}

struct str jinja_strip(struct str text, bool left, bool right)
{
    uint32_t c;
    size_t from = 0, to = text.len;
    while (left && from < to) {
        size_t len = jinja_point(text, from, &c);
        if (!jinja_is_space(c))
            break;
        from += len;
    }
    while (right && to > from) {
        size_t start = jinja_point_before(text, to);
        jinja_point(text, start, &c);
        if (!jinja_is_space(c))
            break;
        to = start;
    }
    return str_slice(text, from, to);
}

static bool is_among(struct jinja *j, struct str set, uint32_t c, bool *found)
{
    uint32_t each;
    *found = false;
    for (size_t at = 0; at < set.len && !*found; *found = each == c)
        at += jinja_point(set, at, &each);
    return jinja_charge(j, set.len);
}

bool jinja_strip_chars(struct jinja *j, struct str text, const struct str *chars, int sides,
                       struct str *out)
{
    uint32_t c;
    bool found = true;
    *out = text;
    if (!chars) {
        *out = jinja_strip(text, sides & STRIP_LEFT, sides & STRIP_RIGHT);
        return jinja_charge(j, text.len - out->len);
    }
    while ((sides & STRIP_LEFT) && out->len > 0 && found) {
        size_t len = jinja_point(*out, 0, &c);
        if (!is_among(j, *chars, c, &found))
            return false;
        if (found)
            *out = str_slice(*out, len, out->len);
    }
    found = true;
    while ((sides & STRIP_RIGHT) && out->len > 0 && found) {
        size_t start = jinja_point_before(*out, out->len);
        jinja_point(*out, start, &c);
        if (!is_among(j, *chars, c, &found))
            return false;
        if (found)
            out->len = start;
    }
    return true;
}

bool jinja_find(struct jinja *j, struct str text, struct str needle, size_t from, size_t *out)
{
    *out = SIZE_MAX;
    if (needle.len == 0) {
        *out = from <= text.len ? from : SIZE_MAX;
        return true;
    }
    while (from < text.len && text.len - from >= needle.len) {
        size_t room = text.len - from - needle.len + 1;
        const char *hit = memchr(text.ptr + from, needle.ptr[0], room);
        size_t scanned = hit ? (size_t)(hit - (text.ptr + from)) : room;
        if (!jinja_charge(j, scanned / 8 + (hit ? needle.len : 0)))
            return false;
        if (!hit)
            return true;
        from += scanned;
        if (memcmp(hit, needle.ptr, needle.len) == 0) {
            *out = from;
            return true;
        }
        from++;
    }
    return true;
}

bool jinja_find_last(struct jinja *j, struct str text, struct str needle, size_t *out)
{
    *out = SIZE_MAX;
    if (needle.len > text.len)
        return true;
    for (size_t at = text.len - needle.len + 1; at-- > 0;) {
        if (!jinja_charge(j, needle.len < 16 ? 0 : needle.len))
            return false;
        if (memcmp(text.ptr + at, needle.ptr, needle.len) == 0) {
            *out = at;
            break;
        }
    }
    return true;
}

/* An empty `old` stands before every character and at the end. */
static bool put_between_points(struct jinja *j, struct str text, struct str new_text, int64_t max)
{
    uint32_t c;
    size_t at = 0;
    for (; max != 0; max--) {
        if (!jinja_put(j, new_text.ptr, new_text.len))
            return false;
        if (at >= text.len)
            return true;
        size_t len = jinja_point(text, at, &c);
        if (!jinja_put(j, text.ptr + at, len))
            return false;
        at += len;
    }
    return jinja_put(j, text.ptr + at, text.len - at);
}

bool jinja_put_replaced(struct jinja *j, struct str text, struct str old, struct str new_text,
                        int64_t max)
{
    if (old.len == 0)
        return put_between_points(j, text, new_text, max);
    size_t at = 0, hit;
    for (; max != 0; max--) {
        if (!jinja_find(j, text, old, at, &hit))
            return false;
        if (hit == SIZE_MAX)
            break;
        if (!jinja_put(j, text.ptr + at, hit - at) || !jinja_put(j, new_text.ptr, new_text.len))
            return false;
        at = hit + old.len;
    }
    return at >= text.len || jinja_put(j, text.ptr + at, text.len - at);
}

/* Line ends of str.splitlines(). */
static bool is_line_end(uint32_t c)
{
    return (c >= 10 && c <= 13) || (c >= 0x1c && c <= 0x1e) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
}

size_t jinja_line_end(struct str text, size_t from, size_t *next)
{
    uint32_t c;
    for (size_t at = from; at < text.len;) {
        size_t len = jinja_point(text, at, &c);
        if (is_line_end(c)) {
            *next = at + len;
            if (c == '\r' && *next < text.len && text.ptr[*next] == '\n')
                ++*next;
            return at;
        }
        at += len;
    }
    *next = text.len;
    return text.len;
}

bool jinja_put_escaped(struct jinja *j, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        const char *safe = NULL;
        switch (text.ptr[i]) {
        case '&': safe = "&amp;"; break;
        case '<': safe = "&lt;"; break;
        case '>': safe = "&gt;"; break;
        case '\'': safe = "&#39;"; break;
        case '"': safe = "&#34;"; break;
        default: break;
        }
        if (!(safe ? jinja_put_str(j, safe) : jinja_put(j, text.ptr + i, 1)))
            return false;
    }
    return true;
}
