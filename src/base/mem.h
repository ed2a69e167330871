/*
 * mem.h — every heap allocation of hearth, so that tests can count them and make each one fail.
 *
 * Owns the allocation hook. Memory from here is freed with `mem_free` only. Threads: the functions
 * are safe anywhere; set the hook only while nothing else runs.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

/* `size` bytes, uninitialised, aligned for any scalar; NULL if there is no room or size is 0. */
ATTR_WARN_UNUSED void *mem_alloc(size_t size);

/* An array of `count` zeroed items of `size` bytes; NULL on overflow or when there is no room. */
ATTR_WARN_UNUSED void *mem_calloc(size_t count, size_t size);

/* Grows or shrinks; on failure returns NULL and `ptr` stays valid. `ptr` may be NULL. */
ATTR_WARN_UNUSED void *mem_realloc(void *ptr, size_t size);

/* Aligned to `align` (a power of two, 64 for SIMD buffers); free with `mem_free_aligned`. */
ATTR_WARN_UNUSED void *mem_alloc_aligned(size_t size, size_t align);

void mem_free(void *ptr);
void mem_free_aligned(void *ptr);

/* A copy of a string; NULL when there is no room. */
ATTR_WARN_UNUSED char *mem_strdup(const char *text);

/* Makes room for at least `need` items in a growing array (doubling): updates `*capacity` and
 * returns the array, perhaps moved, or NULL with everything unchanged. */
ATTR_WARN_UNUSED void *mem_grow(void *items, size_t *capacity, size_t need, size_t item_size);

/* Tests only: called before each allocation with its size; returning false makes it fail. NULL
 * takes the hook away. */
typedef bool mem_hook_fn(void *user, size_t size);
void mem_set_hook(mem_hook_fn *hook, void *user);

/* a × b and a + b in 64 bits; false on overflow. */
static inline bool mul_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}

static inline bool add_u64(uint64_t a, uint64_t b, uint64_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* x rounded up to a multiple of `align`, a power of two. */
static inline uint64_t align_up(uint64_t x, uint64_t align)
{
    return (x + align - 1) & ~(align - 1);
}

static inline uint64_t div_up(uint64_t x, uint64_t y)
{
    return (x + y - 1) / y;
}

#endif
