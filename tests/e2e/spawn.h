/*
 * spawn.h — runs the program as a user does, and keeps what came of it.
 *
 * Owns the results until spawn_free. HEARTH_PROGRAM (the build) names the program; with HEARTH_EXEC
 * in the environment it is started through that (scripts/with-lavapipe says why). One thread.
 */
#ifndef E2E_SPAWN_H
#define E2E_SPAWN_H

#include <stdbool.h>

#include "harness/test.h"

struct spawn {
    /* what to do; all zero: no input, results kept */
    const char *program;  /* NULL: hearth */
    struct str input;     /* stdin */
    const char *out_path; /* where stdout goes, "/dev/full" */
    bool closed_pipe;     /* stdout is a pipe that nobody reads */
    const char *env[3];   /* "NAME=value", instead of what is inherited */
    size_t interrupt_at;  /* Ctrl-C once stdout has so many bytes; 0: never */

    /* what came of it */
    int code;               /* exit code; -1: killed by a signal */
    struct strbuf out, err; /* zero-terminated, even if empty */
};

/* Runs to the end; `args` ends with NULL. Fails the test if the program cannot be started. */
void spawn_run(struct spawn *spawn, const char *const *args);
void spawn_free(struct spawn *spawn);

/* RUN(&spawn, "run", model, "-n", "4") */
#define RUN(spawn, ...) spawn_run((spawn), (const char *const[]){__VA_ARGS__, NULL})

/* The last line of stderr without its newline, in a static buffer. */
const char *spawn_last_line(const struct spawn *spawn);

/* Fails the test unless the program ended with `code` and one line on stderr that contains `text`,
 * with nothing on stdout. */
void spawn_assert_refused(const struct spawn *spawn, int code, const char *text);

/* A small model with random weights, made by the program once per test program. */
const char *spawn_tiny_model(void);

/* A path in the temporary folder; valid for the next 32 calls, which other tests' helpers make
 * too. */
const char *spawn_temp(const char *name);

/* Writes a file into the temporary folder and returns its path. */
const char *spawn_file(const char *name, const void *data, size_t size_bytes);

/* Is there a software device that tests may use? Otherwise skips the test. */
void spawn_need_device(void);

#define assert_contains(text, part)                                                                \
    do {                                                                                           \
        if (!strstr((text), (part)))                                                               \
            fail_msg("\"%s\" is not in:\n%s", (part), (text));                                     \
    } while (0)

#define assert_code(spawn, expected)                                                               \
    do {                                                                                           \
        if ((spawn)->code != (expected))                                                           \
            fail_msg("exit code %d instead of %d; stderr:\n%s", (spawn)->code, (expected),         \
                     (spawn)->err.ptr);                                                            \
    } while (0)

#endif
