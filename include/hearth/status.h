/*
 * hearth/status.h — how every function of hearth reports failure, and where its words go.
 *
 * A function that can fail returns `enum hth_status`. The sentence for a person (what was wrong,
 * where, what to do next) is logged once, where the cause is known; callers pass the status on and
 * add nothing. Both types are plain values: no threads, no ownership.
 */
#ifndef HEARTH_STATUS_H
#define HEARTH_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

enum hth_status {
    HTH_OK = 0,
    HTH_ERROR_MEMORY,      /* the host or the device has no room left */
    HTH_ERROR_IO,          /* a file or stream could not be read or written */
    HTH_ERROR_FORMAT,      /* bytes that are not what they claim to be */
    HTH_ERROR_UNSUPPORTED, /* well-formed, but hearth cannot do it */
    HTH_ERROR_ARGUMENT,    /* the caller asked for something impossible */
    HTH_ERROR_DEVICE,      /* a driver failed a call, or no device fits */
    HTH_ERROR_DEVICE_LOST, /* the device went away; the engine recovers from this */
    HTH_ERROR_CANCELLED,   /* the caller's own wish */
    HTH_ERROR_LIMIT,       /* a stated bound (time, depth, output, context) was reached */
};

/* A short name for a status, for programs ("out of memory"); never NULL. */
const char *hth_status_name(enum hth_status status);

/* What a line of the log is for. */
enum hth_log_level {
    HTH_LOG_ERROR,   /* the call that logs this fails */
    HTH_LOG_WARNING, /* the call goes on, but not as the user would expect */
    HTH_LOG_INFO,    /* one line a user wants once: what was decided and why */
    HTH_LOG_DEBUG,   /* what a developer of hearth wants */
};

/* Receives one line of the log, without its newline. `user` is the caller's own pointer. May be
 * called from any thread, one call at a time; it calls nothing of hearth, which may have to wait
 * for it to end before it can log. */
typedef void hth_log_fn(void *user, enum hth_log_level level, const char *line);

#ifdef __cplusplus
}
#endif

#endif
