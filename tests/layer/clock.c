#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "layer_priv.h"

/* A device that is as slow as a test says, to the nanosecond: each workgroup takes the same time,
 * by its timestamps. One whose work is not done for a while, by the host's clock. And one that
 * offers queues of low priority. */

static PFN_vkBeginCommandBuffer real_vkBeginCommandBuffer;
static PFN_vkCmdDispatch real_vkCmdDispatch;
static PFN_vkCmdDispatchBase real_vkCmdDispatchBase;
static PFN_vkCmdWriteTimestamp real_vkCmdWriteTimestamp;
static PFN_vkGetQueryPoolResults real_vkGetQueryPoolResults;
static PFN_vkQueueSubmit real_vkQueueSubmit;
static PFN_vkWaitSemaphores real_vkWaitSemaphores;
static PFN_vkEnumerateDeviceExtensionProperties real_vkEnumerateDeviceExtensionProperties;

/* --- workgroups that were recorded ------------------------------------------------------------ */

/* Of a list of commands, or of a timestamp: how many came before it in its list. */
struct count {
    uint64_t key;
    uint64_t n_groups;
};

enum { MAX_COUNTS = 1 << 16 };

static struct count counts[MAX_COUNTS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static struct count *count_of(uint64_t handle, uint32_t index)
{
    uint64_t key = (handle + index) * 0x9e3779b97f4a7c15 + index + 1;
    for (uint64_t i = key >> 48, tries = 0; tries < MAX_COUNTS; i++, tries++) {
        struct count *count = &counts[i % MAX_COUNTS];
        if (count->key == key || count->key == 0) {
            count->key = key;
            return count;
        }
    }
    abort(); /* a test that records more than any should */
}

static struct count *count_of_list(VkCommandBuffer commands)
{
    return count_of((uint64_t)(uintptr_t)commands, 0);
}

static void add_groups(VkCommandBuffer commands, uint64_t n)
{
    pthread_mutex_lock(&mutex);
    count_of_list(commands)->n_groups += n;
    pthread_mutex_unlock(&mutex);
    atomic_fetch_add(&layer_state.n_dispatches, 1);
}

static VkResult VKAPI_CALL own_vkBeginCommandBuffer(VkCommandBuffer commands,
                                                    const VkCommandBufferBeginInfo *info)
{
    pthread_mutex_lock(&mutex);
    count_of_list(commands)->n_groups = 0;
    pthread_mutex_unlock(&mutex);
    return real_vkBeginCommandBuffer(commands, info);
}

static void VKAPI_CALL own_vkCmdDispatch(VkCommandBuffer commands, uint32_t x, uint32_t y,
                                         uint32_t z)
{
    add_groups(commands, (uint64_t)x * y * z);
    real_vkCmdDispatch(commands, x, y, z);
}

static void VKAPI_CALL own_vkCmdDispatchBase(VkCommandBuffer commands, uint32_t at_x, uint32_t at_y,
                                             uint32_t at_z, uint32_t x, uint32_t y, uint32_t z)
{
    add_groups(commands, (uint64_t)x * y * z);
    atomic_fetch_add(&layer_state.n_parts, 1);
    real_vkCmdDispatchBase(commands, at_x, at_y, at_z, x, y, z);
}

static void VKAPI_CALL own_vkCmdWriteTimestamp(VkCommandBuffer commands,
                                               VkPipelineStageFlagBits stage, VkQueryPool pool,
                                               uint32_t index)
{
    pthread_mutex_lock(&mutex);
    count_of((uint64_t)pool, index + 1)->n_groups = count_of_list(commands)->n_groups;
    pthread_mutex_unlock(&mutex);
    real_vkCmdWriteTimestamp(commands, stage, pool, index);
}

/* hearth asks for one at a time. */
static VkResult VKAPI_CALL own_vkGetQueryPoolResults(VkDevice device, VkQueryPool pool,
                                                     uint32_t first, uint32_t n, size_t bytes,
                                                     void *data, VkDeviceSize stride,
                                                     VkQueryResultFlags flags)
{
    VkResult result =
        real_vkGetQueryPoolResults(device, pool, first, n, bytes, data, stride, flags);
    uint64_t group_ns = atomic_load(&layer_state.group_ns);
    if (result != VK_SUCCESS || !group_ns || n != 1)
        return result;
    pthread_mutex_lock(&mutex);
    *(uint64_t *)data = count_of((uint64_t)pool, first + 1)->n_groups * group_ns;
    pthread_mutex_unlock(&mutex);
    return result;
}

/* --- submits ---------------------------------------------------------------------------------- */

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static uint64_t submitted_ns; /* when the last submit was */

static VkResult VKAPI_CALL own_vkQueueSubmit(VkQueue queue, uint32_t n, const VkSubmitInfo *infos,
                                             VkFence fence)
{
    pthread_mutex_lock(&mutex);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t groups = 0;
        for (uint32_t k = 0; k < infos[i].commandBufferCount; k++)
            groups += count_of_list(infos[i].pCommandBuffers[k])->n_groups;
        if (groups > layer_state.most_groups)
            layer_state.most_groups = groups;
    }
    submitted_ns = now_ns();
    pthread_mutex_unlock(&mutex);
    return real_vkQueueSubmit(queue, n, infos, fence);
}

static void sleep_until(uint64_t time_ns)
{
    struct timespec until = {(time_t)(time_ns / 1000000000), (long)(time_ns % 1000000000)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

static VkResult VKAPI_CALL own_vkWaitSemaphores(VkDevice device, const VkSemaphoreWaitInfo *info,
                                                uint64_t timeout_ns)
{
    pthread_mutex_lock(&mutex);
    uint64_t done_ns = submitted_ns + layer_state.late_ns, now = now_ns();
    pthread_mutex_unlock(&mutex);
    if (layer_state.late_ns && done_ns > now) {
        bool in_time = timeout_ns >= done_ns - now;
        sleep_until(in_time ? done_ns : now + timeout_ns);
        if (!in_time)
            return VK_TIMEOUT;
    }
    return real_vkWaitSemaphores(device, info, timeout_ns);
}

/* --- priorities ------------------------------------------------------------------------------- */

static const char *const priority = VK_KHR_GLOBAL_PRIORITY_EXTENSION_NAME;
static bool is_invented; /* the driver itself does not offer it */

/* It stands where another one did that every driver has and hearth does not ask for. */
static VkResult VKAPI_CALL own_vkEnumerateDeviceExtensionProperties(VkPhysicalDevice device,
                                                                    const char *layer, uint32_t *n,
                                                                    VkExtensionProperties *list)
{
    VkResult result = real_vkEnumerateDeviceExtensionProperties(device, layer, n, list);
    VkExtensionProperties *instead = NULL;
    is_invented = false;
    if (result != VK_SUCCESS || !list || layer || !layer_state.offers_priority)
        return result;
    for (uint32_t i = 0; i < *n; i++) {
        if (strcmp(list[i].extensionName, priority) == 0)
            return result;
        if (strcmp(list[i].extensionName, VK_KHR_MAINTENANCE1_EXTENSION_NAME) == 0)
            instead = &list[i];
    }
    is_invented = instead != NULL;
    if (instead)
        strcpy(instead->extensionName, priority);
    return result;
}

/* Notes what was wished for, and keeps from the driver what it does not know. */
void clock_device_info(VkDeviceCreateInfo *own)
{
    enum { MAX_NAMES = 64, MAX_QUEUES = 2 };
    static const char *names[MAX_NAMES];
    static VkDeviceQueueCreateInfo queues[MAX_QUEUES];
    uint32_t n = 0;
    layer_state.wished_priority = 0;
    for (uint32_t i = 0; i < own->queueCreateInfoCount && i < MAX_QUEUES; i++) {
        const VkDeviceQueueGlobalPriorityCreateInfoKHR *wish = own->pQueueCreateInfos[i].pNext;
        queues[i] = own->pQueueCreateInfos[i];
        if (wish && wish->sType == VK_STRUCTURE_TYPE_DEVICE_QUEUE_GLOBAL_PRIORITY_CREATE_INFO_KHR)
            layer_state.wished_priority = (int)wish->globalPriority;
        if (is_invented)
            queues[i].pNext = NULL;
    }
    own->pQueueCreateInfos = queues;
    for (uint32_t i = 0; i < own->enabledExtensionCount && n < MAX_NAMES; i++)
        if (!is_invented || strcmp(own->ppEnabledExtensionNames[i], priority) != 0)
            names[n++] = own->ppEnabledExtensionNames[i];
    own->ppEnabledExtensionNames = names;
    own->enabledExtensionCount = n;
}

PFN_vkVoidFunction clock_between(const char *name, PFN_vkVoidFunction real)
{
    LAYER_STAND_BETWEEN(vkBeginCommandBuffer)
    LAYER_STAND_BETWEEN(vkCmdDispatch)
    LAYER_STAND_BETWEEN(vkCmdDispatchBase)
    LAYER_STAND_BETWEEN(vkCmdWriteTimestamp)
    LAYER_STAND_BETWEEN(vkGetQueryPoolResults)
    LAYER_STAND_BETWEEN(vkQueueSubmit)
    LAYER_STAND_BETWEEN(vkWaitSemaphores)
    LAYER_STAND_BETWEEN(vkEnumerateDeviceExtensionProperties)
    return real;
}
