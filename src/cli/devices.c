#include <inttypes.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "cli/command.h"
#include "cli/json_out.h"
#include "cli/talk.h"
#include "engine/plan.h"
#include "vk/vk.h"

/* clang-format off */
static const struct option options[] = {
    {.name = "json", .type = OPTION_FLAG, .help = "as a JSON array"},
    {.name = "measure", .type = OPTION_FLAG, .help = "measure the CPU and the best GPU, or --device, anew, and keep that for plans"},
    {.name = "device", .type = OPTION_DEVICE, .metavar = "D", .fallback = "auto", .help = "with --measure: cpu, vulkan:N or a part of a name"},
    {0},
};
/* clang-format on */
static const struct option_group devices_options = {"What to show", options};

static const char *kind_name(enum vk_kind kind)
{
    switch (kind) {
    case VK_KIND_DISCRETE: return "discrete";
    case VK_KIND_INTEGRATED: return "integrated";
    case VK_KIND_VIRTUAL: return "virtual";
    case VK_KIND_SOFTWARE: return "software";
    default: return "other";
    }
}

/* --- JSON ------------------------------------------------------------------------------------- */

static json_t *json_heaps(const struct vk_caps *device)
{
    json_t *list = json_array();
    for (uint32_t i = 0; i < device->n_heaps; i++) {
        const struct vk_heap *heap = &device->heaps[i];
        json_push(list,
                  json_pack("{s:o, s:o, s:o, s:b}", "bytes", json_count(heap->size_bytes),
                            "budget_bytes", json_count(heap->budget_bytes), "used_bytes",
                            json_count(heap->used_bytes), "device_local", (int)heap->device_local));
    }
    return list;
}

static void set_flags(json_t *json, const struct vk_caps *device)
{
    const struct {
        const char *name;
        bool value;
    } flags[] = {
        {"subgroup_control", device->subgroup_control},
        {"fp16", device->fp16},
        {"int8", device->int8},
        {"int16", device->int16},
        {"int64", device->int64},
        {"storage8", device->storage8},
        {"storage16", device->storage16},
        {"addresses", device->addresses},
        {"int_dot", device->int_dot_any},
        {"int_dot_accelerated", device->int_dot},
        {"timestamps", device->timestamps},
        {"unified", device->unified},
        {"transfer_queue", device->transfer_queue},
    };
    for (size_t i = 0; i < ARRAY_LEN(flags); i++)
        json_set(json, flags[i].name, json_boolean(flags[i].value));
}

static json_t *json_device(const struct vk_caps *device, uint32_t index, bool is_default)
{
    char id[32], api[32];
    snprintf(id, sizeof id, "vulkan:%u", index);
    snprintf(api, sizeof api, "%u.%u.%u", device->api_version >> 22 & 0x7f,
             device->api_version >> 12 & 0x3ff, device->api_version & 0xfff);
    json_t *json =
        json_pack("{s:s, s:o, s:o, s:s, s:s, s:i, s:i, s:o, s:o}", "id", id, "name",
                  json_text(str_of(device->name)), "driver", json_text(str_of(device->driver)),
                  "kind", kind_name(device->kind), "api", api, "vendor_id", (int)device->vendor_id,
                  "device_id", (int)device->device_id, "memory_bytes",
                  json_count(device->device_bytes), "heaps", json_heaps(device));
    json_set(json, "default", json_boolean(is_default));
    json_set(json, "subgroup_default", json_integer(device->subgroup_default));
    json_set(json, "subgroup_min", json_integer(device->subgroup_min));
    json_set(json, "subgroup_max", json_integer(device->subgroup_max));
    json_set(json, "shared_bytes", json_integer(device->shared_bytes));
    json_set(json, "max_range_bytes", json_count(device->max_range_bytes));
    set_flags(json, device);
    json_set(json, "supported", json_boolean(!device->lacks));
    json_set(json, "lacks", device->lacks ? json_text(str_of(device->lacks)) : json_null());
    return json;
}

static json_t *json_cpu(void)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:o, s:o, s:b, s:n}", "id", "cpu", "name", "CPU",
                     "driver", "", "kind", "cpu", "threads", os_cpu_count(), "memory_bytes",
                     json_count(os_memory_total_bytes()), "available_bytes",
                     json_count(os_memory_available_bytes()), "supported", 1, "lacks");
}

static int show_json(const struct vk_caps *devices, uint32_t count)
{
    json_t *list = json_array();
    int best = vk_best(devices, count);
    for (uint32_t i = 0; i < count; i++)
        json_push(list, json_device(&devices[i], i, (int)i == best));
    json_push(list, json_cpu());
    return json_print(list);
}

/* --- text ------------------------------------------------------------------------------------- */

static double gib(uint64_t bytes)
{
    return (double)bytes / (1 << 30);
}

/* What is known of its speed. */
static int show_measured(const struct vk_caps *device)
{
    struct strbuf line = {0};
    int code = exit_of(plan_measured(device, &line, talk_log()));
    if (code == EXIT_OK && line.len)
        out_printf("          %s\n", line.ptr);
    strbuf_free(&line);
    return code;
}

static int measure(const char *device)
{
    const struct log *log = talk_log();
    struct hth_model_options wanted = {
        .device = device, .log = log->write, .log_user = log->user, .log_level = log->max_level};
    return exit_of(plan_measure_machine(&wanted));
}

static void show_device(const struct vk_caps *device, uint32_t index)
{
    out_printf("vulkan:%u  ", index);
    out_text(str_of(device->name));
    out_printf(" (%s, ", kind_name(device->kind));
    out_text(str_of(device->driver));
    out_printf(")\n");
    if (device->lacks)
        out_printf("          unsupported: lacks %s\n", device->lacks);
    for (uint32_t i = 0; i < device->n_heaps; i++)
        out_printf("          memory %.1f GiB, %.1f to use%s\n", gib(device->heaps[i].size_bytes),
                   gib(device->heaps[i].budget_bytes),
                   !device->heaps[i].device_local ? ", the host's"
                   : device->unified              ? ", shared with the host"
                                                  : ", the device's own");
    out_printf("          subgroups of %u", device->subgroup_default);
    if (device->subgroup_min != device->subgroup_max)
        out_printf(" (%u to %u)", device->subgroup_min, device->subgroup_max);
    out_printf(", %u KiB shared memory%s%s%s%s\n", device->shared_bytes / 1024,
               device->fp16 ? ", fp16" : "",
               device->int_dot       ? ", integer dot product"
               : device->int_dot_any ? ", integer dot product (emulated)"
                                     : "",
               device->addresses ? ", addresses" : "",
               device->transfer_queue ? ", transfer queue" : "");
    if (device->kind == VK_KIND_SOFTWARE && !device->lacks)
        out_printf("          a program on the CPU: only by name, --device vulkan:%u\n", index);
}

static int run(const struct args *args)
{
    struct vk_caps *devices = NULL;
    uint32_t count = 0;
    const char *why = NULL;
    int code = args_flag(args, "measure") ? measure(args_text(args, "device")) : EXIT_OK;
    if (code == EXIT_OK)
        code = exit_of(vk_list(&devices, &count, &why, talk_log()));
    if (code == EXIT_OK && count == 0 && why)
        talk_line("no Vulkan device: %s", why);
    /* a broken driver, of which was said, is no reason to hide the CPU */
    if (args_flag(args, "json")) {
        int printed = show_json(devices, count);
        code = code ? code : printed;
    } else {
        for (uint32_t i = 0; i < count; i++) {
            show_device(&devices[i], i);
            int shown = show_measured(&devices[i]);
            code = code ? code : shown;
        }
        out_printf("cpu       CPU, %d threads, memory %.1f GiB, %.1f to use\n", os_cpu_count(),
                   gib(os_memory_total_bytes()), gib(os_memory_available_bytes()));
        int shown = show_measured(NULL);
        code = code ? code : shown;
    }
    mem_free(devices);
    return code;
}

static const struct option_group *const groups[] = {&devices_options, NULL};

const struct command command_devices = {
    .name = "devices",
    .summary = "lists what models can run on",
    .usage = "[--json] [--measure [--device D]]",
    .groups = groups,
    .run = run,
};
