#include "engine/kept.h"

#include <string.h>

#include "base/file.h"
#include "base/os.h"
#include "hearth/hearth.h"
#include "text/json_read.h"

enum { MOST_BYTES = 1 << 22 };

bool kept_path(const char *folder, const struct vk_caps *caps, struct strbuf *out)
{
    if (!os_cache_folder(out))
        return false;
    strbuf_printf(out, "/%s/", folder);
    for (int i = 0; caps && i < 16; i++)
        strbuf_printf(out, "%02x", caps->uuid[i]);
    strbuf_append(out, caps ? STR(".json") : STR("cpu.json"));
    return !out->failed;
}

void kept_of(const struct vk_caps *caps, struct strbuf *out)
{
    strbuf_printf(out, "hearth %s %s", hth_version(), vk_build_id());
    if (caps)
        strbuf_printf(out, "; %s; %s; %08x:%08x %08x", caps->name, caps->driver, caps->vendor_id,
                      caps->device_id, caps->driver_version);
    for (size_t i = 0; i < out->len; i++) /* names may be anything, and this stands in JSON */
        if (out->ptr[i] < ' ' || out->ptr[i] > '~')
            out->ptr[i] = '?';
}

/* --- writing ---------------------------------------------------------------------------------- */

enum hth_status kept_make_folder(const char *path)
{
    struct strbuf folder = {0};
    strbuf_append(&folder, (struct str){path, (size_t)(strrchr(path, '/') - path)});
    enum hth_status status = folder.failed                 ? HTH_ERROR_MEMORY
                             : os_make_folders(folder.ptr) ? HTH_OK
                                                           : HTH_ERROR_IO;
    strbuf_free(&folder);
    return status;
}

static enum hth_status write_file(const char *path, const struct strbuf *text)
{
    struct file_writer writer = {0};
    enum hth_status status = kept_make_folder(path);
    if (status == HTH_OK)
        status = file_begin(&writer, path, NULL);
    if (status)
        return status;
    file_put(&writer, text->ptr, text->len);
    return file_commit(&writer);
}

static int take(const char *data, size_t size, void *user)
{
    strbuf_append(user, (struct str){data, size});
    return 0;
}

enum hth_status kept_store(const struct strbuf *path, json_t *root, const char *so,
                           const struct log *log)
{
    struct strbuf text = {0};
    bool failed = path->failed || !root ||
                  json_dump_callback(root, take, &text, JSON_INDENT(1) | JSON_REAL_PRECISION(17));
    json_decref(root);
    enum hth_status status =
        failed || text.failed ? HTH_ERROR_MEMORY : write_file(path->ptr, &text);
    strbuf_free(&text);
    if (status == HTH_ERROR_MEMORY)
        return log_fail_memory(log, "a file of the cache", 0);
    if (status)
        log_warning(log, "%s: cannot be written: %s; %s", path->ptr, os_error_text(), so);
    return HTH_OK;
}

/* --- reading ---------------------------------------------------------------------------------- */

void kept_ignore(const struct strbuf *path, const char *why, const struct log *log)
{
    log_warning(log, "%s: is ignored, as %s", path->ptr, why);
}

/* Why it is not read; NULL if it is. */
static const char *reject(const json_t *root, const struct strbuf *of)
{
    const char *own = json_string_value(json_object_get(root, "of"));
    return !root                       ? "it is no JSON, or cannot be read"
           : !own                      ? "it is none that hearth wrote"
           : strcmp(own, of->ptr) != 0 ? "it is of another machine, driver or build"
                                       : NULL;
}

enum hth_status kept_load(const struct strbuf *path, const struct strbuf *of, json_t **root,
                          bool *ignored, const struct log *log)
{
    struct strbuf text = {0};
    json_error_t error;
    *root = NULL;
    if (ignored)
        *ignored = false;
    if (path->failed || of->failed)
        return log_fail_memory(log, "the path of a file of the cache", path->len);
    if (!path->ptr || os_stat(path->ptr, NULL, NULL) != OS_FILE_REGULAR)
        return HTH_OK;
    enum hth_status status = file_read(path->ptr, MOST_BYTES, &text, NULL);
    if (status == HTH_OK)
        *root = json_read(text.ptr, text.len, 0, &error);
    strbuf_free(&text);
    bool no_memory =
        status == HTH_ERROR_MEMORY || (status == HTH_OK && !*root && json_lacked_memory(&error));
    if (no_memory)
        return log_fail_memory(log, path->ptr, 0);
    const char *why = reject(*root, of);
    if (!why)
        return HTH_OK;
    kept_ignore(path, why, log);
    json_decref(*root);
    *root = NULL;
    if (ignored)
        *ignored = true;
    return HTH_OK;
}
