#include <pthread.h>
#include <string.h>

#include "layer_priv.h"

/* A second queue family for copies on a device that has one queue. What is submitted to one of the
 * two is held back until something waits for it: a submit to the other queue that names its
 * semaphore, or the host. With copies held back, a submit that forgot to wait runs before the
 * copies that it needs, every time, which a fast device shows once in a thousand; with the others
 * held back, a copy that forgot to wait writes over what they have yet to read. */

enum { FAMILY = 1, MAX_HELD = 64 };

struct held {
    VkCommandBuffer commands;
    VkSemaphore wait, signal;
    uint64_t wait_value, signal_value;
    bool waits;
};

/* The loader writes its table into the first word of a queue. */
static struct {
    void *table;
} second;
static const VkQueue copies = (VkQueue)&second;

static VkQueue first;
static struct held held[MAX_HELD];
static int n_held;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static PFN_vkGetPhysicalDeviceQueueFamilyProperties real_vkGetPhysicalDeviceQueueFamilyProperties;
static PFN_vkGetDeviceQueue real_vkGetDeviceQueue;
static PFN_vkCreateBuffer real_vkCreateBuffer;
static PFN_vkCreateCommandPool real_vkCreateCommandPool;
static PFN_vkQueueSubmit real_vkQueueSubmit;
static PFN_vkWaitSemaphores real_vkWaitSemaphores;
static PFN_vkDeviceWaitIdle real_vkDeviceWaitIdle;

static VkResult submit_held(const struct held *one)
{
    const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    VkTimelineSemaphoreSubmitInfo timeline = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .waitSemaphoreValueCount = one->waits,
        .pWaitSemaphoreValues = &one->wait_value,
        .signalSemaphoreValueCount = 1,
        .pSignalSemaphoreValues = &one->signal_value,
    };
    VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .pNext = &timeline,
        .waitSemaphoreCount = one->waits,
        .pWaitSemaphores = &one->wait,
        .pWaitDstStageMask = &stage,
        .commandBufferCount = 1,
        .pCommandBuffers = &one->commands,
        .signalSemaphoreCount = 1,
        .pSignalSemaphores = &one->signal,
    };
    return real_vkQueueSubmit(first, 1, &info, VK_NULL_HANDLE);
}

/* Submits the first n that are held. */
static VkResult release_first(int n)
{
    VkResult result = VK_SUCCESS;
    for (int i = 0; i < n && result == VK_SUCCESS; i++)
        result = submit_held(&held[i]);
    memmove(held, held + n, (size_t)(n_held - n) * sizeof *held);
    n_held -= n;
    atomic_fetch_add(&layer_state.n_late, n);
    return result;
}

/* Submits what was held, up to where a semaphore gets its value. */
static VkResult release(VkSemaphore semaphore, uint64_t value)
{
    int n = 0;
    for (int i = 0; i < n_held; i++)
        if (held[i].signal == semaphore && held[i].signal_value <= value)
            n = i + 1;
    return release_first(n);
}

void queues_flush(void)
{
    pthread_mutex_lock(&mutex);
    VkResult ignored = release_first(n_held);
    (void)ignored;
    pthread_mutex_unlock(&mutex);
}

/* What hearth submits: one list, at most one semaphore to wait for, one to signal. */
static VkResult hold(const VkSubmitInfo *info)
{
    const VkTimelineSemaphoreSubmitInfo *timeline = info->pNext;
    if (n_held == MAX_HELD) {
        VkResult result = release_first(1);
        if (result != VK_SUCCESS)
            return result;
    }
    struct held one = {
        .commands = info->pCommandBuffers[0],
        .signal = info->pSignalSemaphores[0],
        .signal_value = timeline->pSignalSemaphoreValues[0],
        .waits = info->waitSemaphoreCount > 0,
    };
    if (one.waits) {
        one.wait = info->pWaitSemaphores[0];
        one.wait_value = timeline->pWaitSemaphoreValues[0];
    }
    held[n_held++] = one;
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL own_vkQueueSubmit(VkQueue queue, uint32_t n, const VkSubmitInfo *infos,
                                             VkFence fence)
{
    if (!layer_state.queues)
        return real_vkQueueSubmit(queue, n, infos, fence);
    pthread_mutex_lock(&mutex);
    VkResult result = VK_SUCCESS;
    for (uint32_t i = 0; i < n && result == VK_SUCCESS; i++) {
        const VkSubmitInfo *info = &infos[i];
        const VkTimelineSemaphoreSubmitInfo *timeline = info->pNext;
        if ((queue == copies) == (layer_state.queues == LAYER_COPIES_LATE)) {
            result = hold(info);
            continue;
        }
        for (uint32_t s = 0; s < info->waitSemaphoreCount && result == VK_SUCCESS; s++)
            result = release(info->pWaitSemaphores[s], timeline->pWaitSemaphoreValues[s]);
        if (result == VK_SUCCESS)
            result = real_vkQueueSubmit(first, 1, info, fence);
    }
    pthread_mutex_unlock(&mutex);
    return result;
}

static VkResult VKAPI_CALL own_vkWaitSemaphores(VkDevice device, const VkSemaphoreWaitInfo *info,
                                                uint64_t timeout_ns)
{
    VkResult result = VK_SUCCESS;
    pthread_mutex_lock(&mutex);
    for (uint32_t i = 0; i < info->semaphoreCount && result == VK_SUCCESS; i++)
        result = release(info->pSemaphores[i], info->pValues[i]);
    pthread_mutex_unlock(&mutex);
    return result == VK_SUCCESS ? real_vkWaitSemaphores(device, info, timeout_ns) : result;
}

static VkResult VKAPI_CALL own_vkDeviceWaitIdle(VkDevice device)
{
    queues_flush();
    return real_vkDeviceWaitIdle(device);
}

static void VKAPI_CALL own_vkGetDeviceQueue(VkDevice device, uint32_t family, uint32_t index,
                                            VkQueue *queue)
{
    if (layer_state.queues && family == FAMILY) {
        *queue = copies;
        return;
    }
    real_vkGetDeviceQueue(device, family, index, queue);
    first = *queue;
}

static void VKAPI_CALL own_vkGetPhysicalDeviceQueueFamilyProperties(VkPhysicalDevice device,
                                                                    uint32_t *n,
                                                                    VkQueueFamilyProperties *list)
{
    if (!layer_state.queues) {
        real_vkGetPhysicalDeviceQueueFamilyProperties(device, n, list);
        return;
    }
    uint32_t room = list ? *n : 2, real = 1;
    VkQueueFamilyProperties only;
    real_vkGetPhysicalDeviceQueueFamilyProperties(device, &real, &only);
    *n = room < 2 ? room : 2;
    if (list && room > 0)
        list[0] = only;
    if (list && room > 1) {
        list[1] = only;
        list[1].queueFlags = VK_QUEUE_TRANSFER_BIT;
    }
}

static VkResult VKAPI_CALL own_vkCreateBuffer(VkDevice device, const VkBufferCreateInfo *info,
                                              const VkAllocationCallbacks *allocator,
                                              VkBuffer *buffer)
{
    VkBufferCreateInfo own = *info;
    if (layer_state.queues) {
        own.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
        own.queueFamilyIndexCount = 0;
    }
    return real_vkCreateBuffer(device, &own, allocator, buffer);
}

static VkResult VKAPI_CALL own_vkCreateCommandPool(VkDevice device,
                                                   const VkCommandPoolCreateInfo *info,
                                                   const VkAllocationCallbacks *allocator,
                                                   VkCommandPool *pool)
{
    VkCommandPoolCreateInfo own = *info;
    if (layer_state.queues)
        own.queueFamilyIndex = 0;
    return real_vkCreateCommandPool(device, &own, allocator, pool);
}

void queues_device_info(VkDeviceCreateInfo *own)
{
    if (layer_state.queues && own->queueCreateInfoCount > 1)
        own->queueCreateInfoCount = 1;
}

PFN_vkVoidFunction queues_between(const char *name, PFN_vkVoidFunction real)
{
    LAYER_STAND_BETWEEN(vkGetPhysicalDeviceQueueFamilyProperties)
    LAYER_STAND_BETWEEN(vkGetDeviceQueue)
    LAYER_STAND_BETWEEN(vkCreateBuffer)
    LAYER_STAND_BETWEEN(vkCreateCommandPool)
    LAYER_STAND_BETWEEN(vkQueueSubmit)
    LAYER_STAND_BETWEEN(vkWaitSemaphores)
    LAYER_STAND_BETWEEN(vkDeviceWaitIdle)
    return real;
}
