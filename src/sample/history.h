/*
 * history.h — the last tokens of a text, and how often each was among them.
 *
 * Owns a ring of tokens and the counts. One thread at a time.
 */
#ifndef SAMPLE_HISTORY_H
#define SAMPLE_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

/* "All" tokens are so many, which is more than any context today. */
enum { HISTORY_MAX = 1 << 20 };

/* Zero is a history that remembers nothing. */
struct history {
    int32_t *ring;
    size_t capacity, count, next;
    int32_t *n_seen; /* per id, how often it is among the last `window`; NULL if window is 0 */
    size_t window;   /* ≤ capacity */
    size_t n_vocab;
};

/* A history of `capacity` tokens, with counts over the last `window` of them; both may be 0. False
 * when there is no room: then it is as before history_create. */
ATTR_WARN_UNUSED bool history_create(struct history *history, size_t capacity, size_t window,
                                     size_t n_vocab);
void history_destroy(struct history *history);
void history_clear(struct history *history);

/* `id` is in the vocabulary. */
void history_push(struct history *history, int32_t id);

/* The k-th last token, k < count. */
static inline int32_t history_last(const struct history *history, size_t k)
{
    size_t at = history->next + history->capacity - 1 - k;
    return history->ring[at < history->capacity ? at : at - history->capacity];
}

#endif
