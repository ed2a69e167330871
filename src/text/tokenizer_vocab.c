#include "text/tokenizer_vocab.h"

#include "base/mem.h"
#include "base/os.h"

/* FNV-1a (Fowler, Noll, Vo), 64 bits, from a seed: texts are short and come in two pieces. */
static uint32_t hash_text(const struct vocab *vocab, struct str a, struct str b)
{
    uint64_t hash = vocab->seed;
    for (size_t i = 0; i < a.len; i++)
        hash = (hash ^ (uint8_t)a.ptr[i]) * 1099511628211u;
    for (size_t i = 0; i < b.len; i++)
        hash = (hash ^ (uint8_t)b.ptr[i]) * 1099511628211u;
    return (uint32_t)vocab_mix(hash);
}

static bool is_joined(struct str text, struct str a, struct str b)
{
    return text.len == a.len + b.len && (a.len == 0 || memcmp(text.ptr, a.ptr, a.len) == 0) &&
           (b.len == 0 || memcmp(text.ptr + a.len, b.ptr, b.len) == 0);
}

/* The slot that holds a ++ b, or the free one where it would go. */
static struct vocab_slot *slot_of(const struct vocab *vocab, uint32_t hash, struct str a,
                                  struct str b)
{
    size_t mask = vocab->n_slots - 1;
    for (size_t at = hash & mask;; at = (at + 1) & mask) {
        struct vocab_slot *slot = &vocab->slots[at];
        if (slot->index == VOCAB_NONE ||
            (slot->hash == hash && is_joined(vocab->texts[slot->index], a, b)))
            return slot;
    }
}

static bool resize_slots(struct vocab *vocab, size_t n_slots)
{
    struct vocab_slot *slots = mem_calloc(n_slots, sizeof *slots);
    if (!slots)
        return false;
    memset(slots, 0xff, n_slots * sizeof *slots);
    for (size_t i = 0; i < vocab->n_slots; i++) {
        struct vocab_slot slot = vocab->slots[i];
        if (slot.index == VOCAB_NONE)
            continue;
        size_t at = slot.hash & (n_slots - 1);
        while (slots[at].index != VOCAB_NONE)
            at = (at + 1) & (n_slots - 1);
        slots[at] = slot;
    }
    mem_free(vocab->slots);
    vocab->slots = slots;
    vocab->n_slots = n_slots;
    return true;
}

uint32_t vocab_find2(const struct vocab *vocab, struct str a, struct str b)
{
    if (a.len + b.len == 0)
        return VOCAB_NONE;
    return slot_of(vocab, hash_text(vocab, a, b), a, b)->index;
}

uint32_t vocab_find_token(const struct vocab *vocab, struct str text)
{
    if (text.len > vocab->max_len)
        return VOCAB_NONE;
    uint32_t index = vocab_find2(vocab, text, (struct str){0});
    return index < vocab->n_tokens ? index : VOCAB_NONE;
}

uint32_t vocab_intern(struct vocab *vocab, struct str a, struct str b)
{
    if (a.len + b.len == 0)
        return VOCAB_NONE;
    uint32_t hash = hash_text(vocab, a, b);
    struct vocab_slot *slot = slot_of(vocab, hash, a, b);
    if (slot->index != VOCAB_NONE)
        return slot->index;
    struct str *texts =
        mem_grow(vocab->texts, &vocab->texts_capacity, vocab->n_texts + 1, sizeof *texts);
    if (!texts || vocab->n_texts >= VOCAB_NONE)
        return VOCAB_NONE;
    vocab->texts = texts;
    struct str text = a;
    if (b.len) {
        char *joined = arena_alloc(&vocab->arena, a.len + b.len);
        if (!joined)
            return VOCAB_NONE;
        if (a.len)
            memcpy(joined, a.ptr, a.len);
        memcpy(joined + a.len, b.ptr, b.len);
        text = (struct str){joined, a.len + b.len};
    }
    uint32_t index = (uint32_t)vocab->n_texts++;
    texts[index] = text;
    *slot = (struct vocab_slot){hash, index};
    if (++vocab->n_used > vocab->n_slots / 2 && !resize_slots(vocab, vocab->n_slots * 2))
        return VOCAB_NONE;
    return index;
}

uint32_t vocab_byte_token(const struct vocab *vocab, uint8_t byte)
{
    static const char digits[] = "0123456789ABCDEF";
    char text[6] = {'<', '0', 'x', digits[byte >> 4], digits[byte & 15], '>'};
    return vocab_find_token(vocab, (struct str){text, sizeof text});
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int vocab_byte_of(struct str text)
{
    if (text.len != 6 || memcmp(text.ptr, "<0x", 3) != 0 || text.ptr[5] != '>')
        return -1;
    int high = hex_digit(text.ptr[3]), low = hex_digit(text.ptr[4]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

static enum hth_status load_texts(struct vocab *vocab, const struct gguf *gguf,
                                  const struct log *log)
{
    static const char name[] = "tokenizer.ggml.tokens";
    const struct gguf_key *key = gguf_key_find(gguf, name);
    if (!key || key->type != GGUF_ARRAY || key->elem != GGUF_STRING || key->count == 0)
        return log_fail(log, HTH_ERROR_FORMAT,
                        "%s: %s is %s, but must be an array of strings: the file has no vocabulary "
                        "that hearth can use; convert or download the model again",
                        gguf_path(gguf), name,
                        !key                      ? "missing"
                        : key->type == GGUF_ARRAY ? (key->count ? "another array" : "empty")
                                                  : "no array");
    if (key->count > INT32_MAX)
        return log_fail(log, HTH_ERROR_FORMAT, "%s: %s has %llu entries; ids have 31 bits",
                        gguf_path(gguf), name, (unsigned long long)key->count);
    vocab->n_tokens = vocab->n_texts = vocab->texts_capacity = (size_t)key->count;
    vocab->texts = mem_calloc(vocab->n_tokens, sizeof *vocab->texts);
    size_t n_slots = 64;
    while (n_slots < vocab->n_tokens * 2 + 2)
        n_slots *= 2;
    if (!vocab->texts || !resize_slots(vocab, n_slots))
        return log_fail_memory(log, "the vocabulary", n_slots * sizeof *vocab->slots);
    struct gguf_strings cursor = {0};
    for (size_t i = 0; i < vocab->n_tokens; i++) {
        struct str text;
        if (!gguf_next_str(key, &cursor, &text))
            return log_fail(log, HTH_ERROR_FORMAT, "%s: %s ends after %zu of %zu entries",
                            gguf_path(gguf), name, i, vocab->n_tokens);
        vocab->texts[i] = text;
        if (text.len == 0)
            continue; /* a hole in the vocabulary: nothing becomes it */
        uint32_t hash = hash_text(vocab, text, (struct str){0});
        struct vocab_slot *slot = slot_of(vocab, hash, text, (struct str){0});
        vocab->n_used += slot->index == VOCAB_NONE;
        *slot = (struct vocab_slot){hash, (uint32_t)i};
        vocab->max_len = text.len > vocab->max_len ? text.len : vocab->max_len;
    }
    return HTH_OK;
}

/* An optional array as long as the vocabulary: NULL in *out when absent. */
static enum hth_status find_array(const struct gguf_key **out, const struct vocab *vocab,
                                  const struct gguf *gguf, const char *name, const struct log *log)
{
    *out = NULL;
    const struct gguf_key *key = gguf_key_find(gguf, name);
    if (!key)
        return HTH_OK;
    if (key->type != GGUF_ARRAY || key->elem == GGUF_STRING)
        return log_fail(log, HTH_ERROR_FORMAT,
                        "%s: %s must be an array of numbers; convert or download the model again",
                        gguf_path(gguf), name);
    if (key->count != vocab->n_tokens)
        return log_fail(log, HTH_ERROR_FORMAT,
                        "%s: %s has %llu entries for %zu tokens; convert or download the model "
                        "again",
                        gguf_path(gguf), name, (unsigned long long)key->count, vocab->n_tokens);
    *out = key;
    return HTH_OK;
}

static enum hth_status load_types(struct vocab *vocab, const struct gguf *gguf,
                                  const struct log *log)
{
    static const char name[] = "tokenizer.ggml.token_type";
    const struct gguf_key *key;
    enum hth_status status = find_array(&key, vocab, gguf, name, log);
    if (status != HTH_OK)
        return status;
    vocab->types = mem_alloc(vocab->n_tokens);
    if (!vocab->types)
        return log_fail_memory(log, "the types of tokens", vocab->n_tokens);
    for (size_t i = 0; i < vocab->n_tokens; i++) {
        int64_t type = TOKEN_NORMAL;
        if (key && !gguf_get_i64(key, i, &type))
            return log_fail(log, HTH_ERROR_FORMAT, "%s: %s must hold integers", gguf_path(gguf),
                            name);
        vocab->types[i] = type >= 0 && type <= TOKEN_BYTE ? (uint8_t)type : TOKEN_UNDEFINED;
    }
    return HTH_OK;
}

static enum hth_status load_scores(struct vocab *vocab, const struct gguf *gguf,
                                   const struct log *log)
{
    static const char name[] = "tokenizer.ggml.scores";
    const struct gguf_key *key;
    enum hth_status status = find_array(&key, vocab, gguf, name, log);
    if (status != HTH_OK || !key)
        return status;
    vocab->scores = mem_calloc(vocab->n_tokens, sizeof *vocab->scores);
    if (!vocab->scores)
        return log_fail_memory(log, "the scores of tokens",
                               vocab->n_tokens * sizeof *vocab->scores);
    for (size_t i = 0; i < vocab->n_tokens; i++) {
        double score;
        if (!gguf_get_f64(key, i, &score))
            return log_fail(log, HTH_ERROR_FORMAT, "%s: %s must hold numbers", gguf_path(gguf),
                            name);
        vocab->scores[i] = (float)score;
    }
    return HTH_OK;
}

enum hth_status vocab_load(struct vocab *vocab, const struct gguf *gguf, const struct log *log)
{
    /* of the clock and, as systems place programs at random, of an address */
    vocab->seed = vocab_mix(os_time_ns() ^ (uint64_t)(uintptr_t)vocab << 32);
    enum hth_status status = load_texts(vocab, gguf, log);
    if (status == HTH_OK)
        status = load_types(vocab, gguf, log);
    if (status == HTH_OK)
        status = load_scores(vocab, gguf, log);
    return status;
}

void vocab_free(struct vocab *vocab)
{
    mem_free(vocab->texts);
    mem_free(vocab->types);
    mem_free(vocab->scores);
    mem_free(vocab->slots);
    arena_free(&vocab->arena);
    *vocab = (struct vocab){0};
}
