/*
 * attempt.h — the program as a user runs it, with one call failed.
 *
 * An attempt is a command line with what it did undisturbed; the functions run it again with a
 * failure and hold it to the rule: either it did all the same what it did undisturbed, or it ended
 * with 1 and exactly one sentence on stderr, and left no half of a file. POSIX only. One thread.
 */
#ifndef FAULT_ATTEMPT_H
#define FAULT_ATTEMPT_H

#include "spawn.h"

enum { ATTEMPT_MAX_CALLS = 64 };

/* How often a function was called, by the report of interpose.c or of the layer. */
struct attempt_count {
    char name[64];
    int n;
};

struct attempt {
    const char *args[16]; /* NULL at the end */
    struct str input;     /* stdin */
    const char *file;     /* that it writes; NULL: none */
    bool talks;           /* says more on stderr than what failed */
    bool varies;          /* its stdout is not the same each time */
    bool keeps_cache;     /* between runs; else each has a fresh one */

    /* undisturbed */
    struct strbuf out, bytes; /* stdout; the file */
    int n_sentences;          /* on stderr, warnings left out */
    struct attempt_count counts[ATTEMPT_MAX_CALLS];
    int n_counts;

    /* of the last run */
    bool failed_a_call; /* the plan was carried out */
    int code;
};

/* Runs it undisturbed and learns what it does. `plan` and `report` name the environment variables
 * of who makes calls fail: "HEARTH_FAIL", "HEARTH_FAIL_REPORT", or the layer's. */
void attempt_learn(struct attempt *c, const char *report);

/* Runs it with a plan and checks the rule. The file that it writes has other contents before, which
 * must stay if the program fails. */
void attempt_fail(struct attempt *c, const char *plan_name, const char *plan, const char *report);

/* Kills it at a call (HEARTH_FAIL's errno 0), or wherever `kill_it` does when `plan` is NULL, and
 * runs it again undisturbed, with what the killed one left on disk: it must do what it always does,
 * and not even warn. */
void attempt_kill(struct attempt *c, const char *plan, void (*kill_it)(const struct attempt *c));

/* How often a function was called undisturbed. */
int attempt_calls(const struct attempt *c, const char *name);

void attempt_free(struct attempt *c);

/* LD_PRELOAD for the interposer, to be set in the environment of programs. */
void attempt_use_interposer(void);

#endif
