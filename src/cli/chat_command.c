/* Commands within a conversation, a row each. What they show goes to stderr. */
#include <stdio.h>

#include "base/mem.h"
#include "base/near.h"
#include "base/os.h"
#include "cli/chat.h"
#include "cli/options.h"
#include "cli/talk.h"

struct chat_command {
    const char *name, *also; /* words for it in other programs, a blank around each */
    const char *operand, *help;
    int (*run)(struct chat *chat, const char *text); /* what follows the name, without blanks
                                                        around; returns an exit code */
};

/* --- what they do ----------------------------------------------------------------------------- */

static int run_help(struct chat *chat, const char *text)
{
    (void)chat;
    (void)text;
    chat_list_commands(false);
    talk_plain("A message that begins with a slash is written with two: //text");
    return EXIT_OK;
}

static void show_text(const char *text)
{
    while (*text) {
        size_t len = strcspn(text, "\n");
        talk_plain("%.*s", (int)(len < 4000 ? len : 4000), text);
        text += len + (text[len] == '\n');
    }
}

static int run_system(struct chat *chat, const char *text)
{
    if (*text)
        return chat_set_system(chat, strcmp(text, "-") == 0 ? STR("") : str_of(text));
    if (chat_n_system(chat))
        show_text(chat->messages[0].content);
    else
        talk_note("there is no system message: /system TEXT gives one");
    return EXIT_OK;
}

static int run_reset(struct chat *chat, const char *text)
{
    (void)text;
    size_t n_system = chat_n_system(chat);
    chat_drop(chat, n_system, chat->n_messages - n_system);
    talk_note("the conversation begins anew%s", n_system ? ", with the system message" : "");
    return EXIT_OK;
}

static int need_message(const struct chat *chat)
{
    if (chat_last_user(chat) == chat->n_messages)
        return talk_error("nothing was said yet");
    return EXIT_OK;
}

static int run_retry(struct chat *chat, const char *text)
{
    (void)text;
    int code = need_message(chat);
    if (code == EXIT_OK)
        code = chat_renew(chat, 1);
    if (code)
        return code;
    size_t after = chat_last_user(chat) + 1;
    if (after < chat->n_messages && args_real(&chat->args, "temp") == 0)
        talk_note("without a temperature the answer is the same again: /set temp 0.8");
    return chat_answer(chat);
}

static int run_edit(struct chat *chat, const char *text)
{
    int code = need_message(chat);
    if (code)
        return code;
    if (*text)
        return chat_say_instead(chat, str_of(text));
    size_t last = chat_last_user(chat);
    if (!chat->can_edit) {
        show_text(chat->messages[last].content);
        talk_note("/edit TEXT says something else instead");
        return EXIT_OK;
    }
    strbuf_append(&chat->edit, str_of(chat->messages[last].content));
    return EXIT_OK;
}

/* "~/x" is in the user's folder, as in a shell. */
static int with_path(struct chat *chat, const char *text, int (*run)(struct chat *, const char *))
{
    struct strbuf path = {0};
    if (!*text)
        return talk_error("a file is missing: /save FILE, /load FILE");
    bool in_home = text[0] == '~' && os_is_separator(text[1]) && os_home_folder(&path);
    strbuf_append(&path, str_of(in_home ? text + 1 : text));
    int code = path.failed ? talk_error("out of memory: a path") : run(chat, path.ptr);
    strbuf_free(&path);
    return code;
}

static int run_save(struct chat *chat, const char *text)
{
    return with_path(chat, text, chat_save);
}

static int run_load(struct chat *chat, const char *text)
{
    return with_path(chat, text, chat_load);
}

static int run_quit(struct chat *chat, const char *text)
{
    (void)text;
    chat->over = true;
    return EXIT_OK;
}

/* --- /set ------------------------------------------------------------------------------------- */

static const char *const also_settable[] = {"n-predict", "stop", "template-var", NULL};

/* The index-th option that /set knows; NULL after the last. */
static const char *settable(size_t index)
{
    for (const struct option *o = options_sampling.options; o->name; o++)
        if (index-- == 0)
            return o->name;
    return index < ARRAY_LEN(also_settable) ? also_settable[index] : NULL;
}

static int show_settings(const struct chat *chat)
{
    const char *name;
    for (size_t i = 0; (name = settable(i)); i++) {
        const char *value = args_text(&chat->args, name);
        talk_plain("  %-18s %s%s", name, value ? value : "-",
                   args_advised(&chat->args, name) ? " (the model's file)" : "");
    }
    return EXIT_OK;
}

static bool is_settable(const char *name)
{
    const char *known;
    for (size_t i = 0; (known = settable(i)); i++)
        if (strcmp(known, name) == 0)
            return true;
    return false;
}

static int no_setting(const struct chat *chat, const char *name)
{
    enum { MOST = 64 };
    const char *names[MOST + 1] = {0}, *near = args_nearest(&chat->args, name);
    for (size_t i = 0; i < MOST && settable(i); i++)
        names[i] = settable(i);
    if (!near || !is_settable(near))
        near = nearest_name(name, names);
    return talk_error("there is no setting \"%s\"%s%s%s (/set shows them)", name,
                      near ? ": did you mean " : "", near ? near : "", near ? "?" : "");
}

/* "temp 0.8", "temp=0.8", "--temp 0.8", or just "temp", which shows it. */
static int run_set(struct chat *chat, const char *text)
{
    if (!*text)
        return show_settings(chat);
    text += strspn(text, "-");
    size_t len = strcspn(text, " \t="), skip = strspn(text + len, " \t=");
    char *name = arena_strndup(&chat->texts, text, len);
    char *value = arena_strdup(&chat->texts, text + len + skip);
    if (!name || !value)
        return talk_error("out of memory: a setting");
    if (!is_settable(name))
        return no_setting(chat, name);
    const struct args before = chat->args;
    if (*value && !args_set(&chat->args, name, value))
        return EXIT_USAGE;
    int code = *value ? check_sampling(&chat->args) : EXIT_OK;
    if (code == EXIT_OK && *value)
        code = chat_renew(chat, 0);
    if (code) {
        chat->args = before; /* what cannot be done is not set */
        return code;
    }
    const char *now = args_text(&chat->args, name);
    talk_note("%s %s", name, now ? now : "-");
    return EXIT_OK;
}

/* --- the table -------------------------------------------------------------------------------- */

static const struct chat_command commands[] = {
    {"help", "", "", "shows this", run_help},
    {"system", "", "[TEXT]", "shows the system message, or sets it; - takes it away", run_system},
    {"reset", " clear new ", "", "forgets the conversation, but not the system message", run_reset},
    {"retry", " regen ", "", "answers the last message again, with another seed", run_retry},
    {"edit", "", "[TEXT]", "changes the last message, and answers it", run_edit},
    {"save", "", "FILE", "writes the conversation as JSON", run_save},
    {"load", "", "FILE", "goes on with a conversation that was saved", run_load},
    {"set", "", "[NAME [VALUE]]", "shows how answers are sampled, or changes it", run_set},
    {"quit", " exit bye ", "", "leaves", run_quit},
};

void chat_list_commands(bool on_stdout)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        char left[40];
        snprintf(left, sizeof left, "/%s %s", commands[i].name, commands[i].operand);
        if (on_stdout)
            out_printf("  %-21s %s\n", left, commands[i].help);
        else
            talk_plain("  %-21s %s", left, commands[i].help);
    }
}

/* Length of the word after the slash, which is of letters; 0: it is none. */
static size_t word_length(struct str line)
{
    size_t n = 1;
    while (n < line.len && ((line.ptr[n] | 0x20) >= 'a' && (line.ptr[n] | 0x20) <= 'z'))
        n++;
    bool ends = n == line.len || line.ptr[n] == ' ' || line.ptr[n] == '\t' || line.ptr[n] == '\n';
    return ends ? n - 1 : 0;
}

bool chat_is_command(struct str line)
{
    return line.len > 1 && line.ptr[0] == '/' && word_length(line) > 0;
}

static int no_command(const char *name)
{
    const char *names[ARRAY_LEN(commands) + 1] = {0};
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        names[i] = commands[i].name;
    const char *near = nearest_name(name, names);
    return talk_error("no such command \"/%s\"%s%s%s (/help lists them; //%s is a message)", name,
                      near ? ": did you mean /" : "", near ? near : "", near ? "?" : "", name);
}

static const struct chat_command *find_command(const char *name)
{
    char word[40];
    snprintf(word, sizeof word, " %s ", name);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(commands[i].name, name) == 0 || strstr(commands[i].also, word))
            return &commands[i];
    return NULL;
}

int chat_command(struct chat *chat, struct str line)
{
    char name[32];
    size_t len = word_length(line), to = line.len;
    snprintf(name, sizeof name, "%.*s", (int)(len < 31 ? len : 31), line.ptr + 1);
    struct strbuf text = {0};
    size_t from = 1 + len;
    while (from < to && strchr(" \t\n", line.ptr[from]))
        from++;
    while (to > from && strchr(" \t\n", line.ptr[to - 1]))
        to--;
    strbuf_append(&text, str_slice(line, from, to));
    strbuf_append(&text, STR(""));
    const struct chat_command *command = find_command(name);
    int code;
    if (text.failed || !text.ptr)
        code = talk_error("out of memory: a command");
    else
        code = command ? command->run(chat, text.ptr) : no_command(name);
    strbuf_free(&text);
    return code;
}
