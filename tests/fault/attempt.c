#include "attempt.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "base/os.h"
#include "folder.h"

static const char before[] = "what was there before";

/* Lines on stderr that are no warning. */
static int count_sentences(const char *err)
{
    int n = 0;
    for (const char *line = err; *line;) {
        if (strncmp(line, "hearth: ", 8) != 0)
            fail_msg("a line on stderr that is not ours:\n%s", err);
        n += strncmp(line, "hearth: warning: ", 17) != 0;
        const char *end = strchr(line, '\n');
        line = end ? end + 1 : line + strlen(line);
    }
    return n;
}

static void read_report(struct attempt *c, const char *path, bool learn)
{
    struct strbuf text = {0};
    c->failed_a_call = false;
    if (os_stat(path, NULL, NULL) != OS_FILE_REGULAR)
        return;
    assert_int_equal(file_read(path, 1 << 16, &text, test_log()), HTH_OK);
    for (char *line = strtok(text.ptr, "\n"); line; line = strtok(NULL, "\n")) {
        struct attempt_count *count = &c->counts[c->n_counts];
        if (strncmp(line, "failed ", 7) == 0)
            c->failed_a_call = true;
        if (strncmp(line, "left ", 5) == 0)
            fail_msg("objects of Vulkan left: %s", line + 5);
        if (learn && c->n_counts < ATTEMPT_MAX_CALLS &&
            sscanf(line, "call %63s %d", count->name, &count->n) == 2)
            c->n_counts++;
    }
    strbuf_free(&text);
    unlink(path);
}

static void read_bytes(const char *path, struct strbuf *bytes)
{
    strbuf_clear(bytes);
    if (path && os_stat(path, NULL, NULL) == OS_FILE_REGULAR)
        assert_int_equal(file_read(path, 1 << 26, bytes, test_log()), HTH_OK);
}

static void write_before(const char *path)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(before, 1, sizeof before, file), sizeof before);
    assert_int_equal(fclose(file), 0);
}

static void run(struct attempt *c, struct spawn *s, const char *plan, const char *report_name)
{
    static char report[1200], path[1100];
    snprintf(path, sizeof path, "%s", test_temp_path("report"));
    snprintf(report, sizeof report, "%s=%s", report_name, path);
    s->input = c->input;
    s->env[0] = report;
    s->env[1] = plan;
    if (!c->keeps_cache)
        test_fresh_cache();
    spawn_run(s, c->args);
    c->code = s->code;
    read_report(c, path, !plan && c->n_counts == 0);
}

void attempt_learn(struct attempt *c, const char *report)
{
    struct spawn s = {0};
    if (c->file)
        unlink(c->file);
    run(c, &s, NULL, report);
    assert_code(&s, 0);
    c->n_sentences = count_sentences(s.err.ptr);
    strbuf_append(&c->out, strbuf_str(&s.out));
    read_bytes(c->file, &c->bytes);
    assert_true(!c->file || c->bytes.len > 0);
    assert_true(c->n_counts > 0);
    spawn_free(&s);
}

/* What is left behind is whole: the file as before or as undisturbed, and no temporary one.
 * `elsewhere`: logits in it were computed in another way than undisturbed, and are as many. */
static void check_file(struct attempt *c, const char *plan, bool elsewhere)
{
    struct strbuf bytes = {0};
    if (!c->file)
        return;
    read_bytes(c->file, &bytes);
    bool old = str_equal(strbuf_str(&bytes), (struct str){before, sizeof before});
    bool whole = elsewhere ? bytes.len == c->bytes.len
                           : str_equal(strbuf_str(&bytes), strbuf_str(&c->bytes));
    if (!whole && (c->code == 0 || !old))
        fail_msg("%s: exit code %d, and the file has %zu bytes", plan, c->code, bytes.len);
    strbuf_free(&bytes);
    char folder[1100];
    snprintf(folder, sizeof folder, "%s", test_temp_path("%s", ""));
    if (folder_count(folder, ".tmp."))
        fail_msg("%s: a temporary file is left", plan);
}

void attempt_fail(struct attempt *c, const char *plan_name, const char *plan, const char *report)
{
    struct spawn s = {0};
    char setting[256];
    snprintf(setting, sizeof setting, "%s=%s", plan_name, plan);
    if (c->file)
        write_before(c->file);
    run(c, &s, setting, report);
    int n = count_sentences(s.err.ptr);
    bool same = c->varies || str_equal(strbuf_str(&s.out), strbuf_str(&c->out));
    /* A device that is lost or without memory is no failure: it is placed anew, which two lines
     * say, and where sums are made in another order a made model's words may be others. */
    bool anew = strstr(s.err.ptr, "planned again") || strstr(s.err.ptr, "the GPU was lost");
    bool placed_anew = anew && n <= c->n_sentences + 2;
    /* nor is none for copies of weights as the processor likes them */
    bool slower = strstr(s.err.ptr, "as the file has them") && n <= c->n_sentences + 1;
    if (s.code == 0 && !placed_anew && !slower && (!same || n != c->n_sentences))
        fail_msg("%s: ended well, but said:\n%s%s", plan, s.out.ptr, s.err.ptr);
    if (s.code != 0 && (s.code != 1 || n < 1 || n > (c->talks ? c->n_sentences + 1 : 1)))
        fail_msg("%s: exit code %d, and on stderr:\n%s", plan, s.code, s.err.ptr);
    check_file(c, plan, s.code == 0 && (placed_anew || slower));
    spawn_free(&s);
}

void attempt_kill(struct attempt *c, const char *plan, void (*kill_it)(const struct attempt *c))
{
    struct spawn s = {0};
    char setting[256];
    struct strbuf bytes = {0};
    test_fresh_cache();
    if (c->file)
        write_before(c->file);
    snprintf(setting, sizeof setting, "HEARTH_FAIL=%s", plan ? plan : "");
    if (kill_it)
        kill_it(c);
    else
        run(c, &s, setting, "HEARTH_FAIL_REPORT");
    bool may_live = c->varies && s.code == 0; /* it may not have made that call this time */
    if (!kill_it && !may_live && s.code != -1)
        fail_msg("%s: was not killed: exit code %d, stderr:\n%s", plan, s.code, s.err.ptr);
    read_bytes(c->file, &bytes);
    bool old = str_equal(strbuf_str(&bytes), (struct str){before, sizeof before});
    if (c->file && !old && !str_equal(strbuf_str(&bytes), strbuf_str(&c->bytes)))
        fail_msg("%s: killed, and the file has %zu bytes", setting, bytes.len);
    run(c, &s, NULL, "HEARTH_FAIL_REPORT");
    read_bytes(c->file, &bytes);
    bool same = c->varies || str_equal(strbuf_str(&s.out), strbuf_str(&c->out));
    if (s.code != 0 || !same || !str_equal(strbuf_str(&bytes), strbuf_str(&c->bytes)) ||
        strstr(s.err.ptr, "warning"))
        fail_msg("%s: after it was killed: exit code %d\n%s%s", setting, s.code, s.out.ptr,
                 s.err.ptr);
    strbuf_free(&bytes);
    spawn_free(&s);
}

int attempt_calls(const struct attempt *c, const char *name)
{
    for (int i = 0; i < c->n_counts; i++)
        if (strcmp(c->counts[i].name, name) == 0)
            return c->counts[i].n;
    return 0;
}

void attempt_free(struct attempt *c)
{
    strbuf_free(&c->out);
    strbuf_free(&c->bytes);
    c->n_counts = 0;
}

void attempt_use_interposer(void)
{
    setenv("LD_PRELOAD", HEARTH_INTERPOSER, 1);
    setenv("ASAN_OPTIONS", "verify_asan_link_order=0", 1);
}
