/*
 * tokenizer_charsmap.h — rewriting text before it is cut: SentencePiece's precompiled normalizer.
 *
 * Owns nothing: the map stays in the GGUF file, which outlives it. Its bytes are a double-array
 * trie over what is rewritten, in the form of darts-clone, and after it the texts to write, each
 * ended by a zero byte (https://github.com/google/sentencepiece, src/normalizer.cc;
 * https://github.com/s-yata/darts-clone). Nothing in it is trusted. Any thread.
 */
#ifndef TEXT_TOKENIZER_CHARSMAP_H
#define TEXT_TOKENIZER_CHARSMAP_H

#include <stdint.h>

#include "base/log.h"
#include "base/str.h"
#include "gguf/gguf.h"

/* Bytes of the longest text that is rewritten, and of the longest written for it. They bound what a
 * map can make of a text; NFKC's own need no more than 33. */
enum { CHARSMAP_MAX_TEXT = 256 };

/* Zero is a map that rewrites nothing. */
struct charsmap {
    const uint8_t *units; /* little-endian, 4 bytes each */
    size_t n_units;
    struct str texts;
};

/* From `tokenizer.ggml.precompiled_charsmap`, if it is there. Errors: HTH_ERROR_FORMAT (no array of
 * bytes, a trie that goes beyond them, texts without an end or too long). */
HTH_MUST_CHECK charsmap_load(struct charsmap *map, const struct gguf *gguf, const struct log *log);

/* How many bytes at the beginning of `text` are rewritten, the most that can be, and what is
 * written for them; 0: none. */
size_t charsmap_match(const struct charsmap *map, struct str text, struct str *written);

#endif
