/*
 * interrupt.h — what Ctrl-C does: it stops what is computed, and not always the program.
 *
 * Owns the process's handler for it. Watching begins and ends on the program's main thread; the
 * press itself may come at any time, on any thread.
 */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <stdbool.h>

struct hth_session;

/* From now on Ctrl-C sets `interrupted` and cancels what `session` (may be NULL) computes; a second
 * one ends the program. */
void watch_interrupt(struct hth_session *session);

/* Was it pressed since the last watch_interrupt? */
bool interrupted(void);

/* Ctrl-C is the system's again, or after hold_interrupts still ours. */
void unwatch_interrupt(void);

/* For a conversation: from now to the end of the program Ctrl-C is noted even when nothing is
 * watched, and only the third press within one watch ends the program, as nothing else would. */
void hold_interrupts(void);

#endif
