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

/* Damerau-Levenshtein distance (restricted: no letter moves twice), of words up to 31 letters. */
static int distance(const char *a, const char *b)
{
    enum { MAX = 32 };
    int rows[3][MAX + 1], n = (int)strlen(a), m = (int)strlen(b);
    if (n >= MAX || m >= MAX)
        return MAX;
    for (int j = 0; j <= m; j++)
        rows[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = above[j - 1] + (a[i - 1] != b[j - 1]);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                best = above2[j - 2] + 1 < best ? above2[j - 2] + 1 : best;
            row[j] = best;
        }
    }
    return rows[n % 3][m];
}

const char *nearest_name(const char *name, const char *const *names)
{
    const char *best = NULL;
    int best_distance = strlen(name) <= 3 ? 2 : 3; /* below this */
    for (size_t i = 0; names[i]; i++) {
        size_t n = strlen(name);
        bool begins = n >= 3 && strncmp(names[i], name, n) == 0;
        int d = begins ? 1 : distance(name, names[i]);
        if (d < best_distance) {
            best = names[i];
            best_distance = d;
        }
    }
    return best;
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
