#include <jansson.h>

#include "base/file.h"
#include "harness/test.h"
#include "text/template.h"

/* Real chat templates against Python's Jinja2. */

enum { MAX_FILE = 16 << 20 };

/* 2026-07-04T12:30:15, the time at which the rows were made. */
static const struct template_clock made_at = {1783168215};

static json_t *load_rows(void)
{
    json_error_t error;
    json_t *rows =
        json_load_file(test_golden_path("templates/golden.json"), JSON_ALLOW_NUL, &error);
    if (!rows)
        fail_msg("golden.json, line %d: %s", error.line, error.text);
    return rows;
}

static void check_row(const json_t *row)
{
    const char *name = json_string_value(json_object_get(row, "template"));
    const char *kind = json_string_value(json_object_get(row, "case"));
    const char *expected = json_string_value(json_object_get(row, "expected"));
    const char *error = json_string_value(json_object_get(row, "error"));
    static const char prefix[] = "TemplateError: ";
    struct strbuf source = {0}, out = {0};
    struct template *tmpl;
    assert_int_equal(
        file_read(test_golden_path("templates/%s", name), MAX_FILE, &source, test_log()), HTH_OK);
    test_log_clear();
    if (template_parse(&tmpl, strbuf_str(&source), name, test_log()) != HTH_OK)
        fail_msg("%s", test_log_text());
    enum hth_status status =
        template_render(tmpl, json_object_get(row, "context"), NULL, made_at, &out, test_log());
    if (error && strncmp(error, prefix, strlen(prefix)) == 0) {
        struct str logged = str_of(test_log_text());
        assert_int_equal(status, HTH_ERROR_ARGUMENT);
        logged.len -= logged.len > 0; /* its newline */
        if (!str_ends_with(logged, str_of(error + strlen(prefix))))
            fail_msg("%s, %s: logged\n%s\nwanted\n%s", name, kind, test_log_text(), error);
    } else if (error) {
        assert_int_not_equal(status, HTH_OK);
    } else {
        if (status != HTH_OK)
            fail_msg("%s, %s: %s", name, kind, test_log_text());
        if (strcmp(out.ptr ? out.ptr : "", expected) != 0)
            fail_msg("%s, %s: got\n%s\nwanted\n%s", name, kind, out.ptr, expected);
    }
    template_free(tmpl);
    strbuf_free(&source);
    strbuf_free(&out);
}

static void check_matching(const char *const *parts, size_t n_parts, size_t at_least)
{
    json_t *rows = load_rows(), *row;
    size_t i, checked = 0;
    json_array_foreach(rows, i, row)
    {
        const char *name = json_string_value(json_object_get(row, "template"));
        bool wanted = n_parts == 0;
        for (size_t part = 0; part < n_parts; part++)
            wanted = wanted || strstr(name, parts[part]);
        if (!wanted)
            continue;
        check_row(row);
        checked++;
    }
    json_decref(rows);
    assert_true(checked >= at_least);
}

TEST(llama)
{
    static const char *const parts[] = {"Llama-3"};
    check_matching(parts, 1, 16);
}

TEST(mistral)
{
    static const char *const parts[] = {"istral"};
    check_matching(parts, 1, 20);
}

TEST(qwen)
{
    static const char *const parts[] = {"Qwen"};
    check_matching(parts, 1, 20);
}

TEST(all)
{
    check_matching(NULL, 0, 300);
}
