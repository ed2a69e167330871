#include "text/jinja_ast.h"

/* Escapes of a string literal, as in Python's non-raw strings ("String and Bytes literals" of its
 * language reference). Unknown escapes keep their backslash. */

static bool hex_escape(struct str body, size_t at, size_t digits, uint32_t *out)
{
    if (body.len - at < digits)
        return false;
    uint32_t value = 0;
    for (size_t i = 0; i < digits; i++) {
        char c = body.ptr[at + i], lower = (char)(c | 32);
        if (c >= '0' && c <= '9')
            value = value << 4 | (uint32_t)(c - '0');
        else if (lower >= 'a' && lower <= 'f')
            value = value << 4 | (uint32_t)(lower - 'a' + 10);
        else
            return false;
    }
    *out = value;
    return true;
}

static size_t octal_escape(struct str body, size_t at, uint32_t *out)
{
    size_t n = 0;
    *out = 0;
    while (n < 3 && at + n < body.len && body.ptr[at + n] >= '0' && body.ptr[at + n] <= '7')
        *out = *out << 3 | (uint32_t)(body.ptr[at + n++] - '0');
    return n;
}

/* A code point by \x, \u or \U; a pair of surrogates becomes the character it means. */
static bool numbered_escape(struct lexer *lx, struct str body, size_t *at, char kind)
{
    size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
    uint32_t point, low;
    if (!hex_escape(body, *at, digits, &point) || point > 0x10ffff)
        return jinja_fail(lx->j, "a malformed \\%c escape in a string", kind);
    *at += digits;
    if (point >= 0xd800 && point < 0xdc00 && body.len - *at >= 6 && body.ptr[*at] == '\\' &&
        body.ptr[*at + 1] == 'u' && hex_escape(body, *at + 2, 4, &low) && low >= 0xdc00 &&
        low < 0xe000) {
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
        *at += 6;
    }
    return jinja_put_point(lx->j, point >= 0xd800 && point < 0xe000 ? 0xfffd : point);
}

static bool escape(struct lexer *lx, struct str body, size_t *at)
{
    static const char simple[] = "\\\\''\"\"a\ab\bf\fn\nr\rt\tv\v";
    char c = body.ptr[*at];
    if (c == '\n') {
        ++*at;
        return true;
    }
    if (c == 'x' || c == 'u' || c == 'U') {
        ++*at;
        return numbered_escape(lx, body, at, c);
    }
    if (c == 'N')
        return jinja_fail_status(lx->j, HTH_ERROR_UNSUPPORTED,
                                 "the escape \\N{…} is not supported; write the character itself");
    uint32_t point;
    size_t octal = octal_escape(body, *at, &point);
    if (octal) {
        *at += octal;
        return jinja_put_point(lx->j, point);
    }
    for (size_t i = 0; i + 1 < sizeof simple; i += 2)
        if (simple[i] == c) {
            ++*at;
            return jinja_put(lx->j, &simple[i + 1], 1);
        }
    return jinja_put(lx->j, "\\", 1);
}

bool lexer_unescape(struct lexer *lx, struct str body, struct str *out)
{
    *out = body;
    if (body.len == 0 || !memchr(body.ptr, '\\', body.len))
        return true;
    size_t mark = jinja_mark(lx->j);
    for (size_t at = 0; at < body.len;) {
        if (body.ptr[at] != '\\') {
            if (!jinja_put(lx->j, body.ptr + at++, 1))
                return false;
            continue;
        }
        if (++at >= body.len || !escape(lx, body, &at))
            return false;
    }
    struct value v;
    if (!jinja_take(lx->j, mark, &v))
        return false;
    *out = value_str(v);
    return true;
}
