#include "text/utf8.h"

/* What may follow a first byte: Unicode 15, table 3-7. `low` and `high` bound the second byte; any
 * further one is 80..BF. A length of 0 marks a byte that begins nothing. */
struct lead {
    uint8_t len, low, high;
};

static struct lead lead_of(uint8_t byte)
{
    if (byte < 0x80)
        return (struct lead){1, 0, 0};
    if (byte < 0xc2)
        return (struct lead){0, 0, 0};
    if (byte < 0xe0)
        return (struct lead){2, 0x80, 0xbf};
    if (byte < 0xf0)
        return (struct lead){3, byte == 0xe0 ? 0xa0 : 0x80, byte == 0xed ? 0x9f : 0xbf};
    if (byte < 0xf5)
        return (struct lead){4, byte == 0xf0 ? 0x90 : 0x80, byte == 0xf4 ? 0x8f : 0xbf};
    return (struct lead){0, 0, 0};
}

/* The longest beginning of a character at `at`, 1 to 4 bytes, and how long the whole would be: 0
 * when the first byte begins none. These are the maximal subparts of Unicode 15, section 3.9. */
static size_t subpart(struct str text, size_t at, size_t *whole)
{
    const uint8_t *bytes = (const uint8_t *)text.ptr + at;
    size_t left = text.len - at, n = 1;
    struct lead lead = lead_of(bytes[0]);
    *whole = lead.len;
    while (n < lead.len && n < left) {
        uint8_t low = n == 1 ? lead.low : 0x80, high = n == 1 ? lead.high : 0xbf;
        if (bytes[n] < low || bytes[n] > high)
            break;
        n++;
    }
    return n;
}

size_t utf8_decode(struct str text, size_t at, uint32_t *codepoint)
{
    size_t whole, n = subpart(text, at, &whole);
    if (n != whole) {
        *codepoint = 0xfffd;
        return 0;
    }
    const uint8_t *bytes = (const uint8_t *)text.ptr + at;
    static const uint8_t first_bits[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t value = bytes[0] & first_bits[n];
    for (size_t i = 1; i < n; i++)
        value = value << 6 | (bytes[i] & 0x3f);
    *codepoint = value;
    return n;
}

bool utf8_valid(struct str text)
{
    for (size_t at = 0; at < text.len;) {
        size_t whole, n = subpart(text, at, &whole);
        if (n != whole)
            return false;
        at += n;
    }
    return true;
}

/* Appends what is whole, with U+FFFD for what cannot become so; returns where an unfinished
 * character at the end begins (the length of the text when there is none). */
static size_t append_finished(struct strbuf *out, struct str text)
{
    size_t from = 0, at = 0;
    while (at < text.len) {
        size_t whole, n = subpart(text, at, &whole);
        if (n != whole) {
            strbuf_append(out, str_slice(text, from, at));
            if (n < whole && at + n == text.len)
                return at;
            strbuf_append_utf8(out, 0xfffd);
            from = at + n;
        }
        at += n;
    }
    strbuf_append(out, str_slice(text, from, at));
    return at;
}

void utf8_append_lossy(struct strbuf *out, struct str text)
{
    if (append_finished(out, text) < text.len)
        strbuf_append_utf8(out, 0xfffd);
}

void utf8_stream_push(struct utf8_stream *stream, struct str bytes, struct strbuf *out)
{
    size_t used = 0;
    while (stream->n_held && used < bytes.len) {
        stream->held[stream->n_held++] = bytes.ptr[used++];
        struct str held = {stream->held, stream->n_held};
        size_t rest = append_finished(out, held);
        /* What is left begins a character and may start later than what was held. */
        stream->n_held -= (unsigned)rest;
        memmove(stream->held, stream->held + rest, stream->n_held);
    }
    struct str left = str_slice(bytes, used, bytes.len);
    if (left.len == 0)
        return;
    size_t rest = append_finished(out, left);
    stream->n_held = (unsigned)(left.len - rest);
    memcpy(stream->held, left.ptr + rest, stream->n_held);
}

void utf8_stream_end(struct utf8_stream *stream, struct strbuf *out)
{
    if (stream->n_held)
        strbuf_append_utf8(out, 0xfffd);
    stream->n_held = 0;
}
