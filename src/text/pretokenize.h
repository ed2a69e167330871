/*
 * pretokenize.h — cutting text into words before BPE, by the rules of a model's family.
 *
 * Owns compiled regular expressions. Which rules a name (`tokenizer.ggml.pre`) means is data:
 * pretokenize_table.c. A rule is applied to every piece that the rules before it left; what it
 * matches becomes a piece, and so does what lies between matches. Compiled once, then any thread.
 */
#ifndef TEXT_PRETOKENIZE_H
#define TEXT_PRETOKENIZE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/log.h"
#include "base/str.h"

enum pre_flags {
    PRE_ADD_BOS = 1,      /* the vocabulary wants BOS unless the file says otherwise */
    PRE_CLEAN_SPACES = 2, /* decoding drops spaces before punctuation */
    PRE_WHOLE_WORD = 4,   /* a piece that is a token is taken before any merging */
    PRE_RAW = 8,          /* tokens are UTF-8 with "<0xXX>" for bytes, not byte-level characters */
    PRE_SPACE_MARK = 16,  /* U+2581 stands for a space */
    PRE_WHOLE_LINES = 32, /* as PRE_WHOLE_WORD, for pieces of line feeds only */
    PRE_MARK_LINES = 64,  /* every line begins with a space mark, added where it is missing */
};

struct pre_rule {
    const char *regex; /* PCRE2, UTF, without UCP: \d and \s are ASCII */
    bool thirds;       /* a match is no piece: cuts are before each group of three characters in it,
                        * counted from its end, and nowhere else */
};

enum { PRE_MAX_RULES = 8 };

struct pre_family {
    struct pre_rule rules[PRE_MAX_RULES]; /* ends at a NULL regex */
};

struct pre_row {
    const char *name; /* value of tokenizer.ggml.pre */
    const struct pre_family *family;
    unsigned flags;
};

/* The row of this name; NULL if hearth does not know it. */
const struct pre_row *pre_row_find(struct str name);

/* The name that was probably meant by one that hearth does not know; NULL if none is near. */
const char *pre_nearest(struct str name);

/* All rows; NULL past the end. The first is "default". */
const struct pre_row *pre_row_at(size_t index);

struct pretokenizer;

/* Compiles a family. Errors: HTH_ERROR_MEMORY; HTH_ERROR_UNSUPPORTED when the regex library refuses
 * a rule. */
HTH_MUST_CHECK pretokenizer_create(struct pretokenizer **out, const struct pre_family *family,
                                   const struct log *log);
void pretokenizer_destroy(struct pretokenizer *pretokenizer);

/* Where pieces end, in ascending order; the last is the length of the text. Free with
 * `pre_cuts_free`. */
struct pre_cuts {
    size_t *ends;
    size_t count, capacity;
};
void pre_cuts_free(struct pre_cuts *cuts);

/* Cuts `text`, valid UTF-8 and not empty; replaces what `cuts` held. A rule that would take too
 * long on hostile text leaves the rest of its piece whole. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK pretokenize(const struct pretokenizer *pretokenizer, struct str text,
                           struct pre_cuts *cuts);

#endif
