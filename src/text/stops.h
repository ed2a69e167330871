/*
 * stops.h — texts that end an answer, found in the stream of its text.
 *
 * A stop text may be a part of a token or go across several. What may still become one is held
 * back, and no more than that; what comes is handed on up to where the first whole one begins. Owns
 * copies of the texts. One thread at a time.
 */
#ifndef TEXT_STOPS_H
#define TEXT_STOPS_H

#include "base/log.h"
#include "base/needle.h"

enum { STOPS_MAX = 256 };

/* Zero: none, and all text goes through. */
struct stops {
    struct needle *items;
    size_t count;
    char held[NEEDLE_BYTES]; /* the end of the text so far, which may begin a stop text */
    size_t n_held;
    bool found;
};

/* Texts of 1 to NEEDLE_BYTES bytes of UTF-8. Errors: HTH_ERROR_ARGUMENT, _MEMORY. */
HTH_MUST_CHECK stops_create(struct stops *stops, const char *const *texts, size_t count,
                            const struct log *log);
void stops_destroy(struct stops *stops);

/* The text goes on, by whole characters: appends what is surely before a stop text to `out`, which
 * grows by at most NEEDLE_BYTES more than the text has. Once one was found nothing is. */
void stops_push(struct stops *stops, struct str text, struct strbuf *out);

/* A stop came that is no text: what was held back stands before it. */
void stops_halt(struct stops *stops, struct strbuf *out);

/* The text ends: appends what was held back, and is ready for another. */
void stops_end(struct stops *stops, struct strbuf *out);

#endif
