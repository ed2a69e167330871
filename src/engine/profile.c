#include "engine/plan_part.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "base/file.h"
#include "base/near.h"
#include "text/json_read.h"

/* {"name": "…", "devices": [{"name", "kind", "memory_gib", "read_gb_per_s", …}, …]} */

enum { MOST_PROFILE_BYTES = 1 << 20, MOST_THREADS = 1024 };

struct reader {
    const char *path;
    const struct log *log;
};

/* Figures of a device beside the rates of plan/machine.h. */
static const char MEMORY[] = "memory_gib", BUDGET[] = "budget_gib", THREADS[] = "threads";
static const char DISK[] = "file_gb_per_s";

static enum hth_status check_keys(const struct reader *reader, const json_t *object,
                                  const char *const *known, const char *where)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        bool found = false;
        for (size_t i = 0; known[i]; i++)
            found |= strcmp(known[i], key) == 0;
        if (found)
            continue;
        const char *meant = nearest_name(key, known);
        return log_fail(reader->log, HTH_ERROR_FORMAT,
                        "%s: %s has the key \"%.60s\", which hearth does not know%s%s%s",
                        reader->path, where, key, meant ? "; was \"" : "", meant ? meant : "",
                        meant ? "\" meant?" : "");
    }
    return HTH_OK;
}

/* A number above 0 times `unit`; *out stays what it is if there is none. */
static enum hth_status read_number(const struct reader *reader, const json_t *object,
                                   const char *key, double unit, double *out)
{
    const json_t *value = json_object_get(object, key);
    if (!value)
        return HTH_OK;
    double number = json_number_value(value);
    if (!json_is_number(value) || !isfinite(number) || number <= 0 || number > 1e7)
        return log_fail(reader->log, HTH_ERROR_FORMAT,
                        "%s: \"%s\" must be a number above 0 and at most 10 million", reader->path,
                        key);
    *out = number * unit;
    return HTH_OK;
}

static enum hth_status read_kind(const struct reader *reader, const json_t *object,
                                 struct machine_device *device)
{
    const char *kind = json_string_value(json_object_get(object, "kind"));
    for (int k = MACHINE_CPU; kind && k <= MACHINE_INTEGRATED; k++)
        if (strcmp(kind, machine_kind_name((enum machine_kind)k)) == 0) {
            device->kind = (enum machine_kind)k;
            return HTH_OK;
        }
    return log_fail(reader->log, HTH_ERROR_FORMAT,
                    "%s: the \"kind\" of %s is none of cpu, discrete, integrated", reader->path,
                    device->name);
}

static enum hth_status read_memory(const struct reader *reader, const json_t *object,
                                   struct machine_device *device)
{
    double memory = 0, budget = 0;
    enum hth_status status = read_number(reader, object, MEMORY, 1 << 30, &memory);
    if (status == HTH_OK)
        status = read_number(reader, object, BUDGET, 1 << 30, &budget);
    if (status != HTH_OK)
        return status;
    if (memory == 0)
        return log_fail(reader->log, HTH_ERROR_FORMAT,
                        "%s: %s has no \"memory_gib\": how much memory does it compute from?",
                        reader->path, device->name);
    if (budget > memory)
        return log_fail(reader->log, HTH_ERROR_FORMAT,
                        "%s: %s has a \"budget_gib\" above its \"memory_gib\"", reader->path,
                        device->name);
    device->memory_bytes = (uint64_t)memory;
    device->budget_bytes = (uint64_t)budget;
    return HTH_OK;
}

static enum hth_status read_threads(const struct reader *reader, const json_t *object,
                                    const struct machine_device *device, struct machine *machine)
{
    const json_t *value = json_object_get(object, THREADS);
    json_int_t n = json_integer_value(value);
    if (value && device->kind != MACHINE_CPU)
        return log_fail(reader->log, HTH_ERROR_FORMAT, "%s: %s has \"%s\", which are a CPU's alone",
                        reader->path, device->name, THREADS);
    if (value && (!json_is_integer(value) || n < 1 || n > MOST_THREADS))
        return log_fail(reader->log, HTH_ERROR_FORMAT,
                        "%s: \"%s\" must be a whole number from 1 to %d", reader->path, THREADS,
                        MOST_THREADS);
    if (value)
        machine->n_threads = (int)n;
    return HTH_OK;
}

static enum hth_status read_device(const struct reader *reader, const json_t *object,
                                   struct machine *machine, struct machine_device *device)
{
    static const double units[RATE_COUNT] = {1e9, 1e12, 1e9, 1e9, 1e9, 1e-6, 1e-6, 1e-6};
    const char *known[RATE_COUNT + 6] = {"name", "kind", MEMORY, BUDGET, THREADS};
    const char *name = json_string_value(json_object_get(object, "name"));
    if (!json_is_object(object) || !name || !*name)
        return log_fail(reader->log, HTH_ERROR_FORMAT,
                        "%s: each of \"devices\" is an object with a \"name\"", reader->path);
    snprintf(device->name, sizeof device->name, "%s", name);
    for (int r = 0; r < RATE_COUNT; r++)
        known[5 + r] = machine_rate_name((enum machine_rate)r);
    enum hth_status status = check_keys(reader, object, known, device->name);
    if (status == HTH_OK)
        status = read_kind(reader, object, device);
    if (status == HTH_OK)
        status = read_memory(reader, object, device);
    for (int r = 0; r < RATE_COUNT && status == HTH_OK; r++)
        status = read_number(reader, object, machine_rate_name((enum machine_rate)r), units[r],
                             &device->rate[r]);
    return status ? status : read_threads(reader, object, device, machine);
}

static enum hth_status read_devices(const struct reader *reader, const json_t *list,
                                    struct machine *machine)
{
    size_t n = json_array_size(list);
    machine->n_devices = 1;
    if (!json_is_array(list) || n == 0)
        return log_fail(reader->log, HTH_ERROR_FORMAT,
                        "%s: has no list \"devices\" (docs/placement.md shows one)", reader->path);
    for (size_t i = 0; i < n; i++) {
        struct machine_device device = {0};
        enum hth_status status = read_device(reader, json_array_get(list, i), machine, &device);
        if (status != HTH_OK)
            return status;
        bool cpu = device.kind == MACHINE_CPU;
        if (cpu && machine->devices[0].name[0])
            return log_fail(reader->log, HTH_ERROR_FORMAT, "%s: has two devices of kind cpu",
                            reader->path);
        if (!cpu && machine->n_devices == MACHINE_MAX_DEVICES)
            return log_fail(reader->log, HTH_ERROR_FORMAT, "%s: has more than %d GPUs",
                            reader->path, MACHINE_MAX_DEVICES - 1);
        device.number = machine->n_devices - 1;
        machine->devices[cpu ? 0 : machine->n_devices++] = device;
    }
    if (!machine->devices[0].name[0])
        return log_fail(reader->log, HTH_ERROR_FORMAT,
                        "%s: has no device of kind cpu, with the host's memory_gib", reader->path);
    return HTH_OK;
}

enum hth_status profile_read(struct machine *machine, const char *path, const struct log *log)
{
    static const char *const known[] = {"name", "devices", DISK, NULL};
    struct reader reader = {path, log};
    struct strbuf text = {0};
    json_error_t error;
    *machine = (struct machine){0};
    enum hth_status status = file_read(path, MOST_PROFILE_BYTES, &text, log);
    if (status != HTH_OK) {
        strbuf_free(&text);
        return status;
    }
    json_t *root = json_read(text.ptr, text.len, JSON_REJECT_DUPLICATES, &error);
    strbuf_free(&text);
    if (!root && json_lacked_memory(&error))
        return log_fail_memory(log, path, text.len);
    if (!root)
        return log_fail(log, HTH_ERROR_FORMAT, "%s: is no JSON: line %d, column %d: %s", path,
                        error.line, error.column, error.text);
    if (!json_is_object(root))
        status = log_fail(log, HTH_ERROR_FORMAT, "%s: is no JSON object", path);
    if (status == HTH_OK)
        status = check_keys(&reader, root, known, "it");
    if (status == HTH_OK)
        status = read_number(&reader, root, DISK, 1e9, &machine->disk_bytes_per_s);
    if (status == HTH_OK)
        status = read_devices(&reader, json_object_get(root, "devices"), machine);
    json_decref(root);
    return status;
}
