#include <string.h>

#include "layer_priv.h"

/* A device that binds less than it has: what fits one chunk on every card of today is in pieces.
 * One of whose memory other programs take, or give back. */

static PFN_vkGetPhysicalDeviceProperties real_vkGetPhysicalDeviceProperties;

static void VKAPI_CALL own_vkGetPhysicalDeviceProperties(VkPhysicalDevice device,
                                                         VkPhysicalDeviceProperties *out)
{
    real_vkGetPhysicalDeviceProperties(device, out);
    if (layer_state.max_range && layer_state.max_range < out->limits.maxStorageBufferRange)
        out->limits.maxStorageBufferRange = layer_state.max_range;
}

static PFN_vkGetPhysicalDeviceMemoryProperties2 real_vkGetPhysicalDeviceMemoryProperties2;

static void VKAPI_CALL own_vkGetPhysicalDeviceMemoryProperties2(
    VkPhysicalDevice device, VkPhysicalDeviceMemoryProperties2 *out)
{
    real_vkGetPhysicalDeviceMemoryProperties2(device, out);
    VkDeviceSize budget = atomic_load(&layer_state.budget);
    for (VkBaseOutStructure *more = out->pNext; more && budget; more = more->pNext)
        if (more->sType == VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT)
            for (uint32_t i = 0; i < out->memoryProperties.memoryHeapCount; i++)
                if (out->memoryProperties.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT)
                    ((VkPhysicalDeviceMemoryBudgetPropertiesEXT *)more)->heapBudget[i] = budget;
}

PFN_vkVoidFunction limits_between(const char *name, PFN_vkVoidFunction real)
{
    if (strcmp(name, "vkGetPhysicalDeviceMemoryProperties2") == 0) {
        real_vkGetPhysicalDeviceMemoryProperties2 = (PFN_vkGetPhysicalDeviceMemoryProperties2)real;
        return (PFN_vkVoidFunction)own_vkGetPhysicalDeviceMemoryProperties2;
    }
    if (strcmp(name, "vkGetPhysicalDeviceProperties") != 0)
        return real;
    real_vkGetPhysicalDeviceProperties = (PFN_vkGetPhysicalDeviceProperties)real;
    return (PFN_vkVoidFunction)own_vkGetPhysicalDeviceProperties;
}
