#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "vk/vk_priv.h"

/* Extensions that hearth uses, and the version whose core contains them (0: none does). */
static const struct {
    const char *name;
    uint32_t core;
} extensions[VK_N_EXTENSIONS] = {
    [VK_EXT_SUBGROUP_SIZE] = {VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME, VK_API_VERSION_1_3},
    [VK_EXT_INTEGER_DOT] = {VK_KHR_SHADER_INTEGER_DOT_PRODUCT_EXTENSION_NAME, VK_API_VERSION_1_3},
    [VK_EXT_MAINTENANCE_4] = {VK_KHR_MAINTENANCE_4_EXTENSION_NAME, VK_API_VERSION_1_3},
    [VK_EXT_CREATION_FEEDBACK] = {VK_EXT_PIPELINE_CREATION_FEEDBACK_EXTENSION_NAME,
                                  VK_API_VERSION_1_3},
    [VK_EXT_MATRIX] = {VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME, 0},
    [VK_EXT_BFLOAT16] = {"VK_KHR_shader_bfloat16", 0},
    [VK_EXT_MATRIX_2] = {"VK_NV_cooperative_matrix2", 0},
    [VK_EXT_BUDGET] = {VK_EXT_MEMORY_BUDGET_EXTENSION_NAME, 0},
    [VK_EXT_PIPELINE_STATS] = {VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME, 0},
    [VK_EXT_PRIORITY_KHR] = {VK_KHR_GLOBAL_PRIORITY_EXTENSION_NAME, 0},
    [VK_EXT_PRIORITY_EXT] = {VK_EXT_GLOBAL_PRIORITY_EXTENSION_NAME, 0},
    [VK_EXT_PORTABILITY] = {"VK_KHR_portability_subset", 0},
};

enum {
    MIN_CHUNKS = 16, /* what hearth can live with; Vulkan itself only promises 4 */
    MARGIN_MIN_BYTES = 32 << 20,
    MARGIN_MAX_BYTES = 256 << 20,
    MAX_FLEXIBLE = 512,        /* matrices of all scopes and sizes of workgroups */
    SPIRV_OF_1_2 = 0x00010500, /* the newest that Vulkan 1.2 takes: version 1.5 */
};

static enum hth_status read_extensions(struct vk_gpu *gpu, const struct log *log)
{
    uint32_t count = 0;
    VkResult result = VK_INCOMPLETE; /* said when there are more by the time the list is made */
    VkExtensionProperties *list = NULL;
    for (int tries = 0; tries < 3 && result == VK_INCOMPLETE; tries++) {
        mem_free(list);
        list = NULL;
        result = vkEnumerateDeviceExtensionProperties(gpu->handle, NULL, &count, NULL);
        if (result != VK_SUCCESS || count == 0)
            break;
        list = mem_calloc(count, sizeof *list);
        if (!list)
            return log_fail_memory(log, "the list of a Vulkan device's extensions",
                                   count * sizeof *list);
        result = vkEnumerateDeviceExtensionProperties(gpu->handle, NULL, &count, list);
    }
    if (result != VK_SUCCESS && result != VK_INCOMPLETE) {
        mem_free(list);
        return log_fail(log, HTH_ERROR_DEVICE,
                        "vkEnumerateDeviceExtensionProperties failed on %s: %s", gpu->caps.name,
                        vk_result_name(result));
    }
    for (int e = 0; e < VK_N_EXTENSIONS; e++) {
        for (uint32_t i = 0; list && i < count; i++)
            if (strcmp(list[i].extensionName, extensions[e].name) == 0)
                gpu->listed |= 1u << e;
        if (extensions[e].core && gpu->api_version >= extensions[e].core)
            gpu->usable |= 1u << e;
    }
    gpu->usable |= gpu->listed;
    mem_free(list);
    return HTH_OK;
}

uint32_t vk_gpu_extensions(const struct vk_gpu *gpu, bool stats, const char *names[VK_N_EXTENSIONS])
{
    uint32_t n = 0;
    for (int e = 0; e < VK_N_EXTENSIONS; e++) {
        bool core = extensions[e].core && gpu->api_version >= extensions[e].core;
        bool wanted = gpu->listed >> e & 1 && !core;
        if (e == VK_EXT_PIPELINE_STATS)
            wanted = wanted && stats;
        if (e == VK_EXT_PRIORITY_EXT) /* the same under its older name */
            wanted = wanted && !vk_gpu_has(gpu, VK_EXT_PRIORITY_KHR);
        if (wanted)
            names[n++] = extensions[e].name;
    }
    return n;
}

void vk_features_chain(struct vk_features *features, const struct vk_gpu *gpu)
{
    *features = (struct vk_features){0};
    features->core.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    features->v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES;
    features->v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
    features->core.pNext = &features->v11;
    features->v11.pNext = &features->v12;
    void **tail = &features->v12.pNext;
    if (vk_gpu_has(gpu, VK_EXT_SUBGROUP_SIZE)) {
        features->subgroup.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES;
        *tail = &features->subgroup;
        tail = &features->subgroup.pNext;
    }
    if (vk_gpu_has(gpu, VK_EXT_INTEGER_DOT)) {
        features->dot.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES;
        *tail = &features->dot;
        tail = &features->dot.pNext;
    }
    if (vk_gpu_has(gpu, VK_EXT_MAINTENANCE_4)) {
        features->maintenance4.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_FEATURES;
        *tail = &features->maintenance4;
        tail = &features->maintenance4.pNext;
    }
    if (vk_gpu_has(gpu, VK_EXT_MATRIX)) {
        features->matrix.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_FEATURES_KHR;
        *tail = &features->matrix;
        tail = &features->matrix.pNext;
    }
    if (vk_gpu_has(gpu, VK_EXT_BFLOAT16)) {
        features->bfloat16.sType = (VkStructureType)VK_BFLOAT16_FEATURES_TYPE;
        *tail = &features->bfloat16;
        tail = &features->bfloat16.pNext;
    }
    if (vk_gpu_has(gpu, VK_EXT_MATRIX_2)) {
        features->matrix_2.sType = (VkStructureType)VK_MATRIX_2_FEATURES_TYPE;
        *tail = &features->matrix_2;
        tail = &features->matrix_2.pNext;
    }
    if (vk_gpu_has(gpu, VK_EXT_PIPELINE_STATS)) {
        features->stats.sType =
            VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR;
        *tail = &features->stats;
    }
}

void vk_features_keep_ours(struct vk_features *features, bool stats)
{
    const VkPhysicalDeviceFeatures core = features->core.features;
    features->core.features = (VkPhysicalDeviceFeatures){
        .shaderStorageBufferArrayDynamicIndexing = core.shaderStorageBufferArrayDynamicIndexing,
        .shaderUniformBufferArrayDynamicIndexing = core.shaderUniformBufferArrayDynamicIndexing,
        .shaderInt16 = core.shaderInt16,
        .shaderInt64 = core.shaderInt64,
    };
    VkPhysicalDeviceVulkan11Features *v11 = &features->v11;
    *v11 = (VkPhysicalDeviceVulkan11Features){
        .sType = v11->sType,
        .pNext = v11->pNext,
        .storageBuffer16BitAccess = v11->storageBuffer16BitAccess,
        .uniformAndStorageBuffer16BitAccess = v11->uniformAndStorageBuffer16BitAccess,
    };
    VkPhysicalDeviceVulkan12Features *v12 = &features->v12;
    bool matrices = features->matrix.cooperativeMatrix && v12->vulkanMemoryModel &&
                    v12->vulkanMemoryModelDeviceScope;
    *v12 = (VkPhysicalDeviceVulkan12Features){
        .sType = v12->sType,
        .pNext = v12->pNext,
        .storageBuffer8BitAccess = v12->storageBuffer8BitAccess,
        .uniformAndStorageBuffer8BitAccess = v12->uniformAndStorageBuffer8BitAccess,
        .shaderFloat16 = v12->shaderFloat16,
        .shaderInt8 = v12->shaderInt8,
        .bufferDeviceAddress = v12->bufferDeviceAddress && core.shaderInt64,
        .timelineSemaphore = v12->timelineSemaphore,
        .shaderSubgroupExtendedTypes = v12->shaderSubgroupExtendedTypes,
        /* Shaders with matrices say which memory model they mean; with it others, which mean the
         * whole device where they share memory, need its scope. */
        .vulkanMemoryModel = matrices,
        .vulkanMemoryModelDeviceScope = matrices,
    };
    features->matrix.cooperativeMatrix = matrices;
    features->matrix.cooperativeMatrixRobustBufferAccess = false;
    bool bfloat16 = matrices && features->bfloat16.type && features->bfloat16.cooperative_matrix;
    features->bfloat16.type = features->bfloat16.cooperative_matrix = bfloat16;
    features->bfloat16.dot_product = false;
    struct vk_matrix_2_features *v2 = &features->matrix_2;
    bool elements =
        matrices && v2->flexible && v2->reductions && v2->conversions && v2->per_element;
    v2->flexible = v2->reductions = v2->conversions = v2->per_element = elements;
    v2->workgroup_scope = v2->tensor_addressing = v2->block_loads = false;
    features->stats.pipelineExecutableInfo = features->stats.pipelineExecutableInfo && stats;
}

static enum vk_kind kind_of(VkPhysicalDeviceType type)
{
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU: return VK_KIND_DISCRETE;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU: return VK_KIND_INTEGRATED;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU: return VK_KIND_VIRTUAL;
    case VK_PHYSICAL_DEVICE_TYPE_CPU: return VK_KIND_SOFTWARE;
    default: return VK_KIND_OTHER;
    }
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* What the core properties say; true of a driver of any version. */
static void read_core(struct vk_gpu *gpu, const VkPhysicalDeviceProperties *p)
{
    struct vk_caps *caps = &gpu->caps;
    const VkPhysicalDeviceLimits *limits = &p->limits;
    snprintf(caps->name, sizeof caps->name, "%s", p->deviceName);
    caps->kind = kind_of(p->deviceType);
    caps->vendor_id = p->vendorID;
    caps->device_id = p->deviceID;
    caps->driver_version = p->driverVersion;
    caps->api_version = p->apiVersion;
    memcpy(caps->uuid, p->pipelineCacheUUID, sizeof caps->uuid);
    caps->timestamp_ns = limits->timestampPeriod;
    caps->shared_bytes = limits->maxComputeSharedMemorySize;
    caps->max_invocations = limits->maxComputeWorkGroupInvocations;
    memcpy(caps->max_group, limits->maxComputeWorkGroupSize, sizeof caps->max_group);
    memcpy(caps->max_groups, limits->maxComputeWorkGroupCount, sizeof caps->max_groups);
    caps->max_range_bytes = limits->maxStorageBufferRange;
    uint64_t chunks = min_u64(VK_MAX_CHUNKS, limits->maxPerStageDescriptorStorageBuffers);
    chunks = min_u64(chunks, limits->maxDescriptorSetStorageBuffers);
    if (limits->maxPerStageResources > 0) /* the uniform buffer counts among them */
        chunks = min_u64(chunks, limits->maxPerStageResources - 1);
    caps->max_chunks = (uint32_t)chunks;
    gpu->api_version = p->apiVersion < VK_API_VERSION_1_3 ? p->apiVersion : VK_API_VERSION_1_3;
}

/* Properties of version 1.1 and later. */
static void read_properties(struct vk_gpu *gpu)
{
    struct vk_caps *caps = &gpu->caps;
    VkPhysicalDeviceMaintenance4Properties maintenance4 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MAINTENANCE_4_PROPERTIES};
    VkPhysicalDeviceShaderIntegerDotProductProperties dot = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_PROPERTIES};
    VkPhysicalDeviceSubgroupSizeControlProperties subgroup = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_PROPERTIES};
    VkPhysicalDeviceVulkan12Properties v12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES};
    VkPhysicalDeviceVulkan11Properties v11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES, .pNext = &v12};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                       .pNext = &v11};
    void **tail = &v12.pNext;
    if (vk_gpu_has(gpu, VK_EXT_MAINTENANCE_4)) {
        *tail = &maintenance4;
        tail = &maintenance4.pNext;
    }
    if (vk_gpu_has(gpu, VK_EXT_INTEGER_DOT)) {
        *tail = &dot;
        tail = &dot.pNext;
    }
    if (vk_gpu_has(gpu, VK_EXT_SUBGROUP_SIZE))
        *tail = &subgroup;
    vkGetPhysicalDeviceProperties2(gpu->handle, &all);

    gpu->driver_id = v12.driverID;
    snprintf(caps->driver, sizeof caps->driver, "%.120s %.120s", v12.driverName, v12.driverInfo);
    if (v11.maxMemoryAllocationSize)
        caps->max_range_bytes = min_u64(caps->max_range_bytes, v11.maxMemoryAllocationSize);
    if (maintenance4.maxBufferSize)
        caps->max_range_bytes = min_u64(caps->max_range_bytes, maintenance4.maxBufferSize);
    caps->max_range_bytes =
        min_u64(caps->max_range_bytes, UINT32_MAX) / VK_REF_ALIGN * VK_REF_ALIGN;
    caps->subgroup_default = caps->subgroup_min = caps->subgroup_max = v11.subgroupSize;
    if (v11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT)
        caps->subgroup_ops = v11.subgroupSupportedOperations;
    if (subgroup.maxSubgroupSize) {
        caps->subgroup_min = subgroup.minSubgroupSize;
        caps->subgroup_max = subgroup.maxSubgroupSize;
        caps->max_subgroups = subgroup.maxComputeWorkgroupSubgroups;
        gpu->sets_subgroup = subgroup.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT;
        caps->subgroup_control = gpu->sets_subgroup || caps->subgroup_min == caps->subgroup_max;
    }
    caps->int_dot = dot.integerDotProduct4x8BitPackedSignedAccelerated;
}

static const char *component_name(VkComponentTypeKHR type)
{
    switch ((int)type) {
    case VK_COMPONENT_TYPE_FLOAT16_KHR: return "f16";
    case VK_COMPONENT_TYPE_FLOAT32_KHR: return "f32";
    case VK_COMPONENT_TYPE_FLOAT64_KHR: return "f64";
    case VK_COMPONENT_TYPE_SINT8_KHR: return "s8";
    case VK_COMPONENT_TYPE_SINT16_KHR: return "s16";
    case VK_COMPONENT_TYPE_SINT32_KHR: return "s32";
    case VK_COMPONENT_TYPE_UINT8_KHR: return "u8";
    case VK_COMPONENT_TYPE_UINT16_KHR: return "u16";
    case VK_COMPONENT_TYPE_UINT32_KHR: return "u32";
    case 1000141000: return "bf16"; /* VK_COMPONENT_TYPE_BFLOAT16_KHR of later headers */
    case 1000491002: return "e4m3"; /* VK_COMPONENT_TYPE_FLOAT8_E4M3_EXT */
    case 1000491003: return "e5m2"; /* VK_COMPONENT_TYPE_FLOAT8_E5M2_EXT */
    default: return "?";
    }
}

/* A driver that cannot tell its shapes has none. It lists those of whole workgroups, too. */
static void read_flexible(struct vk_gpu *gpu)
{
#ifdef VK_NV_cooperative_matrix2
    struct vk_caps *caps = &gpu->caps;
    VkPhysicalDeviceCooperativeMatrix2PropertiesNV most = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_COOPERATIVE_MATRIX_2_PROPERTIES_NV};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2,
                                       .pNext = &most};
    VkCooperativeMatrixFlexibleDimensionsPropertiesNV list[MAX_FLEXIBLE];
    uint32_t n = MAX_FLEXIBLE;
    for (uint32_t i = 0; i < n; i++)
        list[i] = (VkCooperativeMatrixFlexibleDimensionsPropertiesNV){
            .sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_FLEXIBLE_DIMENSIONS_PROPERTIES_NV};
    VkResult result =
        vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV(gpu->handle, &n, list);
    if (result != VK_SUCCESS && result != VK_INCOMPLETE)
        return;
    vkGetPhysicalDeviceProperties2(gpu->handle, &all);
    caps->flexible_most = most.cooperativeMatrixFlexibleDimensionsMaxDimension;
    for (uint32_t i = 0; i < n && i < MAX_FLEXIBLE && caps->n_flexible < VK_MAX_MATRICES; i++)
        if (list[i].scope == VK_SCOPE_SUBGROUP_KHR)
            caps->flexible[caps->n_flexible++] = (struct vk_matrix){
                .m = list[i].MGranularity,
                .n = list[i].NGranularity,
                .k = list[i].KGranularity,
                .a = component_name(list[i].AType),
                .b = component_name(list[i].BType),
                .c = component_name(list[i].CType),
                .result = component_name(list[i].ResultType),
                .saturates = list[i].saturatingAccumulation,
            };
#else
    (void)gpu;
#endif
}

/* Likewise. */
static void read_matrices(struct vk_gpu *gpu)
{
    struct vk_caps *caps = &gpu->caps;
    VkCooperativeMatrixPropertiesKHR list[VK_MAX_MATRICES];
    uint32_t n = VK_MAX_MATRICES;
    for (uint32_t i = 0; i < n; i++)
        list[i] = (VkCooperativeMatrixPropertiesKHR){
            .sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR};
    VkResult result = vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(gpu->handle, &n, list);
    if (result != VK_SUCCESS && result != VK_INCOMPLETE)
        return;
    for (uint32_t i = 0; i < n && i < VK_MAX_MATRICES; i++)
        if (list[i].scope == VK_SCOPE_SUBGROUP_KHR)
            caps->matrices[caps->n_matrices++] = (struct vk_matrix){
                .m = list[i].MSize,
                .n = list[i].NSize,
                .k = list[i].KSize,
                .a = component_name(list[i].AType),
                .b = component_name(list[i].BType),
                .c = component_name(list[i].CType),
                .result = component_name(list[i].ResultType),
                .saturates = list[i].saturatingAccumulation,
            };
}

/* The same features as are switched on in vk_open. */
static void read_features(struct vk_gpu *gpu)
{
    struct vk_caps *caps = &gpu->caps;
    struct vk_features have;
    vk_features_chain(&have, gpu);
    vkGetPhysicalDeviceFeatures2(gpu->handle, &have.core);
    vk_features_keep_ours(&have, true);
    caps->fp16 = have.v12.shaderFloat16;
    caps->int8 = have.v12.shaderInt8;
    caps->int16 = have.core.features.shaderInt16;
    caps->int64 = have.core.features.shaderInt64;
    caps->storage8 = have.v12.storageBuffer8BitAccess;
    caps->storage16 = have.v11.storageBuffer16BitAccess;
    caps->addresses = have.v12.bufferDeviceAddress;
    caps->int_dot_any = have.dot.shaderIntegerDotProduct;
    caps->int_dot = caps->int_dot && caps->int_dot_any;
    caps->subgroup_control = caps->subgroup_control && have.subgroup.subgroupSizeControl &&
                             have.subgroup.computeFullSubgroups;
    gpu->stats = have.stats.pipelineExecutableInfo;
    caps->bf16_matrices = have.bfloat16.cooperative_matrix;
    if (have.matrix.cooperativeMatrix)
        read_matrices(gpu);
    if (have.matrix_2.per_element)
        read_flexible(gpu);
    if (!caps->storage16)
        caps->lacks = "16-bit storage buffers (storageBuffer16BitAccess)";
    else if (!have.core.features.shaderStorageBufferArrayDynamicIndexing)
        caps->lacks = "arrays of storage buffers (shaderStorageBufferArrayDynamicIndexing)";
    else if (!have.v12.timelineSemaphore)
        caps->lacks = "timeline semaphores (timelineSemaphore)";
    else if (caps->max_chunks < MIN_CHUNKS)
        caps->lacks = "16 storage buffers in a shader (maxPerStageDescriptorStorageBuffers)";
}

/* Compute: a family without graphics where there is one, as that leaves the desktop's alone.
 * Transfer: a family for copies and nothing else; families for video can copy too, but drivers have
 * stumbled there (https://github.com/turanszkij/WickedEngine/pull/669). */
static enum hth_status read_families(struct vk_gpu *gpu, const struct log *log)
{
    enum {
        OTHER = ~(VK_QUEUE_TRANSFER_BIT | VK_QUEUE_SPARSE_BINDING_BIT | VK_QUEUE_PROTECTED_BIT)
    };
    uint32_t count = 0;
    gpu->compute_family = gpu->transfer_family = VK_NO_FAMILY;
    vkGetPhysicalDeviceQueueFamilyProperties(gpu->handle, &count, NULL);
    VkQueueFamilyProperties *list = mem_calloc(count ? count : 1, sizeof *list);
    if (!list)
        return log_fail_memory(log, "the list of queue families", count * sizeof *list);
    vkGetPhysicalDeviceQueueFamilyProperties(gpu->handle, &count, list);
    int best = 0;
    for (uint32_t i = 0; i < count; i++) {
        VkQueueFlags flags = list[i].queueFlags;
        int score = !list[i].queueCount || !(flags & VK_QUEUE_COMPUTE_BIT) ? 0
                    : flags & VK_QUEUE_GRAPHICS_BIT                        ? 1
                                                                           : 2;
        if (score > best) {
            best = score;
            gpu->compute_family = i;
            gpu->timestamp_bits = list[i].timestampValidBits;
        }
        if (gpu->transfer_family == VK_NO_FAMILY && list[i].queueCount &&
            flags & VK_QUEUE_TRANSFER_BIT && !(flags & (VkQueueFlags)OTHER))
            gpu->transfer_family = i;
    }
    mem_free(list);
    gpu->caps.timestamps = best > 0 && gpu->timestamp_bits > 0 && gpu->caps.timestamp_ns > 0;
    if (best == 0)
        gpu->caps.lacks = "a queue for compute";
    return HTH_OK;
}

void vk_gpu_read_heaps(const struct vk_gpu *gpu, struct vk_caps *caps)
{
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    bool has_budget = vk_gpu_has(gpu, VK_EXT_BUDGET) && gpu->api_version >= VK_API_VERSION_1_1;
    if (has_budget) {
        VkPhysicalDeviceMemoryProperties2 memory = {
            .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, .pNext = &budget};
        vkGetPhysicalDeviceMemoryProperties2(gpu->handle, &memory);
    }
    caps->n_heaps = gpu->memory.memoryHeapCount;
    caps->device_bytes = 0;
    for (uint32_t i = 0; i < caps->n_heaps; i++) {
        struct vk_heap *heap = &caps->heaps[i];
        heap->size_bytes = gpu->memory.memoryHeaps[i].size;
        heap->device_local = gpu->memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT;
        uint64_t margin = heap->size_bytes / 64;
        margin = margin < MARGIN_MIN_BYTES ? MARGIN_MIN_BYTES : min_u64(margin, MARGIN_MAX_BYTES);
        uint64_t can = has_budget && budget.heapBudget[i] ? budget.heapBudget[i] : heap->size_bytes;
        heap->margin_bytes = margin;
        heap->budget_bytes = can > margin ? can - margin : 0;
        heap->used_bytes = has_budget ? budget.heapUsage[i] : 0;
        if (heap->device_local && heap->size_bytes > caps->device_bytes)
            caps->device_bytes = heap->size_bytes;
    }
}

/* Unified: the device says it shares the host's memory, and all of the largest device-local heap
 * can be mapped (an integrated GPU with a small carve-out has a larger one beside it). */
static bool is_unified(const struct vk_gpu *gpu)
{
    const VkMemoryPropertyFlags need = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT |
                                       VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
                                       VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    if (gpu->caps.kind != VK_KIND_INTEGRATED && gpu->caps.kind != VK_KIND_SOFTWARE)
        return false;
    for (uint32_t i = 0; i < gpu->memory.memoryTypeCount; i++) {
        const VkMemoryType *type = &gpu->memory.memoryTypes[i];
        if ((type->propertyFlags & need) == need &&
            gpu->memory.memoryHeaps[type->heapIndex].size == gpu->caps.device_bytes)
            return true;
    }
    return false;
}

enum hth_status vk_gpu_read(struct vk_gpu *gpu, VkPhysicalDevice handle, const struct log *log)
{
    *gpu = (struct vk_gpu){.handle = handle};
    VkPhysicalDeviceProperties properties;
    vkGetPhysicalDeviceProperties(handle, &properties);
    vkGetPhysicalDeviceMemoryProperties(handle, &gpu->memory);
    read_core(gpu, &properties);
    enum hth_status status = read_extensions(gpu, log);
    if (status != HTH_OK)
        return status;
    vk_gpu_read_heaps(gpu, &gpu->caps);
    gpu->caps.unified = is_unified(gpu);
    if (gpu->api_version < VK_API_VERSION_1_2) {
        gpu->caps.lacks = "Vulkan 1.2";
        return HTH_OK;
    }
    read_properties(gpu);
    read_features(gpu);
    status = read_families(gpu, log);
    if (status != HTH_OK)
        return status;
    vk_quirks_apply(gpu, log);
    gpu->caps.transfer_queue = gpu->transfer_family != VK_NO_FAMILY;
    return HTH_OK;
}

/* Numbers of SPIR-V's Capability enum (SPIR-V specification, section 3.31). */
static bool has_capability(const struct vk_caps *caps, uint32_t capability)
{
    switch (capability) {
    case 0:                      /* Matrix */
    case 1:                      /* Shader */
    case 30: return true;        /* StorageBufferArrayDynamicIndexing: needed of every device */
    case 9: return caps->fp16;   /* Float16 */
    case 11: return caps->int64; /* Int64 */
    case 22: return caps->int16; /* Int16 */
    case 39: return caps->int8;  /* Int8 */
    case 61: return caps->subgroup_ops & VK_SUBGROUP_FEATURE_BASIC_BIT;
    case 62: return caps->subgroup_ops & VK_SUBGROUP_FEATURE_VOTE_BIT;
    case 63: return caps->subgroup_ops & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT;
    case 64: return caps->subgroup_ops & VK_SUBGROUP_FEATURE_BALLOT_BIT;
    case 65: return caps->subgroup_ops & VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
    case 66: return caps->subgroup_ops & VK_SUBGROUP_FEATURE_SHUFFLE_RELATIVE_BIT;
    case 67: return caps->subgroup_ops & VK_SUBGROUP_FEATURE_CLUSTERED_BIT;
    case 68: return caps->subgroup_ops & VK_SUBGROUP_FEATURE_QUAD_BIT;
    case 5345:                             /* VulkanMemoryModel: switched on for matrices */
    case 6022: return caps->n_matrices;    /* CooperativeMatrixKHR */
    case 4433: return caps->storage16;     /* StorageBuffer16BitAccess */
    case 5116:                             /* BFloat16TypeKHR */
    case 5118: return caps->bf16_matrices; /* BFloat16CooperativeMatrixKHR */
    case 5430:                             /* CooperativeMatrixReductionsNV */
    case 5431:                             /* CooperativeMatrixConversionsNV */
    case 5432: return caps->n_flexible;    /* CooperativeMatrixPerElementOperationsNV */
    case 4448: return caps->storage8;      /* StorageBuffer8BitAccess */
    case 5347: return caps->addresses;     /* PhysicalStorageBufferAddresses */
    case 6016:                             /* DotProductInputAll */
    case 6017:                             /* DotProductInput4x8Bit */
    case 6018:                             /* DotProductInput4x8BitPacked */
    case 6019: return caps->int_dot_any;   /* DotProduct */
    default: return false;
    }
}

bool vk_blob_fits(const struct vk_caps *caps, const struct shader_blob *blob)
{
    for (uint32_t i = 0; i < blob->n_capabilities; i++)
        if (!has_capability(caps, blob->capabilities[i]))
            return false;
    if (blob->words[1] > SPIRV_OF_1_2 && caps->api_version < VK_API_VERSION_1_3)
        return false;
    uint64_t invocations = 1;
    for (int i = 0; i < 3; i++) {
        invocations *= blob->local_size[i];
        if (blob->local_size_spec[i] < 0 && blob->local_size[i] > caps->max_group[i])
            return false;
    }
    bool fixed = blob->local_size_spec[0] < 0 && blob->local_size_spec[1] < 0 &&
                 blob->local_size_spec[2] < 0;
    if (fixed && invocations > caps->max_invocations)
        return false;
    if (caps->max_chunks < VK_MAX_CHUNKS && !blob->uses_addresses) {
        bool follows = false;
        for (uint32_t i = 0; i < blob->n_specs; i++)
            follows = follows || strcmp(blob->specs[i].name, "max_chunks") == 0;
        if (!follows)
            return false;
    }
    return blob->shared_bytes <= caps->shared_bytes && blob->push_bytes <= VK_MAX_PUSH_BYTES;
}
