/*
 * fuzz_log.h — a log for fuzz targets, so that messages are made of hostile bytes, too.
 *
 * It holds each line to what users are promised: printable, not empty, and a failed call says one
 * error, any other none. One thread.
 */
#ifndef FUZZ_LOG_H
#define FUZZ_LOG_H

#include <stdlib.h>

#include "base/log.h"

static int fuzz_log_errors; /* logged since fuzz_log_check */

static inline void fuzz_log_write(void *user, enum hth_log_level level, const char *line)
{
    (void)user;
    if (!*line)
        abort();
    for (; *line; line++)
        if (((unsigned char)*line < 0x20 && *line != '\t') || *line == 0x7f)
            abort();
    fuzz_log_errors += level == HTH_LOG_ERROR;
}

static inline const struct log *fuzz_log(void)
{
    static const struct log log = {fuzz_log_write, NULL, HTH_LOG_DEBUG};
    return &log;
}

/* Returns `status`, when the calls since the last check have said as much as they should. */
static inline enum hth_status fuzz_log_check(enum hth_status status)
{
    if (fuzz_log_errors != (status != HTH_OK))
        abort();
    fuzz_log_errors = 0;
    return status;
}

#endif
