/*
 * tokenizer_kind.h — what a tokenizer model must provide, and what all of them share.
 *
 * A tokenizer model (the value of `tokenizer.ggml.model`) is one file of this folder with a
 * constant `tokenizer_kind_x`; the build makes the list of them. A kind turns a stretch of plain
 * text into ids and an ordinary token into bytes; special tokens, BOS and cleaning are
 * tokenizer.c's. Immutable once created: any thread.
 */
#ifndef TEXT_TOKENIZER_KIND_H
#define TEXT_TOKENIZER_KIND_H

#include "text/tokenizer.h"
#include "text/tokenizer_special.h"
#include "text/tokenizer_vocab.h"

/* Kinds number the bytes of a stretch of text with 32 bits. */
enum { TOKENIZER_MAX_STRETCH = 1 << 30 };

struct tokenizer_kind {
    const char *model; /* "llama", "gpt2" */

    /* What holds where the file has no key for it; ids of -1 mean none. `create` may change the
     * flags
     */
    bool add_bos, add_eos, add_sep, add_space_prefix, clean_spaces;
    int32_t bos, eos, unk, sep;

    /* Reads what the kind needs beyond the vocabulary and keeps it in tokenizer->state. After a
     * failure `destroy` is called. Errors are those of tokenizer_create. */
    enum hth_status (*create)(struct tokenizer *tokenizer, const struct gguf *gguf,
                              const struct log *log);
    void (*destroy)(struct tokenizer *tokenizer);

    /* Appends the ids of text without special tokens, never empty and at most max_stretch bytes.
     * `begins` says that it stands at the beginning or after a special token; it does not where
     * longer text was cut. Errors: HTH_ERROR_MEMORY. */
    enum hth_status (*encode)(const struct tokenizer *tokenizer, struct str text, bool begins,
                              struct token_list *out);

    /* Appends the bytes that a token of type TOKEN_NORMAL stands for. */
    void (*piece)(const struct tokenizer *tokenizer, struct str token, struct strbuf *out);
};

struct tokenizer {
    const struct tokenizer_kind *kind;
    struct vocab vocab;
    struct specials specials;
    int32_t bos, eos, unk, sep; /* -1: none */
    bool add_bos, add_eos, add_sep, add_space_prefix, clean_spaces;
    size_t max_stretch; /* TOKENIZER_MAX_STRETCH; tests lower it, to 4 at least */
    void *state;        /* the kind's own */
};

/* Appends a token whose spaces are written as U+2581, with spaces. */
void tokenizer_unmark_spaces(struct str token, struct strbuf *out);

/* Unicode's White_Space. */
bool tokenizer_is_white(uint32_t codepoint);

extern const struct tokenizer_kind *const tokenizer_kind_list[];

#endif
