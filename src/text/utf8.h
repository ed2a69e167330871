/*
 * utf8.h — UTF-8 as a stream: decoding hostile bytes, and never emitting half a character.
 *
 * Owns a few bytes of state. Validity: Unicode 15, table 3-7 (no surrogates, no overlong forms).
 * One thread at a time per stream.
 */
#ifndef TEXT_UTF8_H
#define TEXT_UTF8_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* Decodes the character at `text.ptr[at]`: its code point in *codepoint and its length (1–4). For a
 * byte that begins no valid character returns 0 and sets *codepoint to 0xFFFD; the caller moves on
 * by one byte. `at` must be inside. */
size_t utf8_decode(struct str text, size_t at, uint32_t *codepoint);

bool utf8_valid(struct str text);

/* Appends `text`, every maximal ill-formed subpart of it as U+FFFD (like WHATWG and Python). */
void utf8_append_lossy(struct strbuf *out, struct str text);

/* Holds back the beginning of a character until its end has come. Zero is an empty stream. */
struct utf8_stream {
    char held[4];
    unsigned n_held;
};

/* Appends to `out` all of (held + bytes) but an unfinished character at the end; ill-formed bytes
 * become U+FFFD. */
void utf8_stream_push(struct utf8_stream *stream, struct str bytes, struct strbuf *out);

/* The text is over: what is still held becomes U+FFFD. */
void utf8_stream_end(struct utf8_stream *stream, struct strbuf *out);

#endif
