#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static mem_hook_fn *alloc_hook;
static void *alloc_hook_user;

void mem_set_hook(mem_hook_fn *hook, void *user)
{
    alloc_hook = hook;
    alloc_hook_user = user;
}

static bool allowed(size_t size)
{
    return !alloc_hook || alloc_hook(alloc_hook_user, size);
}

void *mem_alloc(size_t size)
{
    return size && allowed(size) ? malloc(size) : NULL;
}

void *mem_calloc(size_t count, size_t size)
{
    uint64_t bytes;
    if (!mul_u64(count, size, &bytes) || bytes == 0 || bytes > SIZE_MAX)
        return NULL;
    return allowed((size_t)bytes) ? calloc(count, size) : NULL;
}

void *mem_realloc(void *ptr, size_t size)
{
    return size && allowed(size) ? realloc(ptr, size) : NULL;
}

/* The pointer that malloc gave is kept just below the aligned block. */
void *mem_alloc_aligned(size_t size, size_t align)
{
    if (size > SIZE_MAX - align - sizeof(void *))
        return NULL;
    char *raw = mem_alloc(size + align + sizeof(void *));
    if (!raw)
        return NULL;
    uintptr_t at = (uintptr_t)align_up((uintptr_t)raw + sizeof(void *), align);
    ((void **)at)[-1] = raw;
    return (void *)at;
}

void mem_free(void *ptr)
{
    free(ptr);
}

void mem_free_aligned(void *ptr)
{
    if (ptr)
        free(((void **)ptr)[-1]);
}

char *mem_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = mem_alloc(size);
    if (copy)
        memcpy(copy, text, size);
    return copy;
}

void *mem_grow(void *items, size_t *capacity, size_t need, size_t item_size)
{
    if (need <= *capacity)
        return items;
    size_t wanted = *capacity ? *capacity : 8;
    while (wanted < need) {
        if (wanted > SIZE_MAX / 2)
            return NULL;
        wanted *= 2;
    }
    if (wanted > SIZE_MAX / item_size)
        return NULL;
    void *grown = mem_realloc(items, wanted * item_size);
    if (grown)
        *capacity = wanted;
    return grown;
}
