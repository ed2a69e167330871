/*
 * tokenizer_special.h — tokens that are recognised in text as a whole, and those that end an
 * answer.
 *
 * Owns a sorted index of control, unknown and user-defined tokens, and a bit per token. What the
 * file says about a token's type is corrected here by what its text says, as the field does. Texts
 * belong to the vocabulary. Built by one thread, then read by any.
 */
#ifndef TEXT_TOKENIZER_SPECIAL_H
#define TEXT_TOKENIZER_SPECIAL_H

#include "text/tokenizer_vocab.h"

struct special {
    struct str text;
    int32_t id;
    bool always;         /* user-defined: matched even where special tokens are not parsed */
    bool lstrip, rstrip; /* takes the spaces before, after it with it */
};

struct specials {
    struct special *items; /* sorted by text, then id */
    size_t n_items;
    bool starts[2][256]; /* [parse][byte]: does any of them begin with this byte? */
    uint8_t *ends;       /* a bit per token: it ends an answer */
};

/* Corrects the types in `vocab` and builds both. `named` are ids that the file names as ends (EOS,
 * EOT, EOM), -1 for none. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK specials_load(struct specials *specials, struct vocab *vocab,
                             const struct gguf *gguf, const int32_t named[3],
                             const struct log *log);
void specials_free(struct specials *specials);

/* The first special token in text[from ..), the longest where several begin at one place; NULL if
 * there is none. `parse` admits control and unknown tokens. Its place goes to *at. */
const struct special *specials_next(const struct specials *specials, struct str text, size_t from,
                                    bool parse, size_t *at);

bool specials_is_end(const struct specials *specials, size_t id);

#endif
