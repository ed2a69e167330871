#include "base/file.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/os.h"

enum hth_status file_read(const char *path, size_t max_bytes, struct strbuf *out,
                          const struct log *log)
{
    bool standard_input = strcmp(path, "-") == 0;
    if (!standard_input && os_stat(path, NULL, NULL) == OS_FILE_FOLDER)
        return log_fail(log, HTH_ERROR_IO, "%s: is a folder, not a file", path);
    FILE *file = standard_input ? stdin : os_fopen(path, "rb");
    if (!file)
        return log_fail(log, HTH_ERROR_IO, "%s: cannot be opened: %s", path, os_error_text());
    enum hth_status status = HTH_OK;
    char chunk[16384];
    size_t n, left = max_bytes;
    while ((n = fread(chunk, 1, sizeof chunk, file)) > 0) {
        if (n > left) {
            status = log_fail(log, HTH_ERROR_LIMIT, "%s: larger than %zu bytes", path, max_bytes);
            break;
        }
        strbuf_append(out, (struct str){chunk, n});
        if (out->failed) {
            status = log_fail_memory(log, path, out->len + n);
            break;
        }
        left -= n;
    }
    if (status == HTH_OK && ferror(file))
        status = log_fail(log, HTH_ERROR_IO, "%s: cannot be read: %s", path, os_error_text());
    if (!standard_input)
        fclose(file);
    return status;
}

enum { MAX_PATH_BYTES = 4096 };

/* What processes that were killed left of a file they wrote. */
struct leftovers {
    struct str folder, name; /* "FOLDER/" or nothing; that of the file */
};

/* A number above 0 that the whole text is; 0 if it is none. */
static unsigned long process_number(const char *text)
{
    char *end;
    if (*text < '1' || *text > '9')
        return 0;
    unsigned long id = strtoul(text, &end, 10);
    return *end || id == ULONG_MAX ? 0 : id;
}

/* A process that still writes is there, or has the file locked where its number means nothing here:
 * in another container. */
static void remove_leftover(void *user, const char *name)
{
    static const struct str middle = {".tmp.", 5};
    const struct leftovers *left = user;
    struct str rest = str_of(name);
    if (!str_starts_with(rest, left->name) ||
        !str_starts_with(str_slice(rest, left->name.len, rest.len), middle))
        return;
    unsigned long id = process_number(name + left->name.len + middle.len);
    char path[MAX_PATH_BYTES];
    int n = snprintf(path, sizeof path, "%.*s%s", (int)left->folder.len, left->folder.ptr, name);
    if (id == 0 || os_process_exists(id) || n < 0 || (size_t)n >= sizeof path)
        return;
    FILE *file = os_fopen(path, "r+b");
    bool dead = file && os_lock(file);
    if (file)
        fclose(file);
    if (dead)
        os_remove(path);
}

/* Cleaning up is no reason to fail, and needs no heap. */
static void remove_leftovers(const char *path)
{
    size_t n = strlen(path);
    while (n && !os_is_separator(path[n - 1]))
        n--;
    struct leftovers left = {{path, n}, str_of(path + n)};
    char folder[MAX_PATH_BYTES] = ".";
    if (n >= sizeof folder)
        return;
    if (n)
        snprintf(folder, sizeof folder, "%.*s", (int)n, path);
    os_list_folder(folder, remove_leftover, &left);
}

enum hth_status file_begin(struct file_writer *writer, const char *path, const struct log *log)
{
    struct strbuf temp = {0};
    enum os_file_kind kind = os_stat(path, NULL, NULL);
    *writer = (struct file_writer){0};
    if (kind == OS_FILE_FOLDER)
        return log_fail(log, HTH_ERROR_IO, "%s: is a folder; name a file inside it", path);
    bool direct = kind == OS_FILE_OTHER;
    if (!direct)
        strbuf_printf(&temp, "%s.tmp.%lu", path, os_process_id());
    *writer = (struct file_writer){.path = mem_strdup(path), .temp_path = temp.ptr, .log = log};
    if (temp.failed || !writer->path) {
        file_abort(writer);
        return log_fail_memory(log, path, strlen(path) + 32);
    }
    writer->stream = os_fopen(direct ? path : writer->temp_path, "wb");
    if (!writer->stream) {
        enum hth_status status =
            log_fail(log, HTH_ERROR_IO, "%s: cannot be written: %s", path, os_error_text());
        file_abort(writer);
        return status;
    }
    /* Kept until it is closed; where files cannot be locked, our number protects it. */
    if (!direct && os_lock(writer->stream))
        remove_leftovers(path);
    return HTH_OK;
}

static enum hth_status write_failed(struct file_writer *writer)
{
    if (writer->failed)
        return HTH_ERROR_IO;
    writer->failed = true;
    return log_fail(writer->log, HTH_ERROR_IO, "%s: cannot be written: %s", writer->path,
                    os_error_text());
}

void file_put(struct file_writer *writer, const void *data, size_t size_bytes)
{
    if (writer->failed || size_bytes == 0)
        return;
    if (fwrite(data, 1, size_bytes, writer->stream) != size_bytes) {
        enum hth_status said = write_failed(writer);
        (void)said;
    }
}

enum hth_status file_commit(struct file_writer *writer)
{
    enum hth_status status = writer->failed ? HTH_ERROR_IO : HTH_OK;
    if (status == HTH_OK && !os_flush(writer->stream))
        status = write_failed(writer);
    if (fclose(writer->stream) != 0 && status == HTH_OK)
        status = write_failed(writer);
    writer->stream = NULL;
    if (status == HTH_OK && writer->temp_path && !os_rename(writer->temp_path, writer->path))
        status = write_failed(writer);
    if (status != HTH_OK && writer->temp_path)
        os_remove(writer->temp_path);
    mem_free(writer->path);
    mem_free(writer->temp_path);
    *writer = (struct file_writer){0};
    return status;
}

void file_abort(struct file_writer *writer)
{
    if (writer->stream) {
        fclose(writer->stream);
        if (writer->temp_path)
            os_remove(writer->temp_path);
    }
    mem_free(writer->path);
    mem_free(writer->temp_path);
    *writer = (struct file_writer){0};
}
