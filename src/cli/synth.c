#include "model/synth.h"

#include <string.h>

#include "cli/command.h"
#include "cli/options.h"
#include "cli/talk.h"
#include "quant/dtype.h"

/* clang-format off */
static const struct option options[] = {
    {.name = "like", .type = OPTION_TEXT, .metavar = "SHAPE", .help = "whose shape (below)"},
    {.name = "quant", .type = OPTION_TEXT, .metavar = "TYPE", .fallback = "q4_k_m",
     .help = "type of its matrices, or a mix of types (below)"},
    {.name = "output", .letter = 'o', .type = OPTION_TEXT, .metavar = "FILE", .help = "the GGUF file to write"},
    {.name = "seed", .letter = 's', .type = OPTION_INT, .metavar = "S", .min = 0, .max = 9007199254740991, .fallback = "1",
     .help = "same seed, same bytes"},
    {.name = "threads", .letter = 't', .type = OPTION_INT, .metavar = "N", .min = 1, .max = 1024, .help = "all processors"},
    {0},
};
/* clang-format on */
static const struct option_group synth_options = {"What to make", options};

static int run(const struct args *args)
{
    if (!args_text(args, "like"))
        return usage_error(args->command, "which shape? give --like SHAPE");
    if (!args_text(args, "output"))
        return usage_error(args->command, "where to? give -o FILE");
    struct pool *pool = NULL;
    struct synth *synth = NULL;
    enum hth_status status = pool_create(&pool, args_int(args, "threads"), talk_log());
    struct synth_params params = {
        .shape = args_text(args, "like"),
        .quant = args_text(args, "quant"),
        .seed = args_bytes(args, "seed"),
        .pool = pool,
    };
    if (status == HTH_OK)
        status = synth_create(&synth, &params, talk_log());
    if (status == HTH_OK)
        status = gguf_writer_save(synth_writer(synth), args_text(args, "output"));
    synth_destroy(synth);
    pool_destroy(pool);
    return exit_of(status);
}

static void more_help(void)
{
    out_printf("shapes:");
    for (size_t i = 0; synth_shape_at(i); i++)
        out_printf(" %s", synth_shape_at(i));
    out_printf("\nmixes: ");
    for (size_t i = 0; synth_mix_at(i); i++)
        out_printf(" %s", synth_mix_at(i));
    out_printf("\ntypes: ");
    for (size_t i = 0; dtype_at(i); i++)
        if (dtype_at(i)->encode && !dtype_at(i)->is_integer)
            out_printf(" %s", dtype_at(i)->name);
    out_printf("\n\nThe weights are random and of the right scale, the vocabulary works; its "
               "answers mean\n"
               "nothing. Commands that take a MODEL also take synth:SHAPE:TYPE, made in memory.\n");
}

static const struct option_group *const groups[] = {&synth_options, NULL};

const struct command command_synth = {
    .name = "synth",
    .summary = "makes a model with random weights, for tests and measurements",
    .usage = "--like SHAPE --quant TYPE -o FILE [--seed S]",
    .groups = groups,
    .run = run,
    .more_help = more_help,
};
