/* hearth run and hearth chat, on a small made model. */
#include "spawn.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"

static double number_after(const char *text, const char *mark)
{
    const char *at = strstr(text, mark);
    if (!at)
        fail_msg("\"%s\" is not in: %s", mark, text);
    return atof(at + strlen(mark));
}

/* "hearth: CPU: first word 0.42 s, prompt 36 tokens at 512.3 tokens/s, answer …" */
static void check_summary(const struct spawn *s, const char *device)
{
    const char *line = spawn_last_line(s);
    assert_contains(line, device);
    double first = number_after(line, "first word ");
    assert_true(first >= 0 && first < 300); /* "0.00" on a fast machine */
    assert_true(number_after(line, "prompt ") >= 1);
    assert_true(number_after(line, " tokens at ") > 0);
    assert_true(number_after(line, "answer ") >= 1);
}

TEST(an_answer_alone_is_on_stdout)
{
    struct spawn s = {0};
    RUN(&s, "run", spawn_tiny_model(), "-p", "Hello", "-n", "12", "--device", "cpu");
    assert_code(&s, 0);
    assert_true(s.out.len > 1);
    assert_int_equal(s.out.ptr[s.out.len - 1], '\n');
    assert_null(strstr(s.out.ptr, "hearth"));
    check_summary(&s, "CPU: ");
    assert_null(strchr(s.err.ptr, '\033')); /* no colours in a file */
    spawn_free(&s);
}

TEST(prompts_come_from_three_places)
{
    const char *model = spawn_tiny_model();
    struct spawn text = {0}, file = {0}, input = {.input = STR("Tell me.")};
    RUN(&text, "run", model, "-p", "Tell me.", "-n", "8", "--device", "cpu");
    RUN(&file, "run", model, "-f", spawn_file("prompt", "Tell me.", 8), "-n", "8", "--device",
        "cpu");
    RUN(&input, "run", model, "-", "-n", "8", "--device", "cpu");
    assert_code(&text, 0);
    assert_code(&file, 0);
    assert_code(&input, 0);
    assert_string_equal(file.out.ptr, text.out.ptr);
    assert_string_equal(input.out.ptr, text.out.ptr);
    spawn_free(&text);
    spawn_free(&file);
    spawn_free(&input);
}

/* The same words from every system, build and level of the CPU: systems are compared by this. A
 * model so small is seldom so sure; where it is not, rounding decides, and with it the compiler. */
TEST(a_real_model_answers_greedily)
{
    struct spawn s = {.input = STR("1, 2, 3, 4, 5, 6, 7,")};
    RUN(&s, "run", test_real_model(), "-", "--raw", "-n", "17", "--temp", "0", "--device", "cpu");
    assert_code(&s, 0);
    assert_string_equal(s.out.ptr, " 8, 9, 10, 11, 12\n");
    spawn_free(&s);
}

/* Whoever comes from another program types -t 4 and means threads. */
TEST(letters_mean_what_they_mean_elsewhere)
{
    static const char *const pairs[] = {"-t, --threads", "-s, --seed", "-n, --n-predict",
                                        "-c, --ctx", "-p, --prompt"};
    struct spawn s = {0};
    RUN(&s, "run", "--help");
    assert_code(&s, 0);
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        assert_contains(s.out.ptr, pairs[i]);
    spawn_free(&s);
}

TEST(options_change_the_answer)
{
    const char *model = spawn_tiny_model();
    const char *const variants[][3] = {{"--raw"}, {"--system", "Be brief."}, {"--temp", "5"}};
    struct spawn plain = {0};
    RUN(&plain, "run", model, "-p", "Tell me.", "-n", "16", "--device", "cpu");
    assert_code(&plain, 0);
    for (size_t i = 0; i < ARRAY_LEN(variants); i++) {
        struct spawn s = {0};
        const char *args[] = {"run",      model, "-p",           "Tell me.",     "-n", "16",
                              "--device", "cpu", variants[i][0], variants[i][1], NULL};
        spawn_run(&s, args);
        assert_code(&s, 0);
        assert_string_not_equal(s.out.ptr, plain.out.ptr);
        spawn_free(&s);
    }
    spawn_free(&plain);
}

TEST(same_seed_same_text)
{
    const char *model = spawn_tiny_model(), *const seeds[] = {"7", "7", "8"};
    struct spawn s[3] = {{0}};
    for (int i = 0; i < 3; i++) {
        RUN(&s[i], "run", model, "-p", "x", "-n", "16", "--temp", "2", "--top-k", "200", "--seed",
            seeds[i], "--device", "cpu");
        assert_code(&s[i], 0);
    }
    assert_string_equal(s[0].out.ptr, s[1].out.ptr);
    assert_string_not_equal(s[0].out.ptr, s[2].out.ptr);
    for (int i = 0; i < 3; i++)
        spawn_free(&s[i]);
}

TEST(without_a_seed_each_text_is_another)
{
    struct spawn s[2] = {{0}};
    for (int i = 0; i < 2; i++) {
        RUN(&s[i], "run", spawn_tiny_model(), "-p", "x", "-n", "24", "--temp", "5", "--device",
            "cpu");
        assert_code(&s[i], 0);
    }
    assert_string_not_equal(s[0].out.ptr, s[1].out.ptr);
    spawn_free(&s[0]);
    spawn_free(&s[1]);
}

TEST(a_full_context_is_said)
{
    struct spawn s = {0};
    RUN(&s, "run", spawn_tiny_model(), "--raw", "-p", "abc", "--ctx", "16", "--device", "cpu");
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "the context of 16 tokens is full");
    assert_contains(s.err.ptr, "--ctx");
    check_summary(&s, "CPU: ");
    spawn_free(&s);
}

TEST(a_prompt_too_long_is_refused)
{
    struct spawn s = {0};
    RUN(&s, "run", spawn_tiny_model(), "-p", "a b c d e f g h i j k l m n o p q r s t u v", "--ctx",
        "8", "--device", "cpu", "--raw");
    spawn_assert_refused(&s, 1, "--ctx");
    spawn_free(&s);
}

TEST(a_prompt_must_be_text)
{
    const char *model = spawn_tiny_model();
    struct spawn bytes = {0}, zero = {.input = STR("a\0b")}, argument = {0}, system = {0};
    RUN(&bytes, "run", model, "-f", spawn_file("bytes", "good \xff\xfe", 7));
    spawn_assert_refused(&bytes, 1, "not UTF-8: byte 0xff at 5");
    RUN(&zero, "run", model, "-");
    spawn_assert_refused(&zero, 1, "zero byte, at 1");
#if !defined(_WIN32) /* where arguments are UTF-16 */
    RUN(&argument, "run", model, "-p", "\xc3");
    spawn_assert_refused(&argument, 1, "not UTF-8");
    RUN(&system, "run", model, "-p", "x", "--system", "\xed\xa0\x80");
    spawn_assert_refused(&system, 1, "the system text is not UTF-8");
#endif
    spawn_free(&bytes);
    spawn_free(&zero);
    spawn_free(&argument);
    spawn_free(&system);
}

TEST(a_prompt_file_that_is_not_there)
{
    struct spawn s = {0};
    RUN(&s, "run", spawn_tiny_model(), "-f", spawn_temp("absent"));
    spawn_assert_refused(&s, 1, "absent");
    spawn_free(&s);
}

TEST(a_closed_pipe_is_said_once)
{
    struct spawn s = {.closed_pipe = true};
    RUN(&s, "run", spawn_tiny_model(), "-p", "Hello", "-n", "500", "--device", "cpu");
    spawn_assert_refused(&s, 1, "the output was closed before the answer ended");
    RUN(&s, "chat", spawn_tiny_model(), "-n", "500", "--device", "cpu");
    assert_code(&s, 0); /* nothing was said, and nothing answered */
    assert_string_equal(s.err.ptr, "");
    struct spawn chat = {.closed_pipe = true, .input = STR("Hello\nHello\n")};
    RUN(&chat, "chat", spawn_tiny_model(), "-n", "500", "--device", "cpu");
    spawn_assert_refused(&chat, 1, "the output was closed before the answer ended");
    spawn_free(&chat);
    RUN(&s, "--help");
    assert_code(&s, 1);
    assert_string_equal(s.err.ptr, "");
    spawn_free(&s);
}

TEST(a_full_disk_is_said)
{
    if (os_stat("/dev/full", NULL, NULL) != OS_FILE_OTHER)
        test_skip("this system has no /dev/full");
    struct spawn s = {.out_path = "/dev/full"};
    RUN(&s, "run", spawn_tiny_model(), "-p", "Hello", "-n", "500", "--device", "cpu");
    assert_code(&s, 1);
    assert_contains(s.err.ptr, "the output cannot be written: No space left on device");
    RUN(&s, "help");
    assert_code(&s, 1);
    assert_contains(s.err.ptr, "the output cannot be written");
    spawn_free(&s);
}

TEST(interrupt_stops_the_answer)
{
    struct spawn s = {.interrupt_at = 40};
    RUN(&s, "run", spawn_tiny_model(), "-p", "Hello", "--ctx", "100000", "--device", "cpu");
    assert_code(&s, 130);
    assert_true(s.out.len >= 40);
    assert_int_equal(s.out.ptr[s.out.len - 1], '\n');
    check_summary(&s, "CPU: ");
    spawn_free(&s);
}

TEST(chat_answers_every_line)
{
    const char *model = spawn_tiny_model();
    struct spawn one = {.input = STR("Hi\n")}, two = {.input = STR("Hi\nAgain")},
                 none = {.input = STR("\n\n")};
    RUN(&one, "chat", model, "-n", "6", "--device", "cpu");
    assert_code(&one, 0);
    assert_true(one.out.len > 1);
    RUN(&two, "chat", model, "-n", "6", "--device", "cpu");
    assert_code(&two, 0);
    assert_true(two.out.len > one.out.len);
    assert_memory_equal(two.out.ptr, one.out.ptr, one.out.len);
    /* only what is new is computed: far less than the whole conversation */
    double first = number_after(spawn_last_line(&one), "prompt ");
    double second = number_after(spawn_last_line(&two), "prompt ");
    assert_true(second < 2 * first + 6);
    RUN(&none, "chat", model, "-n", "6", "--device", "cpu");
    assert_code(&none, 0);
    assert_string_equal(none.out.ptr, "");
    spawn_free(&one);
    spawn_free(&two);
    spawn_free(&none);
}

TEST(chat_remembers)
{
    /* the answer to the second line depends on the first */
    const char *model = spawn_tiny_model();
    struct spawn a = {.input = STR("Red\nAgain\n")}, b = {.input = STR("Green\nAgain\n")};
    RUN(&a, "chat", model, "-n", "12", "--device", "cpu");
    RUN(&b, "chat", model, "-n", "12", "--device", "cpu");
    assert_code(&a, 0);
    assert_code(&b, 0);
    assert_string_not_equal(strchr(a.out.ptr, '\n'), strchr(b.out.ptr, '\n'));
    spawn_free(&a);
    spawn_free(&b);
}

/* What `run --raw` answers to a conversation that the template renders. */
static void answer_of(struct spawn *s, const json_t *messages)
{
    const char *model = spawn_tiny_model();
    json_t *context = json_pack("{s:O, s:b}", "messages", messages, "add_generation_prompt", 1);
    char *text = json_dumps(context, 0);
    struct spawn rendered = {0};
    RUN(&rendered, "template", model, "--context", spawn_file("chat.json", text, strlen(text)));
    assert_code(&rendered, 0);
    RUN(s, "run", model, "--raw", "-f", spawn_file("chat.txt", rendered.out.ptr, rendered.out.len),
        "-n", "20", "--device", "cpu");
    assert_code(s, 0);
    spawn_free(&rendered);
    free(text);
    json_decref(context);
}

/* The conversation of a chat: what was said, and the lines that came back. */
static json_t *conversation(struct str said, struct str answers)
{
    json_t *list = json_array();
    for (size_t s = 0, a = 0; s < said.len && a < answers.len;) {
        size_t n_said = strcspn(said.ptr + s, "\n"), n_answer = strcspn(answers.ptr + a, "\n");
        json_array_append_new(
            list, json_pack("{s:s, s:s%}", "role", "user", "content", said.ptr + s, n_said));
        json_array_append_new(list, json_pack("{s:s, s:s%}", "role", "assistant", "content",
                                              answers.ptr + a, n_answer));
        s += n_said + 1;
        a += n_answer + 1;
    }
    return list;
}

/* Whatever of the conversation is kept, the cache holds just that: the last answer is the one that
 * a fresh start gives to some end of the conversation, shorter than the whole. */
TEST(chat_forgets_the_oldest)
{
    enum { N_LINES = 8 };
    struct strbuf lines = {0};
    for (int i = 0; i < N_LINES; i++)
        strbuf_printf(&lines, "line %d of a conversation\n", i);
    struct spawn s = {.input = strbuf_str(&lines)};
    RUN(&s, "chat", spawn_tiny_model(), "-n", "20", "--ctx", "400", "--device", "cpu");
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "the oldest messages are forgotten");
    json_t *list = conversation(s.input, strbuf_str(&s.out));
    assert_int_equal(json_array_size(list), 2 * N_LINES);
    struct strbuf last = {0};
    strbuf_append(&last, str_of(json_string_value(
                             json_object_get(json_array_get(list, 2 * N_LINES - 1), "content"))));
    strbuf_append(&last, STR("\n"));
    json_array_remove(list, 2 * N_LINES - 1);
    int n_equal = 0;
    for (int dropped = 0; dropped < N_LINES; dropped++) {
        struct spawn fresh = {0};
        answer_of(&fresh, list);
        n_equal += dropped > 0 && strcmp(fresh.out.ptr, last.ptr) == 0;
        json_array_remove(list, 0);
        json_array_remove(list, 0);
        spawn_free(&fresh);
    }
    assert_true(n_equal >= 1);
    strbuf_free(&last);
    json_decref(list);
    spawn_free(&s);
    strbuf_free(&lines);
}

TEST(chat_goes_on_after_a_bad_line)
{
    struct spawn s = {.input = STR("good\n\xff\ngood\n")};
    RUN(&s, "chat", spawn_tiny_model(), "-n", "4", "--device", "cpu");
    assert_code(&s, 1);
    assert_contains(s.err.ptr, "not UTF-8");
    assert_non_null(strchr(strchr(s.out.ptr, '\n') + 1, '\n'));
    spawn_free(&s);
}

TEST(without_a_driver_the_cpu_runs)
{
    struct spawn automatic = {.env = {"VK_DRIVER_FILES=/nowhere", "VK_ICD_FILENAMES=/nowhere"}};
    RUN(&automatic, "run", spawn_tiny_model(), "-p", "x", "-n", "2");
    assert_code(&automatic, 0);
    check_summary(&automatic, "CPU: ");
    struct spawn asked = {.env = {"VK_DRIVER_FILES=/nowhere", "VK_ICD_FILENAMES=/nowhere"}};
    RUN(&asked, "run", spawn_tiny_model(), "-p", "x", "-n", "2", "--device", "vulkan");
    spawn_assert_refused(&asked, 1, "no Vulkan device");
    assert_contains(asked.err.ptr, "--device cpu");
    spawn_free(&automatic);
    spawn_free(&asked);
}

TEST(a_software_device_runs_by_name_only)
{
    spawn_need_device();
    const char *model = spawn_tiny_model();
    struct spawn named = {0}, numbered = {0}, any = {0}, absent = {0};
    RUN(&named, "run", model, "-p", "x", "-n", "4", "--device", "vulkan:LLVMPIPE");
    assert_code(&named, 0);
    check_summary(&named, "llvmpipe");
    RUN(&numbered, "run", model, "-p", "x", "-n", "4", "--device", "vulkan:0");
    assert_code(&numbered, 0);
    assert_string_equal(numbered.out.ptr, named.out.ptr);
    RUN(&any, "run", model, "-p", "x", "-n", "4", "--device", "vulkan");
    spawn_assert_refused(&any, 1, "vulkan:0");
    RUN(&absent, "run", model, "-p", "x", "-n", "4", "--device", "vulkan:17");
    spawn_assert_refused(&absent, 1, "hearth devices");
    spawn_free(&named);
    spawn_free(&numbered);
    spawn_free(&any);
    spawn_free(&absent);
}

TEST(test_modes_of_the_device)
{
    spawn_need_device();
    const char *model = spawn_tiny_model();
    struct spawn plain = {0}, discrete = {0}, vram = {0};
    RUN(&plain, "run", model, "-p", "x", "-n", "4", "--device", "vulkan:0");
    RUN(&discrete, "run", model, "-p", "x", "-n", "4", "--device", "vulkan:0", "--discrete");
    assert_code(&discrete, 0);
    assert_string_equal(discrete.out.ptr, plain.out.ptr);
    RUN(&vram, "run", model, "-p", "x", "-n", "4", "--device", "vulkan:0", "--vram", "64K");
    assert_code(&vram, 0);
    assert_contains(vram.err.ptr, "all of it is with the CPU");
    spawn_free(&plain);
    spawn_free(&discrete);
    spawn_free(&vram);
}

TEST(the_example_in_docs_answers)
{
    struct spawn s = {.program = HEARTH_EXAMPLE}, wrong = {.program = HEARTH_EXAMPLE};
    RUN(&s, spawn_tiny_model(), "Why is the sky blue?");
    assert_code(&s, 0);
    assert_true(s.out.len > 8);
    RUN(&wrong, "absent.gguf", "x");
    assert_code(&wrong, 1);
    assert_contains(wrong.err.ptr, "absent.gguf");
    spawn_free(&s);
    spawn_free(&wrong);
}
