#include "base/file.h"
#include "base/mem.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/talk.h"

enum { MAX_TEXT_BYTES = 1 << 30 };

/* clang-format off */
static const struct option options[] = {
    {.name = "no-bos", .type = OPTION_FLAG, .help = "nothing in front or behind (BOS, EOS, SEP)"},
    {.name = "no-special", .type = OPTION_FLAG, .help = "texts of control tokens are plain text"},
    {.name = "file", .letter = 'f', .type = OPTION_TEXT, .metavar = "FILE", .fallback = "-",
     .help = "the text; - is stdin"},
    {0},
};
/* clang-format on */
static const struct option_group tokenize_options = {"Text", options};

static int print_ids(const struct args *args, const struct hth_model *model, struct str text)
{
    int32_t *ids;
    size_t count;
    int code =
        exit_of(hth_tokenize(model, text.ptr ? text.ptr : "", text.len, !args_flag(args, "no-bos"),
                             !args_flag(args, "no-special"), &ids, &count));
    if (code)
        return code;
    for (size_t i = 0; i < count; i++)
        out_printf("%s%d", i ? " " : "", (int)ids[i]);
    out_printf("\n");
    hth_free(ids);
    return EXIT_OK;
}

static int run(const struct args *args)
{
    struct hth_model *model = NULL;
    struct strbuf text = {0};
    int code = open_vocabulary(args_word(args, 0), NULL, &model);
    if (code == EXIT_OK && file_read(args_text(args, "file"), MAX_TEXT_BYTES, &text, talk_log()))
        code = EXIT_FAILED;
    if (code == EXIT_OK)
        code = print_ids(args, model, strbuf_str(&text));
    strbuf_free(&text);
    hth_model_close(model);
    return code;
}

static const struct option_group *const groups[] = {&tokenize_options, NULL};

const struct command command_tokenize = {
    .name = "tokenize",
    .summary = "prints the token ids of a text",
    .usage = "MODEL [-f FILE] [OPTIONS]",
    .groups = groups,
    .min_words = 1,
    .max_words = 1,
    .run = run,
};
