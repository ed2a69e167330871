/*
 * tokenizer_vocab.h — the tokens of a vocabulary, and finding one by its text.
 *
 * Owns arrays of texts, types and scores, and a hash table over the texts. Texts point into the
 * GGUF file, which outlives the vocabulary, or into its arena. Beyond the tokens it may hold
 * further texts
 * ("symbols": strings that merges make but that are no tokens). Built by one thread, then read by
 * any.
 */
#ifndef TEXT_TOKENIZER_VOCAB_H
#define TEXT_TOKENIZER_VOCAB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/log.h"
#include "base/str.h"
#include "gguf/gguf.h"

/* The numbers of `tokenizer.ggml.token_type`
 * (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). */
enum token_type {
    TOKEN_UNDEFINED = 0,
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN = 2,
    TOKEN_CONTROL = 3,
    TOKEN_USER_DEFINED = 4,
    TOKEN_UNUSED = 5,
    TOKEN_BYTE = 6,
};

#define VOCAB_NONE UINT32_MAX

struct vocab_slot {
    uint32_t hash, index; /* index VOCAB_NONE: free */
};

struct vocab {
    size_t n_tokens;   /* ids are 0 .. n_tokens − 1 */
    struct str *texts; /* n_texts: those of tokens, then symbols */
    size_t n_texts, texts_capacity;
    uint8_t *types; /* n_tokens, enum token_type */
    float *scores;  /* n_tokens; NULL when the file has none */
    size_t max_len; /* bytes of the longest token */
    struct vocab_slot *slots;
    size_t n_slots, n_used; /* n_slots is a power of two */
    uint64_t seed;          /* of hashes: nobody can write texts that all collide */
    struct arena arena;     /* texts that the file does not hold in one piece */
};

/* Every bit of the result depends on all of x (SplitMix64; Steele, Lea and Flood 2014). */
static inline uint64_t vocab_mix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Reads `tokenizer.ggml.tokens`, `.token_type` and `.scores`. Errors: HTH_ERROR_FORMAT (a key
 * missing or of the wrong type, lengths that differ), HTH_ERROR_MEMORY. */
HTH_MUST_CHECK vocab_load(struct vocab *vocab, const struct gguf *gguf, const struct log *log);
void vocab_free(struct vocab *vocab);

/* The index of the text a ++ b (either may be empty), symbols included; VOCAB_NONE if it is not
 * there. When several tokens have the same text the last is found. */
uint32_t vocab_find2(const struct vocab *vocab, struct str a, struct str b);

/* The id of the token whose text this is; VOCAB_NONE for symbols too. */
uint32_t vocab_find_token(const struct vocab *vocab, struct str text);

/* Finds or adds a ++ b as a symbol; VOCAB_NONE when memory runs out. `a` must stay valid if `b` is
 * empty. */
uint32_t vocab_intern(struct vocab *vocab, struct str a, struct str b);

/* The token "<0xXX>" for a byte; VOCAB_NONE if there is none. */
uint32_t vocab_byte_token(const struct vocab *vocab, uint8_t byte);

/* The byte that a text "<0xXX>" stands for; -1 if it is not of that form. */
int vocab_byte_of(struct str text);

#endif
