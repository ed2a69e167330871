#include <jansson.h>
#include <stdio.h>

#include "harness/test.h"
#include "text/template.h"

/* What Jinja2 makes of its own filters, tests and globals, recorded by
 * tests/data/templates/record.py, against hearth. */

static const struct template_clock at_noon = {1783166400};

/* What Jinja2 has and hearth does not: text made up by chance, to look at pages with. */
static const char *const lacking[] = {"lipsum"};

static json_t *load(void)
{
    json_error_t error;
    json_t *file =
        json_load_file(test_data_path("templates/builtins.json"), JSON_ALLOW_NUL, &error);
    if (!file)
        fail_msg("builtins.json, line %d: %s", error.line, error.text);
    return file;
}

static enum hth_status render(struct str source, const json_t *context, struct strbuf *out)
{
    struct template *tmpl;
    test_log_clear();
    enum hth_status status = template_parse(&tmpl, source, "row", test_log());
    if (status == HTH_OK)
        status = template_render(tmpl, context, NULL, at_noon, out, test_log());
    template_free(tmpl);
    return status;
}

static bool lacks(const char *name)
{
    bool found = false;
    for (size_t i = 0; i < ARRAY_LEN(lacking); i++)
        found = found || strcmp(lacking[i], name) == 0;
    return found;
}

/* `probe` has one %s for a name, and gives True where hearth has it. `use` calls it. */
static void check_names(const char *kind, const char *probe, const char *use)
{
    json_t *file = load(), *context = json_object();
    const json_t *names = json_object_get(json_object_get(file, "names"), kind);
    assert_true(json_array_size(names) > 5);
    for (size_t i = 0; i < json_array_size(names); i++) {
        const char *name = json_string_value(json_array_get(names, i));
        struct strbuf source = {0}, out = {0};
        strbuf_printf(&source, lacks(name) ? use : probe, name);
        enum hth_status status = render(strbuf_str(&source), context, &out);
        if (lacks(name)) {
            assert_int_equal(status, HTH_ERROR_UNSUPPORTED);
            assert_logged(name);
        } else if (status != HTH_OK || !str_equal(strbuf_str(&out), STR("True"))) {
            fail_msg("hearth lacks %s of Jinja2's %s: %s", name, kind, test_log_text());
        }
        strbuf_free(&source);
        strbuf_free(&out);
    }
    json_decref(context);
    json_decref(file);
}

TEST(every_filter_is_there)
{
    check_names("filters", "{{ '%s' is filter }}", "{{ 1|%s }}");
}

TEST(every_test_is_there)
{
    check_names("tests", "{{ '%s' is test }}", "{{ 1 is %s }}");
}

TEST(every_global_is_there)
{
    check_names("globals", "{{ %s is defined }}", "{{ %s() }}");
}

/* The template with "(value)" for each @. */
static struct str fill(struct strbuf *out, const char *template, const char *value)
{
    for (; *template; template ++) {
        if (*template == '@')
            strbuf_printf(out, "(%s)", value);
        else
            strbuf_append_char(out, *template);
    }
    assert_false(out->failed);
    return strbuf_str(out);
}

/* Does it give what Jinja2 gave, or fail as it failed? Says so if not. */
static bool check(struct str source, const json_t *context, const json_t *expected)
{
    struct strbuf out = {0};
    enum hth_status status = render(source, context, &out);
    struct str wanted = {json_string_value(expected), json_string_length(expected)};
    bool fails = json_is_null(expected), good;
    if (fails)
        good = status != HTH_OK && strlen(test_log_text()) > 0;
    else
        good = status == HTH_OK && str_equal(strbuf_str(&out), wanted);
    if (!good)
        fprintf(stderr, "%.*s\n  gave   %s\n  wanted %s\n", (int)source.len, source.ptr,
                status == HTH_OK ? (out.ptr ? out.ptr : "") : test_log_text(),
                fails ? "a failure" : wanted.ptr);
    strbuf_free(&out);
    return good;
}

TEST(values)
{
    json_t *file = load();
    const json_t *values = json_object_get(file, "values"), *rows = json_object_get(file, "rows");
    const json_t *context = json_object_get(file, "context");
    size_t wrong = 0, checked = 0;
    for (size_t r = 0; r < json_array_size(rows); r++) {
        const json_t *row = json_array_get(rows, r), *expected = json_object_get(row, "expected");
        const char *template = json_string_value(json_object_get(row, "template"));
        for (size_t v = 0; v < json_array_size(expected); v++) {
            const json_t *text = json_array_get(expected, v);
            struct strbuf source = {0};
            if (json_is_string(text) && strcmp(json_string_value(text), "?") == 0)
                continue; /* an address */
            fill(&source, template, json_string_value(json_array_get(values, v)));
            wrong += !check(strbuf_str(&source), context, text);
            checked++;
            strbuf_free(&source);
        }
    }
    json_decref(file);
    assert_true(checked > 10000);
    if (wrong)
        fail_msg("%zu of %zu differ", wrong, checked);
}
