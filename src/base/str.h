/*
 * str.h — byte strings with a length, and a buffer that grows.
 *
 * `struct str` borrows; `struct strbuf` owns. Neither is necessarily UTF-8 or free of zero bytes.
 * One thread at a time per buffer.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "base/attr.h"

/* Borrowed bytes; `ptr` may be NULL when `len` is 0. */
struct str {
    const char *ptr;
    size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})

static inline struct str str_of(const char *text)
{
    return (struct str){text, text ? strlen(text) : 0};
}

bool str_equal(struct str a, struct str b);
bool str_equal_nocase(struct str a, struct str b); /* ASCII letters only */
bool str_starts_with(struct str text, struct str prefix);
bool str_ends_with(struct str text, struct str suffix);

/* `<0` when a sorts before b, bytewise. */
int str_compare(struct str a, struct str b);

/* The bytes [from, to) of text; clamped to its length. */
struct str str_slice(struct str text, size_t from, size_t to);

/* Growing bytes, always followed by a zero once anything was appended. Zero is an empty buffer.
 * When memory runs out, `failed` is set and stays; further appends do nothing. */
struct strbuf {
    char *ptr;
    size_t len, capacity;
    bool failed;
};

/* Makes room for so many bytes more; without it buffers grow as they need. */
void strbuf_reserve(struct strbuf *buf, size_t more);

/* `text` may be a piece of the buffer itself. */
void strbuf_append(struct strbuf *buf, struct str text);
void strbuf_append_char(struct strbuf *buf, char c);
/* What is no character (a surrogate, above U+10FFFF) becomes U+FFFD. */
void strbuf_append_utf8(struct strbuf *buf, unsigned codepoint);
void strbuf_printf(struct strbuf *buf, const char *fmt, ...) ATTR_PRINTF(2, 3);
void strbuf_clear(struct strbuf *buf);
void strbuf_free(struct strbuf *buf);

static inline struct str strbuf_str(const struct strbuf *buf)
{
    return (struct str){buf->ptr, buf->len};
}

#endif
