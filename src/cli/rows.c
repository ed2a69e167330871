#include "engine/rows.h"

#include "cli/command.h"
#include "cli/json_out.h"
#include "cli/options.h"
#include "cli/talk.h"

/* clang-format off */
static const struct option options[] = {
    {.name = "stats", .type = OPTION_FLAG, .help = "with what the driver's compiler says of each"},
    {.name = "fallbacks", .type = OPTION_FLAG, .help = "and what is chosen where one of these turns out wrong"},
    {.name = "steps", .type = OPTION_FLAG, .help = "the dispatches of a step of one token instead, in order"},
    {.name = "json", .type = OPTION_FLAG, .help = "as a JSON array"},
    OPTION_KV,
    {.name = "float", .type = OPTION_FLAG, .help = "no integer activations, no fp16 arithmetic"},
    {0},
};
/* clang-format on */
static const struct option_group rows_options = {"What to show", options};

static void add_json(void *user, const struct row_item *item)
{
    json_t *specs = json_object(), *stats = json_object();
    for (int i = 0; i < item->n_specs; i++)
        json_set(specs, item->specs[i].name, json_count(item->specs[i].value));
    for (int i = 0; i < item->n_stats; i++)
        json_set(stats, item->stats[i].name, json_number(item->stats[i].value));
    json_t *json = json_pack("{s:s, s:o, s:o, s:o}", "row", item->row, "blob",
                             item->blob ? json_string(item->blob) : json_null(), "specialization",
                             specs, "stats", stats);
    if (item->blob)
        json_set(json, "subgroup_demanded", json_count(item->subgroup_demanded));
    if (item->fallback)
        json_set(json, "fallback", json_count((uint64_t)item->fallback));
    if (item->executable[0]) {
        json_set(json, "executable", json_text(str_of(item->executable)));
        json_set(json, "subgroup_size", json_count(item->subgroup_size));
    }
    json_push(user, json);
}

static void print_item(void *user, const struct row_item *item)
{
    (void)user;
    out_printf("%-28s %-28s", item->row, item->blob ? item->blob : "");
    for (int i = 0; i < item->n_specs; i++)
        out_printf(" %s=%u", item->specs[i].name, item->specs[i].value);
    if (item->subgroup_demanded)
        out_printf(" subgroup=%u", item->subgroup_demanded);
    out_printf("\n");
    if (!item->executable[0])
        return;
    out_printf("    ");
    out_text(str_of(item->executable));
    out_printf(", subgroups of %u:", item->subgroup_size);
    for (int i = 0; i < item->n_stats; i++) {
        out_printf("%s ", i ? ";" : "");
        out_text(str_of(item->stats[i].name));
        out_printf(" %.15g", item->stats[i].value);
    }
    out_printf("\n");
}

static void add_step(void *user, const struct row_step *step)
{
    json_push(user, json_pack("{s:s, s:s, s:s, s:i, s:b, s:b}", "arch", step->arch, "label",
                              step->label, "row", step->row, "layer", step->layer, "moe", step->moe,
                              "barrier", step->barrier));
}

static void print_step(void *user, const struct row_step *step)
{
    (void)user;
    out_printf("%s %-24s %s\n", step->barrier ? "|" : " ", step->label, step->row);
}

static int run(const struct args *args)
{
    struct rows_options wanted = {
        .model = args_word(args, 0),
        .device = model_options(args),
        .kv = kv_option(args),
        .float_only = args_flag(args, "float"),
        .stats = args_flag(args, "stats"),
        .fallbacks = args_flag(args, "fallbacks"),
    };
    bool steps = args_flag(args, "steps");
    if (!args_flag(args, "json"))
        return exit_of(steps ? rows_steps(&wanted, 1, print_step, NULL)
                             : rows_list(&wanted, print_item, NULL));
    json_t *list = json_array();
    int code = exit_of(steps ? rows_steps(&wanted, 1, add_step, list)
                             : rows_list(&wanted, add_json, list));
    int printed = json_print(list);
    return code ? code : printed;
}

static void more_help(void)
{
    out_printf(
        "Compiles for 1 to 16, 32 and 512 tokens what the device's rows are chosen to be; nothing\n"
        "is loaded, nothing runs. Without MODEL: of every architecture, format and cache.\n"
        "Each line is a pipeline: row, shader, specialization; a driver may make several\n"
        "programs of one.\n"
        "With --steps each line is a dispatch: | if it waits for those before it, op, row.\n");
}

static const struct option_group *const groups[] = {
    &rows_options,
    &options_device,
    &options_test,
    NULL,
};

const struct command command_rows = {
    .name = "rows",
    .summary = "lists the kernels that a model would run with here",
    .usage = "[MODEL] [--stats | --steps] [--fallbacks] [--json]",
    .groups = groups,
    .max_words = 1,
    .run = run,
    .more_help = more_help,
};
