#include "plan/tune.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/os.h"
#include "base/rng.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/json_out.h"
#include "cli/options.h"
#include "cli/talk.h"
#include "engine/tune_kernels.h"
#include "engine/tuned.h"

/* A usual turn, of which a part is measured: that long answers go on as they begin is near enough.
 */
enum { TURN_IN = 1000, TURN_OUT = 300, MOST_IN = 1000, MEASURED_OUT = 16, UNMEASURED_OUT = 2 };

/* clang-format off */
static const struct option options[] = {
    {.name = "minutes", .type = OPTION_REAL, .metavar = "M", .min = 0, .max = 1440, .fallback = "10",
     .help = "stop looking after so long"},
    {.name = "kernels-seconds", .type = OPTION_REAL, .metavar = "S", .min = 0, .max = 86400, .fallback = "10",
     .help = "first measure the GPU's kernels for so long, from where it ended the last time; 0: do not"},
    {.name = "ctx", .letter = 'c', .type = OPTION_INT, .metavar = "N", .min = 64, .max = INT32_MAX,
     .help = "tokens that prompt and answer may have together, as it will be used"},
    OPTION_KV,
    {.name = "json", .type = OPTION_FLAG, .help = "as a JSON object"},
    {0},
};
/* clang-format on */
static const struct option_group tune_options = {"How to look", options};

struct tuning {
    const struct args *args;
    uint64_t until_ns;
    uint64_t gpu_bytes;     /* that the plan has on a GPU; of several, on average */
    struct tuned_file file; /* for what is found */
    int n_ctx, n_in;
    int32_t *ids;
    struct hth_model *ready;   /* opened as planned, for the first measurement; or NULL */
    bool planned;              /* the plan itself is measured */
    double prompt_s, answer_s; /* of the last measurement, for one token */
    struct hth_expected expected;
    json_t *tried; /* NULL: text */
    json_t *kernels, *found;
};

/* What is measured and what is kept: the plan's figures where it is zero. */
static struct tuned as_tuned(const struct tuning *t, const struct tune_setting *setting)
{
    return (struct tuned){
        .n_threads = setting->n_threads,
        .n_batch = setting->n_batch,
        .no_gpu = setting->vram_percent == TUNE_NO_VRAM,
        .vram_bytes =
            setting->vram_percent > 0 ? t->gpu_bytes / 100 * (uint64_t)setting->vram_percent : 0,
    };
}

/* --- one measurement -------------------------------------------------------------------------- */

/* The plan itself is measured however long that takes. */
static enum hth_status check_time(const struct tuning *t)
{
    bool over = t->planned && os_time_ns() >= t->until_ns;
    return over || interrupted() ? HTH_ERROR_CANCELLED : HTH_OK;
}

static struct hth_session_options session_of(const struct tuning *t)
{
    return (struct hth_session_options){.n_ctx = t->n_ctx, .n_best = 1, .kv = kv_option(t->args)};
}

static enum hth_status open_setting(const struct tuning *t, const struct tune_setting *setting,
                                    struct hth_model **model)
{
    struct tuned tuned = as_tuned(t, setting);
    struct hth_model_options with = model_options(t->args);
    with.as_planned = true;
    with.session = session_of(t);
    with.session.n_batch = tuned.n_batch;
    with.vram_bytes = tuned.vram_bytes;
    with.n_threads = with.n_threads ? with.n_threads : tuned.n_threads;
    with.device = tuned.no_gpu ? "cpu" : with.device;
    with.measure = true;
    return hth_model_open(model, args_word(t->args, 0), &with);
}

static enum hth_status feed(const struct tuning *t, struct hth_session *session, int count)
{
    struct hth_feed one = {.ids = t->ids, .count = count, .n_best = 1}; /* greedy */
    enum hth_status status = hth_session_feed(session, &one, 1);
    return status ? status : check_time(t);
}

/* The second of two prompts, as the first loads and compiles; then an answer's first tokens. */
static enum hth_status run_turn(struct tuning *t, struct hth_session *session)
{
    uint64_t prompt_ns = 0, answer_ns = 0;
    enum hth_status status = HTH_OK;
    for (int round = 0; round < 2 && status == HTH_OK; round++) {
        hth_session_truncate(session, 0, 0);
        prompt_ns = os_time_ns();
        status = feed(t, session, t->n_in);
        prompt_ns = os_time_ns() - prompt_ns;
    }
    for (int i = 0; i < UNMEASURED_OUT + MEASURED_OUT && status == HTH_OK; i++) {
        if (i == UNMEASURED_OUT)
            answer_ns = os_time_ns();
        status = feed(t, session, 1);
    }
    answer_ns = os_time_ns() - answer_ns;
    t->prompt_s = (double)prompt_ns / 1e9 / t->n_in;
    t->answer_s = (double)answer_ns / 1e9 / MEASURED_OUT;
    return status;
}

static enum hth_status measure(void *user, const struct tune_setting *setting, double *seconds)
{
    struct tuning *t = user;
    struct hth_model *model = NULL;
    struct hth_session *session = NULL;
    struct hth_session_options wanted = session_of(t);
    enum hth_status status = check_time(t);
    if (status == HTH_OK && t->ready)
        model = t->ready;
    else if (status == HTH_OK)
        status = open_setting(t, setting, &model);
    t->ready = NULL;
    if (status == HTH_OK)
        status = hth_session_open(&session, model, &wanted);
    watch_interrupt(session);
    if (status == HTH_OK)
        status = run_turn(t, session);
    unwatch_interrupt();
    hth_session_close(session);
    hth_model_close(model);
    *seconds = TURN_IN * t->prompt_s + TURN_OUT * t->answer_s;
    return status;
}

/* --- saying ----------------------------------------------------------------------------------- */

static void describe(const struct tuning *t, const struct tune_setting *setting, char *out,
                     size_t size)
{
    struct tuned tuned = as_tuned(t, setting);
    char threads[32] = "", batch[48] = "", vram[48] = "";
    if (tuned.n_threads)
        snprintf(threads, sizeof threads, " --threads %d", tuned.n_threads);
    if (tuned.n_batch)
        snprintf(batch, sizeof batch, " --batch %d", tuned.n_batch);
    if (tuned.vram_bytes)
        snprintf(vram, sizeof vram, " --vram %lluM", (unsigned long long)(tuned.vram_bytes >> 20));
    snprintf(out, size, "%s%s%s%s", tuned.no_gpu ? " --device cpu" : "", vram, threads, batch);
    if (!out[0])
        snprintf(out, size, " as planned");
}

static json_t *speeds(const struct tuning *t, const struct tune_setting *setting, double gain)
{
    struct tuned tuned = as_tuned(t, setting);
    return json_pack("{s:i, s:i, s:o, s:b, s:o, s:o, s:o}", "threads", tuned.n_threads, "batch",
                     tuned.n_batch, "vram_bytes", json_count(tuned.vram_bytes), "no_gpu",
                     tuned.no_gpu, "prompt_tokens_per_s",
                     json_number(gain > 0 ? 1 / t->prompt_s : 0), "answer_tokens_per_s",
                     json_number(gain > 0 ? 1 / t->answer_s : 0), "gain", json_number(gain));
}

static void tell(void *user, const struct tune_setting *setting, double gain)
{
    const struct tuning *t = user;
    char what[160];
    talk_progress("", 1, 1);
    if (t->tried) {
        json_push(t->tried, speeds(t, setting, gain));
        return;
    }
    describe(t, setting, what, sizeof what);
    if (gain > 0)
        out_printf("%-44s prompt %9.2f, answer %8.2f tokens/s: %.2f times as fast\n", what + 1,
                   1 / t->prompt_s, 1 / t->answer_s, gain);
    else
        out_printf("%-44s cannot be run here\n", what + 1);
    out_flush();
}

static void say_planned(const struct tuning *t)
{
    if (t->tried)
        return;
    out_printf("%-44s prompt %9.2f, answer %8.2f tokens/s, and %s were %.2f and %.2f\n",
               "as planned", 1 / t->prompt_s, 1 / t->answer_s,
               t->expected.estimated ? "estimated" : "predicted", t->expected.prompt_tokens_per_s,
               t->expected.answer_tokens_per_s);
    out_flush();
}

/* The first measurement is the plan's own. */
static enum hth_status measure_and_say(void *user, const struct tune_setting *setting,
                                       double *seconds)
{
    static const struct tune_setting planned;
    struct tuning *t = user;
    bool first = !t->planned;
    enum hth_status status = measure(user, setting, seconds);
    t->planned = true;
    if (status == HTH_OK && first) {
        say_planned(t);
        if (t->tried)
            json_push(t->tried, speeds(t, &planned, 1));
    }
    return status;
}

static bool is_faster(const struct tune_result *result)
{
    return result->best_s > 0 && result->planned_s > result->best_s;
}

static int say_result(const struct tuning *t, const struct tune_result *result, bool whole)
{
    char what[160];
    double gain = result->best_s > 0 ? result->planned_s / result->best_s : 1;
    bool planned = !is_faster(result);
    describe(t, &result->best, what, sizeof what);
    if (t->tried) {
        json_t *root =
            json_pack("{s:O?, s:O, s:o, s:o, s:o, s:b, s:s}", "kernels", t->kernels, "tried",
                      t->tried, "gain", json_number(gain), "predicted_prompt_tokens_per_s",
                      json_number(t->expected.prompt_tokens_per_s), "predicted_answer_tokens_per_s",
                      json_number(t->expected.answer_tokens_per_s), "complete", whole, "best",
                      planned ? "" : what + 1);
        return json_print(root);
    }
    if (!whole)
        talk_line("%s before all was tried%s%s", interrupted() ? "interrupted" : "the time is over",
                  interrupted() ? "" : ": --minutes gives more",
                  planned ? "; what was found before, if anything was, is still used" : "");
    if (planned)
        out_printf("Nothing that was tried is faster than the plan.\n");
    else
        out_printf("Best:%s: %.2f times as fast as planned. run, chat and bench use it from now "
                   "on, where nothing else is asked for (--untuned: not).\n",
                   what, gain);
    return EXIT_OK;
}

/* --- kernels ---------------------------------------------------------------------------------- */

static void begin_kernels(void *user, const char *device, int left, int all)
{
    const struct tuning *t = user;
    if (t->found || left == 0)
        return;
    out_text(str_of(device));
    out_printf(": measuring kernels for %d of %d kinds of operations\n", left, all);
    out_flush();
}

static void tell_kernel(void *user, const struct kernels_item *item)
{
    const struct tuning *t = user;
    if (t->found) {
        json_push(t->found,
                  json_pack("{s:o, s:s, s:s, s:s, s:o}", "device", json_text(str_of(item->device)),
                            "what", item->what, "row", item->row, "knobs", item->knobs, "gain",
                            json_number(item->gain)));
    } else if (item->gain > 1) {
        talk_progress("", 1, 1);
        out_printf("%-44s %.2f times as fast: %s %s\n", item->what, item->gain, item->row,
                   item->knobs);
        out_flush();
    }
    talk_progress("measuring kernels", (uint64_t)item->done, (uint64_t)item->all);
}

static bool go_on(void *user)
{
    (void)user;
    return !interrupted();
}

static void say_kernels(struct tuning *t, const struct kernels_report *r)
{
    talk_progress("", 1, 1);
    if (t->found) {
        t->kernels = json_pack("{s:i, s:i, s:i, s:i, s:i, s:o, s:o, s:O}", "classes", r->n_classes,
                               "measured", r->n_measured, "faster", r->n_faster, "left", r->n_left,
                               "wrong", r->n_wrong, "most_gain", json_number(r->most_gain),
                               "seconds", json_number(r->seconds), "found", t->found);
        return;
    }
    if (r->n_classes == 0)
        return;
    out_printf("kernels: %d of %d kinds of operations measured in %.1f s; ", r->n_measured,
               r->n_classes, r->seconds);
    if (r->n_faster)
        out_printf("for %d something faster is known, up to %.2f times", r->n_faster, r->most_gain);
    else
        out_printf("nothing is faster than what is used by default");
    if (r->n_wrong)
        out_printf("; %d that were not right are not used", r->n_wrong);
    out_printf("%s\n", r->n_left ? "" : "; nothing is left to measure");
    if (r->n_left)
        out_printf("%d are left: hearth tune goes on with them the next time\n", r->n_left);
    out_flush();
}

/* What is found is kept, also when Ctrl-C ends it. */
static int tune_kernels(struct tuning *t)
{
    struct kernels_report report;
    struct kernels_options wanted = {.model = args_word(t->args, 0),
                                     .device = model_options(t->args),
                                     .seconds = args_real(t->args, "kernels-seconds")};
    const struct kernels_reader reader = {begin_kernels, tell_kernel, go_on, t};
    wanted.device.session = session_of(t);
    if (wanted.seconds <= 0 || wanted.device.untuned || wanted.device.rows)
        return EXIT_OK;
    t->found = t->tried ? json_array() : NULL;
    watch_interrupt(NULL);
    enum hth_status status = kernels_tune(&wanted, &reader, &report);
    bool ended = interrupted();
    unwatch_interrupt();
    if (status == HTH_OK || status == HTH_ERROR_CANCELLED)
        say_kernels(t, &report);
    return ended ? EXIT_INTERRUPTED : exit_of(status);
}

/* --- the whole -------------------------------------------------------------------------------- */

/* What the plan is of which is to be found better; its model is the first to be measured. Is the
 * GPU, if it has a part, chosen by itself and filled by the plan? */
static enum hth_status look_at_plan(struct tuning *t, struct tune_options *look)
{
    static const struct tune_setting planned;
    enum hth_status status = open_setting(t, &planned, &t->ready);
    if (status)
        return status;
    struct hth_model_info info = hth_model_get_info(t->ready);
    struct hth_plan_info plan = hth_model_get_plan(t->ready);
    t->gpu_bytes = plan.n_gpus > 0 ? plan.gpu_bytes / (uint64_t)plan.n_gpus : 0;
    t->n_ctx = plan.n_ctx;
    t->n_in = plan.n_ctx - UNMEASURED_OUT - MEASURED_OUT;
    t->n_in = t->n_in < MOST_IN ? t->n_in : MOST_IN;
    t->expected = hth_model_expect(t->ready, &(struct hth_turn){0, t->n_in, MEASURED_OUT});
    bool any_device = strcmp(args_text(t->args, "device"), "auto") == 0;
    look->has_gpu = info.on_gpu && any_device;
    look->n_threads = args_given(t->args, "threads") ? 0 : os_cpu_count();
    look->n_batch = plan.n_batch;
    look->most_batch = t->n_in;
    t->ids = mem_calloc((size_t)t->n_in, sizeof *t->ids);
    struct rng rng = rng_seed(1);
    for (int i = 0; t->ids && i < t->n_in; i++)
        t->ids[i] = (int32_t)rng_below(&rng, (uint32_t)info.n_vocab);
    t->file = tuned_take_file(t->ready);
    return t->ids ? HTH_OK : log_fail_memory(talk_log(), "tokens", (size_t)t->n_in * 4);
}

static void free_tuning(struct tuning *t)
{
    json_decref(t->kernels);
    json_decref(t->found);
    json_decref(t->tried);
    hth_model_close(t->ready);
    tuned_file_free(&t->file);
    mem_free(t->ids);
}

static int run(const struct args *args)
{
    struct tuning t = {.args = args, .n_ctx = args_int(args, "ctx")};
    struct tune_options look = {.measure = measure_and_say, .tell = tell, .user = &t};
    struct tune_result result = {0};
    t.tried = args_flag(args, "json") ? json_array() : NULL;
    int code = tune_kernels(&t);
    if (code != EXIT_OK) {
        free_tuning(&t);
        return code;
    }
    t.until_ns = os_time_ns() + (uint64_t)(args_real(args, "minutes") * 60e9);
    enum hth_status status = look_at_plan(&t, &look);
    if (status == HTH_OK)
        status = tune(&look, &result);
    bool whole = status == HTH_OK;
    bool found = result.planned_s > 0 && status == HTH_ERROR_CANCELLED;
    talk_progress("", 1, 1);
    code = exit_of(found ? HTH_OK : status);
    const struct tuned best = as_tuned(&t, &result.best);
    if (code == EXIT_OK && (whole || is_faster(&result))) /* else what was found before stays */
        code = exit_of(tuned_store(&t.file, &best, talk_log()));
    if (code == EXIT_OK)
        code = say_result(&t, &result, whole);
    free_tuning(&t);
    return code == EXIT_OK && interrupted() ? EXIT_INTERRUPTED : code;
}

static void more_help(void)
{
    out_printf(
        "First the GPU's kernels are measured, for the formats and shapes of this model: those\n"
        "that fit, in the shapes that they can have. What is clearly faster each time, and\n"
        "right, is kept for this device and driver, and serves all models. Then what a plan\n"
        "takes for granted is tried a step to either side: how much of the GPU's memory it\n"
        "uses, threads, tokens computed at once. What is clearly faster, twice, is kept for\n"
        "this model, device and driver; else the plan stays.\n");
}

static const struct option_group *const groups[] = {
    &tune_options,
    &options_device,
    &options_test,
    NULL,
};

const struct command command_tune = {
    .name = "tune",
    .summary = "measures kernels, and around a model's plan, for what is faster here, and keeps it",
    .usage = "MODEL [--minutes 10] [--json]",
    .groups = groups,
    .min_words = 1,
    .max_words = 1,
    .run = run,
    .more_help = more_help,
};
