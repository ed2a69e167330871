#include "spawn.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/os.h"
#include "spawn_child.h"

enum { MAX_RESULT = 64 << 20 };

const char *spawn_temp(const char *name)
{
    static char paths[32][1024];
    static unsigned next;
    char *path = paths[next++ % ARRAY_LEN(paths)];
    snprintf(path, sizeof paths[0], "%s", test_temp_path("%s", name));
    return path;
}

static void read_result(struct strbuf *out, const char *path)
{
    strbuf_clear(out);
    if (os_stat(path, NULL, NULL) == OS_FILE_REGULAR)
        assert_int_equal(file_read(path, MAX_RESULT, out, NULL), HTH_OK);
    strbuf_append(out, STR(""));
    assert_false(out->failed);
    os_remove(path);
}

void spawn_run(struct spawn *spawn, const char *const *args)
{
    static const char *in, *own_out, *err;
    if (!in) { /* once: they are removed at exit, and there is room for some hundred names */
        in = mem_strdup(spawn_temp("in"));
        own_out = mem_strdup(spawn_temp("out"));
        err = mem_strdup(spawn_temp("err"));
    }
    const char *out = spawn->out_path ? spawn->out_path : own_out;
    FILE *file = os_fopen(in, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(spawn->input.ptr ? spawn->input.ptr : "", 1, spawn->input.len, file),
                     spawn->input.len);
    assert_int_equal(fclose(file), 0);
    fflush(NULL);
    spawn->code = spawn_child(spawn, args, &(struct spawn_files){in, out, err});
    read_result(&spawn->err, err);
    if (spawn->out_path)
        strbuf_append(&spawn->out, STR(""));
    else
        read_result(&spawn->out, out);
    if (spawn->code == SPAWN_NOT_STARTED)
        fail_msg("%s cannot be started", spawn->program ? spawn->program : HEARTH_PROGRAM);
}

void spawn_free(struct spawn *spawn)
{
    strbuf_free(&spawn->out);
    strbuf_free(&spawn->err);
}

const char *spawn_last_line(const struct spawn *spawn)
{
    static char line[4096];
    struct str text = strbuf_str(&spawn->err);
    while (text.len && text.ptr[text.len - 1] == '\n')
        text.len--;
    size_t from = text.len;
    while (from && text.ptr[from - 1] != '\n')
        from--;
    snprintf(line, sizeof line, "%.*s", (int)(text.len - from), text.ptr + from);
    return line;
}

void spawn_assert_refused(const struct spawn *spawn, int code, const char *text)
{
    assert_code(spawn, code);
    assert_contains(spawn->err.ptr, text);
    if (strncmp(spawn->err.ptr, "hearth: ", 8) != 0)
        fail_msg("stderr does not begin with \"hearth: \":\n%s", spawn->err.ptr);
    const char *end = strchr(spawn->err.ptr, '\n');
    if (!end || end[1])
        fail_msg("not one line:\n%s", spawn->err.ptr);
    assert_string_equal(spawn->out.ptr, "");
}

const char *spawn_tiny_model(void)
{
    static char path[1024];
    if (!path[0]) {
        struct spawn synth = {0};
        snprintf(path, sizeof path, "%s", spawn_temp("tiny.gguf"));
        RUN(&synth, "synth", "--like", "tiny-llama", "--quant", "q4_0", "-o", path);
        assert_code(&synth, 0);
        assert_string_equal(synth.out.ptr, "");
        spawn_free(&synth);
    }
    return path;
}

const char *spawn_file(const char *name, const void *data, size_t size_bytes)
{
    const char *path = spawn_temp(name);
    FILE *file = os_fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size_bytes, file), size_bytes);
    assert_int_equal(fclose(file), 0);
    return path;
}

void spawn_need_device(void)
{
    const char *set = getenv("HEARTH_TEST_SOFTWARE");
    if (!set || strcmp(set, "1") != 0)
        test_skip_device("no software device: scripts/with-lavapipe shows it to tests");
}
