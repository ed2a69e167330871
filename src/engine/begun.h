/*
 * begun.h — what was under way when a process ended: a file that names it before it begins, so that
 * what a driver does not survive is not begun for ever.
 *
 * Owns the file while it is open: the end of the process lets go of it, however it comes. Of
 * processes at the same time only the first writes. Where it cannot be written nothing is known.
 * One thread.
 */
#ifndef ENGINE_BEGUN_H
#define ENGINE_BEGUN_H

#include "base/str.h"

struct begun {
    struct strbuf path, last; /* what was under way */
    int n_ended;              /* so many times, one after the other */
    void *file;               /* FILE *; NULL: somebody else has it, or there is no place */
};

/* `of` is the path of a file that it is about, and lies beside; NULL or "": there is no place. */
void begun_open(struct begun *out, const char *of);

/* How many times in a row it was this that was under way when a process ended. */
int begun_count(const struct begun *begun, const char *what);

/* It is under way from now on, and nothing else is: on the disk when this returns. */
void begun_note(struct begun *begun, const char *what);

/* Nothing is under way any more. Accepts a zeroed one. */
void begun_close(struct begun *begun);

#endif
