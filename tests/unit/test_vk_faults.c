#include "harness/test.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "vk/vk_priv.h"
#include "vk_blobs.h"

/* A driver that fails calls on demand, or is another than it is: functions of ours stand between
 * volk and the loader. They need a driver beneath that works: Mesa's software device. */

static struct {
    atomic_int left;         /* calls until the one that fails; < 0: none */
    VkResult result;         /* of that call */
    char name[64];           /* of that call, once it was hit */
    bool at_end, hit_at_end; /* nothing is left but to clean up: now, and at the call that failed */
    bool two_queues;         /* there is a family for copies only, */
    uint64_t uploads;        /* the last value that its submits signalled, */
    uint32_t unwaited;       /* and submits of compute that did not wait for it */
    uint32_t n_chunks, api_version;
    bool no_storage16, no_indexing, is_discrete;
} fake;

static const VkQueue copies = (VkQueue)&fake; /* the second queue's handle */

static bool inject(const char *name, VkResult *result)
{
    if (atomic_load(&fake.left) < 0 || atomic_fetch_sub(&fake.left, 1) != 0)
        return false;
    snprintf(fake.name, sizeof fake.name, "%s", name);
    *result = fake.result;
    fake.hit_at_end = fake.at_end;
    return true;
}

#define FAILING(X)                                                                                 \
    X(vkCreateInstance,                                                                            \
      (const VkInstanceCreateInfo *a, const VkAllocationCallbacks *b, VkInstance *c), (a, b, c))   \
    X(vkEnumerateInstanceExtensionProperties,                                                      \
      (const char *a, uint32_t *b, VkExtensionProperties *c), (a, b, c))                           \
    X(vkEnumerateInstanceLayerProperties, (uint32_t * a, VkLayerProperties * b), (a, b))           \
    X(vkEnumeratePhysicalDevices, (VkInstance a, uint32_t * b, VkPhysicalDevice * c), (a, b, c))   \
    X(vkEnumerateDeviceExtensionProperties,                                                        \
      (VkPhysicalDevice a, const char *b, uint32_t *c, VkExtensionProperties *d), (a, b, c, d))    \
    X(vkCreateSemaphore,                                                                           \
      (VkDevice a, const VkSemaphoreCreateInfo *b, const VkAllocationCallbacks *c,                 \
       VkSemaphore *d),                                                                            \
      (a, b, c, d))                                                                                \
    X(vkAllocateMemory,                                                                            \
      (VkDevice a, const VkMemoryAllocateInfo *b, const VkAllocationCallbacks *c,                  \
       VkDeviceMemory *d),                                                                         \
      (a, b, c, d))                                                                                \
    X(vkBindBufferMemory, (VkDevice a, VkBuffer b, VkDeviceMemory c, VkDeviceSize d),              \
      (a, b, c, d))                                                                                \
    X(vkMapMemory,                                                                                 \
      (VkDevice a, VkDeviceMemory b, VkDeviceSize c, VkDeviceSize d, VkMemoryMapFlags e,           \
       void **f),                                                                                  \
      (a, b, c, d, e, f))                                                                          \
    X(vkCreateDescriptorSetLayout,                                                                 \
      (VkDevice a, const VkDescriptorSetLayoutCreateInfo *b, const VkAllocationCallbacks *c,       \
       VkDescriptorSetLayout *d),                                                                  \
      (a, b, c, d))                                                                                \
    X(vkCreatePipelineLayout,                                                                      \
      (VkDevice a, const VkPipelineLayoutCreateInfo *b, const VkAllocationCallbacks *c,            \
       VkPipelineLayout *d),                                                                       \
      (a, b, c, d))                                                                                \
    X(vkCreateDescriptorPool,                                                                      \
      (VkDevice a, const VkDescriptorPoolCreateInfo *b, const VkAllocationCallbacks *c,            \
       VkDescriptorPool *d),                                                                       \
      (a, b, c, d))                                                                                \
    X(vkAllocateDescriptorSets,                                                                    \
      (VkDevice a, const VkDescriptorSetAllocateInfo *b, VkDescriptorSet *c), (a, b, c))           \
    X(vkAllocateCommandBuffers,                                                                    \
      (VkDevice a, const VkCommandBufferAllocateInfo *b, VkCommandBuffer *c), (a, b, c))           \
    X(vkResetCommandPool, (VkDevice a, VkCommandPool b, VkCommandPoolResetFlags c), (a, b, c))     \
    X(vkBeginCommandBuffer, (VkCommandBuffer a, const VkCommandBufferBeginInfo *b), (a, b))        \
    X(vkEndCommandBuffer, (VkCommandBuffer a), (a))                                                \
    X(vkWaitSemaphores, (VkDevice a, const VkSemaphoreWaitInfo *b, uint64_t c), (a, b, c))         \
    X(vkCreateQueryPool,                                                                           \
      (VkDevice a, const VkQueryPoolCreateInfo *b, const VkAllocationCallbacks *c,                 \
       VkQueryPool *d),                                                                            \
      (a, b, c, d))                                                                                \
    X(vkGetQueryPoolResults,                                                                       \
      (VkDevice a, VkQueryPool b, uint32_t c, uint32_t d, size_t e, void *f, VkDeviceSize g,       \
       VkQueryResultFlags h),                                                                      \
      (a, b, c, d, e, f, g, h))                                                                    \
    X(vkCreateShaderModule,                                                                        \
      (VkDevice a, const VkShaderModuleCreateInfo *b, const VkAllocationCallbacks *c,              \
       VkShaderModule *d),                                                                         \
      (a, b, c, d))                                                                                \
    X(vkCreateComputePipelines,                                                                    \
      (VkDevice a, VkPipelineCache b, uint32_t c, const VkComputePipelineCreateInfo *d,            \
       const VkAllocationCallbacks *e, VkPipeline *f),                                             \
      (a, b, c, d, e, f))                                                                          \
    X(vkCreatePipelineCache,                                                                       \
      (VkDevice a, const VkPipelineCacheCreateInfo *b, const VkAllocationCallbacks *c,             \
       VkPipelineCache *d),                                                                        \
      (a, b, c, d))                                                                                \
    X(vkGetPipelineCacheData, (VkDevice a, VkPipelineCache b, size_t * c, void *d), (a, b, c, d))

#define DEFINE(name, params, args)                                                                 \
    static PFN_##name real_##name;                                                                 \
    static VkResult VKAPI_CALL fake_##name params                                                  \
    {                                                                                              \
        VkResult result;                                                                           \
        return inject(#name, &result) ? result : real_##name args;                                 \
    }
FAILING(DEFINE)

/* --- those that do more than fail ------------------------------------------------------------- */

static PFN_vkGetInstanceProcAddr real_instance_proc;
static PFN_vkGetDeviceProcAddr real_device_proc;
static PFN_vkCreateDevice real_vkCreateDevice;
static PFN_vkCreateBuffer real_vkCreateBuffer;
static PFN_vkCreateCommandPool real_vkCreateCommandPool;
static PFN_vkQueueSubmit real_vkQueueSubmit;
static PFN_vkGetDeviceQueue real_vkGetDeviceQueue;
static PFN_vkGetPhysicalDeviceQueueFamilyProperties real_vkGetPhysicalDeviceQueueFamilyProperties;
static PFN_vkGetPhysicalDeviceProperties real_vkGetPhysicalDeviceProperties;
static PFN_vkGetPhysicalDeviceFeatures2 real_vkGetPhysicalDeviceFeatures2;
static VkQueue real_queue;

static VkResult VKAPI_CALL fake_vkCreateDevice(VkPhysicalDevice a, const VkDeviceCreateInfo *info,
                                               const VkAllocationCallbacks *c, VkDevice *d)
{
    VkDeviceCreateInfo own = *info;
    VkResult result;
    own.queueCreateInfoCount = 1;
    return inject("vkCreateDevice", &result) ? result : real_vkCreateDevice(a, &own, c, d);
}

static VkResult VKAPI_CALL fake_vkCreateBuffer(VkDevice a, const VkBufferCreateInfo *info,
                                               const VkAllocationCallbacks *c, VkBuffer *d)
{
    VkBufferCreateInfo own = *info;
    VkResult result;
    if (fake.two_queues)
        assert_int_equal(own.sharingMode, VK_SHARING_MODE_CONCURRENT);
    own.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
    own.queueFamilyIndexCount = 0;
    return inject("vkCreateBuffer", &result) ? result : real_vkCreateBuffer(a, &own, c, d);
}

static VkResult VKAPI_CALL fake_vkCreateCommandPool(VkDevice a, const VkCommandPoolCreateInfo *info,
                                                    const VkAllocationCallbacks *c,
                                                    VkCommandPool *d)
{
    VkCommandPoolCreateInfo own = *info;
    VkResult result;
    own.queueFamilyIndex = 0;
    return inject("vkCreateCommandPool", &result) ? result
                                                  : real_vkCreateCommandPool(a, &own, c, d);
}

static VkResult VKAPI_CALL fake_vkQueueSubmit(VkQueue queue, uint32_t n, const VkSubmitInfo *info,
                                              VkFence fence)
{
    const VkTimelineSemaphoreSubmitInfo *timeline = info->pNext;
    VkResult result;
    if (inject("vkQueueSubmit", &result))
        return result;
    if (queue == copies)
        fake.uploads = timeline->pSignalSemaphoreValues[0];
    else if (fake.two_queues && fake.uploads > 0)
        fake.unwaited +=
            info->waitSemaphoreCount != 1 || timeline->pWaitSemaphoreValues[0] != fake.uploads;
    return real_vkQueueSubmit(real_queue, n, info, fence);
}

static void VKAPI_CALL fake_vkGetDeviceQueue(VkDevice a, uint32_t family, uint32_t c,
                                             VkQueue *queue)
{
    real_vkGetDeviceQueue(a, 0, c, &real_queue);
    *queue = family == 1 ? copies : real_queue;
}

static void VKAPI_CALL fake_vkGetPhysicalDeviceQueueFamilyProperties(VkPhysicalDevice a,
                                                                     uint32_t *n,
                                                                     VkQueueFamilyProperties *list)
{
    if (!fake.two_queues) {
        real_vkGetPhysicalDeviceQueueFamilyProperties(a, n, list);
        return;
    }
    *n = 1;
    if (list) {
        real_vkGetPhysicalDeviceQueueFamilyProperties(a, n, list);
        list[1] = list[0];
        list[1].queueFlags = VK_QUEUE_TRANSFER_BIT;
    }
    *n = 2;
}

static void VKAPI_CALL fake_vkGetPhysicalDeviceProperties(VkPhysicalDevice a,
                                                          VkPhysicalDeviceProperties *properties)
{
    real_vkGetPhysicalDeviceProperties(a, properties);
    if (fake.n_chunks)
        properties->limits.maxPerStageDescriptorStorageBuffers = fake.n_chunks;
    if (fake.api_version)
        properties->apiVersion = fake.api_version;
    if (fake.is_discrete)
        properties->deviceType = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
}

static void VKAPI_CALL fake_vkGetPhysicalDeviceFeatures2(VkPhysicalDevice a,
                                                         VkPhysicalDeviceFeatures2 *features)
{
    real_vkGetPhysicalDeviceFeatures2(a, features);
    VkPhysicalDeviceVulkan11Features *v11 = features->pNext;
    if (fake.no_storage16)
        v11->storageBuffer16BitAccess = VK_FALSE;
    if (fake.no_indexing)
        features->features.shaderStorageBufferArrayDynamicIndexing = VK_FALSE;
}

static PFN_vkVoidFunction VKAPI_CALL fake_device_proc(VkDevice device, const char *name);

/* Ours for a name, with what lies beneath kept; or what lies beneath. */
static PFN_vkVoidFunction between(const char *name, PFN_vkVoidFunction real)
{
#define CASE(fn)                                                                                   \
    if (strcmp(name, #fn) == 0) {                                                                  \
        real_##fn = (PFN_##fn)real;                                                                \
        return (PFN_vkVoidFunction)fake_##fn;                                                      \
    }
#define CASE_OF(fn, params, args) CASE(fn)
    if (!real)
        return NULL;
    FAILING(CASE_OF)
    CASE(vkCreateDevice)
    CASE(vkCreateBuffer)
    CASE(vkCreateCommandPool)
    CASE(vkQueueSubmit)
    CASE(vkGetDeviceQueue)
    CASE(vkGetPhysicalDeviceQueueFamilyProperties)
    CASE(vkGetPhysicalDeviceProperties)
    CASE(vkGetPhysicalDeviceFeatures2)
    if (strcmp(name, "vkGetDeviceProcAddr") == 0) {
        real_device_proc = (PFN_vkGetDeviceProcAddr)real;
        return (PFN_vkVoidFunction)fake_device_proc;
    }
    return real;
}

static PFN_vkVoidFunction VKAPI_CALL fake_device_proc(VkDevice device, const char *name)
{
    return between(name, real_device_proc(device, name));
}

/* Device functions asked for here go through the loader; those that matter are asked of the device.
 */
static PFN_vkVoidFunction VKAPI_CALL fake_instance_proc(VkInstance instance, const char *name)
{
    return between(name, real_instance_proc(instance, name));
}

/* Puts everything in place; the number of the software device, or the test is skipped. */
static int set_up(void)
{
    const char *software = getenv("HEARTH_TEST_SOFTWARE");
    if (!software || strcmp(software, "1") != 0)
        test_skip_device(
            "no device: set HEARTH_TEST_SOFTWARE=1 where there is Mesa's software device");
    if (!real_instance_proc) {
        if (volkInitialize() != VK_SUCCESS)
            test_skip_device("there is no Vulkan loader");
        real_instance_proc = vkGetInstanceProcAddr;
        volkInitializeCustom(fake_instance_proc);
    }
    memset(&fake, 0, sizeof fake);
    atomic_store(&fake.left, -1);
    struct vk_caps *devices;
    uint32_t count;
    const char *why;
    assert_int_equal(vk_list(&devices, &count, &why, test_log()), HTH_OK);
    int found = -1;
    for (uint32_t i = 0; i < count && found < 0; i++)
        if (devices[i].kind == VK_KIND_SOFTWARE && !devices[i].lacks)
            found = (int)i;
    mem_free(devices);
    if (found < 0)
        test_skip_device("there is no software device");
    test_log_clear();
    return found;
}

/* --- a life ----------------------------------------------------------------------------------- */

static const uint32_t plain[] = {1};
static const struct shader_spec scale_specs[] = {
    {"local_size_x", 0, SHADER_SPEC_UINT, 1},
    {"scale", 1, SHADER_SPEC_FLOAT, 0x3f800000},
    {"offset", 2, SHADER_SPEC_UINT, 0},
    {"max_chunks", 3, SHADER_SPEC_UINT, 64},
};
static const struct shader_blob blob = {
    .name = "test_scale",
    .words = vk_blob_chunks,
    .n_words = ARRAY_LEN(vk_blob_chunks),
    .push_bytes = 12,
    .specs = scale_specs,
    .n_specs = 4,
    .capabilities = plain,
    .n_capabilities = 1,
    .local_size = {1, 1, 1},
    .local_size_spec = {0, -1, -1},
    .op = "test",
};

enum { N = 5000 };

static enum hth_status work(struct vk *vk, struct vk_cmd *cmd, float out[N])
{
    float in[N];
    uint32_t from, to;
    struct vk_pipeline_key key = {.blob = &blob, .spec = {64, 0x40000000 /* 2.0 */, 1}};
    struct vk_pipeline *pipeline;
    uint64_t ticket;
    for (int i = 0; i < N; i++)
        in[i] = (float)i;
    enum hth_status status = vk_pipeline_get(vk, &key, &pipeline);
    if (status == HTH_OK)
        status = vk_chunk_create(vk, sizeof in, VK_MEMORY_DEVICE, "from", &from);
    if (status == HTH_OK)
        status = vk_chunk_create(vk, sizeof in, VK_MEMORY_DEVICE, "to", &to);
    if (status == HTH_OK)
        status = vk_pipeline_wait(vk, pipeline);
    if (status != HTH_OK)
        return status;
    uint32_t args[3] = {vk_ref(from, 0), vk_ref(to, 0), N};
    vk_cmd_begin(cmd);
    vk_cmd_timestamp(cmd, 0);
    vk_cmd_dispatch(cmd, pipeline, args, sizeof args, (uint32_t[3]){(N + 63) / 64, 1, 1});
    vk_cmd_timestamp(cmd, 1);
    status = vk_cmd_end(cmd);
    for (int run = 0; run < 2 && status == HTH_OK; run++) {
        status = vk_upload(vk, from, 0, in, sizeof in);
        if (status == HTH_OK)
            status = vk_submit(vk, cmd, &ticket);
        if (status == HTH_OK)
            status = vk_wait(vk, ticket);
    }
    if (status == HTH_OK)
        vk_cmd_time_ns(vk, cmd, 0, 1);
    if (status == HTH_OK)
        status = vk_download(vk, to, 0, out, sizeof in);
    if (status == HTH_OK)
        status = vk_upload(vk, from, 0, in, sizeof in); /* still on its way when its chunk goes */
    fake.at_end = status == HTH_OK;
    if (status == HTH_OK)
        vk_chunk_destroy(vk, from);
    return status;
}

/* Opens, works, closes. What was lost must stay lost. */
static enum hth_status live(int number, bool discrete)
{
    struct vk_options options = {.index = number, .discrete = discrete, .n_workers = 1};
    struct vk *vk;
    struct vk_cmd *cmd = NULL;
    static float out[N];
    memset(out, 0, sizeof out);
    fake.at_end = false;
    enum hth_status status = vk_open(&vk, &options, test_log());
    if (status != HTH_OK) {
        assert_null(vk);
        return status;
    }
    status = vk_cmd_create(vk, 2, &cmd);
    if (status == HTH_OK)
        status = work(vk, cmd, out);
    for (int i = 0; i < N && status == HTH_OK; i++)
        assert_true(out[i] == 2 * (float)i + 1);
    if (status == HTH_ERROR_DEVICE_LOST) {
        uint32_t chunk;
        struct vk_cmd *other;
        assert_int_equal(vk_chunk_create(vk, 1, VK_MEMORY_DEVICE, "x", &chunk), status);
        assert_int_equal(vk_upload(vk, 0, 0, "x", 1), status);
        assert_int_equal(vk_download(vk, 0, 0, out, 1), status);
        assert_int_equal(vk_transfer_wait(vk), status);
        assert_int_equal(vk_cmd_create(vk, 0, &other), status);
        if (cmd)
            assert_int_equal(vk_submit(vk, cmd, NULL), status);
    }
    if (cmd)
        vk_cmd_destroy(vk, cmd);
    vk_close(vk);
    return status;
}

/* Calls without which hearth goes on. */
static bool may_fail(const char *name)
{
    return strcmp(name, "vkGetPipelineCacheData") == 0 ||
           strcmp(name, "vkGetQueryPoolResults") == 0 ||
           (strcmp(name, "vkCreatePipelineCache") == 0 && fake.result != VK_ERROR_DEVICE_LOST) ||
           fake.hit_at_end;
}

/* What a worker fails at is no failure yet. */
static bool is_compiled_again(const char *call)
{
    return strcmp(call, "vkCreateShaderModule") == 0 ||
           strcmp(call, "vkCreateComputePipelines") == 0;
}

static void check_failing(VkResult result, enum hth_status expected)
{
    int number = set_up();
    int n_calls = 0;
    assert_int_equal(live(number, true), HTH_OK); /* now there is a cache on disk, too */
    for (bool hit = true; hit; n_calls++) {
        fake.result = result;
        fake.name[0] = 0;
        fake.hit_at_end = false;
        atomic_store(&fake.left, n_calls);
        test_log_clear();
        enum hth_status status = live(number, true);
        hit = fake.name[0];
        atomic_store(&fake.left, -1);
        if (!hit || may_fail(fake.name)) {
            assert_int_equal(status, HTH_OK);
            continue;
        }
        if (status == HTH_OK && result != VK_ERROR_DEVICE_LOST && is_compiled_again(fake.name))
            continue;
        /* What happens while there is no device yet cannot lose it. */
        bool early = strcmp(fake.name, "vkCreateInstance") == 0 ||
                     strncmp(fake.name, "vkEnumerate", 11) == 0;
        if (status == HTH_OK || (status != expected && !early))
            fail_msg("call %d, %s: status %s, and the log says %s", n_calls, fake.name,
                     hth_status_name(status), test_log_text());
        if (!strstr(test_log_text(), fake.name))
            fail_msg("call %d, %s: the log says %s", n_calls, fake.name, test_log_text());
    }
    assert_true(n_calls > 60);
}

TEST(every_call_may_fail)
{
    check_failing(VK_ERROR_UNKNOWN, HTH_ERROR_DEVICE);
}

TEST(every_call_may_run_out_of_memory)
{
    check_failing(VK_ERROR_OUT_OF_DEVICE_MEMORY, HTH_ERROR_MEMORY);
}

TEST(every_call_may_lose_the_device)
{
    check_failing(VK_ERROR_DEVICE_LOST, HTH_ERROR_DEVICE_LOST);
}

/* --- other devices ---------------------------------------------------------------------------- */

TEST(submits_wait_for_the_queue_of_copies)
{
    int number = set_up();
    fake.two_queues = true;
    assert_int_equal(live(number, true), HTH_OK);
    assert_true(fake.uploads >= 2);
    assert_int_equal(fake.unwaited, 0);
    fake.uploads = 0;
    assert_int_equal(live(number, true), HTH_OK);
    assert_true(fake.uploads >= 2);
}

TEST(few_storage_buffers_are_enough)
{
    int number = set_up();
    fake.n_chunks = 17;
    assert_int_equal(live(number, true), HTH_OK);
    assert_int_equal(live(number, false), HTH_OK);
    fake.n_chunks = 15;
    test_log_clear();
    assert_int_equal(live(number, false), HTH_ERROR_UNSUPPORTED);
    assert_logged("16 storage buffers");
}

TEST(what_a_device_lacks_is_named)
{
    int number = set_up();
    fake.api_version = VK_API_VERSION_1_1;
    assert_int_equal(live(number, false), HTH_ERROR_UNSUPPORTED);
    assert_logged("lacks Vulkan 1.2");
    fake.api_version = 0;
    fake.no_storage16 = true;
    assert_int_equal(live(number, false), HTH_ERROR_UNSUPPORTED);
    assert_logged("storageBuffer16BitAccess");
    fake.no_storage16 = false;
    fake.no_indexing = true;
    assert_int_equal(live(number, false), HTH_ERROR_UNSUPPORTED);
    assert_logged("shaderStorageBufferArrayDynamicIndexing");
}

TEST(vulkan_1_2_is_enough)
{
    int number = set_up();
    fake.api_version = VK_API_VERSION_1_2;
    assert_int_equal(live(number, false), HTH_OK);
}

TEST(a_gpu_is_chosen_by_itself)
{
    set_up();
    assert_int_equal(live(-1, false), HTH_ERROR_UNSUPPORTED);
    fake.is_discrete = true;
    assert_int_equal(live(-1, false), HTH_OK);
    fake.no_storage16 = true;
    assert_int_equal(live(-1, false), HTH_ERROR_UNSUPPORTED);
}
