/*
 * reasoning.h — which part of an answer is the model thinking aloud, by the markers around it.
 *
 * Owns a few bytes that may begin a marker. Models write their reasoning first, so text that looks
 * like a marker opens it at the beginning of an answer only; control tokens open it anywhere. One
 * thread at a time per stream.
 */
#ifndef TEXT_REASONING_H
#define TEXT_REASONING_H

#include <stdbool.h>

#include "base/str.h"

struct reasoning_marker {
    const char *open, *close;
};

enum { N_REASONING_MARKERS = 8 };
extern const struct reasoning_marker reasoning_markers[N_REASONING_MARKERS];

/* Zero is an answer's beginning. */
struct reasoning {
    const struct reasoning_marker *inside; /* whose end is awaited; NULL: not reasoning */
    bool answering;                        /* other text has begun: none of it opens reasoning */
    char held[32]; /* the beginning of what may be a marker; none is longer */
    size_t n_held;
};

/* Receives text in order, markers with what they enclose. */
typedef void reasoning_fn(void *user, struct str text, bool reasoning);

/* A new answer, to a prompt as the model's template rendered it: templates of models that always
 * think end it with the opening marker. */
void reasoning_begin(struct reasoning *state, struct str prompt);

/* The answer goes on with `text`, or ends. */
void reasoning_push(struct reasoning *state, struct str text, reasoning_fn *fn, void *user);
void reasoning_end(struct reasoning *state, reasoning_fn *fn, void *user);

/* A marker came as a control token, which has no text; `marker` NULL: a closing one. */
void reasoning_mark(struct reasoning *state, const struct reasoning_marker *marker);

#endif
