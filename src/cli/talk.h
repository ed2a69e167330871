/*
 * talk.h — what the program says: results on stdout, everything else on stderr.
 *
 * Owns the two streams' state: whether stdout failed, and the progress bar that a line on stderr
 * must wipe away. Colours and the bar appear on terminals only; NO_COLOR (https://no-color.org) is
 * honoured. The main thread, but for `talk_log`, whose receiver the log's own lock guards.
 */
#ifndef CLI_TALK_H
#define CLI_TALK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "base/str.h"

/* The log that everything is handed: warnings and errors; all of it after talk_verbose. */
const struct log *talk_log(void);
void talk_verbose(void);

/* A line on stderr, "hearth: …", whatever the log's level. */
void talk_line(const char *fmt, ...) ATTR_PRINTF(1, 2);

/* The same as an error; returns EXIT_FAILED. */
int talk_error(const char *fmt, ...) ATTR_PRINTF(1, 2);

/* A line that stands back behind a conversation: dim on a terminal. */
void talk_note(const char *fmt, ...) ATTR_PRINTF(1, 2);

/* What was asked for, a line of it on stderr as it is: results there are answers alone. */
void talk_plain(const char *fmt, ...) ATTR_PRINTF(1, 2);

/* A bar on a terminal's last line, from the moment that it is worth one; done ≥ total removes it.
 */
void talk_progress(const char *what, uint64_t done, uint64_t total);

/* Results. After the first failure nothing more is written; out_finish tells. */
void out_put(const void *data, size_t size_bytes);
void out_printf(const char *fmt, ...) ATTR_PRINTF(1, 2);
/* Text from a model or a file: on a terminal, control characters that could steer it become '?'. */
void out_text(struct str text);
/* What follows is dim, or not any more; without colours nothing changes. */
void out_dim(bool dim);
/* Like out_text between quotes, cut after `max` bytes. */
void out_quoted(struct str text, size_t max);
/* Sends what is buffered; false once stdout has failed. */
bool out_flush(void);
/* Has stdout failed because its reader is gone? */
bool out_closed(void);
/* Flushes and, if stdout failed for anything but a closed pipe, says so. Returns EXIT_OK or
 * EXIT_FAILED. */
int out_finish(void);

#endif
