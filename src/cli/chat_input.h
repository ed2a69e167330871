/*
 * chat_input.h — lines of a conversation: edited on a terminal, as they come from a file or a pipe.
 *
 * Owns the line editor and the history. The program's main thread, and one input at a time: the
 * editor and Ctrl-C belong to the process.
 */
#ifndef CLI_CHAT_INPUT_H
#define CLI_CHAT_INPUT_H

#include <stdbool.h>

#include "base/str.h"

enum input_end {
    INPUT_LINE,
    INPUT_INTERRUPTED,       /* Ctrl-C: what was typed is dropped */
    INPUT_INTERRUPTED_EMPTY, /* Ctrl-C, and nothing was typed */
    INPUT_OVER,              /* Ctrl-D, the end of the file */
};

struct chat_input {
    bool person;                /* stdin is a terminal */
    struct line_editor *editor; /* NULL: lines are taken as they come */
};

void chat_input_open(struct chat_input *input);
void chat_input_close(struct chat_input *input);

/* Reads a line without its end, or with the editor several that were pasted; `begun` (may be empty)
 * is there to be edited, for which there must be an editor. line->failed: there was no memory. */
enum input_end chat_input_read(struct chat_input *input, struct str begun, struct strbuf *line);

/* --- the line editor: libedit's, or none where the build has no libedit ------------------------
 */

/* NULL if this terminal cannot be edited on. */
struct line_editor *line_editor_open(void);
void line_editor_close(struct line_editor *editor);
enum input_end line_editor_read(struct line_editor *editor, struct str begun, struct strbuf *line);
/* Appends to what arrow-up shows. */
void line_editor_remember(struct line_editor *editor, const char *line);

/* --- history: a file in the user's data folder -------------------------------------------------
 */

/* Calls `fn` with each line of the history, oldest first, and makes the file ready for more. Where
 * it cannot be written, that is said and nothing is kept. */
typedef void history_fn(void *user, const char *line);
void history_open(history_fn *fn, void *user);
void history_add(struct str line);
void history_close(void);

#endif
