/*
 * terminal.h — runs the program on a terminal of its own, types, and waits for what it shows.
 *
 * Owns the pseudo-terminal and the child until terminal_end. Started like spawn.h does. POSIX only.
 * One thread.
 */
#ifndef E2E_TERMINAL_H
#define E2E_TERMINAL_H

#include <sys/types.h>

#include "harness/test.h"

struct terminal {
    const char
        *env[4]; /* "NAME=value"; beside them TERM=xterm, no NO_COLOR, and a new HEARTH_DATA */
    const char *out_path; /* where stdout goes instead */

    int fd;
    pid_t child;
    struct strbuf seen; /* all that was shown, zero-terminated */
    size_t at;          /* after what was waited for last */
};

/* Starts it; `args` ends with NULL. */
void terminal_start(struct terminal *terminal, const char *const *args);
#define START(terminal, ...) terminal_start((terminal), (const char *const[]){__VA_ARGS__, NULL})

void terminal_type(struct terminal *terminal, const char *keys);

/* Waits until `text` is shown after what was waited for before; fails the test if it does not come,
 * or if the program ends first. */
void terminal_wait(struct terminal *terminal, const char *text);

/* Waits for that many bytes more. */
void terminal_wait_bytes(struct terminal *terminal, size_t count);

/* Reads what is there, so that a program that shows much does not have to wait. */
void terminal_drain(struct terminal *terminal);

/* Waits for the end; returns the exit code, -1 for a signal. */
int terminal_end(struct terminal *terminal);

#endif
