/* The form of a conversation: chat templates, their variables, and texts that end an answer. */
#include "spawn.h"

#include <stdio.h>
#include <stdlib.h>

/* --- stop texts ------------------------------------------------------------------------------- */

static void answer(struct spawn *s, const char *const *options)
{
    const char *args[24] = {"run", spawn_tiny_model(), "--device", "cpu", "-p", "Hello", "-n",
                            "24"};
    for (size_t i = 0; options[i]; i++)
        args[8 + i] = options[i];
    spawn_run(s, args);
    assert_code(s, 0);
}

#define ANSWER(s, ...) answer(s, (const char *const[]){__VA_ARGS__, NULL})

/* The text up to the first `stop`, as the program ends it. */
static void expect_before(const struct spawn *s, const char *text, const char *stop)
{
    const char *at = strstr(text, stop);
    assert_non_null(at);
    char wanted[512];
    snprintf(wanted, sizeof wanted, "%.*s%s", (int)(at - text), text, at > text ? "\n" : "");
    assert_string_equal(s->out.ptr, wanted);
}

/* Wherever they are: in a token, across several. */
TEST(an_answer_ends_before_a_stop_text)
{
    struct spawn plain = {0};
    ANSWER(&plain, NULL);
    assert_true(plain.out.len > 30);
    for (size_t at = 5; at < 21; at += 5) {
        struct spawn s = {0};
        char stop[8];
        snprintf(stop, sizeof stop, "%.*s", at % 2 ? 3 : 7, plain.out.ptr + at);
        ANSWER(&s, "--stop", "no such text", "--stop", stop);
        expect_before(&s, plain.out.ptr, stop);
        spawn_free(&s);
    }
    struct spawn none = {0};
    char first[2] = {plain.out.ptr[0], '\0'};
    ANSWER(&none, "--stop", first, "--stop", "none");
    assert_string_equal(none.out.ptr, plain.out.ptr);
    spawn_free(&none);
    ANSWER(&none, "--stop", first);
    assert_string_equal(none.out.ptr, "");
    spawn_free(&none);
    spawn_free(&plain);
}

/* The vocabulary's token of a newline is sure to come. */
TEST(a_stop_text_may_be_typed_with_escapes)
{
    struct spawn s = {0};
    ANSWER(&s, "--logit-bias", "13+1e6");
    assert_true(strncmp(s.out.ptr, "\n\n\n", 3) == 0);
    spawn_free(&s);
    ANSWER(&s, "--logit-bias", "13+1e6", "--stop", "\\n\\n");
    assert_string_equal(s.out.ptr, "");
    assert_contains(spawn_last_line(&s), "answer 2 tokens");
    spawn_free(&s);
}

TEST(a_chat_keeps_what_stands_before_a_stop_text)
{
    struct spawn plain = {.input = STR("Hello\n")}, s = {0};
    const char *path = spawn_temp("stopped.json");
    char stop[4], wanted[600], input[1400];
    RUN(&plain, "chat", spawn_tiny_model(), "--device", "cpu", "-n", "24");
    assert_code(&plain, 0);
    snprintf(stop, sizeof stop, "%.3s", plain.out.ptr + 9);
    int before = (int)(strstr(plain.out.ptr, stop) - plain.out.ptr);
    snprintf(input, sizeof input, "/set stop %s\nHello\n/save %s\n", stop, path);
    s.input = str_of(input);
    RUN(&s, "chat", spawn_tiny_model(), "--device", "cpu", "-n", "24");
    expect_before(&s, plain.out.ptr, stop);
    struct spawn saved = {0};
    RUN(&saved, "template", "--template",
        spawn_file("last.jinja", "[{{ messages[-1].content }}]", 28), "--context", path);
    snprintf(wanted, sizeof wanted, "[%.*s]", before, plain.out.ptr);
    assert_string_equal(saved.out.ptr, wanted);
    spawn_free(&plain);
    spawn_free(&s);
    spawn_free(&saved);
}

static void refused(const char *text, int code, const char *const *options)
{
    const char *args[16] = {"run", "none.gguf", "-p", "x"};
    struct spawn s = {0};
    for (size_t i = 0; options[i]; i++)
        args[4 + i] = options[i];
    spawn_run(&s, args);
    spawn_assert_refused(&s, code, text);
    spawn_free(&s);
}

/* There is no such model: options are looked at first. */
#define REFUSED(text, code, ...) refused(text, code, (const char *const[]){__VA_ARGS__, NULL})

TEST(stop_texts_are_checked)
{
    char text[300];
    snprintf(text, sizeof text, "%0256d", 7);
    REFUSED("a stop text has 1 to 255 bytes, not 0", 2, "--stop", "");
    REFUSED("a stop text has 1 to 255 bytes, not 256", 2, "--stop", "x", "--stop", text);
#if !defined(_WIN32) /* where arguments are UTF-16 */
    REFUSED("is not UTF-8", 2, "--stop", "\xff");
#endif
}

/* --- templates and their variables ------------------------------------------------------------ */

/* Says why a template refuses: what its expression is, with these options. */
static void expect_said(const char *expression, const char *said, const char *const *options)
{
    char source[256], wanted[1200];
    const char *path = spawn_temp("t.jinja");
    const char *args[16] = {"run",   spawn_tiny_model(), "--device", "cpu", "-p",
                            "Hello", "--chat-template",  path};
    struct spawn s = {0};
    snprintf(source, sizeof source, "\n{{ raise_exception(%s) }}", expression);
    test_put_text(path, source);
    for (size_t i = 0; options[i]; i++)
        args[8 + i] = options[i];
    spawn_run(&s, args);
    snprintf(wanted, sizeof wanted, "hearth: %s, line 2, refuses this conversation: %s\n", path,
             said);
    spawn_assert_refused(&s, 1, wanted);
    spawn_free(&s);
}

#define EXPECT_SAID(expression, said, ...)                                                         \
    expect_said(expression, said, (const char *const[]){__VA_ARGS__, NULL})

TEST(a_template_of_the_users_is_used_and_heard)
{
    EXPECT_SAID("messages[0].content ~ ' yourself'", "Hello yourself", NULL);
    EXPECT_SAID("messages[0].content", "Be brief.", "--system", "Be brief.");
}

TEST(variables_are_json_or_text)
{
    EXPECT_SAID("x + 1", "4", "--template-var", "x=3");
    EXPECT_SAID("x", "a b", "--template-var", "x=a b");
    EXPECT_SAID("x ~ y", "it does not say why", "--template-var", "y=", "--template-var", "x=\"\"");
    EXPECT_SAID("x[1].y ~ x[0]", "7True", "--template-var", "x=[true, {\"y\": 7}]");
    EXPECT_SAID("x ~ y", "24", "--template-var", "x=1", "--template-var", "y=4", "--template-var",
                "x=2");
    EXPECT_SAID("enable_thinking ~ ' ' ~ thinking", "False False", "--no-thinking");
    EXPECT_SAID("enable_thinking", "True", "--no-thinking", "--template-var",
                "enable_thinking=true");
}

TEST(variables_that_are_none)
{
    REFUSED("--template-var wants a name and its value", 2, "--template-var", "x");
    REFUSED("not \"=3\"", 2, "--template-var", "=3");
    REFUSED("not \"1x=3\"", 2, "--template-var", "1x=3");
    REFUSED("not \"a-b=3\"", 2, "--template-var", "a-b=3");
    REFUSED("--template-var x is not JSON: ", 2, "--template-var", "x={\"a\"}");
    REFUSED("--template-var x is not JSON: ", 2, "--template-var", "x=\"a");
    REFUSED("--template-var messages is the conversation itself", 2, "--template-var",
            "messages=[]");
#if !defined(_WIN32)
    REFUSED("--template-var x is not UTF-8", 2, "--template-var", "x=\xff");
#endif
}

TEST(what_the_template_does_not_look_at_is_a_warning)
{
    struct spawn s = {0};
    ANSWER(&s, "-n", "1", "--no-thinking", "--template-var", "quux=3");
    assert_contains(s.err.ptr, "warning: the model's chat template has no enable_thinking: "
                               "--no-thinking changes nothing\n");
    assert_contains(s.err.ptr, "has no variable quux: --template-var quux changes nothing\n");
    spawn_free(&s);
}

TEST(a_chat_has_variables_too)
{
    const char *path = spawn_temp("chat.jinja");
    test_put_text(path, "{{ messages[-1].content }}{{ raise_exception('x is ' ~ x) }}");
    struct spawn s = {.input = STR("one\n/set template-var x=2\ntwo\n/set template-var 3\n"
                                   "/set template-var x=[\nfour\n")};
    RUN(&s, "chat", spawn_tiny_model(), "--device", "cpu", "--chat-template", path,
        "--template-var", "x=1");
    assert_code(&s, 1);
    assert_contains(s.err.ptr, "conversation: x is 1\n");
    const char *changed = strstr(s.err.ptr, "conversation: x is 2\n");
    assert_non_null(changed);
    assert_contains(changed, "--template-var wants a name and its value");
    assert_contains(changed, "--template-var x is not JSON");
    assert_contains(changed + 20, "conversation: x is 2\n"); /* as it was */
    assert_string_equal(s.out.ptr, "");
    spawn_free(&s);
}

TEST(wrong_templates_are_named)
{
    const char *path = spawn_file("bad.jinja", "a\n{% for %}", 11);
    REFUSED("none.jinja", 1, "--chat-template", "none.jinja");
    REFUSED("bytes.jinja is not UTF-8: byte 0xff at 1", 1, "--chat-template",
            spawn_file("bytes.jinja", "a\xff", 2));
    struct spawn s = {0};
    RUN(&s, "run", spawn_tiny_model(), "--device", "cpu", "-p", "x", "--chat-template", path);
    spawn_assert_refused(&s, 1, "bad.jinja, line 2: ");
    spawn_free(&s);
    RUN(&s, "chat", spawn_tiny_model(), "--device", "cpu", "--chat-template", path);
    spawn_assert_refused(&s, 1, "bad.jinja, line 2: ");
    spawn_free(&s);
}
