#include <stdlib.h>

#include "gguf/part.h"

/* Equal names keep the order of the file, so that the later one is the one complained about. */
static int by_name(const void *a, const void *b)
{
    const struct str *x = *(const struct str *const *)a, *y = *(const struct str *const *)b;
    int order = str_compare(*x, *y);
    return order ? order : (x > y) - (x < y);
}

const struct str *gguf_index_names(const struct str **index, const void *items, size_t n,
                                   size_t item_bytes)
{
    for (size_t i = 0; i < n; i++)
        index[i] = (const struct str *)(const void *)((const char *)items + i * item_bytes);
    if (n > 1)
        qsort(index, n, sizeof *index, by_name);
    for (size_t i = 1; i < n; i++)
        if (str_equal(*index[i - 1], *index[i]))
            return index[i];
    return NULL;
}

const struct str *gguf_index_find(const struct str *const *index, size_t n, const char *name)
{
    struct str wanted = str_of(name);
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = str_compare(*index[middle], wanted);
        if (order == 0)
            return index[middle];
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}
