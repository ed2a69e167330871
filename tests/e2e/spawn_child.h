/*
 * spawn_child.h — the part of spawn.c that differs between systems: a process with files for its
 * streams. Implemented by spawn_posix.c and spawn_win32.c.
 */
#ifndef E2E_SPAWN_CHILD_H
#define E2E_SPAWN_CHILD_H

#include "spawn.h"

enum { SPAWN_MAX_ARGS = 40, SPAWN_MAX_SECONDS = 300, SPAWN_NOT_STARTED = 127 };

/* Where the three streams go; stdout only where spawn->closed_pipe does not say otherwise. */
struct spawn_files {
    const char *in, *out, *err;
};

/* Runs to the end what `spawn` says, and returns its exit code: -1 if it was killed,
 * SPAWN_NOT_STARTED if there was nothing to start. */
int spawn_child(const struct spawn *spawn, const char *const *args,
                const struct spawn_files *files);

#endif
