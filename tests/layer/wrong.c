#include <string.h>

#include "layer_priv.h"

/* A driver that makes wrong programs: one bit of one word of one shader is another than hearth
 * gave; and one that lies about the size of subgroups. */

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

static VkResult VKAPI_CALL own_vkCreateShaderModule(VkDevice device,
                                                    const VkShaderModuleCreateInfo *info,
                                                    const VkAllocationCallbacks *allocator,
                                                    VkShaderModule *module)
{
    static uint32_t words[1 << 16];
    size_t n = info->codeSize / 4;
    const struct layer *plan = &layer_state;
    bool wanted = plan->flip_mask && n <= sizeof words / sizeof *words && plan->flip_word < n &&
                  hash_words(info->pCode, n) == plan->flip_hash;
    if (!wanted)
        return real_vkCreateShaderModule(device, info, allocator, module);
    VkShaderModuleCreateInfo own = *info;
    memcpy(words, info->pCode, info->codeSize);
    words[plan->flip_word] ^= plan->flip_mask;
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
    return real_vkCreateComputePipelines(device, cache, n, infos, allocator, pipelines);
}

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
    if (strcmp(name, "vkCreateShaderModule") == 0) {
        real_vkCreateShaderModule = (PFN_vkCreateShaderModule)real;
        return (PFN_vkVoidFunction)own_vkCreateShaderModule;
    }
    if (strcmp(name, "vkCreateComputePipelines") == 0) {
        real_vkCreateComputePipelines = (PFN_vkCreateComputePipelines)real;
        return (PFN_vkVoidFunction)own_vkCreateComputePipelines;
    }
    if (strcmp(name, "vkGetPhysicalDeviceProperties2") == 0) {
        real_vkGetPhysicalDeviceProperties2 = (PFN_vkGetPhysicalDeviceProperties2)real;
        return (PFN_vkVoidFunction)own_vkGetPhysicalDeviceProperties2;
    }
    return real;
}
