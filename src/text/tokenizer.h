/*
 * tokenizer.h — text to token ids and back, by the vocabulary that a GGUF file carries.
 *
 * Owns its tables (copied or pointing into the gguf, which must outlive it). One file per tokenizer
 * model behind `struct tokenizer_kind` (tokenizer_kind.h): SPM ("llama"), BPE ("gpt2", and with
 * more to it "hybriddna" and "whitespace"), WordPiece ("bert"), unigram ("t5"), RWKV ("rwkv"),
 * PLaMo ("plamo2", "plamo3"). Immutable once created: any thread; each call uses its own scratch
 * memory.
 */
#ifndef TEXT_TOKENIZER_H
#define TEXT_TOKENIZER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/str.h"
#include "gguf/gguf.h"

struct tokenizer;

/* From the keys `tokenizer.ggml.*`. Errors: HTH_ERROR_FORMAT (a key missing, of the wrong type,
 * arrays of different lengths, ids out of range), HTH_ERROR_UNSUPPORTED (a tokenizer model hearth
 * does not know; named, with those it knows), HTH_ERROR_MEMORY. An unknown pre-tokenizer is a
 * warning, and `default` is used. */
HTH_MUST_CHECK tokenizer_create(struct tokenizer **out, const struct gguf *gguf,
                                const struct log *log);
void tokenizer_destroy(struct tokenizer *tokenizer);

enum token_flags {
    TOKEN_ADD_BOS = 1,       /* put the vocabulary's own BOS (if it wants one) in front */
    TOKEN_PARSE_SPECIAL = 2, /* text of control tokens ("<|im_end|>") becomes these tokens */
    TOKEN_ADD_END = 4,       /* put its SEP or EOS (if it wants one) behind */
};

/* A growing list of ids. Zero is empty; free with `token_list_free`. */
struct token_list {
    int32_t *ids;
    size_t count, capacity;
};
void token_list_free(struct token_list *list);
ATTR_WARN_UNUSED bool token_list_append(struct token_list *list, int32_t id);

/* Appends the ids of `text` (any bytes; what is not UTF-8 goes through byte fallback or the unknown
 * token, nothing is lost silently where the vocabulary has bytes). Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK tokenizer_encode(const struct tokenizer *tokenizer, struct str text, unsigned flags,
                                struct token_list *out);

/* Appends the bytes of one token: `special` writes control and unknown tokens out too. `first` says
 * that it begins the text (SPM drops one leading space there when the vocabulary adds one). */
void tokenizer_piece(const struct tokenizer *tokenizer, int32_t id, bool special, bool first,
                     struct strbuf *out);

/* Bytes of the longest token as the vocabulary writes it. A piece has no more, but for characters
 * of a BPE vocabulary that stand for no byte. */
size_t tokenizer_max_bytes(const struct tokenizer *tokenizer);

/* Appends the text of a whole list, with the vocabulary's cleaning of spaces. */
HTH_MUST_CHECK tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t count,
                                bool special, struct strbuf *out);

size_t tokenizer_n_vocab(const struct tokenizer *tokenizer);
int32_t tokenizer_bos(const struct tokenizer *tokenizer); /* -1: none */
int32_t tokenizer_eos(const struct tokenizer *tokenizer); /* -1: none */
bool tokenizer_adds_bos(const struct tokenizer *tokenizer);

/* Does this token end an answer (EOS, EOT, EOM and what the field recognises by text:
 * "<|im_end|>", "<|eot_id|>", "<end_of_turn>" …)? */
bool tokenizer_is_end(const struct tokenizer *tokenizer, int32_t id);

/* The id whose text is exactly this; -1 if there is none. */
int32_t tokenizer_find(const struct tokenizer *tokenizer, struct str text);

#endif
