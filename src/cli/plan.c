#include "engine/plan.h"

#include "base/file.h"
#include "cli/command.h"
#include "cli/options.h"
#include "cli/talk.h"

/* clang-format off */
static const struct option options[] = {
    {.name = "profile", .type = OPTION_TEXT, .metavar = "FILE", .help = "plan for the machine that this JSON file describes (docs/placement.md)"},
    {.name = "for", .type = OPTION_CHOICE, .metavar = "TURN", .choices = "chat|long-prompt|batch", .fallback = "chat",
     .help = "what should be fast: chat (1000 tokens in, 300 out), long-prompt (8000, 300) or batch (2000, 20)"},
    {.name = "json", .type = OPTION_FLAG, .help = "as a JSON object"},
    {.name = "svg", .type = OPTION_TEXT, .metavar = "FILE", .help = "draw it, too"},
    {.name = "ctx", .letter = 'c', .type = OPTION_INT, .metavar = "N", .min = 1, .max = INT32_MAX,
     .help = "tokens that prompt and answer may have together"},
    {.name = "batch", .letter = 'b', .type = OPTION_INT, .metavar = "N", .min = 1, .max = 65536,
     .help = "tokens of a prompt computed at once (what is fastest; on this machine 512 or more)"},
    OPTION_KV,
    {.name = "expert-skew", .type = OPTION_REAL, .metavar = "S", .min = 0, .max = 4, .fallback = "0.7",
     .help = "how uneven experts are used: the r-th most used as 1/r^S"},
    {0},
};
/* clang-format on */
static const struct option_group plan_options = {"What to plan", options};

static struct plan_request request_of(const struct args *args, struct placement *place)
{
    const char *turn = args_text(args, "for");
    const struct log *log = talk_log();
    struct plan_request request = {
        .model = args_word(args, 0),
        .profile = args_text(args, "profile"),
        .device = {.device = args_text(args, "device"),
                   .no_repack = args_flag(args, "no-repack"),
                   .n_threads = args_int(args, "threads"),
                   .log = log->write,
                   .log_user = log->user,
                   .log_level = log->max_level,
                   .session = {.n_ctx = args_int(args, "ctx"),
                               .n_batch = args_int(args, "batch"),
                               .kv = kv_option(args)}},
        .turn = str_equal_nocase(str_of(turn), STR("long-prompt")) ? PLAN_LONG_PROMPT
                : str_equal_nocase(str_of(turn), STR("batch"))     ? PLAN_BATCH
                                                                   : PLAN_CHAT,
        .expert_skew = args_real(args, "expert-skew"),
    };
    placement_options(args, place, &request.device);
    return request;
}

static enum hth_status write_picture(const struct plan_report *report, const char *path)
{
    struct strbuf svg = {0};
    struct file_writer file = {0};
    enum hth_status status = plan_report_write(report, PLAN_SVG, &svg);
    if (status == HTH_OK)
        status = file_begin(&file, path, talk_log());
    if (status == HTH_OK) {
        file_put(&file, svg.ptr, svg.len);
        status = file_commit(&file);
    }
    strbuf_free(&svg);
    return status;
}

static int run(const struct args *args)
{
    struct placement place;
    struct plan_request request = request_of(args, &place);
    const char *svg = args_text(args, "svg");
    struct plan_report *report;
    struct strbuf text = {0};
    enum hth_status status = plan_report_open(&report, &request);
    if (status == HTH_OK)
        status = plan_report_write(report, args_flag(args, "json") ? PLAN_JSON : PLAN_TEXT, &text);
    if (status == HTH_OK && svg)
        status = write_picture(report, svg);
    if (status == HTH_OK)
        out_put(text.ptr, text.len);
    strbuf_free(&text);
    plan_report_close(report);
    return status ? EXIT_FAILED : EXIT_OK;
}

static const struct option_group *const groups[] = {
    &plan_options,
    &options_placement,
    &options_device,
    NULL,
};

const struct command command_plan = {
    .name = "plan",
    .summary = "tells what of a model would live where, and how fast that will be",
    .usage = "MODEL [--vram 8G] [--ctx N] [--profile FILE] [--json] [--svg FILE]",
    .groups = groups,
    .min_words = 1,
    .max_words = 1,
    .run = run,
};
