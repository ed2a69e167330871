#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "layer_priv.h"

/* A driver that makes wrong programs: one bit of one word of one shader is another than hearth
 * gave; one that forgets the barrier behind a shader; one that a shader ends; and one that lies
 * about the size of subgroups. */

static PFN_vkCreateShaderModule real_vkCreateShaderModule;
static PFN_vkCreateComputePipelines real_vkCreateComputePipelines;
static PFN_vkGetPhysicalDeviceProperties2 real_vkGetPhysicalDeviceProperties2;

/* FNV-1a over words (http://www.isthe.com/chongo/tech/comp/fnv/). */
static uint64_t hash_words(const uint32_t *words, size_t n)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ words[i]) * 0x100000001b3;
    return hash;
}

/* --- barriers that are forgotten -------------------------------------------------------------- */

/* What does not wait for a shader runs before it: each of its dispatches is held back until the
 * next one of the same list is recorded, barriers between them or not. */

enum { MAX_HANDLES = 64 };

struct handles {
    const void *items[MAX_HANDLES];
    int n;
};

struct dispatch {
    VkCommandBuffer commands; /* NULL: none */
    VkPipeline pipeline;
    VkPipelineLayout layout;
    uint32_t groups[3], push_bytes;
    unsigned char push[128];
};

static struct handles late_modules, late_pipelines;
static struct dispatch now, held;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* of handles: workers compile */

static PFN_vkCmdBindPipeline real_vkCmdBindPipeline;
static PFN_vkCmdPushConstants real_vkCmdPushConstants;
static PFN_vkCmdDispatch real_vkCmdDispatch;
static PFN_vkEndCommandBuffer real_vkEndCommandBuffer;

static int find(const struct handles *handles, const void *handle)
{
    int i = 0;
    while (i < handles->n && handles->items[i] != handle)
        i++;
    return i;
}

static bool is_in(const struct handles *handles, const void *handle)
{
    pthread_mutex_lock(&mutex);
    bool is = find(handles, handle) < handles->n;
    pthread_mutex_unlock(&mutex);
    return is;
}

/* Handles are used again when what they stood for is destroyed. */
static void put_in(struct handles *handles, const void *handle, bool in)
{
    pthread_mutex_lock(&mutex);
    int at = find(handles, handle);
    if (!in && at < handles->n)
        handles->items[at] = handles->items[--handles->n];
    if (in && at == handles->n && at < MAX_HANDLES)
        handles->items[handles->n++] = handle;
    pthread_mutex_unlock(&mutex);
}

static void set_up(VkCommandBuffer commands, const struct dispatch *dispatch)
{
    real_vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, dispatch->pipeline);
    if (dispatch->push_bytes)
        real_vkCmdPushConstants(commands, dispatch->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                                dispatch->push_bytes, dispatch->push);
}

static void release(VkCommandBuffer commands)
{
    if (!held.commands || held.commands != commands)
        return;
    set_up(commands, &held);
    real_vkCmdDispatch(commands, held.groups[0], held.groups[1], held.groups[2]);
    set_up(commands, &now);
    held.commands = NULL;
    atomic_fetch_add(&layer_state.n_overtaken, 1);
}

static void VKAPI_CALL own_vkCmdBindPipeline(VkCommandBuffer commands, VkPipelineBindPoint point,
                                             VkPipeline pipeline)
{
    now.pipeline = pipeline;
    real_vkCmdBindPipeline(commands, point, pipeline);
}

static void VKAPI_CALL own_vkCmdPushConstants(VkCommandBuffer commands, VkPipelineLayout layout,
                                              VkShaderStageFlags stages, uint32_t offset,
                                              uint32_t size, const void *values)
{
    if (offset + size <= sizeof now.push) {
        now.layout = layout;
        now.push_bytes = size;
        memcpy(now.push + offset, values, size);
    }
    real_vkCmdPushConstants(commands, layout, stages, offset, size, values);
}

static void VKAPI_CALL own_vkCmdDispatch(VkCommandBuffer commands, uint32_t x, uint32_t y,
                                         uint32_t z)
{
    if (layer_state.late_hash && !held.commands && is_in(&late_pipelines, now.pipeline)) {
        held = now;
        held.commands = commands;
        memcpy(held.groups, (const uint32_t[]){x, y, z}, sizeof held.groups);
        return;
    }
    real_vkCmdDispatch(commands, x, y, z);
    release(commands);
}

static VkResult VKAPI_CALL own_vkEndCommandBuffer(VkCommandBuffer commands)
{
    release(commands);
    return real_vkEndCommandBuffer(commands);
}

/* --- shaders ---------------------------------------------------------------------------------- */

static VkResult VKAPI_CALL own_vkCreateShaderModule(VkDevice device,
                                                    const VkShaderModuleCreateInfo *info,
                                                    const VkAllocationCallbacks *allocator,
                                                    VkShaderModule *module)
{
    static uint32_t words[1 << 16];
    size_t n = info->codeSize / 4;
    const struct layer *plan = &layer_state;
    uint64_t hash = hash_words(info->pCode, n);
    if (plan->end_hash && hash == plan->end_hash)
        raise(SIGKILL);
    const struct layer_flip *flip = &plan->flip[hash == plan->flip[1].hash];
    bool wanted =
        flip->mask && n <= sizeof words / sizeof *words && flip->word < n && hash == flip->hash;
    if (!wanted) {
        VkResult result = real_vkCreateShaderModule(device, info, allocator, module);
        if (result == VK_SUCCESS)
            put_in(&late_modules, *module, plan->late_hash && hash == plan->late_hash);
        return result;
    }
    VkShaderModuleCreateInfo own = *info;
    memcpy(words, info->pCode, info->codeSize);
    words[flip->word] ^= flip->mask;
    own.pCode = words;
    atomic_fetch_add(&layer_state.n_flipped, 1);
    return real_vkCreateShaderModule(device, &own, allocator, module);
}

/* Whoever lies does not look at what is demanded either. */
static VkResult VKAPI_CALL own_vkCreateComputePipelines(VkDevice device, VkPipelineCache cache,
                                                        uint32_t n,
                                                        const VkComputePipelineCreateInfo *infos,
                                                        const VkAllocationCallbacks *allocator,
                                                        VkPipeline *pipelines)
{
    VkComputePipelineCreateInfo own = infos[0];
    if (layer_state.subgroup && n == 1) {
        own.stage.pNext = NULL; /* hearth chains nothing but a size there */
        own.stage.flags = 0;
        infos = &own;
    }
    VkResult result = real_vkCreateComputePipelines(device, cache, n, infos, allocator, pipelines);
    if (result == VK_SUCCESS)
        put_in(&late_pipelines, pipelines[0], is_in(&late_modules, infos[0].stage.module));
    return result;
}

/* --- subgroups -------------------------------------------------------------------------------- */

static void VKAPI_CALL own_vkGetPhysicalDeviceProperties2(VkPhysicalDevice device,
                                                          VkPhysicalDeviceProperties2 *out)
{
    real_vkGetPhysicalDeviceProperties2(device, out);
    uint32_t size = layer_state.subgroup;
    for (VkBaseOutStructure *at = (VkBaseOutStructure *)out; at && size; at = at->pNext) {
        if (at->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES)
            ((VkPhysicalDeviceVulkan11Properties *)at)->subgroupSize = size;
        if (at->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_PROPERTIES)
            ((VkPhysicalDeviceSubgroupProperties *)at)->subgroupSize = size;
        if (at->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES) {
            VkPhysicalDeviceSubgroupSizeControlProperties *control = (void *)at;
            control->minSubgroupSize = control->maxSubgroupSize = size;
        }
    }
}

PFN_vkVoidFunction wrong_between(const char *name, PFN_vkVoidFunction real)
{
    LAYER_STAND_BETWEEN(vkCreateShaderModule)
    LAYER_STAND_BETWEEN(vkCreateComputePipelines)
    LAYER_STAND_BETWEEN(vkGetPhysicalDeviceProperties2)
    LAYER_STAND_BETWEEN(vkCmdBindPipeline)
    LAYER_STAND_BETWEEN(vkCmdPushConstants)
    LAYER_STAND_BETWEEN(vkCmdDispatch)
    LAYER_STAND_BETWEEN(vkEndCommandBuffer)
    return real;
}
