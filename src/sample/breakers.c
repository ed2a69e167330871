#include "sample/breakers.h"

#include <string.h>

#include "base/mem.h"

/* Those of the proposal, https://github.com/oobabooga/text-generation-webui/pull/5677 */
static const char *const usual[] = {"\n", ":", "\"", "*", NULL};

enum hth_status breakers_check(const char *const *texts, const struct log *log)
{
    for (size_t i = 0; texts && texts[i]; i++) {
        size_t len = strlen(texts[i]);
        if (len == 0 || len > BREAKER_BYTES)
            return log_fail(log, HTH_ERROR_ARGUMENT,
                            "sampling: a sequence breaker of DRY has 1 to %d bytes, not %zu",
                            BREAKER_BYTES, len);
        if (i == BREAKERS_MAX)
            return log_fail(log, HTH_ERROR_ARGUMENT,
                            "sampling: DRY can have %d sequence breakers, not more", BREAKERS_MAX);
    }
    return HTH_OK;
}

static bool load_texts(struct breakers *breakers, const struct sampler_vocab *vocab)
{
    for (int32_t id = 0; id < vocab->n_tokens; id++) {
        vocab->piece(vocab->user, id, &breakers->bytes);
        breakers->ends[id] = breakers->bytes.len;
    }
    for (int32_t id = 0; id < vocab->n_tokens && !breakers->bytes.failed; id++) {
        breakers_reset(breakers);
        breakers->inside[id] = breakers_push(breakers, id);
    }
    breakers_reset(breakers);
    return !breakers->bytes.failed;
}

enum hth_status breakers_create(struct breakers *breakers, const char *const *texts,
                                const struct sampler_vocab *vocab, const struct log *log)
{
    size_t count = 0, n = (size_t)vocab->n_tokens;
    *breakers = (struct breakers){0};
    texts = texts ? texts : usual;
    while (texts[count])
        count++;
    if (count == 0 || !vocab->piece)
        return HTH_OK;
    breakers->count = count;
    breakers->items = mem_calloc(count, sizeof *breakers->items);
    breakers->ends = mem_calloc(n, sizeof *breakers->ends);
    breakers->inside = mem_calloc(n, sizeof *breakers->inside);
    if (breakers->items && breakers->ends && breakers->inside) {
        for (size_t i = 0; i < count; i++)
            needle_init(&breakers->items[i], str_of(texts[i]));
        if (load_texts(breakers, vocab))
            return HTH_OK;
    }
    breakers_destroy(breakers);
    return log_fail_memory(log, "the texts of all tokens, for DRY's sequence breakers",
                           n * sizeof *breakers->ends);
}

void breakers_destroy(struct breakers *breakers)
{
    mem_free(breakers->items);
    mem_free(breakers->ends);
    mem_free(breakers->inside);
    strbuf_free(&breakers->bytes);
    *breakers = (struct breakers){0};
}

void breakers_reset(struct breakers *breakers)
{
    for (size_t i = 0; i < breakers->count; i++)
        needle_reset(&breakers->items[i]);
}

bool breakers_push(struct breakers *breakers, int32_t id)
{
    bool found = false;
    if (breakers->count == 0)
        return false;
    for (size_t at = id ? breakers->ends[id - 1] : 0; at < breakers->ends[id]; at++)
        for (size_t i = 0; i < breakers->count; i++)
            found |= needle_push(&breakers->items[i], (unsigned char)breakers->bytes.ptr[at]);
    return found;
}
