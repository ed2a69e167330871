#include "cli/command.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/near.h"
#include "cli/options.h"
#include "cli/talk.h"

/* --- the table -------------------------------------------------------------------------------- */

static struct arg_value *find_value(const struct args *args, struct str name, char letter)
{
    for (int i = 0; i < args->n_values; i++) {
        const struct option *option = args->values[i].option;
        if (letter ? option->letter == letter : str_equal(str_of(option->name), name))
            return (struct arg_value *)&args->values[i];
    }
    return NULL;
}

static bool has_word(const char *words, const char *word)
{
    size_t len = strlen(word);
    for (const char *at = words; at && *at; at += strcspn(at, " "), at += strspn(at, " "))
        if (strcspn(at, " ") == len && strncmp(at, word, len) == 0)
            return true;
    return false;
}

/* The option of this very name, here or in another program; NULL if there is none. */
static const char *known_option(const struct args *args, const char *name)
{
    for (int i = 0; i < args->n_values; i++) {
        const struct option *option = args->values[i].option;
        if (strcmp(option->name, name) == 0 || has_word(option->also, name))
            return option->name;
    }
    return NULL;
}

const char *args_nearest(const struct args *args, const char *name)
{
    const char *names[MAX_OPTIONS + 1] = {0}, *known = known_option(args, name);
    for (int i = 0; i < args->n_values; i++)
        names[i] = args->values[i].option->name;
    return known ? known : nearest_name(name, names);
}

static bool is_choice(const char *choices, struct str text)
{
    for (const char *at = choices; at; at = strchr(at, '|')) {
        at += *at == '|';
        if (str_equal_nocase((struct str){at, strcspn(at, "|")}, text))
            return true;
    }
    return false;
}

static bool is_device(const char *text)
{
    return strcmp(text, "auto") == 0 || strcmp(text, "cpu") == 0 || strcmp(text, "vulkan") == 0 ||
           (strncmp(text, "vulkan:", 7) == 0 && text[7]);
}

/* --- values ----------------------------------------------------------------------------------- */

/* A number, perhaps with a unit of bytes: 6G, 512M, 1.5GiB. */
static bool parse_number(const struct option *option, const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    if (end == text || isspace((unsigned char)*text) || !isfinite(*out) || strpbrk(text, "xXpP"))
        return false;
    if (option->type == OPTION_BYTES && *end) {
        const char *units = "kmgt", *unit = strchr(units, tolower((unsigned char)*end));
        if (!unit)
            return false;
        *out *= pow(1024, (double)(unit - units) + 1);
        end++;
        end += strcmp(end, "iB") == 0 ? 2 : strcmp(end, "B") == 0;
    }
    if (option->type == OPTION_INT && *out != floor(*out))
        return false;
    return *end == '\0';
}

static bool set_number(struct args *args, struct arg_value *value, const char *text)
{
    const struct option *option = value->option;
    double number;
    if (!parse_number(option, text, &number)) {
        usage_error(args->command, "--%s wants %s, not \"%s\"", option->name,
                    option->type == OPTION_INT     ? "a whole number"
                    : option->type == OPTION_BYTES ? "a size such as 6G"
                                                   : "a number",
                    text);
        return false;
    }
    bool bounded = option->min != 0 || option->max != 0;
    double top = option->type == OPTION_REAL ? HUGE_VAL : 9e15;
    double max = bounded ? option->max : top, min = bounded ? option->min : -top;
    if (number < min || number > max) {
        char range[2][32]; /* whole numbers with all their digits */
        for (int i = 0; i < 2; i++) {
            double bound = i ? max : min;
            snprintf(range[i], sizeof range[i], bound == floor(bound) ? "%.0f" : "%.15g", bound);
        }
        usage_error(args->command, "--%s wants a number from %s to %s, not %s", option->name,
                    range[0], range[1], text);
        return false;
    }
    value->real = number;
    value->integer = option->type == OPTION_REAL ? 0 : (int64_t)number;
    return true;
}

/* "none" takes away what was there. */
static bool add_repeat(struct args *args, const struct option *option, const char *text)
{
    if (strcmp(text, "none") == 0) {
        int kept = 0;
        for (int i = 0; i < args->n_repeats; i++)
            if (args->repeats[i].option != option)
                args->repeats[kept++] = args->repeats[i];
        args->n_repeats = kept;
        return true;
    }
    if (args->n_repeats == MAX_REPEATS) {
        usage_error(args->command, "--%s is there too often", option->name);
        return false;
    }
    args->repeats[args->n_repeats++] = (struct arg_repeat){option, text};
    return true;
}

static bool set_value(struct args *args, struct arg_value *value, const char *text)
{
    const struct option *option = value->option;
    value->text = text;
    switch (option->type) {
    case OPTION_FLAG: value->integer = 1; return true;
    case OPTION_TEXT: return true;
    case OPTION_TEXTS: return add_repeat(args, option, text);
    case OPTION_DEVICE:
        if (is_device(text))
            return true;
        usage_error(args->command,
                    "--%s wants auto, cpu, vulkan, vulkan:N or several of these with commas "
                    "between, not \"%s\"",
                    option->name, text);
        return false;
    case OPTION_CHOICE:
        if (is_choice(option->choices, str_of(text)))
            return true;
        usage_error(args->command, "--%s wants one of %s, not \"%s\"", option->name,
                    option->choices, text);
        return false;
    default: return set_number(args, value, text);
    }
}

/* --- the command line ------------------------------------------------------------------------- */

static void fill_table(struct args *args)
{
    const struct option_group *const common[] = {&options_common, NULL};
    const struct option_group *const *lists[] = {args->command->groups, common};
    for (size_t l = 0; l < ARRAY_LEN(lists); l++)
        for (size_t g = 0; lists[l] && lists[l][g]; g++)
            for (const struct option *o = lists[l][g]->options; o->name; o++) {
                assert(args->n_values < MAX_OPTIONS);
                args->values[args->n_values++] = (struct arg_value){.option = o};
            }
    for (int i = 0; i < args->n_values; i++) {
        struct arg_value *value = &args->values[i];
        if (value->option->fallback && !set_value(args, value, value->option->fallback))
            assert(!"a fallback that its own option refuses");
    }
}

static bool give(struct args *args, struct arg_value *value, const char *text)
{
    value->given = true;
    value->advised = false;
    return set_value(args, value, text);
}

bool args_advise(struct args *args, const char *name, const char *text)
{
    struct arg_value *value = find_value(args, str_of(name), 0), before;
    assert(value);
    before = *value;
    if (value->given)
        return false;
    value->advised = set_value(args, value, text);
    if (!value->advised)
        *value = before;
    return value->advised;
}

bool args_set(struct args *args, const char *name, const char *text)
{
    struct arg_value *value = find_value(args, str_of(name), 0), before;
    assert(value);
    before = *value;
    if (give(args, value, text))
        return true;
    *value = before;
    return false;
}

/* `arg` up to its value, if it has one: "--nmae". */
static bool no_option(const struct args *args, const char *arg)
{
    char name[64];
    size_t len = strcspn(arg, "=");
    snprintf(name, sizeof name, "%.63s", arg + strspn(arg, "-"));
    name[strcspn(name, "=")] = '\0';
    const char *near = args_nearest(args, name);
    usage_error(args->command, "unknown option %.*s%s%s%s", (int)(len < 63 ? len : 63), arg,
                near ? ": did you mean --" : "", near ? near : "", near ? "?" : "");
    return false;
}

/* Reads the option at argv[*at], which begins with a dash, and moves past it and its value. */
static bool parse_option(struct args *args, int argc, char **argv, int *at)
{
    const char *arg = argv[*at];
    bool is_long = arg[1] == '-';
    size_t len = is_long ? strcspn(arg + 2, "=") : 0;
    struct arg_value *value = is_long ? find_value(args, (struct str){arg + 2, len}, 0)
                                      : find_value(args, STR(""), arg[1]);
    if (!value || (!is_long && arg[2] && known_option(args, arg + 1))) /* -ngl is no -n gl */
        return no_option(args, arg);
    const char *rest =
        is_long ? (arg[2 + len] == '=' ? arg + 3 + len : NULL) : (arg[2] ? arg + 2 : NULL);
    ++*at;
    if (value->option->type == OPTION_FLAG) {
        if (!rest)
            return give(args, value, "");
        if (is_long)
            usage_error(args->command, "--%s takes no value", value->option->name);
        else
            usage_error(args->command, "-%c takes no value: write \"%s\" as single options", arg[1],
                        arg);
        return false;
    }
    if (rest)
        return give(args, value, rest);
    if (*at == argc) {
        usage_error(args->command, "%s wants a value: %s %s", arg, arg, value->option->metavar);
        return false;
    }
    return give(args, value, argv[(*at)++]);
}

bool args_parse(struct args *args, const struct command *command, int argc, char **argv)
{
    *args = (struct args){.command = command};
    fill_table(args);
    bool options_over = false;
    const char *extra = NULL;
    for (int at = 0; at < argc;) {
        const char *arg = argv[at];
        if (!options_over && strcmp(arg, "--") == 0) {
            options_over = true;
            at++;
        } else if (!options_over && arg[0] == '-' && arg[1]) {
            if (!parse_option(args, argc, argv, &at))
                return false;
        } else {
            at++;
            if (args->n_words < command->max_words)
                args->words[args->n_words++] = arg;
            else
                extra = extra ? extra : arg;
        }
    }
    if (args_flag(args, "help"))
        return true;
    if (extra) {
        usage_error(command, "one argument too many: \"%s\"", extra);
        return false;
    }
    if (args->n_words < command->min_words) {
        usage_error(command, "an argument is missing: hearth %s %s", command->name, command->usage);
        return false;
    }
    return true;
}

/* --- what was said ---------------------------------------------------------------------------- */

static const struct arg_value *value_of(const struct args *args, const char *name)
{
    const struct arg_value *value = find_value(args, str_of(name), 0);
    assert(value);
    return value;
}

bool args_given(const struct args *args, const char *name)
{
    return value_of(args, name)->given;
}

bool args_advised(const struct args *args, const char *name)
{
    return value_of(args, name)->advised;
}

bool args_flag(const struct args *args, const char *name)
{
    return value_of(args, name)->integer != 0;
}

const char *args_text(const struct args *args, const char *name)
{
    return value_of(args, name)->text;
}

const char *args_texts(const struct args *args, const char *name, int index)
{
    const struct option *option = value_of(args, name)->option;
    for (int i = 0; i < args->n_repeats; i++)
        if (args->repeats[i].option == option && index-- == 0)
            return args->repeats[i].text;
    return NULL;
}

int args_int(const struct args *args, const char *name)
{
    int64_t value = value_of(args, name)->integer;
    return value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : (int)value;
}

uint64_t args_bytes(const struct args *args, const char *name)
{
    return (uint64_t)value_of(args, name)->integer;
}

double args_real(const struct args *args, const char *name)
{
    return value_of(args, name)->real;
}

const char *args_word(const struct args *args, int index)
{
    return index < args->n_words ? args->words[index] : NULL;
}

static bool append(struct number_list *list, size_t *capacity, long long number)
{
    int32_t *grown = mem_grow(list->items, capacity, (size_t)list->count + 1, sizeof *grown);
    if (!grown)
        return false;
    list->items = grown;
    grown[list->count++] = (int32_t)number;
    return true;
}

int args_list(const struct args *args, const char *name, int64_t min, int64_t max,
              struct number_list *list)
{
    const char *at = args_text(args, name);
    size_t capacity = 0;
    *list = (struct number_list){0};
    if (at && !*at)
        return usage_error(args->command,
                           "--%s wants numbers from %lld to %lld with commas between them, and is "
                           "empty",
                           name, (long long)min, (long long)max);
    while (at && *at) {
        char *end;
        errno = 0;
        long long number = strtoll(at, &end, 10);
        bool good = end != at && (*end == ',' || *end == '\0') && errno == 0;
        bool whole = good && number >= min && number <= max && !(*end == ',' && !end[1]);
        if (whole && append(list, &capacity, number)) {
            at = *end ? end + 1 : end;
            continue;
        }
        mem_free(list->items);
        *list = (struct number_list){0};
        if (whole)
            return talk_error("out of memory: --%s is too long", name);
        return usage_error(args->command,
                           "--%s wants numbers from %lld to %lld with commas between them, not "
                           "\"%s\"",
                           name, (long long)min, (long long)max, at);
    }
    return EXIT_OK;
}
