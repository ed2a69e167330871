#include <string.h>

#include "base/near.h"
#include "base/os.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/talk.h"
#include "text/json_read.h"

static int unknown_command(const char *name)
{
    const char *names[64] = {"help", "--help", "--version"};
    for (size_t i = 0; command_list[i] && i + 4 < ARRAY_LEN(names); i++)
        names[i + 3] = command_list[i]->name;
    const char *near = nearest_name(name, names);
    return usage_error(NULL, "no such %s \"%s\"%s%s%s", name[0] == '-' ? "option" : "command", name,
                       near ? ": did you mean " : "", near ? near : "", near ? "?" : "");
}

static int run_command(const char *name, int argc, char **argv)
{
    const struct command *command = command_find(name);
    if (!command)
        return unknown_command(name);
    struct args args;
    if (!args_parse(&args, command, argc, argv))
        return EXIT_USAGE;
    if (args_flag(&args, "help")) {
        help_command(command);
        return EXIT_OK;
    }
    if (args_flag(&args, "verbose"))
        talk_verbose();
    return command->run(&args);
}

static int run_help(int argc, char **argv)
{
    const struct command *command = argc ? command_find(argv[0]) : NULL;
    if (argc && !command)
        return unknown_command(argv[0]);
    if (command)
        help_command(command);
    else
        help_program();
    return EXIT_OK;
}

static int run_program(int argc, char **argv)
{
    const char *first = argc > 1 ? argv[1] : "help";
    if (strcmp(first, "help") == 0 || strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0)
        return run_help(argc > 2 ? argc - 2 : 0, argv + 2);
    if (strcmp(first, "--version") == 0 || strcmp(first, "version") == 0) {
        out_printf("hearth %s\n", hth_version());
        return EXIT_OK;
    }
    return run_command(first, argc - 2, argv + 2);
}

int main(int argc, char **argv)
{
    program_started_ns = os_time_ns();
    os_program_start();
    json_use_memory();
    argv = os_program_args(&argc, argv);
    int code = run_program(argc, argv), out = out_finish();
    return code ? code : out;
}
