/* hearth chat as a person has it: on a terminal, with an editor, history and Ctrl-C. */
#include "terminal.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/os.h"
#include "gguf/gguf_write.h"
#include "spawn.h"

#define CTRL_C "\003"
#define CTRL_D "\004"
#define UP     "\033[A"
#define LEFT   "\033[D"
#define PROMPT "\r\n\033[?2004h> " /* and pastes come in brackets from here on */

/* A chat on a terminal that has shown its first prompt; answers are of 6 tokens. */
static void open_chat(struct terminal *t)
{
    START(t, "chat", spawn_tiny_model(), "-n", "6", "--device", "cpu");
    terminal_wait(t, PROMPT);
}

static void say(struct terminal *t, const char *keys)
{
    terminal_type(t, keys);
    terminal_wait(t, PROMPT);
}

static void type_save(struct terminal *t, const char *path)
{
    char line[1100];
    snprintf(line, sizeof line, "/save %s\r", path);
    say(t, line);
}

static void quit(struct terminal *t)
{
    terminal_type(t, "/quit\r");
    assert_int_equal(terminal_end(t), 0);
}

/* A conversation that was saved. */
static json_t *saved(const char *path)
{
    json_error_t error;
    json_t *all = json_load_file(path, 0, &error);
    if (!all)
        fail_msg("%s: %s", path, error.text);
    json_t *list = json_object_get(all, "messages");
    assert_true(json_is_array(list));
    json_incref(list);
    json_decref(all);
    return list;
}

static const char *part(const json_t *list, size_t index, const char *name)
{
    const char *text = json_string_value(json_object_get(json_array_get(list, index), name));
    assert_non_null(text);
    return text;
}

static void check_saved(const char *path, size_t count, size_t index, const char *content)
{
    json_t *list = saved(path);
    assert_int_equal(json_array_size(list), count);
    if (index < count)
        assert_string_equal(part(list, index, "content"), content);
    json_decref(list);
}

static void need_editor(void)
{
#if !HEARTH_LIBEDIT
    test_skip("a build without libedit");
#endif
}

/* --- editing ---------------------------------------------------------------------------------- */

TEST(lines_are_edited)
{
    need_editor();
    struct terminal t = {0};
    const char *path = spawn_temp("edited.json");
    open_chat(&t);
    say(&t, "helo" LEFT "l\r");
    say(&t, "caf\xc3\xa9s\177\r");
    type_save(&t, path);
    check_saved(path, 4, 0, "hello");
    check_saved(path, 4, 2, "caf\xc3\xa9");
    quit(&t);
}

TEST(a_paste_is_one_message)
{
    need_editor();
    struct terminal t = {0};
    const char *path = spawn_temp("paste.json");
    open_chat(&t);
    terminal_type(&t, "see: \033[200~one\rtwo\nthree\r\tfo\001ur\033[201~");
    terminal_wait(&t, "ur");
    terminal_type(&t, " end\r");
    terminal_wait(&t, PROMPT);
    type_save(&t, path);
    check_saved(path, 2, 0, "see: one\ntwo\nthree\n\tfour end");
    say(&t, "by hand\033\rtwo\r");
    type_save(&t, path);
    check_saved(path, 4, 2, "by hand\ntwo");
    quit(&t);
}

TEST(a_long_paste_is_whole)
{
    need_editor();
    enum { N = 1520 }; /* more than libedit begins with, 1024 */
    struct terminal t = {0};
    struct strbuf keys = {0};
    const char *path = spawn_temp("long.json");
    strbuf_append(&keys, STR("\033[200~"));
    for (int i = 0; i < N; i++)
        strbuf_append_char(&keys, i % 50 == 49 ? '\r' : (char)('a' + i % 26));
    strbuf_append(&keys, STR("\033[201~\r"));
    START(&t, "chat", spawn_tiny_model(), "-n", "2", "--ctx", "2000", "--device", "cpu");
    terminal_wait(&t, PROMPT);
    for (size_t at = 0; at < keys.len; at += 1000) { /* a terminal takes 4 KiB at a time */
        char piece[1001];
        snprintf(piece, sizeof piece, "%s", keys.ptr + at);
        terminal_type(&t, piece);
        terminal_drain(&t);
    }
    terminal_wait(&t, PROMPT);
    type_save(&t, path);
    json_t *list = saved(path);
    const char *said = part(list, 0, "content");
    assert_int_equal(strlen(said), N);
    for (int i = 0; i < N; i++)
        assert_int_equal(said[i], i % 50 == 49 ? '\n' : 'a' + i % 26);
    json_decref(list);
    strbuf_free(&keys);
    quit(&t);
}

/* --- history ---------------------------------------------------------------------------------- */

static const char *in_data(const char *variable)
{
    static char setting[1200];
    snprintf(setting, sizeof setting, "%s=%s", variable, spawn_temp("history"));
    return setting;
}

static const char *history_file(void)
{
    return spawn_temp("history/chat_history");
}

static int count_lines(const char *path)
{
    struct strbuf text = {0};
    int n = 0;
    assert_int_equal(file_read(path, 1 << 24, &text, NULL), HTH_OK);
    for (size_t i = 0; i < text.len; i++)
        n += text.ptr[i] == '\n';
    strbuf_free(&text);
    return n;
}

TEST(history_lasts)
{
    need_editor();
    struct terminal one = {.env = {in_data("HEARTH_DATA")}}, two = {.env = {one.env[0]}};
    const char *path = spawn_temp("again.json");
    struct stat info;
    open_chat(&one);
    say(&one, "first of all\r");
    say(&one, "\033[200~two\rlines\033[201~\r");
    quit(&one);
    assert_int_equal(stat(history_file(), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(count_lines(history_file()), 3);
    open_chat(&two);
    terminal_type(&two, UP UP UP);
    terminal_wait(&two, "first of all");
    say(&two, "\r");
    terminal_type(&two, UP UP UP);
    terminal_wait(&two, "lines");
    say(&two, "\r");
    type_save(&two, path);
    check_saved(path, 4, 0, "first of all");
    check_saved(path, 4, 2, "two\nlines");
    quit(&two);
    remove(history_file());
}

TEST(history_is_bounded_and_mended)
{
    need_editor();
    struct terminal t = {.env = {in_data("HEARTH_DATA")}};
    assert_true(os_make_folders(spawn_temp("history")));
    FILE *file = fopen(history_file(), "wb");
    assert_non_null(file);
    for (int i = 0; i < 1500; i++)
        fprintf(file, i == 1400 ? "not JSON\n" : "\"line %d\"\n", i);
    fprintf(file, "\"cut by a cra");
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(history_file(), 0644), 0);
    open_chat(&t);
    struct stat info;
    assert_int_equal(stat(history_file(), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_true(count_lines(history_file()) <= 1000);
    terminal_type(&t, UP);
    terminal_wait(&t, "line 1499");
    say(&t, CTRL_C);
    say(&t, "and more\r");
    quit(&t);
    int n = count_lines(history_file());
    assert_true(n > 990 && n <= 1002);
    remove(history_file());
}

TEST(a_history_that_cannot_be_kept_is_said)
{
    need_editor();
    static char setting[1200];
    snprintf(setting, sizeof setting, "HEARTH_DATA=%s/below", spawn_file("a_file", "x", 1));
    struct terminal t = {.env = {setting}};
    START(&t, "chat", spawn_tiny_model(), "-n", "6", "--device", "cpu");
    terminal_wait(&t, "no history is kept: ");
    terminal_wait(&t, "/below: cannot be made");
    terminal_wait(&t, PROMPT);
    say(&t, "hello\r");
    terminal_type(&t, UP);
    terminal_wait(&t, "hello"); /* of this chat it is */
    say(&t, CTRL_C);
    quit(&t);
}

/* --- Ctrl-C ----------------------------------------------------------------------------------- */

TEST(ctrl_c_stops_the_answer_alone)
{
    need_editor();
    struct terminal t = {0};
    const char *path = spawn_temp("stopped.json");
    START(&t, "chat", spawn_tiny_model(), "--ctx", "100000", "--device", "cpu");
    terminal_wait(&t, PROMPT);
    terminal_type(&t, "talk for long\r");
    terminal_wait(&t, "\r\n");
    terminal_wait_bytes(&t, 100);
    say(&t, CTRL_C);
    type_save(&t, path);
    json_t *list = saved(path);
    assert_int_equal(json_array_size(list), 2);
    assert_true(strlen(part(list, 1, "content")) > 50);
    json_decref(list);
    say(&t, "/set n-predict 6\r");
    say(&t, "go on\r"); /* what was cancelled does not cancel the next */
    type_save(&t, path);
    check_saved(path, 4, 2, "go on");
    quit(&t);
}

TEST(ctrl_c_twice_leaves_an_empty_prompt)
{
    need_editor();
    struct terminal t = {0};
    const char *path = spawn_temp("prompt.json");
    open_chat(&t);
    terminal_type(&t, "dropped");
    terminal_wait(&t, "dropped");
    say(&t, CTRL_C);
    terminal_type(&t, CTRL_C);
    terminal_wait(&t, "Ctrl-C once more");
    terminal_wait(&t, PROMPT);
    say(&t, "kept\r"); /* begins anew to count */
    type_save(&t, path);
    check_saved(path, 2, 0, "kept");
    say(&t, CTRL_C);
    terminal_type(&t, CTRL_C);
    assert_int_equal(terminal_end(&t), 0);
}

TEST(ctrl_d_leaves)
{
    need_editor();
    struct terminal t = {0};
    open_chat(&t);
    terminal_type(&t, CTRL_D);
    assert_int_equal(terminal_end(&t), 0);
}

/* --- a terminal that cannot be edited on -------------------------------------------------------
 */

TEST(a_dumb_terminal_gets_plain_lines)
{
    struct terminal t = {.env = {"TERM=dumb"}};
    const char *path = spawn_temp("dumb.json");
    char line[1100];
    START(&t, "chat", spawn_tiny_model(), "-n", "6", "--device", "cpu");
    terminal_wait(&t, "\r\n> ");
    terminal_type(&t, "hello\n");
    terminal_wait(&t, "\r\n");
    terminal_wait(&t, "\r\n> ");
    terminal_type(&t, CTRL_C);
    terminal_wait(&t, "Ctrl-C once more");
    snprintf(line, sizeof line, "/save %s\n", path);
    terminal_type(&t, line);
    terminal_wait(&t, "2 messages are in");
    check_saved(path, 2, 0, "hello");
    assert_null(strchr(t.seen.ptr, '\033'));
    terminal_type(&t, CTRL_D);
    assert_int_equal(terminal_end(&t), 0);
}

TEST(answers_alone_go_to_a_file)
{
    need_editor();
    const char *out = spawn_temp("answers"), *path = spawn_temp("answers.json");
    struct terminal t = {.out_path = out};
    open_chat(&t);
    terminal_type(&t, "hello\r");
    terminal_wait(&t, "> ");
    type_save(&t, path);
    quit(&t);
    struct strbuf text = {0};
    json_t *list = saved(path);
    assert_int_equal(file_read(out, 1 << 20, &text, NULL), HTH_OK);
    assert_int_equal(text.len, strlen(part(list, 1, "content")) + 1);
    assert_memory_equal(text.ptr, part(list, 1, "content"), text.len - 1);
    json_decref(list);
    strbuf_free(&text);
}

/* --- reasoning -------------------------------------------------------------------------------- */

/* The tiny model with a template whose prompt ends inside the reasoning. */
static const char *thinking_model(void)
{
    static const char template[] = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n"
                                   "{% endfor %}assistant: <think>\n";
    const char *path = spawn_temp("thinking.gguf");
    struct gguf *gguf;
    struct gguf_writer *writer;
    assert_int_equal(gguf_open(&gguf, spawn_tiny_model(), test_log()), HTH_OK);
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    for (size_t i = 0; i < gguf_n_keys(gguf); i++)
        if (!str_equal(gguf_key_at(gguf, i)->name, STR("tokenizer.chat_template")))
            gguf_put_key(writer, gguf_key_at(gguf, i));
    gguf_put_str(writer, "tokenizer.chat_template", str_of(template));
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        const struct gguf_tensor *tensor = gguf_tensor_at(gguf, i);
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)tensor->name.len, tensor->name.ptr);
        gguf_put_tensor(writer, name, tensor->dtype, tensor->n_dims, tensor->ne, tensor->data, NULL,
                        NULL);
    }
    assert_int_equal(gguf_writer_save(writer, path), HTH_OK);
    gguf_writer_destroy(writer);
    gguf_close(gguf);
    return path;
}

TEST(reasoning_is_dimmed_on_terminals)
{
    need_editor();
    const char *model = thinking_model();
    struct terminal dimmed = {0}, plain = {.env = {"NO_COLOR=1"}}, usual = {0};
    START(&dimmed, "chat", model, "-n", "6", "--device", "cpu");
    terminal_wait(&dimmed, PROMPT);
    terminal_type(&dimmed, "hello\r");
    terminal_wait(&dimmed, "\033[?2004l\033[2m"); /* an answer begins with the reasoning */
    terminal_wait(&dimmed, "\033[0m");
    terminal_wait(&dimmed, PROMPT);
    quit(&dimmed);
    START(&plain, "chat", model, "-n", "6", "--device", "cpu");
    terminal_wait(&plain, PROMPT);
    say(&plain, "hello\r");
    assert_null(strstr(plain.seen.ptr, "\033[2m"));
    quit(&plain);
    open_chat(&usual);
    size_t at = usual.at;
    say(&usual, "hello\r");
    assert_null(strstr(usual.seen.ptr + at, "\033[2m"));
    quit(&usual);
    struct spawn piped = {.input = STR("hello\n")};
    RUN(&piped, "chat", model, "-n", "6", "--device", "cpu");
    assert_code(&piped, 0);
    assert_null(strchr(piped.out.ptr, '\033'));
    spawn_free(&piped);
}

/* --- /edit on a terminal -----------------------------------------------------------------------
 */

TEST(the_last_message_is_edited)
{
    need_editor();
    struct terminal t = {0};
    const char *path = spawn_temp("changed.json");
    open_chat(&t);
    say(&t, "before\r");
    say(&t, "\033[200~two\rlines\033[201~\r");
    terminal_type(&t, "/edit\r");
    terminal_wait(&t, "lines");
    say(&t, " more\r");
    type_save(&t, path);
    check_saved(path, 4, 0, "before");
    check_saved(path, 4, 2, "two\nlines more");
    terminal_type(&t, "/edit\r");
    terminal_wait(&t, "more");
    terminal_type(&t, CTRL_C);
    terminal_wait(&t, "stays as it is");
    terminal_wait(&t, PROMPT);
    say(&t, "new\r");
    type_save(&t, path);
    check_saved(path, 6, 2, "two\nlines more");
    check_saved(path, 6, 4, "new");
    quit(&t);
}

/* --- commands; from a pipe they are the same ----------------------------------------------------
 */

/* A chat that reads these lines. */
static void talk(struct spawn *s, const char *lines)
{
    s->input = str_of(lines);
    RUN(s, "chat", spawn_tiny_model(), "-n", "6", "--device", "cpu");
}

/* The same, with a file's path in place of each '@'. */
static void talk_about(struct spawn *s, const char *lines, const char *path)
{
    struct strbuf text = {0};
    for (const char *c = lines; *c; c++)
        if (*c == '@')
            strbuf_append(&text, str_of(path));
        else
            strbuf_append_char(&text, *c);
    talk(s, text.ptr);
    strbuf_free(&text);
}

TEST(help_lists_the_commands)
{
    static const char *const commands[] = {"help", "system", "reset", "retry", "edit",
                                           "save", "load",   "set",   "quit"};
    struct spawn s = {0}, help = {0};
    talk(&s, "/help\n");
    assert_code(&s, 0);
    RUN(&help, "chat", "--help");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        char name[32];
        snprintf(name, sizeof name, "  /%s ", commands[i]);
        assert_contains(s.err.ptr, name);
        assert_contains(help.out.ptr, name);
    }
    assert_string_equal(s.out.ptr, "");
    spawn_free(&help);
    spawn_free(&s);
}

TEST(near_misses_of_commands_are_named)
{
    struct spawn s = {0};
    talk(&s, "/rety\n");
    spawn_assert_refused(&s, 1, "did you mean /retry?");
    talk(&s, "/set tmep 1\n");
    spawn_assert_refused(&s, 1, "did you mean temp?");
    talk(&s, "/frobnicate\n");
    spawn_assert_refused(&s, 1, "no such command \"/frobnicate\" (");
    talk(&s, "/quit\n/frobnicate\n");
    assert_code(&s, 0);
    assert_string_equal(s.err.ptr, "");
    spawn_free(&s);
}

TEST(commands_have_the_names_of_other_programs)
{
    static const char *const leave[] = {"/exit\n", "/bye\n", "/quit\n"};
    const char *path = spawn_temp("also.json");
    struct spawn s = {0};
    for (size_t i = 0; i < ARRAY_LEN(leave); i++) {
        struct strbuf lines = {0};
        strbuf_printf(&lines, "%shello\n", leave[i]);
        talk(&s, lines.ptr);
        assert_code(&s, 0);
        assert_string_equal(s.out.ptr, "");
        strbuf_free(&lines);
    }
    talk_about(&s, "one\n/clear\ntwo\n/new\nthree\n/regen\n/save @\n", path);
    assert_code(&s, 0);
    check_saved(path, 2, 0, "three");
    talk(&s, "/ex\n"); /* only whole words */
    spawn_assert_refused(&s, 1, "no such command \"/ex\"");
    spawn_free(&s);
}

TEST(slashes_in_messages)
{
    const char *path = spawn_temp("slashes.json");
    struct spawn s = {0};
    talk_about(&s, "/etc/hosts is what?\n//help\n/ \n/save @\n", path);
    assert_code(&s, 0);
    check_saved(path, 6, 0, "/etc/hosts is what?");
    check_saved(path, 6, 2, "/help");
    check_saved(path, 6, 4, "/ ");
    spawn_free(&s);
}

TEST(the_system_message_is_shown_and_set)
{
    const char *path = spawn_temp("system.json");
    struct spawn s = {0};
    talk_about(&s, "/system\nhello\n/system Be brief.\n/system\n/reset\nhi\n/save @\n", path);
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "there is no system message");
    assert_contains(s.err.ptr, "\nBe brief.\n");
    json_t *list = saved(path);
    assert_int_equal(json_array_size(list), 3);
    assert_string_equal(part(list, 0, "role"), "system");
    assert_string_equal(part(list, 1, "content"), "hi");
    json_decref(list);
    talk_about(&s, "/load @\n/system Other.\n/system -\n/save @\n", path);
    assert_code(&s, 0);
    check_saved(path, 2, 0, "hi");
    spawn_free(&s);
}

/* The n-th line of a text, without its end. */
static struct str line_of(const char *text, int n)
{
    while (n-- > 0) {
        text = strchr(text, '\n');
        assert_non_null(text);
        text++;
    }
    return (struct str){text, strcspn(text, "\n")};
}

TEST(retry_takes_another_seed)
{
    struct spawn s = {0}, greedy = {0};
    talk(&s, "/set temp 5\n/set seed 7\nhello\n/retry\n/set seed 7\n/retry\n/set seed 6\n/retry\n");
    assert_code(&s, 0);
    struct str first = line_of(s.out.ptr, 0), second = line_of(s.out.ptr, 1);
    assert_false(str_equal(first, second));
    assert_true(str_equal(second, line_of(s.out.ptr, 2))); /* 7 + 1 again */
    assert_true(str_equal(first, line_of(s.out.ptr, 3)));
    talk(&greedy, "hello\n/retry\n");
    assert_code(&greedy, 0);
    assert_contains(greedy.err.ptr, "/set temp");
    assert_true(str_equal(line_of(greedy.out.ptr, 0), line_of(greedy.out.ptr, 1)));
    talk(&s, "/retry\n");
    spawn_assert_refused(&s, 1, "nothing was said yet");
    spawn_free(&greedy);
    spawn_free(&s);
}

TEST(edit_replaces_the_last_message)
{
    const char *path = spawn_temp("edit.json");
    struct spawn s = {0}, fresh = {0};
    talk_about(&s, "one\ntwo\n/edit three\n/edit\n/save @\n", path);
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "three\nhearth: /edit TEXT");
    check_saved(path, 4, 2, "three");
    talk(&fresh, "one\nthree\n"); /* and nothing of the other is left in the cache */
    assert_true(str_equal(line_of(s.out.ptr, 2), line_of(fresh.out.ptr, 1)));
    spawn_free(&fresh);
    spawn_free(&s);
}

TEST(settings_change_and_are_shown)
{
    struct spawn s = {0};
    talk(&s, "/set temp=0.5\n/set --top-k 3\n/set n-predict 2\n/set\n");
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "\n  temp               0.5\n");
    assert_contains(s.err.ptr, "\n  top-k              3\n");
    assert_contains(s.err.ptr, "\n  n-predict          2\n");
    talk(&s, "/set temp hot\n");
    spawn_assert_refused(&s, 2, "--temp wants a number");
    talk(&s, "/set temp 1\n/set temp -3\n/set temp\n");
    assert_code(&s, 2);
    assert_contains(s.err.ptr, "\nhearth: temp 1\n");
    spawn_free(&s);
}

TEST(a_conversation_is_saved_and_goes_on)
{
    const char *path = spawn_temp("conversation.json");
    struct spawn whole = {0}, half = {0}, rest = {0};
    talk(&whole, "/system Be brief.\none\ntw\xc3\xb6 \"x\"\nthree\n");
    talk_about(&half, "/system Be brief.\none\ntw\xc3\xb6 \"x\"\n/save @\n", path);
    assert_code(&half, 0);
    talk_about(&rest, "/load @\nthree\n", path);
    assert_code(&rest, 0);
    assert_true(str_equal(line_of(whole.out.ptr, 2), line_of(rest.out.ptr, 0)));
    struct spawn rendered = {0}; /* the same file is a template's context */
    RUN(&rendered, "template", spawn_tiny_model(), "--context", path);
    assert_code(&rendered, 0);
    assert_contains(rendered.out.ptr, "tw\xc3\xb6 \"x\"");
    spawn_free(&rendered);
    spawn_free(&whole);
    spawn_free(&half);
    spawn_free(&rest);
}

TEST(files_that_are_no_conversation)
{
    static const struct {
        const char *text, *said;
    } cases[] = {
        {"", "is not JSON"},
        {"{\"messages\": [", "is not JSON"},
        {"7", "is not JSON"},
        {"{}", "no array \"messages\""},
        {"{\"messages\": {\"role\": \"user\"}}", "no array \"messages\""},
        {"[1]", "messages[0] lacks"},
        {"[{\"role\": \"user\"}]", "messages[0] lacks"},
        {"[{\"role\": \"user\", \"content\": [1]}]", "messages[0] lacks"},
        {"[{\"role\": \"user\", \"content\": \"a\\u0000b\"}]", "is not JSON"},
        {"[{\"role\": \"user\", \"content\": \"\xff\"}]", "is not JSON"},
        {"[{\"role\": \"assistant\", \"content\": \"a\"}]", "messages[0] is of \"assistant\""},
        {"[{\"role\": \"tool\\u001b[2J\", \"content\": \"a\"}]", "messages[0] is of \"tool?[2J\""},
        {"[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"user\", \"content\": \"b\"}]",
         "messages[1] is of \"user\""},
        {"[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"system\", \"content\": \"b\"}]",
         "messages[1] is of \"system\""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *path = spawn_file("hostile.json", cases[i].text, strlen(cases[i].text));
        struct spawn s = {0};
        talk_about(&s, "/load @\n", path);
        spawn_assert_refused(&s, 1, cases[i].said);
        assert_contains(s.err.ptr, "hostile.json: ");
        /* the conversation at hand stays */
        const char *kept = spawn_temp("kept.json");
        struct strbuf lines = {0};
        strbuf_printf(&lines, "hello\n/load %s\n/save %s\n", path, kept);
        talk(&s, lines.ptr);
        assert_code(&s, 1);
        check_saved(kept, 2, 0, "hello");
        strbuf_free(&lines);
        spawn_free(&s);
    }
    struct strbuf deep = {0};
    for (int i = 0; i < 100000; i++)
        strbuf_append_char(&deep, '[');
    struct spawn s = {0};
    talk_about(&s, "/load @\n", spawn_file("deep.json", deep.ptr, deep.len));
    spawn_assert_refused(&s, 1, "is not JSON");
    talk(&s, "/load\n");
    spawn_assert_refused(&s, 1, "a file is missing");
    talk(&s, "/load /nowhere/x.json\n");
    spawn_assert_refused(&s, 1, "/nowhere/x.json");
    talk(&s, "/save /nowhere/x.json\n");
    spawn_assert_refused(&s, 1, "/nowhere/x.json");
    spawn_free(&s);
    strbuf_free(&deep);
}

TEST(an_unanswered_message_is_answered_by_retry)
{
    static const char text[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"one\"}]}";
    const char *path = spawn_file("unanswered.json", text, sizeof text - 1);
    struct spawn s = {0}, fresh = {0};
    talk_about(&s, "/load @\n/retry\n", path);
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "/retry gives one");
    talk(&fresh, "one\n");
    assert_string_equal(s.out.ptr, fresh.out.ptr);
    talk_about(&s, "/load @\nother\n/save @\n", path);
    assert_code(&s, 0);
    check_saved(path, 2, 0, "other");
    spawn_free(&fresh);
    spawn_free(&s);
}

/* --- a context that fills up -------------------------------------------------------------------
 */

TEST(a_message_that_is_too_long_leaves_the_rest_alone)
{
    const char *path = spawn_temp("too_long.json");
    struct strbuf lines = {0};
    struct spawn s = {0};
    strbuf_append(&lines, STR("one\ntwo\n"));
    for (int i = 0; i < 300; i++)
        strbuf_append(&lines, STR("a long message "));
    strbuf_printf(&lines, "\n/save %s\n", path);
    s.input = strbuf_str(&lines);
    RUN(&s, "chat", spawn_tiny_model(), "-n", "4", "--ctx", "300", "--device", "cpu");
    assert_code(&s, 1);
    assert_contains(s.err.ptr, "more than the context of 300");
    assert_null(strstr(s.err.ptr, "forgotten"));
    check_saved(path, 4, 0, "one");
    spawn_free(&s);
    strbuf_free(&lines);
}

/* What takes the place of messages that were there and cannot be answered. */
TEST(a_message_that_cannot_be_answered_replaces_none)
{
    static const char unanswered[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"left\"}]}";
    const char *path = spawn_temp("replaced.json");
    const char *alone = spawn_file("left.json", unanswered, sizeof unanswered - 1);
    struct strbuf lines = {0}, words = {0};
    struct spawn s = {0};
    for (int i = 0; i < 300; i++)
        strbuf_append(&words, STR("a long message "));
    strbuf_printf(&lines, "one\ntwo\n/edit %s\n/save %s\n", words.ptr, path);
    s.input = strbuf_str(&lines);
    RUN(&s, "chat", spawn_tiny_model(), "-n", "4", "--ctx", "300", "--device", "cpu");
    assert_code(&s, 1);
    assert_contains(s.err.ptr, "more than the context of 300");
    check_saved(path, 4, 2, "two");
    strbuf_clear(&lines);
    strbuf_printf(&lines, "/load %s\n%s\n/save %s\n", alone, words.ptr, path);
    s.input = strbuf_str(&lines);
    RUN(&s, "chat", spawn_tiny_model(), "-n", "4", "--ctx", "300", "--device", "cpu");
    assert_code(&s, 1);
    check_saved(path, 1, 0, "left");
    strbuf_clear(&lines); /* and an answer, where another one fails */
    strbuf_printf(&lines, "one\n/system %s\n/retry\n/system -\n/save %s\n", words.ptr, path);
    s.input = strbuf_str(&lines);
    RUN(&s, "chat", spawn_tiny_model(), "-n", "4", "--ctx", "300", "--device", "cpu");
    assert_code(&s, 1);
    check_saved(path, 2, 0, "one");
    spawn_free(&s);
    strbuf_free(&words);
    strbuf_free(&lines);
}

TEST(an_answer_goes_on_when_old_messages_are_forgotten)
{
    const char *path = spawn_temp("shifted.json");
    struct strbuf lines = {0};
    struct spawn s = {0}, cut = {0};
    strbuf_printf(&lines, "/set n-predict 10\none\n/set n-predict 170\ntwo\n/save %s\n", path);
    s.input = strbuf_str(&lines);
    RUN(&s, "chat", spawn_tiny_model(), "--ctx", "200", "--device", "cpu");
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "the context of 200 tokens is full: the oldest messages are");
    assert_contains(spawn_last_line(&s), "answer 170 tokens");
    check_saved(path, 2, 0, "two");
    /* what was answered so far is computed again behind the shorter prompt */
    int n_prompt = 0;
    const char *prompt = strstr(spawn_last_line(&s), "prompt ");
    assert_non_null(prompt);
    assert_int_equal(sscanf(prompt, "prompt %d tokens", &n_prompt), 1);
    assert_true(n_prompt > 150);
    /* one message alone cannot make room */
    cut.input = STR("one\n");
    RUN(&cut, "chat", spawn_tiny_model(), "--ctx", "60", "-n", "200", "--device", "cpu");
    assert_code(&cut, 0);
    assert_contains(cut.err.ptr, "the answer is cut");
    spawn_free(&cut);
    spawn_free(&s);
    strbuf_free(&lines);
}
