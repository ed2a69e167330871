/* What shells may complete, printed from the same tables as the help. */
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/talk.h"

/* --- what the tables say -----------------------------------------------------------------------
 */

/* The index-th option of a command, in the order of its help; NULL after the last. */
static const struct option *option_at(const struct command *command, size_t index)
{
    const struct option_group *const common[] = {&options_common, NULL};
    const struct option_group *const *lists[] = {command->groups, common};
    for (size_t l = 0; l < ARRAY_LEN(lists); l++)
        for (size_t g = 0; lists[l] && lists[l][g]; g++)
            for (const struct option *o = lists[l][g]->options; lists[l][g]->title && o->name; o++)
                if (index-- == 0)
                    return o;
    return NULL;
}

/* The names that an option's value may have, with blanks between them; "" if there are none. */
static const char *values_of(const struct option *option)
{
    static char text[256];
    snprintf(text, sizeof text, "%s",
             option->type == OPTION_DEVICE ? "auto cpu vulkan"
             : option->choices             ? option->choices
                                           : "");
    for (char *c = text; *c; c++)
        if (*c == '|')
            *c = ' ';
    return text;
}

/* The pattern of files that an option's value may be; NULL: it is no file. */
static const char *files_of(const struct option *option)
{
    const char *metavar = option->metavar ? option->metavar : "";
    size_t len = strlen(metavar);
    if (len > 5 && strcmp(metavar + len - 5, ".gguf") == 0)
        return "*.gguf";
    if (len > 5 && strcmp(metavar + len - 5, ".json") == 0)
        return "*.json";
    return strcmp(metavar, "FILE") == 0 || strcmp(option->name, "file") == 0 ? "*" : NULL;
}

/* The words of a command that are no options: choices, or a pattern of files; NULL: none. */
static const char *word_values(const struct command *command)
{
    static char text[64];
    size_t len = strcspn(command->usage, " ");
    bool choices = command->max_words && memchr(command->usage, '|', len) &&
                   command->usage[0] >= 'a' && command->usage[0] <= 'z';
    snprintf(text, sizeof text, "%.*s", (int)len, command->usage);
    for (char *c = text; *c; c++)
        if (*c == '|')
            *c = ' ';
    return choices ? text : NULL;
}

static const char *word_files(const struct command *command)
{
    return command->max_words && !word_values(command) ? "*.gguf" : NULL;
}

static void put_commands(void)
{
    for (size_t i = 0; command_list[i]; i++)
        out_printf("%s ", command_list[i]->name);
}

/* Between single quotes; `special` are escaped by a backslash. */
static void put_quoted(const char *text, const char *special, const char *quote)
{
    for (const char *c = text; *c; c++) {
        if (*c == '\'')
            out_printf("%s", quote);
        else
            out_printf("%s%c", strchr(special, *c) ? "\\" : "", *c);
    }
}

/* --- bash ------------------------------------------------------------------------------------- */

static void bash_option(const struct option *option)
{
    const char *values = values_of(option), *files = files_of(option);
    if (option->type == OPTION_FLAG)
        return;
    out_printf("        --%s", option->name);
    if (option->letter)
        out_printf(" | -%c", option->letter);
    if (*values)
        out_printf(") words='%s' ;;\n", values);
    else if (files)
        out_printf(") files='%s' ;;\n", files);
    else
        out_printf(") return ;;\n");
}

static void bash_command(const struct command *command)
{
    const struct option *option;
    const char *values = word_values(command), *files = word_files(command);
    out_printf("    %s)\n        case $prev in\n", command->name);
    for (size_t i = 0; (option = option_at(command, i)); i++)
        bash_option(option);
    out_printf("        *) words='%s' files='%s' options='", values ? values : "",
               files ? files : "");
    for (size_t i = 0; (option = option_at(command, i)); i++) {
        out_printf(" --%s", option->name);
        if (option->letter)
            out_printf(" -%c", option->letter);
    }
    out_printf("' ;;\n        esac ;;\n");
}

static void print_bash(void)
{
    out_printf("# Completion for bash, from \"hearth completion bash\".\n"
               "_hearth()\n{\n"
               "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
               "    local command=${COMP_WORDS[1]} words='' files='' options=''\n"
               "    COMPREPLY=()\n"
               "    if [ \"$prev\" = = ]; then # --name=value comes as three words\n"
               "        prev=${COMP_WORDS[COMP_CWORD - 2]}\n"
               "    elif [ \"$cur\" = = ]; then\n"
               "        cur=''\n"
               "    fi\n"
               "    [ \"$COMP_CWORD\" -gt 1 ] || command=''\n"
               "    case $command in\n"
               "    '') words='");
    put_commands();
    out_printf("help' options='--help --version' ;;\n    help) words='");
    put_commands();
    out_printf("' ;;\n");
    for (size_t i = 0; command_list[i]; i++)
        bash_command(command_list[i]);
    out_printf("    esac\n"
               "    if [ \"${cur#-}\" != \"$cur\" ] || [ -z \"$words$files\" ]; then\n"
               "        words=$options files=''\n"
               "    fi\n"
               "    if [ -z \"$files\" ]; then\n"
               "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
               "    else\n"
               "        local IFS=$'\\n'\n"
               "        COMPREPLY=($(compgen -f -X \"!$files\" -- \"$cur\"; "
               "[ \"$files\" = '*' ] || compgen -d -- \"$cur\"))\n"
               "        compopt -o filenames 2>/dev/null\n"
               "    fi\n"
               "}\n"
               "complete -F _hearth hearth\n");
}

/* --- zsh -------------------------------------------------------------------------------------- */

static void zsh_text(const char *text)
{
    put_quoted(text, "[]:\\", "'\\''");
}

static void zsh_option(const struct option *option)
{
    const char *values = values_of(option), *files = files_of(option);
    bool flag = option->type == OPTION_FLAG, again = option->type == OPTION_TEXTS;
    const char *value = flag ? "" : "=";
    out_printf(" \\\n            ");
    if (option->letter)
        out_printf("'(-%c --%s)'{-%c%s,--%s%s}'", option->letter, option->name, option->letter,
                   flag ? "" : "+", option->name, value);
    else
        out_printf("'%s--%s%s", again ? "*" : "", option->name, value);
    out_printf("[");
    zsh_text(option->help);
    out_printf("]");
    if (!flag) {
        out_printf(":");
        zsh_text(option->metavar);
        if (*values)
            out_printf(":(%s)", values);
        else if (files)
            out_printf(":_files -g \"%s\"", files);
        else
            out_printf(": ");
    }
    out_printf("'");
}

static void zsh_command(const struct command *command)
{
    const struct option *option;
    const char *values = word_values(command), *files = word_files(command);
    out_printf("    %s)\n        _arguments -S", command->name);
    for (size_t i = 0; (option = option_at(command, i)); i++)
        zsh_option(option);
    if (values)
        out_printf(" \\\n            '1:word:(%s)'", values);
    else if (files)
        out_printf(" \\\n            '*:file:_files -g \"%s\"'", files);
    out_printf(" ;;\n");
}

static void print_zsh(void)
{
    out_printf("#compdef hearth\n"
               "# Completion for zsh, from \"hearth completion zsh\".\n"
               "_hearth()\n{\n"
               "    local -a commands\n"
               "    commands=(\n");
    for (size_t i = 0; command_list[i]; i++) {
        out_printf("        '%s:", command_list[i]->name);
        zsh_text(command_list[i]->summary);
        out_printf("'\n");
    }
    out_printf("        'help:tells more about a command'\n"
               "    )\n"
               "    if (( CURRENT == 2 )); then\n"
               "        _describe -t commands command commands\n"
               "        compadd -- --help --version\n"
               "        return\n"
               "    fi\n"
               "    local command=$words[2]\n"
               "    shift words\n"
               "    (( CURRENT-- ))\n"
               "    case $command in\n"
               "    help) _describe -t commands command commands ;;\n");
    for (size_t i = 0; command_list[i]; i++)
        zsh_command(command_list[i]);
    out_printf("    esac\n"
               "}\n"
               "if [ \"$funcstack[1]\" = _hearth ]; then\n"
               "    _hearth \"$@\"\n"
               "else\n"
               "    compdef _hearth hearth\n"
               "fi\n");
}

/* --- fish ------------------------------------------------------------------------------------- */

static void fish_text(const char *text)
{
    put_quoted(text, "\\", "\\'");
}

static void fish_option(const struct command *command, const struct option *option)
{
    const char *values = values_of(option);
    out_printf("complete -c hearth -n '__fish_seen_subcommand_from %s' -l %s", command->name,
               option->name);
    if (option->letter)
        out_printf(" -s %c", option->letter);
    if (*values)
        out_printf(" -x -a '%s'", values);
    else if (files_of(option))
        out_printf(" -r -F");
    else if (option->type != OPTION_FLAG)
        out_printf(" -x");
    out_printf(" -d '");
    fish_text(option->help);
    out_printf("'\n");
}

static void print_fish(void)
{
    const struct option *option;
    out_printf("# Completion for fish, from \"hearth completion fish\".\n"
               "complete -c hearth -f\n"
               "complete -c hearth -n __fish_use_subcommand -l help -d 'lists the commands'\n"
               "complete -c hearth -n __fish_use_subcommand -l version -d 'which hearth this is'\n"
               "complete -c hearth -n __fish_use_subcommand -a help -d 'tells more about a "
               "command'\n"
               "complete -c hearth -n '__fish_seen_subcommand_from help' -a '");
    put_commands();
    out_printf("'\n");
    for (size_t i = 0; command_list[i]; i++) {
        const struct command *command = command_list[i];
        out_printf("complete -c hearth -n __fish_use_subcommand -a %s -d '", command->name);
        fish_text(command->summary);
        out_printf("'\n");
        if (word_values(command))
            out_printf("complete -c hearth -n '__fish_seen_subcommand_from %s' -a '%s'\n",
                       command->name, word_values(command));
        else if (word_files(command))
            out_printf("complete -c hearth -n '__fish_seen_subcommand_from %s' -F\n",
                       command->name);
        for (size_t o = 0; (option = option_at(command, o)); o++)
            fish_option(command, option);
    }
}

/* --- the command ------------------------------------------------------------------------------ */

static int run(const struct args *args)
{
    const char *shell = args_word(args, 0);
    if (strcmp(shell, "bash") == 0)
        print_bash();
    else if (strcmp(shell, "zsh") == 0)
        print_zsh();
    else if (strcmp(shell, "fish") == 0)
        print_fish();
    else
        return usage_error(args->command, "wants bash, zsh or fish, not \"%s\"", shell);
    return EXIT_OK;
}

static void more_help(void)
{
    out_printf("An installed hearth has them where shells look. For a shell of today:\n"
               "    eval \"$(hearth completion bash)\"\n"
               "    hearth completion fish | source\n");
}

const struct command command_completion = {
    .name = "completion",
    .summary = "prints what a shell needs to complete this program's commands and options",
    .usage = "bash|zsh|fish",
    .min_words = 1,
    .max_words = 1,
    .run = run,
    .more_help = more_help,
};
