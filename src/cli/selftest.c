#include "engine/selftest.h"

#include <stdio.h>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/json_out.h"
#include "cli/options.h"
#include "cli/talk.h"

/* clang-format off */
static const struct option options[] = {
    {.name = "json", .type = OPTION_FLAG, .help = "as a JSON object"},
    OPTION_KV,
    {.name = "float", .type = OPTION_FLAG, .help = "only kernels without integer activations and fp16 arithmetic"},
    {0},
};
/* clang-format on */
static const struct option_group selftest_options = {"What to test", options};

static const char *const outcomes[] = {
    [OUTCOME_RIGHT] = "ok", [OUTCOME_WRONG] = "WRONG", [OUTCOME_FAILED] = "FAILED"};

struct report {
    json_t *json, *items; /* NULL: text */
    int n, n_wrong, n_failed;
};

static void put_device(void *user, const struct selftest_device *d)
{
    struct report *report = user;
    char id[32], api[32];
    snprintf(id, sizeof id, "%04x:%04x", d->vendor_id, d->device_id);
    snprintf(api, sizeof api, "%u.%u.%u", d->api_version >> 22 & 0x7f, d->api_version >> 12 & 0x3ff,
             d->api_version & 0xfff);
    if (!report->json) {
        out_printf("hearth %s, shaders %s\n", hth_version(), d->build);
        out_text(str_of(d->name));
        out_printf(" (%s)\ndriver: ", id);
        out_text(str_of(d->driver));
        out_printf(" (version %08x, Vulkan %s)\nsubgroups of %u (%u to %u)\n\n", d->driver_version,
                   api, d->subgroup_default, d->subgroup_min, d->subgroup_max);
        out_printf("%-6s %9s %9s %10s  %s\n", "", "NMSE", "allowed", "time us",
                   "kernel; specialization; op and shapes");
        return;
    }
    json_set(report->json, "hearth", json_string(hth_version()));
    json_set(report->json, "build", json_string(d->build));
    json_set(report->json, "device", json_text(str_of(d->name)));
    json_set(report->json, "driver", json_text(str_of(d->driver)));
    json_set(report->json, "id", json_string(id));
    json_set(report->json, "driver_version", json_count(d->driver_version));
    json_set(report->json, "api", json_string(api));
    json_set(report->json, "subgroup_default", json_count(d->subgroup_default));
    json_set(report->json, "subgroup_min", json_count(d->subgroup_min));
    json_set(report->json, "subgroup_max", json_count(d->subgroup_max));
}

static void put_line(const struct selftest_item *item)
{
    out_printf("%-6s %9.2g %9.2g %10.1f  %s (%s): %s", outcomes[item->outcome], item->nmse,
               item->tolerance, (double)item->time_ns / 1e3, item->row, item->blob, item->what);
    if (item->why[0]) {
        out_printf(": ");
        out_text(str_of(item->why));
    }
    out_printf("\n");
    out_flush();
}

static bool put_item(void *user, const struct selftest_item *item)
{
    struct report *report = user;
    report->n++;
    report->n_wrong += item->outcome == OUTCOME_WRONG;
    report->n_failed += item->outcome == OUTCOME_FAILED;
    if (!report->json) {
        put_line(item);
        return !interrupted();
    }
    json_t *json = json_pack(
        "{s:s, s:s, s:s, s:s, s:o, s:o, s:o}", "outcome", outcomes[item->outcome], "row", item->row,
        "blob", item->blob, "what", item->what, "nmse", json_number(item->nmse), "tolerance",
        json_number(item->tolerance), "time_us", json_number((double)item->time_ns / 1e3));
    if (item->why[0])
        json_set(json, "why", json_text(str_of(item->why)));
    json_push(report->items, json);
    return !interrupted();
}

static void put_end(const struct report *report)
{
    if (report->n_wrong || report->n_failed)
        out_printf("\n%d kernels: %d wrong, %d failed to run\n", report->n, report->n_wrong,
                   report->n_failed);
    else
        out_printf("\n%d kernels: all are right\n", report->n);
}

static int run(const struct args *args)
{
    struct report report = {0};
    struct rows_options wanted = {
        .model = args_word(args, 0),
        .device = model_options(args),
        .kv = kv_option(args),
        .float_only = args_flag(args, "float"),
    };
    const struct selftest_reader reader = {put_device, put_item, &report};
    if (args_flag(args, "json")) {
        report.json = json_object();
        report.items = json_array();
    }
    watch_interrupt(NULL);
    int code = exit_of(selftest_list(&wanted, &reader));
    unwatch_interrupt();
    if (report.json && code != EXIT_OK && !report.n) { /* there is nothing to report */
        json_decref(report.json);
        json_decref(report.items);
        return code;
    }
    if (report.json) {
        json_set(report.json, "kernels", report.items);
        json_set(report.json, "n_wrong", json_count((uint64_t)report.n_wrong));
        json_set(report.json, "n_failed", json_count((uint64_t)report.n_failed));
        int printed = json_print(report.json);
        code = code ? code : printed;
    } else if (report.n) {
        put_end(&report);
    }
    return code ? code : report.n_wrong || report.n_failed ? EXIT_FAILED : EXIT_OK;
}

static void more_help(void)
{
    out_printf(
        "Compares each kernel that the device can run, chosen or not, with the CPU, on a small\n"
        "case of each op: of MODEL (a file, or synth:SHAPE:TYPE), or else of every architecture\n"
        "and format, which takes minutes. What it prints is a report to send; it ends with 1\n"
        "where a kernel is wrong. When a model is opened for the first time on a device and\n"
        "driver, what it uses is checked so, too, and what is wrong is replaced and remembered.\n");
}

static const struct option_group *const groups[] = {&selftest_options, &options_device,
                                                    &options_test, NULL};

const struct command command_selftest = {
    .name = "selftest",
    .summary = "checks a GPU's kernels against the CPU, and writes a report",
    .usage = "[MODEL] [--device vulkan:N] [--json]",
    .groups = groups,
    .max_words = 1,
    .run = run,
    .more_help = more_help,
};
