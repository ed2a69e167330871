#include "sample/history.h"

#include <string.h>

#include "base/mem.h"

bool history_create(struct history *history, size_t capacity, size_t window, size_t n_vocab)
{
    *history = (struct history){.capacity = capacity, .window = window, .n_vocab = n_vocab};
    if (capacity)
        history->ring = mem_calloc(capacity, sizeof *history->ring);
    if (window)
        history->n_seen = mem_calloc(n_vocab, sizeof *history->n_seen);
    if ((!capacity || history->ring) && (!window || history->n_seen))
        return true;
    history_destroy(history);
    return false;
}

void history_destroy(struct history *history)
{
    mem_free(history->ring);
    mem_free(history->n_seen);
    *history = (struct history){0};
}

void history_clear(struct history *history)
{
    history->count = history->next = 0;
    if (history->n_seen)
        memset(history->n_seen, 0, history->n_vocab * sizeof *history->n_seen);
}

void history_push(struct history *history, int32_t id)
{
    if (!history->capacity)
        return;
    if (history->window) {
        if (history->count >= history->window)
            history->n_seen[history_last(history, history->window - 1)]--;
        history->n_seen[id]++;
    }
    history->ring[history->next] = id;
    history->next = history->next + 1 < history->capacity ? history->next + 1 : 0;
    history->count += history->count < history->capacity;
}
