#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/os.h"
#include "base/rng.h"
#include "cli/bench_steps.h"
#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/json_out.h"
#include "cli/options.h"
#include "cli/talk.h"
#include "engine/roof.h"
#include "engine/rows.h"

enum { MAX_LENGTH = 1 << 24 };

/* clang-format off */
static const struct option options[] = {
    {.name = "prompt", .letter = 'p', .type = OPTION_TEXT, .metavar = "N,…", .fallback = "512",
     .help = "prompts of so many tokens (\"pp512\"); 0: none"},
    {.name = "answer", .letter = 'n', .type = OPTION_TEXT, .metavar = "N,…", .fallback = "64",
     .help = "answers of so many tokens (\"tg64\"); 0: none"},
    {.name = "depth", .letter = 'd', .type = OPTION_INT, .metavar = "N", .min = 0, .max = MAX_LENGTH, .fallback = "0",
     .help = "tokens that are in the context before"},
    {.name = "repeat", .letter = 'r', .type = OPTION_INT, .metavar = "N", .min = 1, .max = 1000, .fallback = "3",
     .help = "measure so often and take the median (after one run that is not measured)"},
    {.name = "roof", .type = OPTION_TEXT, .metavar = "FILE",
     .help = "with the share of the device's limits, which build/release/bench/roof --json printed"},
    {.name = "kernels", .type = OPTION_FLAG,
     .help = "with the GPU's time by kernel, of the last batch of each test; speeds are a little less"},
    {.name = "json", .type = OPTION_FLAG, .help = "as a JSON array"},
    {0},
};
/* clang-format on */
static const struct option_group bench_options = {"What to measure", options};

struct bench {
    struct hth_model *model;
    struct hth_session *session;
    struct hth_model_info info;
    int n_batch, depth, repeat;
    int32_t *ids; /* random, as many as the longest test feeds at once */
    bool has_roof, by_kernel;
    struct roof roof;
    json_t *json; /* NULL: text */
};

static enum hth_status feed(struct bench *bench, int count, enum hth_outputs outputs)
{
    struct hth_feed one = {
        .ids = bench->ids, .count = count, .outputs = outputs, .n_best = 1}; /* greedy */
    return hth_session_feed(bench->session, &one, 1);
}

/* One run of a test from the depth on: a prompt at once, an answer token by token. */
static enum hth_status run_once(struct bench *bench, bool prompt, int n, uint64_t *time_ns)
{
    /* what is cut to a page's beginning is filled up again, untimed */
    int have = hth_session_truncate(bench->session, 0, bench->depth);
    enum hth_status status = HTH_OK;
    while (status == HTH_OK && have < bench->depth) {
        int count = bench->depth - have < bench->n_batch ? bench->depth - have : bench->n_batch;
        status = feed(bench, count, HTH_OUTPUT_NONE);
        have += count;
    }
    uint64_t began = os_time_ns();
    if (prompt && status == HTH_OK)
        status = feed(bench, n, HTH_OUTPUT_LAST);
    for (int i = 0; !prompt && i < n && status == HTH_OK; i++)
        status = feed(bench, 1, HTH_OUTPUT_LAST);
    *time_ns = os_time_ns() - began;
    return status;
}

static int compare_times(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Weight bytes that a test reads in all, what it computes, and the kernels it runs. */
static enum hth_status count_work(struct bench *bench, bool prompt, int n, struct step_info *info)
{
    int batch = prompt ? (n < bench->n_batch ? n : bench->n_batch) : 1;
    enum hth_status status = session_step_info(bench->session, batch, info);
    uint64_t times = (uint64_t)(prompt ? n / batch : n);
    info->weight_bytes *= times;
    info->flops *= times;
    int rest = n % batch;
    if (status == HTH_OK && rest) {
        struct step_info last;
        status = session_step_info(bench->session, rest, &last);
        info->weight_bytes += last.weight_bytes;
        info->flops += last.flops;
    }
    return status;
}

/* What came of a test. */
struct result {
    const char *name;
    double tokens_per_s, gb_per_s;
    double expected; /* tokens/s; 0: nothing was */
    bool estimated;
    double expert_hits; /* share of uses so far that the GPU had; negative: none change places */
    double roof_share;  /* 0: there is no roof to compare with */
    const char *roof_bound;
    const struct step_info *info;
    struct kernel_times kernels; /* none unless asked for */
};

static void report_text(const struct bench *bench, const struct result *result)
{
    char expected[64] = "";
    if (result->expected > 0)
        snprintf(expected, sizeof expected, " (%s %.2f)",
                 result->estimated ? "estimated" : "predicted", result->expected);
    out_printf("%-10s %12.2f tokens/s%s %10.2f GB/s of weights", result->name, result->tokens_per_s,
               expected, result->gb_per_s);
    if (result->roof_bound)
        out_printf(" %8.1f %% of the roof (%s)", 100 * result->roof_share, result->roof_bound);
    if (result->expert_hits >= 0)
        out_printf(", %.1f %% of experts found on the GPU", 100 * result->expert_hits);
    out_printf("\n");
    if (bench->by_kernel)
        kernel_times_print(&result->kernels, bench->has_roof ? &bench->roof : NULL);
    out_flush();
}

static void report(struct bench *bench, const struct result *result)
{
    if (!bench->json) {
        report_text(bench, result);
        return;
    }
    json_t *rows = json_array();
    for (int i = 0; i < result->info->n_rows; i++)
        json_push(rows, json_string(result->info->rows[i]));
    json_t *value =
        json_pack("{s:s, s:f, s:f, s:o, s:o, s:o, s:i, s:i, s:s}", "test", result->name,
                  "tokens_per_s", result->tokens_per_s, "gb_per_s", result->gb_per_s,
                  "weight_bytes_resident", json_count(bench->info.weight_bytes_resident),
                  "weight_bytes_file", json_count(bench->info.weight_bytes_file), "rows", rows,
                  "depth", bench->depth, "repeats", bench->repeat, "device", bench->info.device);
    json_set(value, "device_bytes", json_count(hth_model_get_plan(bench->model).gpu_bytes));
    struct hth_session_info session = hth_session_get_info(bench->session);
    json_set(value, "pipelines", json_integer(session.pipelines));
    json_set(value, "pipelines_compiled", json_integer(session.pipelines_compiled));
    if (result->expected > 0) {
        json_set(value, "expected_tokens_per_s", json_number(result->expected));
        json_set(value, "estimated", json_boolean(result->estimated));
    }
    if (result->expert_hits >= 0)
        json_set(value, "expert_hits", json_number(result->expert_hits));
    if (result->roof_bound) {
        json_set(value, "roof_share", json_number(result->roof_share));
        json_set(value, "roof_bound", json_string(result->roof_bound));
    }
    if (bench->by_kernel)
        json_set(value, "kernels", kernel_times_json(&result->kernels));
    json_push(bench->json, value);
}

/* Beside what was expected; what came of it corrects that for the next time. */
static enum hth_status compare(struct bench *bench, bool prompt, int n, double seconds,
                               struct result *result)
{
    struct hth_turn turn = {bench->depth, prompt ? n : 0, prompt ? 0 : n};
    struct hth_expected expected = hth_model_expect(bench->model, &turn);
    result->expected = prompt ? expected.prompt_tokens_per_s : expected.answer_tokens_per_s;
    result->estimated = expected.estimated;
    if (bench->by_kernel) /* the clocks cost something, which is not to be expected next time */
        return HTH_OK;
    return hth_model_achieved(bench->model, &turn, prompt ? seconds : 0, prompt ? 0 : seconds);
}

static void compare_with_roof(const struct bench *bench, double seconds, struct result *result)
{
    const struct roof_work work = {(double)result->info->weight_bytes, (double)result->info->flops,
                                   roof_best_flop(&bench->roof), seconds};
    if (bench->has_roof)
        result->roof_share = roof_share(&bench->roof, &work, &result->roof_bound);
}

/* The middle of the times of a test that was repeated; sorts them. */
static double median_s(uint64_t *times, size_t n)
{
    qsort(times, n, sizeof *times, compare_times);
    double ns = n % 2 ? (double)times[n / 2] : (double)(times[n / 2 - 1] + times[n / 2]) / 2;
    return ns / 1e9;
}

static double expert_hits(const struct bench *bench)
{
    struct hth_session_info info = hth_session_get_info(bench->session);
    return info.expert_uses ? (double)info.expert_hits / (double)info.expert_uses : -1;
}

static enum hth_status measure(struct bench *bench, bool prompt, int n)
{
    char name[32];
    uint64_t unmeasured, *times = mem_calloc((size_t)bench->repeat, sizeof *times);
    struct step_info info;
    snprintf(name, sizeof name, "%s%d", prompt ? "pp" : "tg", n);
    if (!times)
        return log_fail_memory(talk_log(), "times", (size_t)bench->repeat * sizeof *times);
    enum hth_status status = run_once(bench, prompt, prompt ? n : 2, &unmeasured);
    for (int r = 0; r < bench->repeat && status == HTH_OK; r++) {
        talk_progress(name, (uint64_t)r, (uint64_t)bench->repeat);
        status = run_once(bench, prompt, n, &times[r]);
        if (interrupted())
            status = HTH_ERROR_CANCELLED;
    }
    talk_progress("", 1, 1);
    if (status == HTH_OK)
        status = count_work(bench, prompt, n, &info);
    if (status == HTH_OK) {
        double seconds = median_s(times, (size_t)bench->repeat);
        struct result result = {.name = name,
                                .tokens_per_s = n / seconds,
                                .gb_per_s = (double)info.weight_bytes / seconds / 1e9,
                                .expert_hits = expert_hits(bench),
                                .info = &info};
        compare_with_roof(bench, seconds, &result);
        status = compare(bench, prompt, n, seconds, &result);
        if (bench->by_kernel && status == HTH_OK)
            status = kernel_times_read(&result.kernels, bench->session);
        if (status == HTH_OK)
            report(bench, &result);
        kernel_times_free(&result.kernels);
    }
    mem_free(times);
    return status;
}

struct lengths {
    struct number_list prompts, answers;
    int longest;
};

static int longest_of(const struct number_list *list, int longest)
{
    for (int i = 0; i < list->count; i++)
        longest = list->items[i] > longest ? list->items[i] : longest;
    return longest;
}

static int read_lengths(const struct args *args, struct lengths *lengths)
{
    int code = args_list(args, "prompt", 0, MAX_LENGTH, &lengths->prompts);
    if (code == EXIT_OK)
        code = args_list(args, "answer", 0, MAX_LENGTH, &lengths->answers);
    if (code)
        return code;
    if (longest_of(&lengths->prompts, longest_of(&lengths->answers, 0)) == 0)
        return usage_error(args->command, "--prompt and --answer are 0 throughout: there is "
                                          "nothing to measure");
    enum { UNMEASURED = 2 }; /* the first run of an answer, measure() */
    lengths->longest = longest_of(&lengths->prompts, longest_of(&lengths->answers, UNMEASURED));
    return EXIT_OK;
}

static struct hth_session_options bench_session(const struct args *args, int longest)
{
    struct hth_session_options wanted = session_options(args);
    if (wanted.n_ctx == 0)
        wanted.n_ctx = args_int(args, "depth") + longest;
    wanted.n_best = 1;
    wanted.profile = args_flag(args, "kernels");
    return wanted;
}

static enum hth_status open_bench(const struct args *args, struct bench *bench, int longest)
{
    struct hth_session_options wanted = bench_session(args, longest);
    bench->info = hth_model_get_info(bench->model);
    if (bench->has_roof)
        roof_check_device(&bench->roof, bench->info.device, talk_log());
    bench->depth = args_int(args, "depth");
    bench->repeat = args_int(args, "repeat");
    bench->by_kernel = args_flag(args, "kernels");
    if (bench->by_kernel && hth_model_get_plan(bench->model).gpu_bytes == 0)
        return log_fail(talk_log(), HTH_ERROR_ARGUMENT,
                        "--kernels: nothing of this model is on a GPU, whose kernels it times; "
                        "leave it out, or choose a --device that hearth devices lists");
    enum hth_status status = hth_session_open(&bench->session, bench->model, &wanted);
    if (status)
        return status;
    bench->n_batch = hth_session_get_info(bench->session).n_batch;
    int most = longest > bench->n_batch ? longest : bench->n_batch;
    bench->ids = mem_calloc((size_t)most, sizeof *bench->ids);
    if (!bench->ids)
        return log_fail_memory(talk_log(), "tokens", (size_t)most * sizeof *bench->ids);
    struct rng rng = rng_seed(1);
    for (int i = 0; i < most; i++)
        bench->ids[i] = (int32_t)rng_below(&rng, (uint32_t)bench->info.n_vocab);
    return HTH_OK;
}

static enum hth_status measure_all(struct bench *bench, const struct lengths *lengths)
{
    enum hth_status status = HTH_OK;
    if (!bench->json)
        out_printf("%s, %.1f MB of weights in the file, %.1f MB resident\n", bench->info.device,
                   (double)bench->info.weight_bytes_file / 1e6,
                   (double)bench->info.weight_bytes_resident / 1e6);
    watch_interrupt(bench->session);
    for (int i = 0; i < lengths->prompts.count && status == HTH_OK; i++)
        if (lengths->prompts.items[i])
            status = measure(bench, true, lengths->prompts.items[i]);
    for (int i = 0; i < lengths->answers.count && status == HTH_OK; i++)
        if (lengths->answers.items[i])
            status = measure(bench, false, lengths->answers.items[i]);
    unwatch_interrupt();
    return status;
}

static int read_roof(const struct args *args, struct bench *bench)
{
    const char *path = args_text(args, "roof");
    bench->has_roof = path != NULL;
    return path ? exit_of(roof_read(&bench->roof, path, talk_log())) : EXIT_OK;
}

static int run(const struct args *args)
{
    struct lengths lengths = {0};
    struct bench bench = {0};
    int code = read_lengths(args, &lengths);
    if (code == EXIT_OK)
        code = read_roof(args, &bench);
    struct hth_session_options session = bench_session(args, lengths.longest);
    if (code == EXIT_OK)
        code = open_model(args, args_word(args, 0), &session, true, &bench.model);
    if (code == EXIT_OK)
        code = exit_of(open_bench(args, &bench, lengths.longest));
    if (code == EXIT_OK) {
        bench.json = args_flag(args, "json") ? json_array() : NULL;
        code = exit_of(measure_all(&bench, &lengths));
    }
    if (code == EXIT_OK && bench.json)
        code = json_print(json_incref(bench.json));
    json_decref(bench.json);
    hth_session_close(bench.session);
    hth_model_close(bench.model);
    mem_free(bench.ids);
    mem_free(lengths.prompts.items);
    mem_free(lengths.answers.items);
    return code;
}

static void more_help(void)
{
    out_printf(
        "MODEL may be synth:SHAPE:TYPE, made in memory (hearth synth --help). GB/s counts "
        "the bytes\n"
        "of weights that must be read, once per batch. The roof is what reading them, or the\n"
        "fastest arithmetic of the device, would take at least. Answers are greedy: of a token "
        "the\n"
        "device gives its id alone. Of attention, --kernels counts no work on what is in the "
        "context.\n");
}

static const struct option_group *const groups[] = {
    &bench_options, &options_session, &options_placement, &options_device, &options_test, NULL,
};

const struct command command_bench = {
    .name = "bench",
    .summary = "measures how fast a model reads and writes here",
    .usage = "MODEL [-p 512,64] [-n 64] [-d DEPTH] [-r 3] [--json]",
    .groups = groups,
    .min_words = 1,
    .max_words = 1,
    .run = run,
    .more_help = more_help,
};
