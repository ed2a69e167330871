/*
 * file.h — whole files: read into memory, and written so that a crash leaves the old one or none.
 *
 * Owns nothing after it returns. Any thread.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>

#include "base/log.h"
#include "base/str.h"

/* Reads a whole file (or standard input for "-") of at most `max_bytes` into `out`, appending.
 * Errors: HTH_ERROR_IO naming the path and the reason, HTH_ERROR_LIMIT when it is larger,
 * HTH_ERROR_MEMORY. */
HTH_MUST_CHECK file_read(const char *path, size_t max_bytes, struct strbuf *out,
                         const struct log *log);

/* A file being written beside its final place; nothing is visible there until `file_commit`. */
struct file_writer {
    void *stream;           /* FILE * */
    char *path, *temp_path; /* no temp_path: straight to a device */
    const struct log *log;
    bool failed;
};

/* Opens "PATH.tmp.PID", and removes what processes that are no more left under such names. Folders
 * must exist. A device or a pipe (/dev/null …) is never replaced:
 * what is put goes straight to it. Errors: HTH_ERROR_IO, HTH_ERROR_MEMORY. */
HTH_MUST_CHECK file_begin(struct file_writer *writer, const char *path, const struct log *log);

/* Appends bytes; after a failure (said once) further writes do nothing. */
void file_put(struct file_writer *writer, const void *data, size_t size_bytes);

/* Flushes to the disk and renames into place; on failure the temporary is removed and the old file
 * stays. The writer is finished either way. */
HTH_MUST_CHECK file_commit(struct file_writer *writer);

/* Drops what was written. Accepts a zeroed writer. */
void file_abort(struct file_writer *writer);

#endif
