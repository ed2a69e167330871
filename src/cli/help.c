/* Help, made from the tables; and what to say to those who need it. */
#include <ctype.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/talk.h"
#include "hearth/hearth.h"

const struct command *command_find(const char *name)
{
    for (size_t i = 0; command_list[i]; i++)
        if (strcmp(command_list[i]->name, name) == 0)
            return command_list[i];
    return NULL;
}

int exit_of(enum hth_status status)
{
    switch (status) {
    case HTH_OK: return EXIT_OK;
    case HTH_ERROR_ARGUMENT: return EXIT_USAGE;
    case HTH_ERROR_CANCELLED: return EXIT_INTERRUPTED;
    default: return EXIT_FAILED;
    }
}

int usage_error(const struct command *command, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (command)
        talk_error("%s: %s (hearth %s --help tells more)", command->name, text, command->name);
    else
        talk_error("%s (hearth --help tells more)", text);
    return EXIT_USAGE;
}

static void print_option(const struct option *option)
{
    char left[80], letter[8] = "    ";
    if (option->letter)
        snprintf(letter, sizeof letter, "-%c, ", option->letter);
    snprintf(left, sizeof left, "%s--%s%s%s", letter, option->name, option->metavar ? " " : "",
             option->metavar ? option->metavar : "");
    out_printf("  %-30s %s", left, option->help);
    if (option->fallback)
        out_printf(" [%s]", option->fallback);
    out_printf("\n");
}

static void print_group(const struct option_group *group)
{
    if (!group->title)
        return;
    out_printf("\n%s:\n", group->title);
    for (const struct option *o = group->options; o->name; o++)
        print_option(o);
}

void help_command(const struct command *command)
{
    out_printf("usage: hearth %s%s%s\n\n%c%s.\n", command->name, command->usage[0] ? " " : "",
               command->usage, toupper((unsigned char)command->summary[0]), command->summary + 1);
    for (size_t g = 0; command->groups && command->groups[g]; g++)
        print_group(command->groups[g]);
    print_group(&options_common);
    if (command->more_help) {
        out_printf("\n");
        command->more_help();
    }
}

void help_program(void)
{
    out_printf("hearth %s — runs language models (GGUF files) on Vulkan GPUs and on the CPU\n\n"
               "usage: hearth COMMAND [OPTIONS]\n\n",
               hth_version());
    for (size_t i = 0; command_list[i]; i++)
        out_printf("  %-10s %s\n", command_list[i]->name, command_list[i]->summary);
    out_printf(
        "\nhearth COMMAND --help tells more about each, hearth --version which hearth this is.\n"
        "Try: hearth run MODEL.gguf -p \"Why is the sky blue?\"\n");
}
