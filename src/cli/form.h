/*
 * form.h — the form of a conversation: its chat template, the template's variables, and the texts
 * that end an answer.
 *
 * Owns what the options of this group say, read and unescaped. The program's main thread.
 */
#ifndef CLI_FORM_H
#define CLI_FORM_H

#include "base/arena.h"
#include "cli/command.h"
#include "cli/options.h"

extern const struct option_group options_form; /* --stop … --no-thinking */

/* Zero is the model's own form. */
struct form {
    struct chat_template template;
    const char *variables; /* a JSON object; NULL: none */
    const char *stops[MAX_REPEATS];
    size_t n_stops;
    struct arena texts; /* what all of them point to */
};

/* Reads all that options_form asks for. Returns an exit code, everything said. */
ATTR_WARN_UNUSED int form_read(const struct args *args, struct form *form);
/* The same without the template, for options that have changed. What fails changes nothing. */
ATTR_WARN_UNUSED int form_change(const struct args *args, struct form *form);
void form_free(struct form *form);

/* Warns of variables that the model's template does not look at. */
void form_check(const struct args *args, const struct hth_model *model);

#endif
