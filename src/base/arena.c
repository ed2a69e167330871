#include "base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum { ALIGN = 16, BLOCK_BYTES = 32 * 1024 };

struct arena_block {
    struct arena_block *next;
    size_t size, used;
    alignas(ALIGN) unsigned char data[];
};

void *arena_alloc(struct arena *arena, size_t size)
{
    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size_t)align_up(size ? size : 1, ALIGN);
    struct arena_block *block = arena->blocks;
    if (!block || block->size - block->used < size) {
        size_t want = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        struct arena_block *fresh = mem_alloc(sizeof *fresh + want);
        if (!fresh)
            return NULL;
        fresh->size = want;
        fresh->used = 0;
        fresh->next = block;
        arena->blocks = block = fresh;
    }
    void *ptr = block->data + block->used;
    block->used += size;
    arena->used_bytes += size;
    return memset(ptr, 0, size);
}

void *arena_calloc(struct arena *arena, size_t count, size_t size)
{
    uint64_t bytes;
    if (!mul_u64(count, size, &bytes) || bytes > SIZE_MAX / 2)
        return NULL;
    return arena_alloc(arena, (size_t)bytes);
}

char *arena_strndup(struct arena *arena, const char *text, size_t len)
{
    if (len == SIZE_MAX)
        return NULL;
    char *copy = arena_alloc(arena, len + 1);
    if (copy && len)
        memcpy(copy, text, len);
    return copy;
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = len < 0 ? NULL : arena_alloc(arena, (size_t)len + 1);
    if (!text)
        return NULL;
    va_start(args, fmt);
    vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    return text;
}

void arena_free(struct arena *arena)
{
    for (struct arena_block *block = arena->blocks, *next; block; block = next) {
        next = block->next;
        mem_free(block);
    }
    *arena = (struct arena){0};
}

void arena_clear(struct arena *arena)
{
    struct arena_block *keep = arena->blocks;
    if (!keep)
        return;
    arena->blocks = keep->next;
    arena_free(arena);
    keep->next = NULL;
    keep->used = 0;
    arena->blocks = keep;
}
