/*
 * arena.h — memory that is freed all at once: a model's, a graph's, a request's.
 *
 * Owns its blocks. Allocations are zeroed, aligned to 16 bytes and live until the arena is cleared
 * or freed. One thread at a time.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "base/attr.h"

struct arena_block;

/* Zero is an empty arena, ready for use. */
struct arena {
    struct arena_block *blocks;
    size_t used_bytes;
};

/* `size` zeroed bytes, or NULL when there is no room. A size of 0 gives a valid pointer. */
ATTR_WARN_UNUSED void *arena_alloc(struct arena *arena, size_t size);

/* `count` zeroed items; NULL on overflow too. */
ATTR_WARN_UNUSED void *arena_calloc(struct arena *arena, size_t count, size_t size);

/* A copy of `len` bytes with a zero after them; NULL when there is no room. */
ATTR_WARN_UNUSED char *arena_strndup(struct arena *arena, const char *text, size_t len);
ATTR_WARN_UNUSED char *arena_strdup(struct arena *arena, const char *text);

/* A formatted string; NULL when there is no room. */
ATTR_WARN_UNUSED char *arena_printf(struct arena *arena, const char *fmt, ...) ATTR_PRINTF(2, 3);

/* Frees everything; the arena is empty and ready for use again. */
void arena_free(struct arena *arena);

/* Forgets everything but keeps the first block for reuse. */
void arena_clear(struct arena *arena);

#endif
