/*
 * log.h — a log object handed down to whoever may have something to say.
 *
 * Owns nothing: a `struct log` is a value that points at the receiver. stdout belongs to results,
 * the log to talk. A NULL log is silent. Threads: the receiver is called under a global lock, one
 * line at a time.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdarg.h>

#include "base/attr.h"
#include "hearth/status.h"

struct log {
    hth_log_fn *write; /* NULL: silent */
    void *user;
    enum hth_log_level max_level; /* lines of a higher level are dropped */
};

/* Writes one line; no newline at its end, no prefix. Truncated at 4 KiB; control
 * characters but tab are shown as '?', so that text from a file cannot steer a terminal. */
void log_line(const struct log *log, enum hth_log_level level, const char *fmt, ...)
    ATTR_PRINTF(3, 4);
void log_linev(const struct log *log, enum hth_log_level level, const char *fmt, va_list args)
    ATTR_PRINTF(3, 0);

/* Hands a line on from within the receiver of another log, which is called under the lock: there
 * log_line would wait for itself. */
void log_pass_on(const struct log *log, enum hth_log_level level, const char *line);

#define log_warning(log, ...) log_line((log), HTH_LOG_WARNING, __VA_ARGS__)
#define log_info(log, ...)    log_line((log), HTH_LOG_INFO, __VA_ARGS__)
#define log_debug(log, ...)   log_line((log), HTH_LOG_DEBUG, __VA_ARGS__)

/* Logs the sentence at error level and returns `status`: `return log_fail(log, STATUS, …)`. */
HTH_MUST_CHECK log_fail(const struct log *log, enum hth_status status, const char *fmt, ...)
    ATTR_PRINTF(3, 4);

/* The same for memory that could not be had: "out of memory: WHAT needs N bytes". */
HTH_MUST_CHECK log_fail_memory(const struct log *log, const char *what, unsigned long long bytes);

#endif
