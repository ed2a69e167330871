/* Completions as the shells understand them, those shells that are here. */
#include "spawn.h"

#include <stdio.h>

/* The script for a shell, in a file of its own. */
static const char *script(const char *shell)
{
    struct spawn s = {0};
    RUN(&s, "completion", shell);
    assert_code(&s, 0);
    assert_string_equal(s.err.ptr, "");
    assert_true(s.out.len > 1000);
    const char *path = spawn_file(shell, s.out.ptr, s.out.len);
    spawn_free(&s);
    return path;
}

/* The shell's path, or a skipped test. */
static const char *find_shell(const char *name)
{
    static char path[64];
    static const char *const folders[] = {"/bin", "/usr/bin", "/usr/local/bin"};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        snprintf(path, sizeof path, "%s/%s", folders[i], name);
        FILE *file = fopen(path, "rb");
        if (file) {
            fclose(file);
            return path;
        }
    }
    test_skip("%s is not installed", name);
    return NULL;
}

/* Runs a shell of the system: not by the loader that our programs may need. */
#define SHELL(s, ...)                                                                              \
    do {                                                                                           \
        (s)->env[0] = "HEARTH_EXEC=";                                                              \
        RUN((s), __VA_ARGS__);                                                                     \
        assert_code((s), 0);                                                                       \
        assert_string_equal((s)->err.ptr, "");                                                     \
    } while (0)

/* What bash offers for the words of a line, the last of which is not finished: a line each. */
static void complete(struct spawn *s, const char *words)
{
    char code[2400];
    snprintf(code, sizeof code,
             "source '%s'; COMP_WORDS=(%s); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _hearth; "
             "printf '%%s\\n' \"${COMPREPLY[@]}\"",
             script("bash"), words);
    s->program = find_shell("bash");
    SHELL(s, "--norc", "-c", code);
}

static void expect(const char *words, const char *offered)
{
    struct spawn s = {0};
    complete(&s, words);
    assert_string_equal(s.out.ptr, offered);
    spawn_free(&s);
}

TEST(scripts_are_well_formed)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};
    for (size_t i = 0; i < ARRAY_LEN(shells); i++)
        script(shells[i]);
    struct spawn s = {.program = find_shell("bash")};
    SHELL(&s, "-n", script("bash"));
    spawn_free(&s);
}

TEST(zsh_takes_its_script)
{
    struct spawn s = {.program = find_shell("zsh")};
    SHELL(&s, "-n", script("zsh"));
    spawn_free(&s);
}

TEST(fish_takes_its_script)
{
    char code[2400];
    struct spawn s = {.program = find_shell("fish")};
    SHELL(&s, "-n", script("fish"));
    snprintf(code, sizeof code, "source '%s'; complete -C 'hearth run --kv '", script("fish"));
    SHELL(&s, "--no-config", "-c", code);
    assert_contains(s.out.ptr, "q8_0\t");
    spawn_free(&s);
}

TEST(bash_completes_commands_and_values)
{
    expect("hearth ru", "run\n");
    expect("hearth help ins", "inspect\n");
    expect("hearth --v", "--version\n");
    expect("hearth completion ''", "bash\nzsh\nfish\n");
    expect("hearth run m.gguf --kv q", "q8_0\nq4_0\n");
    expect("hearth run m.gguf --kv = f", "f16\nf32\n");
    expect("hearth run m.gguf --kv =", "f16\nf32\nq8_0\nq4_0\n");
    expect("hearth run --device v", "vulkan\n");
    expect("hearth run m.gguf --prompt b", "\n"); /* a text is the user's */
    expect("hearth frobnicate x", "\n");
}

TEST(bash_completes_files)
{
    char words[1200], path[1100];
    snprintf(path, sizeof path, "%s", spawn_file("a model.gguf", "x", 1));
    spawn_file("a model.txt", "x", 1);
    char *cut = strrchr(path, '.');
    struct spawn s = {0};
    snprintf(words, sizeof words, "hearth run '%.*s'", (int)(cut - path), path);
    complete(&s, words);
    assert_contains(s.out.ptr, "a model.gguf\n");
    assert_null(strstr(s.out.ptr, "a model.txt"));
    snprintf(words, sizeof words, "hearth run m.gguf -f '%.*s'", (int)(cut - path), path);
    complete(&s, words);
    assert_contains(s.out.ptr, "a model.txt\n");
    spawn_free(&s);
}

/* Every option that the help has, and no other, is offered. */
TEST(bash_completes_all_options)
{
    static const char *const commands[] = {"bench",    "chat",     "devices", "eval",     "inspect",
                                           "plan",     "rows",     "run",     "selftest", "synth",
                                           "template", "tokenize", "tune"};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        struct spawn help = {0}, s = {0};
        struct strbuf wanted = {0};
        char words[64];
        RUN(&help, commands[i], "--help");
        for (const char *line = help.out.ptr; line; line = strchr(line, '\n')) {
            line += *line == '\n';
            const char *name = line + strspn(line, " ");
            bool short_too = name[0] == '-' && name[1] != '-' && name[2] == ',';
            name += short_too ? 4 : 0;
            if (name - line >= 2 && strncmp(name, "--", 2) == 0)
                strbuf_printf(&wanted, "%.*s\n", (int)strcspn(name, " "), name);
        }
        snprintf(words, sizeof words, "hearth %s --", commands[i]);
        complete(&s, words);
        assert_true(wanted.len > 10);
        assert_string_equal(s.out.ptr, wanted.ptr);
        strbuf_free(&wanted);
        spawn_free(&help);
        spawn_free(&s);
    }
}
