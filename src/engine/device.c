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

/* --- where none is named ---------------------------------------------------------------------- */

static void take_best(struct device_list *out, const struct vk_caps *devices, uint32_t count,
                      int best)
{
    out->index[out->n++] = best;
    for (uint32_t i = 0; i < count && devices[best].kind == VK_KIND_DISCRETE; i++)
        if ((int)i != best && usable(&devices[i]) && devices[i].kind == VK_KIND_DISCRETE &&
            out->n < (int)ARRAY_LEN(out->index))
            out->index[out->n++] = (int)i;
}

/* "auto" is content with none, "vulkan" is not. */
static enum hth_status choose_best(struct device_list *out, bool is_auto,
                                   const struct vk_caps *devices, uint32_t count,
                                   const struct log *log)
{
    int best = vk_best(devices, count);
    if (best >= 0) {
        take_best(out, devices, count, best);
        return HTH_OK;
    }
    for (uint32_t i = 0; i < count; i++)
        if (devices[i].lacks && devices[i].kind != VK_KIND_SOFTWARE)
            log_warning(log, "%s is not used: it lacks %s", devices[i].name, devices[i].lacks);
    if (is_auto)
        return HTH_OK;
    return log_fail(log, HTH_ERROR_DEVICE,
                    "no Vulkan GPU that hearth can use, only %s: ask for it by name (--device "
                    "vulkan:0), or use --device cpu",
                    devices[0].name);
}

/* --- by name ---------------------------------------------------------------------------------- */

static const char PREFIX[] = "vulkan:";

/* Adds the device of "vulkan:WHICH". A program in the place of a GPU may be there more than once,
 * as if there were several. */
static enum hth_status choose_one(struct device_list *out, const char *which,
                                  const struct vk_caps *devices, uint32_t count,
                                  const struct log *log)
{
    int index = device_find(devices, count, which);
    if (index < 0)
        return log_fail(log, HTH_ERROR_DEVICE,
                        "no Vulkan device \"%s\"; there are %u (hearth devices lists them)", which,
                        count);
    for (int i = 0; i < out->n; i++)
        if (out->index[i] == index && devices[index].kind != VK_KIND_SOFTWARE)
            return log_fail(log, HTH_ERROR_ARGUMENT, "--device names vulkan:%d (%s) twice", index,
                            devices[index].name);
    if (out->n == (int)ARRAY_LEN(out->index))
        return log_fail(log, HTH_ERROR_ARGUMENT,
                        "--device names more than %d devices, which is the most that hearth uses",
                        out->n);
    out->index[out->n++] = index;
    return HTH_OK;
}

/* "vulkan:WHICH", or several of these with commas between. */
static bool is_list(const char *wanted)
{
    for (const char *item = wanted; item; item = strchr(item, ',') ? strchr(item, ',') + 1 : NULL)
        if (strncmp(item, PREFIX, strlen(PREFIX)) != 0)
            return false;
    return true;
}

static enum hth_status no_such(const char *wanted, const struct log *log)
{
    return log_fail(log, HTH_ERROR_ARGUMENT,
                    "no such device \"%s\": use auto, cpu, vulkan, vulkan:N or several of these "
                    "with commas between",
                    wanted);
}

static enum hth_status choose_named(struct device_list *out, const char *wanted,
                                    const struct vk_caps *devices, uint32_t count,
                                    const struct log *log)
{
    enum hth_status status = is_list(wanted) ? HTH_OK : no_such(wanted, log);
    for (const char *item = wanted, *next; item && status == HTH_OK; item = next) {
        char which[sizeof devices->name];
        const char *comma = strchr(item, ',');
        size_t n = (comma ? (size_t)(comma - item) : strlen(item)) - strlen(PREFIX);
        next = comma ? comma + 1 : NULL;
        if (n >= sizeof which)
            return no_such(wanted, log);
        memcpy(which, item + strlen(PREFIX), n);
        which[n] = '\0';
        status = choose_one(out, which, devices, count, log);
    }
    return status;
}

/* --- both ------------------------------------------------------------------------------------- */

static const char *or_auto(const char *wanted)
{
    return wanted && *wanted ? wanted : "auto";
}

enum hth_status device_choose(struct device_list *out, const char *wanted,
                              const struct vk_caps *devices, uint32_t count, const struct log *log)
{
    *out = (struct device_list){0};
    wanted = or_auto(wanted);
    bool is_auto = strcmp(wanted, "auto") == 0;
    if (strcmp(wanted, "cpu") == 0)
        return HTH_OK;
    return is_auto || strcmp(wanted, "vulkan") == 0
               ? choose_best(out, is_auto, devices, count, log)
               : choose_named(out, wanted, devices, count, log);
}

enum hth_status device_choose_now(struct device_list *out, const char *wanted,
                                  const struct log *log)
{
    *out = (struct device_list){0};
    wanted = or_auto(wanted);
    struct vk_caps *devices;
    uint32_t count;
    const char *why;
    if (strcmp(wanted, "cpu") == 0)
        return HTH_OK;
    if (strcmp(wanted, "auto") != 0 && strcmp(wanted, "vulkan") != 0 && !is_list(wanted))
        return no_such(wanted, log); /* whatever devices there are */
    enum hth_status status = vk_list(&devices, &count, &why, log);
    if (status)
        return status;
    if (count == 0 && strcmp(wanted, "auto") != 0)
        status = log_fail(log, HTH_ERROR_DEVICE, "no Vulkan device: %s; use --device cpu", why);
    else
        status = device_choose(out, wanted, devices, count, log);
    mem_free(devices);
    return status;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* What is only compiled to be looked at stays out of the cache on disk. */
struct looks {
    bool stats, times;
};

static enum hth_status open_at(struct vk **vk, int index, const struct hth_model_options *options,
                               struct looks looks, const struct log *log)
{
    struct vk_options vk_options = {
        .index = index,
        .validation = options->validate,
        .discrete = options->treat_as_discrete,
        .memory_limit_bytes = options->vram_bytes,
        .capture_stats = looks.stats,
        .no_disk_cache = looks.stats || looks.times,
    };
    return vk_open(vk, &vk_options, log);
}

enum hth_status device_open_at(struct vk **vk, int index, const struct hth_model_options *options,
                               const struct log *log)
{
    return open_at(vk, index, options, (struct looks){0}, log);
}

enum hth_status device_open_to_time(struct vk **vk, int index,
                                    const struct hth_model_options *options, const struct log *log)
{
    return open_at(vk, index, options, (struct looks){.times = true}, log);
}

enum hth_status device_open(struct vk **vk, const struct hth_model_options *options,
                            bool capture_stats, const struct log *log)
{
    struct device_list list;
    *vk = NULL;
    enum hth_status status = device_choose_now(&list, options->device, log);
    if (status || list.n == 0)
        return status;
    if (list.n > 1 && strchr(options->device ? options->device : "", ','))
        return log_fail(log, HTH_ERROR_ARGUMENT, "--device %s: one device at a time here",
                        options->device);
    return open_at(vk, list.index[0], options, (struct looks){.stats = capture_stats}, log);
}
