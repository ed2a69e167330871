#include "engine/engine.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static bool contains_nocase(const char *text, const char *part)
{
    size_t n = strlen(part);
    for (; *text; text++)
        if (strlen(text) >= n && str_equal_nocase((struct str){text, n}, (struct str){part, n}))
            return true;
    return false;
}

int device_find(const struct vk_caps *devices, uint32_t count, const char *which)
{
    char *end;
    unsigned long number = strtoul(which, &end, 10);
    if (isdigit((unsigned char)which[0]) && *end == '\0')
        return number < count ? (int)number : -1;
    for (uint32_t i = 0; i < count && *which; i++)
        if (contains_nocase(devices[i].name, which))
            return (int)i;
    return -1;
}

static bool usable(const struct vk_caps *device)
{
    return device->kind != VK_KIND_SOFTWARE && !device->lacks;
}

/* Turns the option into an index for vk_open: −1 for the CPU; errors are said. */
static enum hth_status choose(const char *wanted, const struct vk_caps *devices, uint32_t count,
                              const char *why, int *index, const struct log *log)
{
    bool is_auto = strcmp(wanted, "auto") == 0, any = strcmp(wanted, "vulkan") == 0;
    *index = -1;
    bool real = false;
    for (uint32_t i = 0; i < count; i++)
        real |= usable(&devices[i]);
    if (is_auto || any) {
        if (real) {
            *index = 0; /* only a sign: vk_open chooses among the real ones */
            return HTH_OK;
        }
        for (uint32_t i = 0; i < count; i++)
            if (devices[i].lacks && devices[i].kind != VK_KIND_SOFTWARE)
                log_warning(log, "%s is not used: it lacks %s", devices[i].name, devices[i].lacks);
        if (is_auto)
            return HTH_OK;
        if (count == 0)
            return log_fail(log, HTH_ERROR_DEVICE, "no Vulkan device: %s; use --device cpu", why);
        return log_fail(log, HTH_ERROR_DEVICE,
                        "no Vulkan GPU that hearth can use, only %s: ask for it by name (--device "
                        "vulkan:0), or use --device cpu",
                        devices[0].name);
    }
    const char *which = wanted + strlen("vulkan:");
    *index = device_find(devices, count, which);
    if (*index >= 0)
        return HTH_OK;
    if (count == 0)
        return log_fail(log, HTH_ERROR_DEVICE, "no Vulkan device: %s; use --device cpu", why);
    return log_fail(log, HTH_ERROR_DEVICE,
                    "no Vulkan device \"%s\"; there are %u (hearth devices lists them)", which,
                    count);
}

enum hth_status device_open(struct vk **vk, const struct hth_model_options *options,
                            bool capture_stats, const struct log *log)
{
    *vk = NULL;
    const char *wanted = options->device && *options->device ? options->device : "auto";
    if (strcmp(wanted, "cpu") == 0)
        return HTH_OK;
    if (strcmp(wanted, "auto") != 0 && strcmp(wanted, "vulkan") != 0 &&
        strncmp(wanted, "vulkan:", 7) != 0)
        return log_fail(log, HTH_ERROR_ARGUMENT,
                        "no such device \"%s\": use auto, cpu, vulkan or vulkan:N", wanted);
    struct vk_caps *devices;
    uint32_t count;
    const char *why;
    enum hth_status status = vk_list(&devices, &count, &why, log);
    if (status)
        return status;
    int index;
    status = choose(wanted, devices, count, why, &index, log);
    mem_free(devices);
    if (status || index < 0)
        return status;
    struct vk_options vk_options = {
        .index = strncmp(wanted, "vulkan:", 7) == 0 ? index : -1,
        .validation = options->validate,
        .discrete = options->treat_as_discrete,
        .memory_limit_bytes = options->vram_bytes,
        .capture_stats = capture_stats,
        .no_disk_cache = capture_stats,
    };
    return vk_open(vk, &vk_options, log);
}
