#include "base/log.h"

#include <stdio.h>

#include "base/os.h"

const char *hth_status_name(enum hth_status status)
{
    switch (status) {
    case HTH_OK: return "ok";
    case HTH_ERROR_MEMORY: return "out of memory";
    case HTH_ERROR_IO: return "input or output failed";
    case HTH_ERROR_FORMAT: return "malformed data";
    case HTH_ERROR_UNSUPPORTED: return "not supported";
    case HTH_ERROR_ARGUMENT: return "bad argument";
    case HTH_ERROR_DEVICE: return "device error";
    case HTH_ERROR_DEVICE_LOST: return "device lost";
    case HTH_ERROR_CANCELLED: return "cancelled";
    case HTH_ERROR_LIMIT: return "limit reached";
    }
    return "unknown status";
}

static struct os_mutex lock = OS_MUTEX_INIT;

void log_linev(const struct log *log, enum hth_log_level level, const char *fmt, va_list args)
{
    if (!log || !log->write || level > log->max_level)
        return;
    char line[4096] = "";
    vsnprintf(line, sizeof line, fmt, args);
    for (unsigned char *c = (unsigned char *)line; *c; c++) {
        if ((*c < 0x20 && *c != '\t') || *c == 0x7f)
            *c = '?';
        else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) /* U+0080 … U+009F steer too */
            c[0] = c[1] = '?';
    }
    os_mutex_lock(&lock);
    log->write(log->user, level, line);
    os_mutex_unlock(&lock);
}

void log_pass_on(const struct log *log, enum hth_log_level level, const char *line)
{
    if (log && log->write && level <= log->max_level)
        log->write(log->user, level, line);
}

void log_line(const struct log *log, enum hth_log_level level, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_linev(log, level, fmt, args);
    va_end(args);
}

enum hth_status log_fail(const struct log *log, enum hth_status status, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_linev(log, HTH_LOG_ERROR, fmt, args);
    va_end(args);
    return status;
}

enum hth_status log_fail_memory(const struct log *log, const char *what, unsigned long long bytes)
{
    return log_fail(log, HTH_ERROR_MEMORY, "out of memory: %s needs %llu bytes", what, bytes);
}
