/*
 * calls.h — the functions that the layer knows, as lists for the preprocessor.
 *
 * LAYER_CALLS: X(name, object that it makes, parameters, arguments, results…). Parameters and
 * arguments are those of the specification, in its order; results are all that the registry
 * (vk.xml) lists for the function but VK_SUCCESS, in its order; tests/layer/check_calls.py compares
 * them, and sees that no function that src/vk calls is missing.
 * LAYER_LISTS: the same for functions that fill an array, with the letters of its count and of the
 * array itself: X(name, count, array, parameters, arguments, results…).
 * LAYER_DESTROYS: X(name, object, type of its handle, type of its owner).
 */
#ifndef LAYER_CALLS_H
#define LAYER_CALLS_H

#define HOST   VK_ERROR_OUT_OF_HOST_MEMORY
#define DEVICE VK_ERROR_OUT_OF_DEVICE_MEMORY
#define LOST   VK_ERROR_DEVICE_LOST

#define LAYER_OBJECTS(X)                                                                           \
    X(NONE)                                                                                        \
    X(INSTANCE)                                                                                    \
    X(DEVICE)                                                                                      \
    X(SEMAPHORE)                                                                                   \
    X(MEMORY)                                                                                      \
    X(BUFFER)                                                                                      \
    X(DESCRIPTOR_SET_LAYOUT)                                                                       \
    X(PIPELINE_LAYOUT)                                                                             \
    X(DESCRIPTOR_POOL)                                                                             \
    X(COMMAND_POOL)                                                                                \
    X(QUERY_POOL)                                                                                  \
    X(SHADER_MODULE)                                                                               \
    X(PIPELINE)                                                                                    \
    X(PIPELINE_CACHE)

/* Of the instance; the others are the device's. */
#define LAYER_INSTANCE_CALLS(X)                                                                    \
    X(vkCreateInstance, INSTANCE,                                                                  \
      (const VkInstanceCreateInfo *a, const VkAllocationCallbacks *b, VkInstance *c), (a, b, c),   \
      HOST, DEVICE, VK_ERROR_INITIALIZATION_FAILED, VK_ERROR_LAYER_NOT_PRESENT,                    \
      VK_ERROR_EXTENSION_NOT_PRESENT, VK_ERROR_INCOMPATIBLE_DRIVER)                                \
    X(vkCreateDevice, DEVICE,                                                                      \
      (VkPhysicalDevice a, const VkDeviceCreateInfo *b, const VkAllocationCallbacks *c,            \
       VkDevice *d),                                                                               \
      (a, b, c, d), HOST, DEVICE, VK_ERROR_INITIALIZATION_FAILED, VK_ERROR_EXTENSION_NOT_PRESENT,  \
      VK_ERROR_FEATURE_NOT_PRESENT, VK_ERROR_TOO_MANY_OBJECTS, LOST)

#ifdef VK_NV_cooperative_matrix2 /* headers before 1.4.304 know nothing of it */
#define LAYER_FLEXIBLE_LISTS(X)                                                                    \
    X(vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV, b, c,                    \
      (VkPhysicalDevice a, uint32_t * b, VkCooperativeMatrixFlexibleDimensionsPropertiesNV * c),   \
      (a, b, c), VK_INCOMPLETE, HOST, DEVICE)
#else
#define LAYER_FLEXIBLE_LISTS(X)
#endif

#define LAYER_INSTANCE_LISTS(X)                                                                    \
    X(vkEnumeratePhysicalDevices, b, c, (VkInstance a, uint32_t * b, VkPhysicalDevice * c),        \
      (a, b, c), VK_INCOMPLETE, HOST, DEVICE, VK_ERROR_INITIALIZATION_FAILED)                      \
    X(vkEnumerateDeviceExtensionProperties, c, d,                                                  \
      (VkPhysicalDevice a, const char *b, uint32_t *c, VkExtensionProperties *d), (a, b, c, d),    \
      VK_INCOMPLETE, HOST, DEVICE, VK_ERROR_LAYER_NOT_PRESENT)                                     \
    X(vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR, b, c,                                     \
      (VkPhysicalDevice a, uint32_t * b, VkCooperativeMatrixPropertiesKHR * c), (a, b, c),         \
      VK_INCOMPLETE, HOST, DEVICE)                                                                 \
    LAYER_FLEXIBLE_LISTS(X)

#define LAYER_DEVICE_LISTS(X)                                                                      \
    X(vkGetPipelineCacheData, c, d, (VkDevice a, VkPipelineCache b, size_t * c, void *d),          \
      (a, b, c, d), VK_INCOMPLETE, HOST, DEVICE)                                                   \
    X(vkGetPipelineExecutablePropertiesKHR, c, d,                                                  \
      (VkDevice a, const VkPipelineInfoKHR *b, uint32_t *c, VkPipelineExecutablePropertiesKHR *d), \
      (a, b, c, d), VK_INCOMPLETE, HOST, DEVICE)                                                   \
    X(vkGetPipelineExecutableStatisticsKHR, c, d,                                                  \
      (VkDevice a, const VkPipelineExecutableInfoKHR *b, uint32_t *c,                              \
       VkPipelineExecutableStatisticKHR *d),                                                       \
      (a, b, c, d), VK_INCOMPLETE, HOST, DEVICE)

#define LAYER_DEVICE_CALLS(X)                                                                      \
    X(vkQueueSubmit, NONE, (VkQueue a, uint32_t b, const VkSubmitInfo *c, VkFence d),              \
      (a, b, c, d), HOST, DEVICE, LOST)                                                            \
    X(vkDeviceWaitIdle, NONE, (VkDevice a), (a), HOST, DEVICE, LOST)                               \
    X(vkAllocateMemory, MEMORY,                                                                    \
      (VkDevice a, const VkMemoryAllocateInfo *b, const VkAllocationCallbacks *c,                  \
       VkDeviceMemory *d),                                                                         \
      (a, b, c, d), HOST, DEVICE, VK_ERROR_INVALID_EXTERNAL_HANDLE,                                \
      VK_ERROR_INVALID_OPAQUE_CAPTURE_ADDRESS)                                                     \
    X(vkMapMemory, NONE,                                                                           \
      (VkDevice a, VkDeviceMemory b, VkDeviceSize c, VkDeviceSize d, VkMemoryMapFlags e,           \
       void **f),                                                                                  \
      (a, b, c, d, e, f), HOST, DEVICE, VK_ERROR_MEMORY_MAP_FAILED)                                \
    X(vkBindBufferMemory, NONE, (VkDevice a, VkBuffer b, VkDeviceMemory c, VkDeviceSize d),        \
      (a, b, c, d), HOST, DEVICE, VK_ERROR_INVALID_OPAQUE_CAPTURE_ADDRESS)                         \
    X(vkCreateSemaphore, SEMAPHORE,                                                                \
      (VkDevice a, const VkSemaphoreCreateInfo *b, const VkAllocationCallbacks *c,                 \
       VkSemaphore *d),                                                                            \
      (a, b, c, d), HOST, DEVICE)                                                                  \
    X(vkGetSemaphoreCounterValue, NONE, (VkDevice a, VkSemaphore b, uint64_t * c), (a, b, c),      \
      HOST, DEVICE, LOST)                                                                          \
    X(vkWaitSemaphores, NONE, (VkDevice a, const VkSemaphoreWaitInfo *b, uint64_t c), (a, b, c),   \
      VK_TIMEOUT, HOST, DEVICE, LOST)                                                              \
    X(vkCreateQueryPool, QUERY_POOL,                                                               \
      (VkDevice a, const VkQueryPoolCreateInfo *b, const VkAllocationCallbacks *c,                 \
       VkQueryPool *d),                                                                            \
      (a, b, c, d), HOST, DEVICE)                                                                  \
    X(vkGetQueryPoolResults, NONE,                                                                 \
      (VkDevice a, VkQueryPool b, uint32_t c, uint32_t d, size_t e, void *f, VkDeviceSize g,       \
       VkQueryResultFlags h),                                                                      \
      (a, b, c, d, e, f, g, h), VK_NOT_READY, HOST, DEVICE, LOST)                                  \
    X(vkCreateBuffer, BUFFER,                                                                      \
      (VkDevice a, const VkBufferCreateInfo *b, const VkAllocationCallbacks *c, VkBuffer *d),      \
      (a, b, c, d), HOST, DEVICE, VK_ERROR_INVALID_OPAQUE_CAPTURE_ADDRESS)                         \
    X(vkCreateShaderModule, SHADER_MODULE,                                                         \
      (VkDevice a, const VkShaderModuleCreateInfo *b, const VkAllocationCallbacks *c,              \
       VkShaderModule *d),                                                                         \
      (a, b, c, d), HOST, DEVICE, VK_ERROR_INVALID_SHADER_NV)                                      \
    X(vkCreatePipelineCache, PIPELINE_CACHE,                                                       \
      (VkDevice a, const VkPipelineCacheCreateInfo *b, const VkAllocationCallbacks *c,             \
       VkPipelineCache *d),                                                                        \
      (a, b, c, d), HOST, DEVICE)                                                                  \
    X(vkCreateComputePipelines, PIPELINE,                                                          \
      (VkDevice a, VkPipelineCache b, uint32_t c, const VkComputePipelineCreateInfo *d,            \
       const VkAllocationCallbacks *e, VkPipeline *f),                                             \
      (a, b, c, d, e, f), VK_PIPELINE_COMPILE_REQUIRED, HOST, DEVICE, VK_ERROR_INVALID_SHADER_NV)  \
    X(vkCreatePipelineLayout, PIPELINE_LAYOUT,                                                     \
      (VkDevice a, const VkPipelineLayoutCreateInfo *b, const VkAllocationCallbacks *c,            \
       VkPipelineLayout *d),                                                                       \
      (a, b, c, d), HOST, DEVICE)                                                                  \
    X(vkCreateDescriptorSetLayout, DESCRIPTOR_SET_LAYOUT,                                          \
      (VkDevice a, const VkDescriptorSetLayoutCreateInfo *b, const VkAllocationCallbacks *c,       \
       VkDescriptorSetLayout *d),                                                                  \
      (a, b, c, d), HOST, DEVICE)                                                                  \
    X(vkCreateDescriptorPool, DESCRIPTOR_POOL,                                                     \
      (VkDevice a, const VkDescriptorPoolCreateInfo *b, const VkAllocationCallbacks *c,            \
       VkDescriptorPool *d),                                                                       \
      (a, b, c, d), HOST, DEVICE, VK_ERROR_FRAGMENTATION)                                          \
    X(vkAllocateDescriptorSets, NONE,                                                              \
      (VkDevice a, const VkDescriptorSetAllocateInfo *b, VkDescriptorSet *c), (a, b, c), HOST,     \
      DEVICE, VK_ERROR_FRAGMENTED_POOL, VK_ERROR_OUT_OF_POOL_MEMORY)                               \
    X(vkCreateCommandPool, COMMAND_POOL,                                                           \
      (VkDevice a, const VkCommandPoolCreateInfo *b, const VkAllocationCallbacks *c,               \
       VkCommandPool *d),                                                                          \
      (a, b, c, d), HOST, DEVICE)                                                                  \
    X(vkResetCommandPool, NONE, (VkDevice a, VkCommandPool b, VkCommandPoolResetFlags c),          \
      (a, b, c), DEVICE)                                                                           \
    X(vkAllocateCommandBuffers, NONE,                                                              \
      (VkDevice a, const VkCommandBufferAllocateInfo *b, VkCommandBuffer *c), (a, b, c), HOST,     \
      DEVICE)                                                                                      \
    X(vkBeginCommandBuffer, NONE, (VkCommandBuffer a, const VkCommandBufferBeginInfo *b), (a, b),  \
      HOST, DEVICE)                                                                                \
    X(vkEndCommandBuffer, NONE, (VkCommandBuffer a), (a), HOST, DEVICE,                            \
      VK_ERROR_INVALID_VIDEO_STD_PARAMETERS_KHR)                                                   \
    X(vkSetDebugUtilsObjectNameEXT, NONE, (VkDevice a, const VkDebugUtilsObjectNameInfoEXT *b),    \
      (a, b), HOST, DEVICE)

#define LAYER_DESTROYS(X)                                                                          \
    X(vkDestroySemaphore, SEMAPHORE, VkSemaphore)                                                  \
    X(vkFreeMemory, MEMORY, VkDeviceMemory)                                                        \
    X(vkDestroyBuffer, BUFFER, VkBuffer)                                                           \
    X(vkDestroyDescriptorSetLayout, DESCRIPTOR_SET_LAYOUT, VkDescriptorSetLayout)                  \
    X(vkDestroyPipelineLayout, PIPELINE_LAYOUT, VkPipelineLayout)                                  \
    X(vkDestroyDescriptorPool, DESCRIPTOR_POOL, VkDescriptorPool)                                  \
    X(vkDestroyCommandPool, COMMAND_POOL, VkCommandPool)                                           \
    X(vkDestroyQueryPool, QUERY_POOL, VkQueryPool)                                                 \
    X(vkDestroyShaderModule, SHADER_MODULE, VkShaderModule)                                        \
    X(vkDestroyPipeline, PIPELINE, VkPipeline)                                                     \
    X(vkDestroyPipelineCache, PIPELINE_CACHE, VkPipelineCache)

#endif
