/* What the command line may say, and what it is told when it is wrong. */
#include "spawn.h"

#include <stdio.h>

static const char *const commands[] = {"bench",    "chat",    "completion", "devices",
                                       "eval",     "inspect", "rows",       "run",
                                       "selftest", "synth",   "template",   "tokenize"};

TEST(no_arguments_print_the_commands)
{
    struct spawn s = {0};
    spawn_run(&s, (const char *const[]){NULL});
    assert_code(&s, 0);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        assert_contains(s.out.ptr, commands[i]);
    assert_string_equal(s.err.ptr, "");
    struct spawn help = {0};
    RUN(&help, "--help");
    assert_string_equal(help.out.ptr, s.out.ptr);
    spawn_free(&help);
    spawn_free(&s);
}

TEST(each_command_has_help)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        struct spawn s = {0}, help = {0}, beside = {0};
        char usage[64];
        snprintf(usage, sizeof usage, "usage: hearth %s", commands[i]);
        RUN(&s, commands[i], "--help");
        assert_code(&s, 0);
        if (strncmp(s.out.ptr, usage, strlen(usage)) != 0)
            fail_msg("\"%s\" is not at the beginning of:\n%s", usage, s.out.ptr);
        assert_contains(s.out.ptr, "--verbose");
        assert_null(strstr(s.out.ptr, "--discrete")); /* of tests */
        assert_string_equal(s.err.ptr, "");
        RUN(&help, "help", commands[i]);
        assert_code(&help, 0);
        assert_string_equal(help.out.ptr, s.out.ptr);
        RUN(&beside, commands[i], "-h", "and", "too", "many", "words");
        assert_code(&beside, 0);
        assert_string_equal(beside.out.ptr, s.out.ptr);
        spawn_free(&beside);
        spawn_free(&help);
        spawn_free(&s);
    }
}

TEST(version_is_one_line)
{
    struct spawn s = {0};
    RUN(&s, "--version");
    assert_code(&s, 0);
    int major, minor, patch, end = 0;
    assert_int_equal(sscanf(s.out.ptr, "hearth %d.%d.%d%n", &major, &minor, &patch, &end), 3);
    assert_string_equal(s.out.ptr + end, "\n");
    spawn_free(&s);
}

static void expect_usage_error(const char *const *args, const char *text)
{
    struct spawn s = {0};
    spawn_run(&s, args);
    spawn_assert_refused(&s, 2, text);
    assert_contains(s.err.ptr, "--help");
    spawn_free(&s);
}

#define USAGE_ERROR(text, ...) expect_usage_error((const char *const[]){__VA_ARGS__, NULL}, text)

TEST(near_misses_are_named)
{
    USAGE_ERROR("did you mean run?", "rnu");
    USAGE_ERROR("did you mean tokenize?", "tokenise");
    USAGE_ERROR("did you mean inspect?", "insp");
    USAGE_ERROR("did you mean chat?", "help", "caht");
    USAGE_ERROR("did you mean --temp?", "run", "m.gguf", "--tmep", "1");
    USAGE_ERROR("did you mean --logits?", "eval", "m.gguf", "--logit=x");
    USAGE_ERROR("did you mean --json?", "devices", "--jsn");
    USAGE_ERROR("did you mean --version?", "--vresion");
    /* what other programs call it */
    USAGE_ERROR("did you mean --temp?", "run", "m.gguf", "--temperature", "1");
    USAGE_ERROR("did you mean --ctx?", "run", "m.gguf", "--ctx-size", "1");
    USAGE_ERROR("did you mean --gpu-layers?", "plan", "m.gguf", "--n-gpu-layers", "1");
    USAGE_ERROR("did you mean --n-predict?", "run", "m.gguf", "--predict", "1");
    USAGE_ERROR("did you mean --threads?", "run", "m.gguf", "--host-threads", "1");
}

/* Where other programs have another word, or another number of dashes. */
TEST(words_of_other_programs_are_known)
{
    static const char *const words[][3] = {
        {"run", "--reverse-prompt", "--stop"},
        {"run", "-r", "--stop"},
        {"chat", "--reverse-prompt=User:", "--stop"},
        {"run", "--jinja", "--chat-template"},
        {"run", "--chat-template-file", "--chat-template"},
        {"chat", "--chat-template-kwargs", "--template-var"},
        {"run", "--reasoning-budget", "--no-thinking"},
        {"run", "--think=false", "--no-thinking"},
        {"run", "--max-tokens", "--n-predict"},
        {"run", "--num-ctx", "--ctx"},
        {"run", "--system-prompt", "--system"},
        {"run", "-sys", "--system"},
        {"run", "-ngl", "--ngl"},
        {"run", "-temp", "--temp"},
        {"bench", "-ctk", "--kv"},
        {"plan", "-ot", "--place"},
        {"run", "--mirostat-tau", "--mirostat-ent"},
        {"run", "--repetition-penalty", "--repeat-penalty"},
    };
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "did you mean %s?", words[i][2]);
        USAGE_ERROR(wanted, words[i][0], "m.gguf", words[i][1], "1");
    }
}

TEST(far_misses_are_not)
{
    struct spawn s = {0};
    RUN(&s, "frobnicate");
    spawn_assert_refused(&s, 2, "no such command \"frobnicate\"");
    assert_null(strstr(s.err.ptr, "did you mean"));
    RUN(&s, "run", "m.gguf", "--quux");
    spawn_assert_refused(&s, 2, "unknown option --quux");
    assert_null(strstr(s.err.ptr, "did you mean"));
    spawn_free(&s);
}

TEST(values_are_checked)
{
    USAGE_ERROR("--temp wants a number", "run", "m.gguf", "-p", "x", "--temp", "hot");
    USAGE_ERROR("--temp wants a number from 0", "run", "m.gguf", "-p", "x", "--temp=-1");
    USAGE_ERROR("--top-p wants a number from 0 to 1", "run", "m.gguf", "-p", "x", "--top-p", "1.5");
    USAGE_ERROR("--n-predict wants a whole number", "run", "m.gguf", "-p", "x", "-n", "4.5");
    USAGE_ERROR("--n-predict wants a whole number", "run", "m.gguf", "-p", "x", "-n", "4k");
    USAGE_ERROR("--n-predict wants a whole number", "run", "m.gguf", "-p", "x", "-n", "");
    USAGE_ERROR("--ctx wants a number from 1", "run", "m.gguf", "-p", "x", "--ctx", "0");
    USAGE_ERROR("--ctx wants a number from 1", "run", "m.gguf", "-p", "x", "--ctx", "99999999999");
    USAGE_ERROR("from -1 to 9007199254740991, not -2", "run", "m.gguf", "-p", "x", "--seed", "-2");
    USAGE_ERROR("from 0 to 1, not 2", "run", "m.gguf", "-p", "x", "--min-p", "2");
    USAGE_ERROR("--temp wants a number", "run", "m.gguf", "-p", "x", "--temp", "nan");
    USAGE_ERROR("--kv wants one of f16|f32|q8_0|q4_0", "run", "m.gguf", "-p", "x", "--kv", "q4");
    USAGE_ERROR("--kv wants one of f16|f32|q8_0|q4_0", "run", "m.gguf", "-p", "x", "--kv", "");
    USAGE_ERROR("--device wants auto, cpu", "run", "m.gguf", "-p", "x", "--device", "gpu");
    USAGE_ERROR("--device wants auto, cpu", "run", "m.gguf", "-p", "x", "--device", "vulkan:");
    USAGE_ERROR("--vram wants a size", "run", "m.gguf", "-p", "x", "--vram", "6X");
    USAGE_ERROR("--ids wants numbers", "eval", "m.gguf", "--logits", "o", "--ids", "1,2,x");
    USAGE_ERROR("--ids wants numbers", "eval", "m.gguf", "--logits", "o", "--ids", "1,,2");
    USAGE_ERROR("--ids wants numbers", "eval", "m.gguf", "--logits", "o", "--ids", "");
    USAGE_ERROR("--ids wants numbers", "eval", "m.gguf", "--logits", "o", "--ids", "1,2,");
    USAGE_ERROR("--ids wants numbers", "eval", "m.gguf", "--logits", "o", "--ids", "99999999999");
    USAGE_ERROR("--prompt wants numbers", "bench", "m.gguf", "-p", "-1");
    USAGE_ERROR("nothing to measure", "bench", "m.gguf", "-p", "0,0", "-n", "0");
    USAGE_ERROR("--now wants a time", "template", "m", "--context", "c", "--now", "2026-02-29");
    USAGE_ERROR("--now wants a time", "template", "m", "--context", "c", "--now",
                "2026-07-04T24:00:00");
}

TEST(the_form_of_options_is_checked)
{
    USAGE_ERROR("-n wants a value", "run", "m.gguf", "-n");
    USAGE_ERROR("--temp wants a value", "run", "m.gguf", "--temp");
    USAGE_ERROR("--raw takes no value", "run", "m.gguf", "--raw=1");
    USAGE_ERROR("unknown option -z", "run", "m.gguf", "-z");
    USAGE_ERROR("unknown option --", "run", "m.gguf", "--=3");
}

TEST(words_are_counted)
{
    USAGE_ERROR("an argument is missing: hearth run MODEL", "run");
    USAGE_ERROR("an argument is missing", "inspect");
    USAGE_ERROR("an argument is missing", "tokenize", "--no-bos");
    USAGE_ERROR("one argument too many: \"b\"", "inspect", "a", "b");
    USAGE_ERROR("one argument too many: \"x\"", "devices", "x");
    USAGE_ERROR("one argument too many: \"--json\"", "devices", "--", "--json");
    USAGE_ERROR("one argument too many: \"is\"", "run", "m.gguf", "-p", "Why", "is");
}

TEST(commands_say_what_they_lack)
{
    USAGE_ERROR("what should it answer?", "run", "m.gguf");
    USAGE_ERROR("one prompt only", "run", "m.gguf", "-p", "x", "-");
    USAGE_ERROR("one prompt only", "run", "m.gguf", "-p", "x", "-f", "y");
    USAGE_ERROR("give one of --ids", "eval", "m.gguf", "--logits", "o");
    USAGE_ERROR("give one of --ids", "eval", "m.gguf", "--logits", "o", "--ids", "1", "-f", "t");
    USAGE_ERROR("give --logits", "eval", "m.gguf", "--ids", "1");
    USAGE_ERROR("give --like", "synth", "-o", "x");
    USAGE_ERROR("give -o", "synth", "--like", "tiny-moe");
    USAGE_ERROR("--raw-f32 wants --tensor", "inspect", "m.gguf", "--raw-f32");
    USAGE_ERROR("not both", "inspect", "m.gguf", "--tensor", "t", "--raw-f32", "--json");
    USAGE_ERROR("give a model or --template", "template", "--context", "c");
    USAGE_ERROR("give a model or --template", "template", "m", "--template", "t", "--context", "c");
    USAGE_ERROR("give --context", "template", "m");
    USAGE_ERROR("wants bash, zsh or fish, not \"tcsh\"", "completion", "tcsh");
}

TEST(options_may_be_written_in_any_form)
{
    const char *const forms[][3] = {
        {"-n3", NULL}, {"-n", "3", NULL}, {"--n-predict=3", NULL}, {"--n-predict", "3", NULL}};
    const char *model = spawn_tiny_model();
    struct strbuf first = {0};
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        struct spawn s = {0};
        const char *args[] = {"run",          model,       "-p",        "-x",
                              "--device=cpu", forms[i][0], forms[i][1], NULL};
        spawn_run(&s, args);
        assert_code(&s, 0);
        assert_contains(spawn_last_line(&s), "answer 3 tokens");
        if (i == 0)
            strbuf_append(&first, strbuf_str(&s.out));
        else
            assert_string_equal(s.out.ptr, first.ptr);
        spawn_free(&s);
    }
    strbuf_free(&first);
}
