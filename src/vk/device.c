#include <string.h>

#include "base/mem.h"
#include "vk/vk_priv.h"

/* --- the list --------------------------------------------------------------------------------- */

/* Handles of all devices; *count 0 and `*why` if there are none. */
static enum hth_status enumerate(const struct vk_instance *instance, VkPhysicalDevice **out,
                                 uint32_t *count, const char **why, const struct log *log)
{
    *out = NULL;
    *count = 0;
    VkResult result = VK_INCOMPLETE; /* said when there are more by the time the list is made */
    for (int tries = 0; tries < 3 && result == VK_INCOMPLETE; tries++) {
        mem_free(*out);
        *out = NULL;
        result = vkEnumeratePhysicalDevices(instance->handle, count, NULL);
        if (result != VK_SUCCESS || *count == 0)
            break;
        *out = mem_calloc(*count, sizeof **out);
        if (!*out)
            return log_fail_memory(log, "the list of Vulkan devices", *count * sizeof **out);
        result = vkEnumeratePhysicalDevices(instance->handle, count, *out);
    }
    if (result == VK_SUCCESS || result == VK_INCOMPLETE ||
        result == VK_ERROR_INITIALIZATION_FAILED) {
        if (result == VK_ERROR_INITIALIZATION_FAILED)
            *count = 0;
        if (*count == 0)
            *why = "there is a Vulkan driver, but it found no device";
        return HTH_OK;
    }
    return log_fail(log, HTH_ERROR_DEVICE, "vkEnumeratePhysicalDevices failed: %s",
                    vk_result_name(result));
}

/* All devices, read; free with mem_free. */
static enum hth_status read_all(const struct vk_instance *instance, struct vk_gpu **out,
                                uint32_t *count, const char **why, const struct log *log)
{
    *out = NULL;
    VkPhysicalDevice *handles;
    struct vk_gpu *gpus = NULL;
    enum hth_status status = enumerate(instance, &handles, count, why, log);
    if (status == HTH_OK && *count > 0) {
        gpus = mem_calloc(*count, sizeof *gpus);
        if (!gpus)
            status = log_fail_memory(log, "the list of Vulkan devices", *count * sizeof *gpus);
    }
    for (uint32_t i = 0; i < *count && status == HTH_OK; i++)
        status = vk_gpu_read(&gpus[i], handles[i], log);
    mem_free(handles);
    if (status != HTH_OK) {
        mem_free(gpus);
        *count = 0;
        return status;
    }
    *out = gpus;
    return HTH_OK;
}

enum hth_status vk_list(struct vk_caps **devices, uint32_t *count, const char **why,
                        const struct log *log)
{
    struct vk_instance instance;
    struct vk_gpu *gpus = NULL;
    *devices = NULL;
    *count = 0;
    *why = NULL;
    enum hth_status status = vk_instance_open(&instance, false, log, why);
    if (status == HTH_OK && instance.handle)
        status = read_all(&instance, &gpus, count, why, log);
    if (status == HTH_OK && *count > 0) {
        *devices = mem_calloc(*count, sizeof **devices);
        if (!*devices) {
            status = log_fail_memory(log, "the list of Vulkan devices", *count * sizeof **devices);
            *count = 0;
        }
    }
    for (uint32_t i = 0; i < *count; i++)
        (*devices)[i] = gpus[i].caps;
    mem_free(gpus);
    vk_instance_close(&instance);
    return status;
}

/* --- choice ----------------------------------------------------------------------------------- */

/* Higher is better; 0: never by itself. */
static int rank(const struct vk_caps *caps)
{
    if (caps->lacks)
        return 0;
    switch (caps->kind) {
    case VK_KIND_DISCRETE: return 4;
    case VK_KIND_INTEGRATED: return 3;
    case VK_KIND_VIRTUAL: return 2;
    case VK_KIND_OTHER: return 1;
    default: return 0;
    }
}

static bool is_better(const struct vk_caps *a, const struct vk_caps *b)
{
    int mine = rank(a), other = b ? rank(b) : 0;
    return mine > other || (mine > 0 && mine == other && a->device_bytes > b->device_bytes);
}

int vk_best(const struct vk_caps *devices, uint32_t count)
{
    int best = -1;
    for (uint32_t i = 0; i < count; i++)
        if (is_better(&devices[i], best < 0 ? NULL : &devices[best]))
            best = (int)i;
    return best;
}

static int choose(const struct vk_gpu *gpus, uint32_t count)
{
    int best = -1;
    for (uint32_t i = 0; i < count; i++)
        if (is_better(&gpus[i].caps, best < 0 ? NULL : &gpus[best].caps))
            best = (int)i;
    return best;
}

static enum hth_status pick(struct vk *vk)
{
    struct vk_gpu *gpus = NULL;
    uint32_t count = 0;
    const char *why = "there is no Vulkan device";
    int index = vk->options.index;
    const struct log *log = &vk->log;
    enum hth_status status = vk_instance_open(&vk->instance, vk->options.validation, log, &why);
    if (status == HTH_OK && vk->instance.handle)
        status = read_all(&vk->instance, &gpus, &count, &why, log);
    if (status != HTH_OK)
        return status;
    if (count == 0)
        return log_fail(log, HTH_ERROR_UNSUPPORTED, "no Vulkan device can be used: %s", why);
    if (index < 0)
        index = choose(gpus, count);
    if (index < 0)
        status = log_fail(log, HTH_ERROR_UNSUPPORTED,
                          "none of the %u Vulkan devices is a GPU that hearth can use; a software "
                          "device is used only when asked for by its number",
                          count);
    else if ((uint32_t)index >= count)
        status = log_fail(log, HTH_ERROR_UNSUPPORTED,
                          "there is no Vulkan device %d: the machine has %u, counted from 0", index,
                          count);
    else if (gpus[index].caps.lacks)
        status = log_fail(log, HTH_ERROR_UNSUPPORTED, "%s (%s) lacks %s, which hearth needs",
                          gpus[index].caps.name, gpus[index].caps.driver, gpus[index].caps.lacks);
    else
        vk->gpu = gpus[index];
    vk->index = index;
    mem_free(gpus);
    return status;
}

/* --- the logical device ----------------------------------------------------------------------- */

static VkResult create_device(struct vk *vk, bool low_priority)
{
    const struct vk_gpu *gpu = &vk->gpu;
    static const float priorities[1] = {1.0f};
    VkDeviceQueueGlobalPriorityCreateInfoKHR low = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_GLOBAL_PRIORITY_CREATE_INFO_KHR,
        .globalPriority = VK_QUEUE_GLOBAL_PRIORITY_LOW_KHR,
    };
    VkDeviceQueueCreateInfo queues[2] = {
        {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
         .pNext = low_priority ? &low : NULL,
         .queueFamilyIndex = gpu->compute_family,
         .queueCount = 1,
         .pQueuePriorities = priorities},
        {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
         .queueFamilyIndex = gpu->transfer_family,
         .queueCount = 1,
         .pQueuePriorities = priorities},
    };
    const char *names[VK_N_EXTENSIONS];
    struct vk_features features;
    vk_features_chain(&features, gpu);
    vkGetPhysicalDeviceFeatures2(gpu->handle, &features.core);
    vk_features_keep_ours(&features, vk->options.capture_stats);
    VkDeviceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
        .pNext = &features.core,
        .queueCreateInfoCount = gpu->transfer_family != VK_NO_FAMILY ? 2 : 1,
        .pQueueCreateInfos = queues,
        .enabledExtensionCount = vk_gpu_extensions(gpu, vk->options.capture_stats, names),
        .ppEnabledExtensionNames = names,
    };
    return vkCreateDevice(gpu->handle, &info, NULL, &vk->device);
}

static enum hth_status open_device(struct vk *vk)
{
    const struct vk_gpu *gpu = &vk->gpu;
    bool low = vk_gpu_has(gpu, VK_EXT_PRIORITY_KHR) || vk_gpu_has(gpu, VK_EXT_PRIORITY_EXT);
    VkResult result = create_device(vk, low);
    if (low && (result == VK_ERROR_NOT_PERMITTED_KHR || result == VK_ERROR_INITIALIZATION_FAILED))
        result = create_device(vk, false);
    if (result != VK_SUCCESS) {
        vk->device = VK_NULL_HANDLE;
        return vk_fail(vk, result, "vkCreateDevice");
    }
    volkLoadDeviceTable(&vk->f, vk->device);
    vk->f.vkGetDeviceQueue(vk->device, gpu->compute_family, 0, &vk->queue);
    vk->transfer_queue = vk->queue;
    if (gpu->transfer_family != VK_NO_FAMILY)
        vk->f.vkGetDeviceQueue(vk->device, gpu->transfer_family, 0, &vk->transfer_queue);
    VkSemaphoreTypeCreateInfo type = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                      .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
                                       .pNext = &type};
    result = vk->f.vkCreateSemaphore(vk->device, &semaphore, NULL, &vk->timeline);
    return result == VK_SUCCESS ? HTH_OK : vk_fail(vk, result, "vkCreateSemaphore");
}

/* What the test mode and the memory limit make of the device's own figures. In the test mode the
 * one heap of a unified device is shown twice: as the device's, and as the host's. */
static void shape_caps(const struct vk *vk, struct vk_caps *caps)
{
    uint64_t limit = vk->options.memory_limit_bytes;
    if (vk->options.discrete && vk->gpu.caps.unified == false && caps->n_heaps == 1) {
        caps->heaps[1] = caps->heaps[0];
        caps->heaps[1].device_local = false;
        caps->n_heaps = 2;
    }
    if (!limit)
        return;
    caps->device_bytes = caps->device_bytes < limit ? caps->device_bytes : limit;
    for (uint32_t i = 0; i < caps->n_heaps; i++) {
        struct vk_heap *heap = &caps->heaps[i];
        if (!heap->device_local)
            continue;
        heap->budget_bytes = heap->budget_bytes < limit ? heap->budget_bytes : limit;
        if (vk->options.discrete) {
            heap->size_bytes = heap->size_bytes < limit ? heap->size_bytes : limit;
            heap->used_bytes = vk->allocated[VK_MEMORY_DEVICE];
        }
    }
}

enum hth_status vk_open(struct vk **out, const struct vk_options *options, const struct log *log)
{
    *out = NULL;
    struct vk *vk = mem_calloc(1, sizeof *vk);
    if (!vk)
        return log_fail_memory(log, "a Vulkan device", sizeof *vk);
    vk->options = *options;
    if (log)
        vk->log = *log;
    enum hth_status status = pick(vk);
    if (options->discrete)
        vk->gpu.caps.unified = false;
    if (vk->gpu.caps.unified) /* nothing to copy, and a second queue costs memory */
        vk->gpu.transfer_family = VK_NO_FAMILY;
    if (status == HTH_OK)
        shape_caps(vk, &vk->gpu.caps);
    if (status == HTH_OK)
        status = open_device(vk);
    if (status == HTH_OK)
        status = vk_transfer_open(vk);
    if (status == HTH_OK)
        status = vk_memory_open(vk);
    if (status == HTH_OK)
        status = vk_pipelines_open(vk);
    if (status != HTH_OK) {
        vk_close(vk);
        return status;
    }
    *out = vk;
    return HTH_OK;
}

void vk_close(struct vk *vk)
{
    if (!vk)
        return;
    if (vk->device) {
        vk_pipelines_close(vk);
        vk->f.vkDeviceWaitIdle(vk->device);
        vk_transfer_close(vk);
        vk_memory_close(vk);
        vk->f.vkDestroySemaphore(vk->device, vk->timeline, NULL);
        vk->f.vkDestroyDevice(vk->device, NULL);
    }
    vk_instance_close(&vk->instance);
    mem_free(vk);
}

const struct vk_caps *vk_get_caps(const struct vk *vk)
{
    return &vk->gpu.caps;
}

int vk_get_index(const struct vk *vk)
{
    return vk->index;
}

bool vk_is_lost(const struct vk *vk)
{
    return atomic_load(&vk->lost);
}

void vk_update_budget(struct vk *vk, struct vk_caps *caps)
{
    vk_gpu_read_heaps(&vk->gpu, caps);
    shape_caps(vk, caps);
}

uint32_t vk_validation_messages(const struct vk *vk)
{
    return atomic_load(&vk->instance.n_messages);
}

/* --- errors ----------------------------------------------------------------------------------- */

void vk_refuse(struct vk *vk)
{
    vk->refused_at = vk->allocated[VK_MEMORY_DEVICE];
    atomic_fetch_add(&vk->n_refused, 1);
}

enum hth_status vk_fail(struct vk *vk, VkResult result, const char *call)
{
    const struct log *log = &vk->log;
    const char *name = vk_result_name(result), *device = vk->gpu.caps.name;
    switch (result) {
    case VK_ERROR_DEVICE_LOST:
        if (atomic_exchange(&vk->lost, true))
            return HTH_ERROR_DEVICE_LOST;
        return log_fail(log, HTH_ERROR_DEVICE_LOST,
                        "%s failed on %s: %s; the driver has reset the device or it went away (the "
                        "system's log may say why)",
                        call, device, name);
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_POOL_MEMORY:
    case VK_ERROR_FRAGMENTATION:
        vk_refuse(vk);
        return log_fail(
            log, HTH_ERROR_MEMORY,
            "out of memory: %s failed on %s: %s, with %llu MiB of device memory in use by "
            "hearth; close other programs that use the GPU, or use less",
            call, device, name, (unsigned long long)(vk->allocated[VK_MEMORY_DEVICE] >> 20));
    case VK_ERROR_FEATURE_NOT_PRESENT:
    case VK_ERROR_EXTENSION_NOT_PRESENT:
        return log_fail(
            log, HTH_ERROR_DEVICE,
            "%s failed on %s: %s, although the driver (%s) lists it: try a newer driver", call,
            device, name, vk->gpu.caps.driver);
    default:
        return log_fail(log, HTH_ERROR_DEVICE, "%s failed on %s (%s): %s", call, device,
                        vk->gpu.caps.driver, name);
    }
}

void vk_set_name(struct vk *vk, VkObjectType type, uint64_t handle, const char *name)
{
    if (!vk->instance.debug_utils || !vkSetDebugUtilsObjectNameEXT || !name)
        return;
    VkDebugUtilsObjectNameInfoEXT info = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_OBJECT_NAME_INFO_EXT,
        .objectType = type,
        .objectHandle = handle,
        .pObjectName = name,
    };
    VkResult ignored =
        vkSetDebugUtilsObjectNameEXT(vk->device, &info); /* a name is only a comfort */
    (void)ignored;
}
