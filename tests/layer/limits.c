#include <string.h>

#include "layer_priv.h"

/* A device that binds less than it has: what fits one chunk on every card of today is in pieces. */

static PFN_vkGetPhysicalDeviceProperties real_vkGetPhysicalDeviceProperties;

static void VKAPI_CALL own_vkGetPhysicalDeviceProperties(VkPhysicalDevice device,
                                                         VkPhysicalDeviceProperties *out)
{
    real_vkGetPhysicalDeviceProperties(device, out);
    if (layer_state.max_range && layer_state.max_range < out->limits.maxStorageBufferRange)
        out->limits.maxStorageBufferRange = layer_state.max_range;
}

PFN_vkVoidFunction limits_between(const char *name, PFN_vkVoidFunction real)
{
    if (strcmp(name, "vkGetPhysicalDeviceProperties") != 0)
        return real;
    real_vkGetPhysicalDeviceProperties = (PFN_vkGetPhysicalDeviceProperties)real;
    return (PFN_vkVoidFunction)own_vkGetPhysicalDeviceProperties;
}
