#include "engine/plan_part.h"

#include <ctype.h>
#include <stdlib.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* --- layers ----------------------------------------------------------------------------------- */

static unsigned gpu_mask(const struct machine *machine)
{
    return (1u << machine->n_devices) - 2;
}

/* --gpu-layers counts from the end, and the output after the layers, as the field does. */
static enum hth_status bind_layers(struct plan_report *report, int n)
{
    struct units *units = &report->units;
    unsigned gpus = gpu_mask(&report->machine);
    if (n > 0 && gpus == 0)
        return log_fail(&report->log, HTH_ERROR_ARGUMENT,
                        "--gpu-layers %d: there is no GPU that hearth can use", n);
    for (int i = 0; i < units->n_units; i++) {
        int layer = units->items[i].layer;
        bool on_gpu = layer == units->n_layers ? n > units->n_layers : layer >= units->n_layers - n;
        units->items[i].allowed = on_gpu ? gpus : 1;
    }
    return HTH_OK;
}

static void bind_experts(struct units *units, int n_layers)
{
    for (int i = 0; i < units->n_units; i++)
        if (units->items[i].kind == UNIT_EXPERTS && units->items[i].layer < n_layers)
            units->items[i].allowed = 1;
}

/* --- patterns --------------------------------------------------------------------------------- */

/* Devices that "cpu", "vulkan" or "vulkan:N" means; 0: none. */
static unsigned device_mask(const struct machine *machine, const char *name)
{
    if (strcmp(name, "cpu") == 0)
        return 1;
    if (strcmp(name, "vulkan") == 0)
        return gpu_mask(machine);
    for (int d = 1; d < machine->n_devices; d++) {
        char own[24];
        if (strcmp(name, machine_device_name(machine, d, own)) == 0)
            return 1u << d;
    }
    return 0;
}

/* All units of which a tensor's name matches; *found tells whether there was one. */
static enum hth_status match_units(struct plan_report *report, const pcre2_code *code,
                                   unsigned mask, bool *found)
{
    const struct model *model = report->model;
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    if (!match)
        return log_fail_memory(&report->log, "a pattern", sizeof(void *));
    for (size_t i = 0; i < model->n_weights; i++) {
        const char *name = model->weights[i]->name;
        int unit = report->units.unit_of_weight[i];
        if (unit < 0 || pcre2_match(code, (PCRE2_SPTR)name, strlen(name), 0, 0, match, NULL) < 0)
            continue;
        report->units.items[unit].allowed = mask;
        *found = true;
    }
    pcre2_match_data_free(match);
    return HTH_OK;
}

static enum hth_status bind_pattern(struct plan_report *report, const char *spec)
{
    const struct log *log = &report->log;
    const char *equals = strrchr(spec, '=');
    if (!equals || equals == spec)
        return log_fail(log, HTH_ERROR_ARGUMENT,
                        "--place %s: write PATTERN=cpu, PATTERN=vulkan or PATTERN=vulkan:N", spec);
    unsigned mask = device_mask(&report->machine, equals + 1);
    if (mask == 0)
        return log_fail(log, HTH_ERROR_ARGUMENT,
                        "--place %s: there is no device \"%s\"; the plan is for cpu and %d GPU%s",
                        spec, equals + 1, report->machine.n_devices - 1,
                        report->machine.n_devices == 2 ? "" : "s");
    int error;
    PCRE2_SIZE at;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)spec, (size_t)(equals - spec), 0, &error, &at, NULL);
    if (!code) {
        char why[120] = "";
        pcre2_get_error_message(error, (PCRE2_UCHAR *)why, sizeof why);
        return log_fail(log, HTH_ERROR_ARGUMENT,
                        "--place %s: is no regular expression: at character %zu, %s", spec,
                        (size_t)at + 1, why);
    }
    bool found = false;
    enum hth_status status = match_units(report, code, mask, &found);
    pcre2_code_free(code);
    if (status == HTH_OK && !found)
        log_warning(log, "--place %s: matches no tensor of this model (hearth inspect lists them)",
                    spec);
    return status;
}

enum hth_status plan_bind_units(struct plan_report *report, const struct plan_request *request)
{
    enum hth_status status = HTH_OK;
    if (request->gpu_layers >= 0)
        status = bind_layers(report, request->gpu_layers);
    bind_experts(&report->units, request->n_cpu_moe);
    for (int i = 0; i < request->n_places && status == HTH_OK; i++)
        status = bind_pattern(report, request->places[i]);
    return status;
}
