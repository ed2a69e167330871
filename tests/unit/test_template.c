#include <jansson.h>
#include <time.h>

#include "gguf/gguf_write.h"
#include "harness/test.h"
#include "text/template.h"

/* The template engine: the table of vectors (made with Python's Jinja2), messages, limits. */

static const struct template_clock at_noon = {1783168215}; /* 2026-07-04T12:30:15 */

static enum hth_status render(const char *source, const json_t *context,
                              const struct template_limits *limits, struct strbuf *out)
{
    struct template *tmpl;
    test_log_clear();
    enum hth_status status = template_parse(&tmpl, str_of(source), "test", test_log());
    if (status != HTH_OK) {
        assert_null(tmpl);
        return status;
    }
    status = template_render(tmpl, context, limits, at_noon, out, test_log());
    template_free(tmpl);
    return status;
}

static void check_text(const char *source, const char *context_text, const char *expected)
{
    json_t *context = json_loads(context_text, JSON_ALLOW_NUL, NULL);
    struct strbuf out = {0};
    assert_non_null(context);
    if (render(source, context, NULL, &out) != HTH_OK)
        fail_msg("%s: %s", source, test_log_text());
    assert_string_equal(out.ptr ? out.ptr : "", expected);
    strbuf_free(&out);
    json_decref(context);
}

static void check_failure(const char *source, enum hth_status status, const char *logged)
{
    json_t *context = json_pack("{s:i,s:[i,i],s:s}", "n", 5, "l", 1, 2, "s", "text");
    struct strbuf out = {0};
    strbuf_append(&out, STR("kept"));
    enum hth_status got = render(source, context, NULL, &out);
    if (got != status)
        fail_msg("%s: \"%s\", wanted \"%s\"; the log: %s", source, hth_status_name(got),
                 hth_status_name(status), test_log_text());
    assert_logged(logged);
    assert_string_equal(out.ptr, "kept");
    strbuf_free(&out);
    json_decref(context);
}

static void check_vector(const json_t *row, const json_t *context)
{
    const json_t *source = json_object_get(row, "template");
    const json_t *expected = json_object_get(row, "expected");
    struct strbuf out = {0};
    struct template *tmpl = NULL;
    test_log_clear();
    struct str text = {json_string_value(source), json_string_length(source)};
    enum hth_status status = template_parse(&tmpl, text, "vector", test_log());
    if (status == HTH_OK)
        status = template_render(tmpl, context, NULL, at_noon, &out, test_log());
    if (!expected && status == HTH_OK)
        fail_msg("%s: gave \"%s\", must fail", text.ptr, out.ptr ? out.ptr : "");
    if (!expected && strlen(test_log_text()) == 0)
        fail_msg("%s: failed without a word", text.ptr);
    if (expected && status != HTH_OK)
        fail_msg("%s: %s", text.ptr, test_log_text());
    struct str wanted = {json_string_value(expected), json_string_length(expected)};
    if (expected && !str_equal(strbuf_str(&out), wanted))
        fail_msg("%s: got\n%s\nwanted\n%s", text.ptr, out.ptr ? out.ptr : "", wanted.ptr);
    template_free(tmpl);
    strbuf_free(&out);
}

TEST(vectors)
{
    json_error_t error;
    json_t *file = json_load_file(test_data_path("templates/vectors.json"), JSON_ALLOW_NUL, &error);
    if (!file)
        fail_msg("vectors.json, line %d: %s", error.line, error.text);
    const json_t *rows = json_object_get(file, "vectors");
    assert_true(json_array_size(rows) > 1000);
    for (size_t i = 0; i < json_array_size(rows); i++)
        check_vector(json_array_get(rows, i), json_object_get(file, "context"));
    json_decref(file);
}

TEST(zero_bytes)
{
    json_t *context = json_loads("{\"s\":\"a\\u0000b\"}", JSON_ALLOW_NUL, NULL);
    struct strbuf out = {0};
    assert_int_equal(render("{{ s|length }}{{ s }}{{ s|tojson }}", context, NULL, &out), HTH_OK);
    assert_int_equal(out.len, 1 + 3 + 10);
    assert_memory_equal(out.ptr, "3a\0b\"a\\u0000b\"", out.len);
    strbuf_free(&out);
    json_decref(context);
}

TEST(appends)
{
    json_t *context = json_object();
    struct strbuf out = {0};
    strbuf_append(&out, STR("before "));
    assert_int_equal(render("{% macro m() %}x{% endmacro %}{{ m() ~ m() }}", context, NULL, &out),
                     HTH_OK);
    assert_string_equal(out.ptr, "before xx");
    strbuf_free(&out);
    json_decref(context);
}

TEST(from_json)
{
    check_text("{{ ('{\"a\": [1, null, \"é\"]}'|from_json).a }}", "{}", "[1, None, 'é']");
    check_failure("\n{{ '{'|from_json }}", HTH_ERROR_FORMAT, "line 2: from_json");
}

TEST(big_integers)
{
    check_text("{{ n }} {{ n - 1 }}", "{\"n\":9223372036854775807}",
               "9223372036854775807 9223372036854775806");
    check_failure("{{ 9223372036854775807 + 1 }}", HTH_ERROR_FORMAT, "too large for 64 bits");
    check_failure("{{ 2 ** 63 }}", HTH_ERROR_FORMAT, "too large for 64 bits");
    check_failure("{{ 99999999999999999999 }}", HTH_ERROR_FORMAT, "too large for 64 bits");
    check_failure("{{ '99999999999999999999'|int }}", HTH_ERROR_FORMAT, "too large for 64 bits");
}

TEST(messages)
{
    check_failure("a\n{{ x.y }}", HTH_ERROR_FORMAT, "test, line 2: 'x' is undefined");
    check_failure("{{ l.x.y }}", HTH_ERROR_FORMAT, "'list object' has no attribute 'x'");
    check_failure("{{ l[7].y }}", HTH_ERROR_FORMAT, "list object has no element 7");
    check_failure("{{ none.x.y }}", HTH_ERROR_FORMAT, "'None' has no attribute 'x'");
    check_failure("\n\n{{ 1 + 'a' }}", HTH_ERROR_FORMAT,
                  "line 3: unsupported operand type(s) for +: 'int' and 'str'");
    check_failure("{{ s < 1 }}", HTH_ERROR_FORMAT,
                  "'<' not supported between instances of 'str' and 'int'");
    check_failure("{% if n %}\n{% for x in l %}\n", HTH_ERROR_FORMAT,
                  "line 2: the 'for' of line 2 is never closed, 'endfor' is missing");
    check_failure("{% if n %}\n{% endfor %}", HTH_ERROR_FORMAT,
                  "line 2: unknown tag 'endfor'; the 'if' of line 1 is not closed yet");
    check_failure("{{ (1 }}", HTH_ERROR_FORMAT, "unexpected '}', expected ')'");
    check_failure("{{ 'a }}", HTH_ERROR_FORMAT, "a string that is never closed");
    check_failure("{{ 1 $ }}", HTH_ERROR_FORMAT, "unexpected character '$'");
    check_failure("{% continue %}", HTH_ERROR_FORMAT, "'continue' outside of a loop");
    check_failure("\n\xff", HTH_ERROR_FORMAT, "line 2: the byte 0xff at offset 1 is not UTF-8");
}

TEST(unsupported_is_named)
{
    check_failure("\n{{ n|bogus }}", HTH_ERROR_UNSUPPORTED,
                  "line 2: hearth has no filter named 'bogus'");
    check_failure("{{ n is bogus }}", HTH_ERROR_UNSUPPORTED, "hearth has no test named 'bogus'");
    check_failure("{{ bogus(1) }}", HTH_ERROR_UNSUPPORTED,
                  "'bogus' is undefined: hearth has no function");
    check_failure("{{ s.encode() }}", HTH_ERROR_UNSUPPORTED, "hearth has no method named 'encode'");
    check_failure("{% include 'x' %}", HTH_ERROR_UNSUPPORTED, "hearth has no tag 'include'");
    check_failure("{{ l|map('bogus')|list }}", HTH_ERROR_UNSUPPORTED,
                  "hearth has no filter named 'bogus'");
    check_text("{% if false %}{{ 1|bogus }}{% endif %}ok", "{}", "ok");
}

/* Jinja2 prints "missing" here, an accident of how it compiles loops; ours keeps what each saw. */
TEST(macros_keep_their_iteration)
{
    check_text("{% set ns = namespace(f=[]) %}{% for i in l %}{% macro m() %}{{ i }}{% endmacro %}"
               "{% set _ = ns.f.append(m) %}{% endfor %}{% for f in ns.f %}{{ f() }}{% endfor %}",
               "{\"l\":[3,1,2]}", "312");
}

static void check_refusal(const char *source, const char *sentence)
{
    json_t *context = json_object();
    struct strbuf out = {0};
    assert_int_equal(render(source, context, NULL, &out), HTH_ERROR_ARGUMENT);
    assert_string_equal(test_log_text(), sentence);
    assert_int_equal(out.len, 0);
    strbuf_free(&out);
    json_decref(context);
    check_failure("{{ raise_exception('') }}", HTH_ERROR_ARGUMENT,
                  "test, line 1, refuses this conversation: it does not say why");
}

/* The messages of a model's own template begin with its file. */
TEST(of_a_model)
{
    struct gguf_writer *writer;
    struct gguf *gguf;
    struct template *tmpl;
    struct strbuf bytes = {0};
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    gguf_put_str(writer, "general.architecture", STR("none"));
    assert_int_equal(gguf_writer_save_memory(writer, &bytes), HTH_OK);
    assert_int_equal(gguf_open_memory(&gguf, bytes.ptr, bytes.len, "m.gguf", test_log()), HTH_OK);
    assert_int_equal(template_of_model(&tmpl, gguf, test_log()), HTH_OK);
    assert_null(tmpl);
    gguf_close(gguf);
    strbuf_clear(&bytes);
    gguf_put_str(writer, "tokenizer.chat_template", STR("a\n{% if %}"));
    assert_int_equal(gguf_writer_save_memory(writer, &bytes), HTH_OK);
    gguf_writer_destroy(writer);
    assert_int_equal(gguf_open_memory(&gguf, bytes.ptr, bytes.len, "m.gguf", test_log()), HTH_OK);
    assert_int_equal(template_of_model(&tmpl, gguf, test_log()), HTH_ERROR_FORMAT);
    assert_null(tmpl);
    assert_logged("m.gguf: chat template, line 2: ");
    gguf_close(gguf);
    strbuf_free(&bytes);
}

/* Templates say why: their own words are in the sentence, on one line. */
TEST(raise_exception)
{
    check_refusal("text\n{{ raise_exception('Roles ' ~ 'must alternate') }}",
                  "test, line 2, refuses this conversation: Roles must alternate\n");
    check_refusal("{{ raise_exception('\n  Roles\r\n\tmust alternate.\n') }}",
                  "test, line 1, refuses this conversation: Roles must alternate.\n");
    check_refusal("{{ raise_exception('') }}",
                  "test, line 1, refuses this conversation: it does not say why\n");
}

TEST(context_must_be_object)
{
    json_t *context = json_array();
    struct strbuf out = {0};
    assert_int_equal(render("x", context, NULL, &out), HTH_ERROR_ARGUMENT);
    assert_logged("JSON object");
    strbuf_free(&out);
    json_decref(context);
}

/* --- every way that was thought of to take for ever or to fill memory ---------------------------
 */

static const char *const endless_loops[] = {
    "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
    "{% for z in range(99999) %}{% for a in range(99999) %}{% endfor %}{% endfor %}",
    "{% for z in range(99999) %}{% for a in range(99999) %}{{ a }}{% endfor %}{% endfor %}",
    "{% for z in range(99999) %}{% for a in range(99999) if a < 0 %}{% endfor %}{% endfor "
    "%}",
    "{% for a in (range(99999)|list * 100)|reject('odd') %}{% for b in range(9) %}{% endfo"
    "r %}{% endfor %}",
    "{% set l = [1] %}{% for i in l %}{% set _ = l.append(i) %}{% endfor %}",
    "{% set l = [1] %}{% for i in l %}{% set _ = l.extend([i, i]) %}{% endfor %}",
    "{% for z in range(99999) %}{% for i in range(99999) %}{% continue %}{% endfor %}{% en"
    "dfor %}",
    "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "{% for x in [1, 1] recursive %}{{ loop([1, 1]) if loop.depth < 40 }}{% endfor %}",
    "{{ (range(99999)|list * 100)|list }}",
    "{{ ((range(99999)|list * 100)|sum + (range(99999)|list * 100)|sum) }}",
    "{{ (range(99999)|list * 100)|map('string')|join }}",
    "{{ (range(99999)|list * 100)|select('odd')|list }}",
    "{{ (range(99999)|list * 100)|batch(2)|list }}",
    "{{ (range(99999)|list * 100)|slice(2)|list }}",
    "{{ (range(99999)|list * 100)|sort }}",
    "{{ (range(99999)|list * 100)|unique|list }}",
    "{{ (range(99999)|list * 100)|groupby('x')|list }}",
    "{{ (range(99999)|list * 100)|max }}",
    "{{ (range(99999)|list * 100)|random }}",
    "{{ (range(99999)|list * 100)|last }}{{ (range(99999)|list * 100)|reverse|list }}",
    "{{ (range(99999)|list * 100)|tojson }}",
    "{{ (range(99999)|list * 100).count('x') }}{{ 'x' in (range(99999)|list * 100) }}",
    "{{ range(1000000000) }}",
    "{{ [1]|slice(10**12)|list }}",
    "{{ [1]|batch(10**12, 0)|list }}",
};

static const char *const endless_calls[] = {
    "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "{% macro f() %}{{ f() }}{{ f() }}{% endmacro %}{% macro g(n) %}{% if n %}{{ g(n - 1) "
    "}}{{ g(n - 1) }}{% endif %}{% endmacro %}{{ g(60) }}",
    "{% macro f(n) %}{{ g(n) }}{% endmacro %}{% macro g(n) %}{{ f(n + 1) }}{% endmacro %}{"
    "{ f(0) }}",
    "{% macro f(n) %}{% call f(n) %}{{ caller() }}{% endcall %}{% endmacro %}{{ f(1) }}",
    "{% macro f(a=f()) %}{% endmacro %}{{ f() }}",
};

static const char *const growing_text[] = {
    "{{ 'a' * 1000000000000 }}",
    "{{ ('a' * 10**6 ~ 'b' * 10**6) * 10**6 }}",
    "{% set ns = namespace(x='ab') %}{% for i in range(99999) %}{% set ns.x = ns.x ~ ns.x "
    "%}{% endfor %}",
    "{% set ns = namespace(x='ab') %}{% for i in range(99999) %}{% set ns.x = ns.x + ns.x "
    "%}{% endfor %}",
    "{% set ns = namespace(x='ab') %}{% for z in range(99999) %}{% for i in range(99999) %"
    "}{% set ns.x = ns.x ~ 'cd' %}{% endfor %}{% endfor %}",
    "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x|replace('a'"
    ", 'aa') %}{% endfor %}",
    "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x|replace('',"
    " 'aa') %}{% endfor %}",
    "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = '%s%s' % (ns.x, "
    "ns.x) %}{% endfor %}",
    "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = '{0}{0}'.format("
    "ns.x) %}{% endfor %}",
    "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x]|joi"
    "n(ns.x) %}{% endfor %}",
    "{% set ns = namespace(x='&') %}{% for z in range(99999) %}{% for i in range(99999) %}"
    "{% set ns.x = ns.x|forceescape %}{% endfor %}{% endfor %}",
    "{% set ns = namespace(x='%') %}{% for i in range(99) %}{% set ns.x = ns.x|urlencode ~"
    " ns.x %}{% endfor %}",
    "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = [ns.x]|tojson|to"
    "json ~ ns.x %}{% endfor %}",
    "{{ ('a\n' * 10**6)|indent(10**9) }}",
    "{{ ('a\n' * 10**6)|indent('b' * 10**6) }}",
    "{{ 'a'.center(1000000000000) }}{{ 'a'.ljust(10**12) }}",
    "{{ 'a'|center(10**12) }}",
    "{{ 'a'.zfill(10**12) }}",
    "{{ ('\t' * 10**6).expandtabs(10**9) }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%.999999999f' % 1 }}",
    "{{ '%*d' % (10**9, 1) }}",
    "{{ '{:999999999}'.format(1) }}",
    "{{ '{:.999999999f}'.format(1.5) }}",
    "{{ ('a ' * 10**6)|wordwrap(1, wrapstring='b' * 10**6) }}",
    "{{ ('a.org ' * 10**7)|urlize }}",
    "{% filter replace('a', 'b' * 10**6) %}{{ 'a' * 10**6 }}{% endfilter %}",
    "{% set x %}{{ 'a' * 10**9 }}{% endset %}",
};

static const char *const growing_values[] = {
    "{{ [1] * 1000000000000 }}",
    "{{ ([1] * 10**6) * 10**6 }}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = ns.x + ns.x %}{%"
    " endfor %}",
    "{% set l = [1] %}{% for i in range(99) %}{% set _ = l.extend(l) %}{% endfor %}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{"
    "% endfor %}{{ ns.x }}",
    "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns"
    ".x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}{{ ns.x == ns.y }}",
    "{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = [ns.x, ns.x] %}{"
    "% endfor %}{{ ns.x|pprint }}",
    "{% set ns = namespace(x={}) %}{% for i in range(60) %}{% set ns.x = {'a': ns.x, 'b': "
    "ns.x} %}{% endfor %}{{ ns.x|tojson }}",
    "{% set d = {} %}{% for z in range(99999) %}{% for i in range(99999) %}{% set _ = d.up"
    "date({i: i}) %}{% endfor %}{% endfor %}",
    "{% set l = [] %}{% set _ = l.append(l) %}{{ l }}",
    "{% set l = [] %}{% set _ = l.append(l) %}{{ l|tojson }}",
    "{% set l = [] %}{% set _ = l.append(l) %}{{ l == [l] }}{{ l|pprint }}",
    "{% set d = {} %}{% set _ = d.update({'d': d}) %}{{ d|string }}",
};

static const char *const quadratic_work[] = {
    "{% set a = 'a' * 20000000 %}{{ a.find('a' * 10000000 ~ 'b') }}",
    "{% set a = 'b' * 2000000 %}{{ a.strip('a' * 2000000 ~ 'b')|length }}",
    "{% set l = range(30000)|list %}{% for i in l %}{{ -1 in l }}{% endfor %}",
    "{% set l = range(99999)|list * 10 %}{% for i in l %}{% set _ = l.insert(0, i) %}{% en"
    "dfor %}",
    "{% set a = 'a' * 10**6 %}{% for z in range(99999) %}{% for i in range(99999) %}{{ a[i"
    ":i + 1] == a[:i] }}{% endfor %}{% endfor %}",
    "{% set a = 'é' * 10**7 %}{% for z in range(99999) %}{% for i in range(99999) %}{{ a[9"
    "999999] }}{% endfor %}{% endfor %}",
    "{% set a = 'a' * 10**7 %}{% for z in range(99999) %}{% for i in range(99999) %}{% if "
    "a|upper %}{% endif %}{% endfor %}{% endfor %}",
    "{% set a = 'a' * 10**7 %}{% for z in range(99999) %}{% for i in range(99999) %}{% if "
    "a is lower %}{% endif %}{% endfor %}{% endfor %}",
    "{% set a = 'a b' * 10**6 %}{% for z in range(99999) %}{% for i in range(99999) %}{% i"
    "f a|wordcount %}{% endif %}{% endfor %}{% endfor %}",
    "{% set a = '<' * 10**6 %}{% for z in range(99999) %}{% for i in range(99999) %}{% if "
    "a|striptags %}{% endif %}{% endfor %}{% endfor %}",
    "{% set a = 'a' * 10**7 %}{% for z in range(99999) %}{% for i in range(99999) %}{% if "
    "{a: 1} %}{% endif %}{% endfor %}{% endfor %}",
    "{% set a = 'a' * 10**7 %}{% for z in range(99999) %}{% for i in range(99999) %}{% if "
    "a < a %}{% endif %}{% endfor %}{% endfor %}",
    "{% set a = '0' * 10**7 %}{% for z in range(99999) %}{% for i in range(99999) %}{% if "
    "a|int + a|float %}{% endif %}{% endfor %}{% endfor %}",
    "{% set a = '[' ~ '[],' * 10**7 ~ '1]' %}{{ a|from_json|length }}",
    "{% set a = '[' ~ '[],' * 10**6 ~ '1]' %}{% for i in range(99999) %}{% if a|from_json %}"
    "{% endif %}{% endfor %}",
    "{% set a = '1' ~ ' ' * 10**7 %}{% for i in range(99999) %}{% if a|filesizeformat %}{% endif %}"
    "{% endfor %}",
    "{% set a = '%Y' * 10**7 %}{% for z in range(99999) %}{% for i in range(99999) %}{% if"
    " strftime_now(a) %}{% endif %}{% endfor %}{% endfor %}",
    "{{ ('a' * 10**6 ~ '\n') * 60 }}{% for z in range(99999) %}{% for i in range(99999) %}"
    "{% endfor %}{% endfor %}",
};

static double cpu_seconds(void)
{
    return (double)clock() / CLOCKS_PER_SEC;
}

/* A second, and what may lie between two looks at the clock, which is more under sanitizers. */
#if defined(__SANITIZE_ADDRESS__)
static const double seconds_at_most = 4;
#else
static const double seconds_at_most = 1.1;
#endif

/* By the processor's time, as other tests may run beside it. One plain sentence says what it was.
 */
static void check_stops(const char *source, const json_t *context)
{
    struct strbuf out = {0};
    double began = cpu_seconds();
    enum hth_status status = render(source, context, NULL, &out);
    double took = cpu_seconds() - began;
    if (status != HTH_ERROR_LIMIT)
        fail_msg("%s: %s %s", source, hth_status_name(status), test_log_text());
    if (took > seconds_at_most)
        fail_msg("%s: took %.3f s of %.3f s", source, took, seconds_at_most);
    assert_logged("test, line ");
    assert_true(strchr(test_log_text(), '\n') == strrchr(test_log_text(), '\n'));
    assert_int_equal(out.len, 0);
    strbuf_free(&out);
}

static void check_all_stop(const char *const *sources, size_t count)
{
    json_t *context = json_object();
    for (size_t i = 0; i < count; i++)
        check_stops(sources[i], context);
    json_decref(context);
}

TEST(endless_loops_stop)
{
    check_all_stop(endless_loops, ARRAY_LEN(endless_loops));
}

TEST(endless_calls_stop)
{
    check_all_stop(endless_calls, ARRAY_LEN(endless_calls));
}

TEST(growing_text_stops)
{
    check_all_stop(growing_text, ARRAY_LEN(growing_text));
}

TEST(growing_values_stop)
{
    check_all_stop(growing_values, ARRAY_LEN(growing_values));
}

TEST(quadratic_work_stops)
{
    check_all_stop(quadratic_work, ARRAY_LEN(quadratic_work));
}

static char *repeat(const char *unit, size_t count, const char *end)
{
    struct strbuf text = {0};
    for (size_t i = 0; i < count; i++)
        strbuf_append(&text, str_of(unit));
    strbuf_append(&text, str_of(end));
    assert_false(text.failed);
    return text.ptr;
}

TEST(deep_nesting)
{
    static const char *const units[] = {"(", "[", "{1:", "-", "not ", "1+", "1 if 1 else ", "f("};
    json_t *context = json_object();
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        char *inner = repeat(units[i], 1000000 / strlen(units[i]), "1 }}");
        struct strbuf source = {0}, out = {0};
        strbuf_append(&source, STR("{{ "));
        strbuf_append(&source, str_of(inner));
        assert_int_equal(render(source.ptr, context, NULL, &out), HTH_ERROR_LIMIT);
        strbuf_free(&(struct strbuf){.ptr = inner});
        strbuf_free(&source);
        strbuf_free(&out);
    }
    struct strbuf out = {0};
    char *blocks = repeat("{% if 1 %}", 100000, "");
    assert_int_equal(render(blocks, context, NULL, &out), HTH_ERROR_LIMIT);
    strbuf_free(&(struct strbuf){.ptr = blocks});
    json_decref(context);
    strbuf_free(&out);
}

TEST(limits_are_kept)
{
    static const struct template_limits steps = {.max_steps = 100}, output = {.max_output = 10},
                                        memory = {.max_memory = 4096}, depth = {.max_depth = 3};
    json_t *context = json_object();
    struct strbuf out = {0};
    assert_int_equal(render("{% for i in range(99) %}{% endfor %}", context, &steps, &out),
                     HTH_ERROR_LIMIT);
    assert_logged("100 steps");
    assert_int_equal(render("0123456789", context, &output, &out), HTH_OK);
    assert_int_equal(render("0123456789a", context, &output, &out), HTH_ERROR_LIMIT);
    assert_logged("10 bytes");
    assert_int_equal(render("{{ [1] * 999 }}", context, &memory, &out), HTH_ERROR_LIMIT);
    assert_logged("4096 bytes");
    assert_int_equal(render("{{ [[[]]] }}", context, &depth, &out), HTH_OK);
    assert_int_equal(render("{{ [[[[]]]] }}", context, &depth, &out), HTH_ERROR_LIMIT);
    assert_logged("3 levels");
    strbuf_free(&out);
    json_decref(context);
}

TEST(system_clock)
{
    json_t *context = json_object();
    struct strbuf out = {0};
    struct template *tmpl;
    assert_int_equal(template_parse(&tmpl, STR("{{ strftime_now('%Y') }}"), "t", test_log()),
                     HTH_OK);
    assert_int_equal(
        template_render(tmpl, context, NULL, (struct template_clock){-1}, &out, test_log()),
        HTH_OK);
    assert_int_equal(out.len, 4);
    assert_true(strcmp(out.ptr, "2025") > 0 && strcmp(out.ptr, "2200") < 0);
    template_free(tmpl);
    strbuf_free(&out);
    json_decref(context);
}

TEST(dates)
{
    check_text("{{ strftime_now('%d %B %Y, %H:%M:%S %a %-d %j %U %W %V %G %u %p %I') }}", "{}",
               "04 July 2026, 12:30:15 Sat 4 185 26 26 27 2026 6 PM 12");
}

/* Weeks of ISO 8601 where years meet, from Python's datetime: noon of days from Monday to Sunday.
 */
TEST(weeks_across_years)
{
    static const struct {
        int64_t seconds;
        const char *week;
    } days[] = {
        {1451649600, "2015-W53-5"}, {1483272000, "2016-W52-7"}, {1514808000, "2018-W01-1"},
        {1546344000, "2019-W01-2"}, {1577880000, "2020-W01-3"}, {1609502400, "2020-W53-5"},
        {1641038400, "2021-W52-6"}, {1767268800, "2026-W01-4"}, {1735560000, "2025-W01-1"},
        {1609416000, "2020-W53-4"}, {1609761600, "2021-W01-1"}, {1767009600, "2026-W01-1"},
    };
    json_t *context = json_object();
    struct template *tmpl;
    assert_int_equal(template_parse(&tmpl, STR("{{ strftime_now('%G-W%V-%u') }}"), "t", test_log()),
                     HTH_OK);
    for (size_t i = 0; i < ARRAY_LEN(days); i++) {
        struct strbuf out = {0};
        struct template_clock clock = {days[i].seconds};
        assert_int_equal(template_render(tmpl, context, NULL, clock, &out, test_log()), HTH_OK);
        assert_string_equal(out.ptr, days[i].week);
        strbuf_free(&out);
    }
    template_free(tmpl);
    json_decref(context);
}

TEST(python_reprs)
{
    check_text("{{ v }}",
               "{\"v\":[1.0,1e16,1e-5,0.1,true,null,\"it's\",\"\\u00e9\\u200b\",{\"a\":{}}]}",
               "[1.0, 1e+16, 1e-05, 0.1, True, None, \"it's\", 'é\\u200b', {'a': {}}]");
    check_text("{{ 7 // -2 }} {{ 7 % -3 }} {{ -7.5 // 2 }} {{ 6 / 2 }} {{ 2 ** -1 }}", "{}",
               "-4 -2 -4.0 3.0 0.5");
}

TEST(json_output)
{
    check_text(
        "{{ v|tojson }}{{ v|tojson(indent=2) }}", "{\"v\":{\"b\":[1,2.0,\"<é>\"],\"a\":{}}}",
        "{\"b\": [1, 2.0, \"<é>\"], \"a\": {}}{\n  \"b\": [\n    1,\n    2.0,\n    \"<é>\"\n  ],"
        "\n  \"a\": {}\n}");
    check_text("{{ v|tojson(separators=(',', ':'), sort_keys=true, ensure_ascii=true) }}",
               "{\"v\":{\"b\":\"\\ud83d\\ude00\",\"a\":null}}",
               "{\"a\":null,\"b\":\"\\ud83d\\ude00\"}");
}

static enum hth_status use_everything(void *arg)
{
    struct template *tmpl;
    struct strbuf out = {0};
    enum hth_status status = template_parse(
        &tmpl,
        STR("{% macro m(a, b=2) %}{{ a ~ b }}{{ kwargs }}{{ varargs }}{{ caller() }}{% endmacro %}"
            "{% call m(1, 2, 3, x=4) %}{{ messages|tojson(indent=1) }}{% endcall %}"
            "{% for m in messages if m.role recursive %}{{ loop.length }}{{ m.content|upper }}"
            "{{ loop.changed(m) }}{% if loop.depth < 2 %}{{ loop(messages) }}{% endif %}{% endfor "
            "%}"
            "{% set ns = namespace(x={'a': [1]}) %}{% set ns.y %}{{ '%5.1f %s' % (1.5, ns) }}{% "
            "endset %}"
            "{{ ns.y.split()|map('length')|list|sort(reverse=true)|join('-') }}{{ x.y is defined }}"
            "{{ '{:>9}'.format('\\u00e9') }}{{ messages|groupby('role')|list }}{{ [1, 2, 3][::-1] "
            "}}"),
        "test", NULL);
    if (status == HTH_OK) {
        status = template_render(tmpl, arg, NULL, at_noon, &out, NULL);
        template_free(tmpl);
    }
    strbuf_free(&out);
    return status;
}

TEST(allocations_fail)
{
    json_t *context =
        json_loads("{\"messages\":[{\"role\":\"user\",\"content\":\"hi\"},{\"role\":\"a\","
                   "\"content\":\"ho\"}],\"x\":{}}",
                   0, NULL);
    test_each_allocation_fails(use_everything, context);
    json_decref(context);
}

TEST(parsed_once_rendered_often)
{
    json_t *a = json_pack("{s:s}", "x", "é1"), *b = json_pack("{s:s}", "x", "2");
    struct strbuf out = {0};
    struct template *tmpl;
    assert_int_equal(template_parse(&tmpl, STR("{{ x }}{{ 'ä'|length }}"), "t", test_log()),
                     HTH_OK);
    const json_t *contexts[] = {a, b, a};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(template_render(tmpl, contexts[i], NULL, at_noon, &out, test_log()),
                         HTH_OK);
    assert_string_equal(out.ptr, "é11"
                                 "21"
                                 "é11");
    template_free(tmpl);
    template_free(NULL);
    strbuf_free(&out);
    json_decref(a);
    json_decref(b);
}
