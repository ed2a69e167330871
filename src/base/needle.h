/*
 * needle.h — a short text looked for in a stream of bytes that comes piece by piece.
 *
 * Each byte costs about one comparison, wherever pieces end and however the text repeats itself
 * (Knuth, Morris and Pratt 1977, "Fast pattern matching in strings"). Owns a copy of the text; one
 * thread at a time.
 */
#ifndef BASE_NEEDLE_H
#define BASE_NEEDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum { NEEDLE_BYTES = 255 };

struct needle {
    uint8_t len, at; /* the stream now ends with the first `at` bytes of the text, and no more */
    unsigned char text[NEEDLE_BYTES];
    uint8_t back[NEEDLE_BYTES + 1]; /* after so many bytes and a mismatch: so many still fit */
};

/* `text` has 1 to NEEDLE_BYTES bytes. */
void needle_init(struct needle *needle, struct str text);

/* The stream begins anew. */
static inline void needle_reset(struct needle *needle)
{
    needle->at = 0;
}

/* The stream goes on with a byte; does it now end with the text? */
static inline bool needle_push(struct needle *needle, unsigned char byte)
{
    if (needle->at == needle->len)
        needle->at = needle->back[needle->at];
    while (needle->at && needle->text[needle->at] != byte)
        needle->at = needle->back[needle->at];
    needle->at = (uint8_t)(needle->at + (needle->text[needle->at] == byte));
    return needle->at == needle->len;
}

#endif
