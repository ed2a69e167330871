#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "vk/vk_priv.h"

static const char *const validation_layer = "VK_LAYER_KHRONOS_validation";

const char *vk_result_name(VkResult result)
{
    switch (result) {
#define CASE(name)                                                                                 \
    case name: return #name
        CASE(VK_SUCCESS);
        CASE(VK_NOT_READY);
        CASE(VK_TIMEOUT);
        CASE(VK_INCOMPLETE);
        CASE(VK_ERROR_OUT_OF_HOST_MEMORY);
        CASE(VK_ERROR_OUT_OF_DEVICE_MEMORY);
        CASE(VK_ERROR_INITIALIZATION_FAILED);
        CASE(VK_ERROR_DEVICE_LOST);
        CASE(VK_ERROR_MEMORY_MAP_FAILED);
        CASE(VK_ERROR_LAYER_NOT_PRESENT);
        CASE(VK_ERROR_EXTENSION_NOT_PRESENT);
        CASE(VK_ERROR_FEATURE_NOT_PRESENT);
        CASE(VK_ERROR_INCOMPATIBLE_DRIVER);
        CASE(VK_ERROR_TOO_MANY_OBJECTS);
        CASE(VK_ERROR_FRAGMENTED_POOL);
        CASE(VK_ERROR_UNKNOWN);
        CASE(VK_ERROR_OUT_OF_POOL_MEMORY);
        CASE(VK_ERROR_INVALID_EXTERNAL_HANDLE);
        CASE(VK_ERROR_INVALID_OPAQUE_CAPTURE_ADDRESS);
        CASE(VK_ERROR_FRAGMENTATION);
        CASE(VK_ERROR_NOT_PERMITTED_KHR);
        CASE(VK_ERROR_INVALID_SHADER_NV);
        CASE(VK_ERROR_INVALID_VIDEO_STD_PARAMETERS_KHR);
        CASE(VK_PIPELINE_COMPILE_REQUIRED);
#undef CASE
    default: return "an unknown VkResult";
    }
}

static VkBool32 VKAPI_PTR on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity,
                                     VkDebugUtilsMessageTypeFlagsEXT types,
                                     const VkDebugUtilsMessengerCallbackDataEXT *data, void *user)
{
    struct vk_instance *instance = user;
    (void)severity;
    (void)types;
    atomic_fetch_add(&instance->n_messages, 1);
    log_line(&instance->log, HTH_LOG_ERROR, "Vulkan validation: %s",
             data->pMessage ? data->pMessage : "(no text)");
    return VK_FALSE;
}

static enum hth_status call_failed(VkResult result, const char *call, const struct log *log)
{
    bool memory = result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return log_fail(log, memory ? HTH_ERROR_MEMORY : HTH_ERROR_DEVICE, "%s%s failed: %s",
                    memory ? "out of memory: " : "", call, vk_result_name(result));
}

static enum hth_status find_layer(const char *name, bool *found, const struct log *log)
{
    uint32_t count = 0;
    *found = false;
    VkResult result = vkEnumerateInstanceLayerProperties(&count, NULL);
    VkLayerProperties *layers = count ? mem_calloc(count, sizeof *layers) : NULL;
    if (count && !layers)
        return log_fail_memory(log, "the list of Vulkan layers", count * sizeof *layers);
    if (result == VK_SUCCESS && count > 0)
        result = vkEnumerateInstanceLayerProperties(&count, layers);
    bool good = result == VK_SUCCESS || result == VK_INCOMPLETE;
    for (uint32_t i = 0; i < count && good; i++)
        *found = *found || strcmp(layers[i].layerName, name) == 0;
    mem_free(layers);
    return good ? HTH_OK : call_failed(result, "vkEnumerateInstanceLayerProperties", log);
}

/* What the loader and its drivers, or a layer, offer of three extensions. */
struct offered {
    bool debug_utils, portability, validation_features;
};

static enum hth_status read_extensions(const char *layer, struct offered *offered,
                                       const struct log *log)
{
    uint32_t count = 0;
    VkResult result = vkEnumerateInstanceExtensionProperties(layer, &count, NULL);
    VkExtensionProperties *list = count ? mem_calloc(count, sizeof *list) : NULL;
    if (count && !list)
        return log_fail_memory(log, "the list of Vulkan extensions", count * sizeof *list);
    if (result == VK_SUCCESS && count > 0)
        result = vkEnumerateInstanceExtensionProperties(layer, &count, list);
    bool good = result == VK_SUCCESS || result == VK_INCOMPLETE;
    for (uint32_t i = 0; i < count && good; i++) {
        const char *name = list[i].extensionName;
        if (strcmp(name, VK_EXT_DEBUG_UTILS_EXTENSION_NAME) == 0)
            offered->debug_utils = true;
        else if (strcmp(name, VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME) == 0)
            offered->portability = true;
        else if (strcmp(name, VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME) == 0)
            offered->validation_features = true;
    }
    mem_free(list);
    return good ? HTH_OK : call_failed(result, "vkEnumerateInstanceExtensionProperties", log);
}

static VkResult create_instance(struct vk_instance *instance, bool validation,
                                const struct offered *offered)
{
    static const VkValidationFeatureEnableEXT checks[] = {
        VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
    VkValidationFeaturesEXT features = {
        .sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
        .enabledValidationFeatureCount = ARRAY_LEN(checks),
        .pEnabledValidationFeatures = checks,
    };
    VkApplicationInfo application = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .pApplicationName = "hearth",
        .pEngineName = "hearth",
        .apiVersion = VK_API_VERSION_1_3,
    };
    const char *extensions[3];
    VkInstanceCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
        .pApplicationInfo = &application,
        .ppEnabledExtensionNames = extensions,
    };
    if (offered->debug_utils)
        extensions[info.enabledExtensionCount++] = VK_EXT_DEBUG_UTILS_EXTENSION_NAME;
    if (offered->portability) {
        extensions[info.enabledExtensionCount++] = VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME;
        info.flags |= VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR;
    }
    if (validation) {
        info.enabledLayerCount = 1;
        info.ppEnabledLayerNames = &validation_layer;
        if (offered->validation_features) {
            extensions[info.enabledExtensionCount++] = VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME;
            info.pNext = &features;
        }
    }
    return vkCreateInstance(&info, NULL, &instance->handle);
}

/* The trampolines that volk keeps are the loader's and serve every instance, but those of an
 * extension are asked for here, as the instance opened last may lack it. */
static void listen(struct vk_instance *instance)
{
    PFN_vkCreateDebugUtilsMessengerEXT create =
        (PFN_vkCreateDebugUtilsMessengerEXT)vkGetInstanceProcAddr(instance->handle,
                                                                  "vkCreateDebugUtilsMessengerEXT");
    instance->destroy_messenger = (PFN_vkDestroyDebugUtilsMessengerEXT)vkGetInstanceProcAddr(
        instance->handle, "vkDestroyDebugUtilsMessengerEXT");
    VkDebugUtilsMessengerCreateInfoEXT info = {
        .sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
        .messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT |
                           VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
        .messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
        .pfnUserCallback = on_message,
        .pUserData = instance,
    };
    if (create && create(instance->handle, &info, NULL, &instance->messenger) != VK_SUCCESS)
        instance->messenger = VK_NULL_HANDLE;
}

enum hth_status vk_instance_open(struct vk_instance *instance, bool validation,
                                 const struct log *log, const char **why)
{
    *instance = (struct vk_instance){0};
    if (log)
        instance->log = *log;
    if (volkGetInstanceVersion() == 0 && volkInitialize() != VK_SUCCESS) {
        *why = "there is no Vulkan loader (on Debian and Ubuntu the package libvulkan1)";
        return HTH_OK;
    }
    if (volkGetInstanceVersion() < VK_API_VERSION_1_1) {
        *why = "the Vulkan loader is of version 1.0, and 1.1 or newer is needed";
        return HTH_OK;
    }
    struct offered offered = {0};
    enum hth_status status = read_extensions(NULL, &offered, log);
    if (status != HTH_OK)
        return status;
    if (validation) {
        bool found;
        status = find_layer(validation_layer, &found, log);
        if (status != HTH_OK)
            return status;
        if (!found)
            return log_fail(log, HTH_ERROR_UNSUPPORTED,
                            "validation was asked for, and the layer %s is not installed (on "
                            "Debian and Ubuntu the package vulkan-validationlayers; elsewhere set "
                            "VK_LAYER_PATH)",
                            validation_layer);
        status = read_extensions(validation_layer, &offered, log);
        if (status != HTH_OK)
            return status;
    }
    VkResult result = create_instance(instance, validation, &offered);
    if (result == VK_ERROR_INCOMPATIBLE_DRIVER || result == VK_ERROR_INITIALIZATION_FAILED) {
        *why = "the Vulkan loader found no driver (on Debian and Ubuntu the package "
               "mesa-vulkan-drivers, or the driver of the GPU's maker)";
        instance->handle = VK_NULL_HANDLE;
        return HTH_OK;
    }
    if (result != VK_SUCCESS) {
        instance->handle = VK_NULL_HANDLE;
        return call_failed(result, "vkCreateInstance", log);
    }
    volkLoadInstanceOnly(instance->handle);
    instance->debug_utils = offered.debug_utils;
    if (validation && offered.debug_utils)
        listen(instance);
    return HTH_OK;
}

void vk_instance_close(struct vk_instance *instance)
{
    if (!instance->handle)
        return;
    if (instance->messenger)
        instance->destroy_messenger(instance->handle, instance->messenger, NULL);
    vkDestroyInstance(instance->handle, NULL);
    instance->handle = VK_NULL_HANDLE;
}
