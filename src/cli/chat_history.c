/* What was typed before, a JSON string per line: lines are appended, so that two chats at once keep
 * both of theirs, and the file is cut when it is opened. */
#include <jansson.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/os.h"
#include "cli/chat_input.h"
#include "cli/talk.h"
#include "text/json_read.h"

enum {
    MOST_LINES = 1000,
    MOST_LINE_BYTES = 8 << 10, /* encoded; a longer one is remembered in this chat only */
    MOST_FILE_BYTES = 2 * MOST_LINES * MOST_LINE_BYTES,
};

static char *history_path; /* NULL: nothing is kept */

static char *find_path(void)
{
    struct strbuf path = {0};
    if (!os_data_folder(&path)) {
        talk_note("no history is kept: neither HEARTH_DATA nor HOME names a folder");
    } else if (!os_make_folders(path.ptr)) {
        talk_note("no history is kept: %s: cannot be made: %s", path.ptr, os_error_text());
    } else {
        strbuf_append(&path, STR("/chat_history"));
        if (!path.failed)
            return path.ptr;
    }
    strbuf_free(&path);
    return NULL;
}

/* The file's last MOST_LINES lines. */
static struct str last_lines(struct str text)
{
    size_t from = text.len;
    for (int n = -1; from > 0; from--) {
        n += text.ptr[from - 1] == '\n';
        if (n == MOST_LINES)
            break;
    }
    return str_slice(text, from, text.len);
}

enum lines_read {
    LINES_WHOLE,
    LINES_BROKEN,    /* there is one that is none of ours, or cut */
    LINES_NO_MEMORY, /* nobody knows: not all were read */
};

/* Hands on the lines that are whole. */
static enum lines_read read_lines(struct str text, history_fn *fn, void *user)
{
    enum lines_read read = LINES_WHOLE;
    json_error_t error;
    for (size_t at = 0; at < text.len;) {
        const char *end = memchr(text.ptr + at, '\n', text.len - at);
        size_t len = end ? (size_t)(end - text.ptr) - at : text.len - at;
        json_t *line = json_read(text.ptr + at, len, JSON_DECODE_ANY, &error);
        if (!line && json_lacked_memory(&error))
            return LINES_NO_MEMORY;
        if (json_is_string(line) && end)
            fn(user, json_string_value(line));
        else
            read = LINES_BROKEN;
        json_decref(line);
        at += len + 1;
    }
    return read;
}

static int append(const char *data, size_t size, void *user)
{
    strbuf_append(user, (struct str){data, size});
    return 0;
}

static bool put_line(FILE *file, const char *line)
{
    json_t *text = json_string(line);
    struct strbuf encoded = {0};
    bool ok = text && json_dump_callback(text, append, &encoded, JSON_ENCODE_ANY) == 0;
    strbuf_append_char(&encoded, '\n');
    ok = ok && !encoded.failed;
    if (ok && encoded.len <= MOST_LINE_BYTES)
        ok = fwrite(encoded.ptr, 1, encoded.len, file) == encoded.len;
    strbuf_free(&encoded);
    json_decref(text);
    return ok;
}

static void rewrite_line(void *user, const char *line)
{
    struct file_writer *writer = user;
    writer->failed |= !put_line(writer->stream, line);
}

/* Writes only what is worth keeping: a line that was cut by a crash would spoil the next one. */
static bool rewrite(struct str lines)
{
    struct file_writer writer;
    if (file_begin(&writer, history_path, NULL))
        return false;
    if (!os_make_private(writer.stream)) {
        file_abort(&writer);
        return false;
    }
    if (read_lines(lines, rewrite_line, &writer) == LINES_NO_MEMORY)
        writer.failed = true;
    return file_commit(&writer) == HTH_OK;
}

/* Makes the file if it is not there, and reads it. NULL, or why that cannot be. */
static const char *open_file(struct strbuf *text)
{
    enum os_file_kind kind = os_stat(history_path, NULL, NULL);
    if (kind == OS_FILE_OTHER || kind == OS_FILE_FOLDER)
        return "it is no file";
    FILE *file = os_fopen(history_path, "ab");
    bool mine = file && os_make_private(file);
    if (!file || fclose(file) != 0 || !mine)
        return os_error_text();
    enum hth_status status = file_read(history_path, MOST_FILE_BYTES, text, NULL);
    return status == HTH_OK            ? NULL
           : status == HTH_ERROR_LIMIT ? "it is too large"
                                       : os_error_text();
}

void history_open(history_fn *fn, void *user)
{
    struct strbuf text = {0};
    history_path = find_path();
    if (!history_path)
        return;
    const char *why = open_file(&text);
    if (!why) {
        struct str lines = last_lines(strbuf_str(&text));
        enum lines_read read = read_lines(lines, fn, user);
        if (read == LINES_NO_MEMORY) /* what was not read must not be lost */
            why = "out of memory";
        else if ((read == LINES_BROKEN || lines.len < text.len) && !rewrite(lines))
            why = os_error_text();
    }
    if (why) {
        talk_note("no history is kept: %s: %s", history_path, why);
        history_close();
    }
    strbuf_free(&text);
}

void history_add(struct str line)
{
    struct strbuf copy = {0};
    FILE *file = history_path ? os_fopen(history_path, "ab") : NULL;
    strbuf_append(&copy, line);
    bool ok = file && !copy.failed && copy.ptr && put_line(file, copy.ptr);
    ok = file && fclose(file) == 0 && ok;
    if (history_path && !ok) {
        talk_note("the history is kept no longer: %s: cannot be written: %s", history_path,
                  os_error_text());
        history_close();
    }
    strbuf_free(&copy);
}

void history_close(void)
{
    mem_free(history_path);
    history_path = NULL;
}
