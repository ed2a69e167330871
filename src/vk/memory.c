#include <string.h>

#include "base/mem.h"
#include "vk/vk_priv.h"

/* --- memory types ----------------------------------------------------------------------------- */

/* Looks for a type of memory that `allowed` (a mask) contains, has all flags of `with` and none of
 * `without`. Drivers list faster ones first (Vulkan specification,
 * VkPhysicalDeviceMemoryProperties). */
static int find_type(const struct vk *vk, uint32_t allowed, VkMemoryPropertyFlags with,
                     VkMemoryPropertyFlags without)
{
    /* Types with other flags are for protected contents, or uncached for debuggers. */
    const VkMemoryPropertyFlags known =
        VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT | VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT |
        VK_MEMORY_PROPERTY_HOST_COHERENT_BIT | VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    const VkPhysicalDeviceMemoryProperties *memory = &vk->gpu.memory;
    for (uint32_t i = 0; i < memory->memoryTypeCount; i++) {
        VkMemoryPropertyFlags flags = memory->memoryTypes[i].propertyFlags;
        if (allowed >> i & 1 && (flags & with) == with && !(flags & without) && !(flags & ~known))
            return (int)i;
    }
    return -1;
}

static int choose_type(const struct vk *vk, uint32_t allowed, enum vk_memory kind)
{
    const VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT;
    const VkMemoryPropertyFlags visible = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT;
    const VkMemoryPropertyFlags mapped = visible | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    const VkMemoryPropertyFlags cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    const struct {
        VkMemoryPropertyFlags with, without;
    } wishes[3][3] = {
        /* Pure device memory first: where all of it can be mapped, the mappable types may be in a
         * heap or a caching mode of their own. */
        [VK_MEMORY_DEVICE] = {{local, visible}, {local, 0}, {0, 0}},
        [VK_MEMORY_UPLOAD] = {{mapped, local | cached}, {mapped, local}, {mapped, 0}},
        [VK_MEMORY_READBACK] = {{mapped | cached, local}, {mapped | cached, 0}, {mapped, 0}},
    };
    int type = -1;
    if (kind == VK_MEMORY_DEVICE && vk_is_unified(vk))
        type = find_type(vk, allowed, local | mapped, 0);
    for (size_t i = 0; i < 3 && type < 0; i++)
        type = find_type(vk, allowed, wishes[kind][i].with, wishes[kind][i].without);
    return type;
}

/* --- buffers ---------------------------------------------------------------------------------- */

static enum hth_status no_room(struct vk *vk, VkResult result, uint64_t size_bytes, uint32_t heap)
{
    struct vk_caps now = vk->gpu.caps;
    vk_gpu_read_heaps(&vk->gpu, &now);
    vk_refuse(vk);
    return log_fail(
        &vk->log, HTH_ERROR_MEMORY,
        "out of memory: vkAllocateMemory found no room for %llu MiB on %s (%s): of heap "
        "%u's %llu MiB, %llu may be used and %llu are; use less, or close other "
        "programs that use the GPU",
        (unsigned long long)(size_bytes >> 20), now.name, vk_result_name(result), heap,
        (unsigned long long)(now.heaps[heap].size_bytes >> 20),
        (unsigned long long)(now.heaps[heap].budget_bytes >> 20),
        (unsigned long long)(now.heaps[heap].used_bytes >> 20));
}

static enum hth_status allocate(struct vk *vk, enum vk_memory kind, VkBufferUsageFlags usage,
                                struct vk_buffer *buffer)
{
    VkMemoryRequirements needs;
    vk->f.vkGetBufferMemoryRequirements(vk->device, buffer->handle, &needs);
    int type = choose_type(vk, needs.memoryTypeBits, kind);
    if (type < 0)
        return log_fail(&vk->log, HTH_ERROR_DEVICE,
                        "%s has no type of memory for a buffer of kind %d (mask %x): try another "
                        "driver",
                        vk->gpu.caps.name, (int)kind, (unsigned)needs.memoryTypeBits);
    const VkMemoryType *found = &vk->gpu.memory.memoryTypes[type];
    VkMemoryAllocateFlagsInfo flags = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                                       .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
    VkMemoryAllocateInfo info = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
        .pNext = usage & VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT ? &flags : NULL,
        .allocationSize = needs.size,
        .memoryTypeIndex = (uint32_t)type,
    };
    VkResult result = vk->f.vkAllocateMemory(vk->device, &info, NULL, &buffer->memory);
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY)
        return no_room(vk, result, needs.size, found->heapIndex);
    if (result != VK_SUCCESS)
        return vk_fail(vk, result, "vkAllocateMemory");
    result = vk->f.vkBindBufferMemory(vk->device, buffer->handle, buffer->memory, 0);
    if (result != VK_SUCCESS)
        return vk_fail(vk, result, "vkBindBufferMemory");
    bool map = found->propertyFlags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT &&
               found->propertyFlags & VK_MEMORY_PROPERTY_HOST_COHERENT_BIT &&
               (kind != VK_MEMORY_DEVICE || vk_is_unified(vk));
    if (map) {
        result = vk->f.vkMapMemory(vk->device, buffer->memory, 0, VK_WHOLE_SIZE, 0, &buffer->data);
        if (result != VK_SUCCESS)
            return vk_fail(vk, result, "vkMapMemory");
    }
    return HTH_OK;
}

enum hth_status vk_buffer_create(struct vk *vk, uint64_t size_bytes, enum vk_memory kind,
                                 VkBufferUsageFlags usage, struct vk_buffer *buffer)
{
    const uint32_t families[2] = {vk->gpu.compute_family, vk->gpu.transfer_family};
    bool shared = vk->gpu.transfer_family != VK_NO_FAMILY;
    *buffer = (struct vk_buffer){.size_bytes = size_bytes};
    VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
        .size = size_bytes,
        .usage = usage,
        .sharingMode = shared ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE,
        .queueFamilyIndexCount = shared ? 2 : 0,
        .pQueueFamilyIndices = families,
    };
    VkResult result = vk->f.vkCreateBuffer(vk->device, &info, NULL, &buffer->handle);
    if (result != VK_SUCCESS) {
        buffer->handle = VK_NULL_HANDLE;
        return vk_fail(vk, result, "vkCreateBuffer");
    }
    enum hth_status status = allocate(vk, kind, usage, buffer);
    if (status != HTH_OK)
        vk_buffer_destroy(vk, buffer);
    return status;
}

void vk_buffer_destroy(struct vk *vk, struct vk_buffer *buffer)
{
    vk->f.vkDestroyBuffer(vk->device, buffer->handle, NULL);
    vk->f.vkFreeMemory(vk->device, buffer->memory, NULL); /* unmaps it too */
    *buffer = (struct vk_buffer){0};
}

/* --- chunks ----------------------------------------------------------------------------------- */

/* Is there room for `size_bytes` more of device memory, by the option or else by the budget? */
static enum hth_status check_limit(struct vk *vk, uint64_t size_bytes)
{
    uint64_t used = vk->allocated[VK_MEMORY_DEVICE], limit = vk->options.memory_limit_bytes;
    const char *whose = "asked for";
    if (!limit) {
        struct vk_caps now = vk->gpu.caps;
        vk_gpu_read_heaps(&vk->gpu, &now);
        for (uint32_t i = 0; i < now.n_heaps; i++)
            if (now.heaps[i].device_local && now.heaps[i].size_bytes == now.device_bytes)
                limit = now.heaps[i].budget_bytes;
        whose = "that the driver gives";
    }
    if (size_bytes <= limit && used <= limit - size_bytes)
        return HTH_OK;
    vk_refuse(vk);
    return log_fail(
        &vk->log, HTH_ERROR_LIMIT,
        "%s: %llu MiB more device memory, beside %llu in use, are over the limit of %llu "
        "MiB %s",
        vk->gpu.caps.name, (unsigned long long)(size_bytes >> 20), (unsigned long long)(used >> 20),
        (unsigned long long)(limit >> 20), whose);
}

enum hth_status vk_chunk_create(struct vk *vk, uint64_t size_bytes, enum vk_memory kind,
                                const char *label, uint32_t *chunk)
{
    *chunk = 0;
    enum hth_status status = vk_alive(vk);
    if (status != HTH_OK)
        return status;
    const struct vk_caps *caps = &vk->gpu.caps;
    if (size_bytes == 0 || size_bytes > caps->max_range_bytes)
        return log_fail(&vk->log, HTH_ERROR_ARGUMENT,
                        "a chunk (%s) of %llu bytes: %s takes 1 to %llu bytes in one", label,
                        (unsigned long long)size_bytes, caps->name,
                        (unsigned long long)caps->max_range_bytes);
    uint32_t number = 0;
    while (number < caps->max_chunks && vk->chunks[number].buffer.handle)
        number++;
    if (number == caps->max_chunks) {
        vk_refuse(vk);
        return log_fail(&vk->log, HTH_ERROR_LIMIT,
                        "all %u chunks of %s are in use: make them larger (%s)", caps->max_chunks,
                        caps->name, label);
    }
    uint64_t rounded = align_up(size_bytes, VK_REF_ALIGN);
    if (kind == VK_MEMORY_DEVICE && number > 0) { /* chunk 0 is what opening takes */
        status = check_limit(vk, rounded);
        if (status != HTH_OK)
            return status;
    }
    VkBufferUsageFlags usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
                               VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
    if (caps->addresses)
        usage |= VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
    struct vk_chunk *slot = &vk->chunks[number];
    status = vk_buffer_create(vk, rounded, kind, usage, &slot->buffer);
    if (status != HTH_OK)
        return status;
    slot->asked_bytes = size_bytes;
    slot->kind = kind;
    vk->allocated[kind] += rounded;
    vk->generation++;
    vk->set_stale = true;
    vk_set_name(vk, VK_OBJECT_TYPE_BUFFER, (uint64_t)slot->buffer.handle, label);
    *chunk = number;
    return HTH_OK;
}

static bool is_chunk(const struct vk *vk, uint32_t chunk)
{
    return chunk < VK_MAX_CHUNKS && vk->chunks[chunk].buffer.handle;
}

void vk_chunk_destroy(struct vk *vk, uint32_t chunk)
{
    if (chunk == 0 || !is_chunk(vk, chunk))
        return;
    if (vk_alive(vk) == HTH_OK) {
        enum hth_status said = vk_transfer_flush(vk); /* copies to other chunks are among them */
        (void)said;
    }
    vk_idle(vk);
    vk->allocated[vk->chunks[chunk].kind] -= vk->chunks[chunk].buffer.size_bytes;
    vk_buffer_destroy(vk, &vk->chunks[chunk].buffer);
    vk->generation++;
    vk->set_stale = true;
}

uint64_t vk_generation(const struct vk *vk)
{
    return vk->generation;
}

void *vk_chunk_data(struct vk *vk, uint32_t chunk)
{
    return is_chunk(vk, chunk) ? vk->chunks[chunk].buffer.data : NULL;
}

uint64_t vk_chunk_bytes(const struct vk *vk, uint32_t chunk)
{
    return is_chunk(vk, chunk) ? vk->chunks[chunk].asked_bytes : 0;
}

uint32_t vk_refusals(const struct vk *vk, uint64_t *allocated)
{
    *allocated = vk->refused_at;
    return atomic_load(&vk->n_refused);
}

uint64_t vk_allocated_bytes(const struct vk *vk, enum vk_memory kind)
{
    return vk->allocated[kind];
}

/* --- the descriptor set ----------------------------------------------------------------------- */

static void write_set(struct vk *vk)
{
    VkDescriptorBufferInfo storage[VK_MAX_CHUNKS];
    VkDescriptorBufferInfo uniform = {.buffer = vk->addresses.handle, .range = VK_WHOLE_SIZE};
    uint64_t *addresses = vk->addresses.data;
    for (uint32_t i = 0; i < VK_MAX_CHUNKS; i++) {
        const struct vk_buffer *buffer = &vk->chunks[is_chunk(vk, i) ? i : 0].buffer;
        storage[i] =
            (VkDescriptorBufferInfo){.buffer = buffer->handle, .range = buffer->size_bytes};
        VkBufferDeviceAddressInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
                                          .buffer = buffer->handle};
        if (vk->gpu.caps.addresses)
            addresses[i] = vk->f.vkGetBufferDeviceAddress(vk->device, &info);
    }
    VkWriteDescriptorSet writes[2] = {
        {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
         .dstSet = vk->set,
         .dstBinding = 0,
         .descriptorCount = vk->gpu.caps.max_chunks,
         .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
         .pBufferInfo = storage},
        {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
         .dstSet = vk->set,
         .dstBinding = 1,
         .descriptorCount = 1,
         .descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER,
         .pBufferInfo = &uniform},
    };
    vk->f.vkUpdateDescriptorSets(vk->device, ARRAY_LEN(writes), writes, 0, NULL);
}

enum hth_status vk_set_refresh(struct vk *vk)
{
    if (!vk->set_stale)
        return HTH_OK;
    enum hth_status status = vk_wait_all(vk);
    if (status != HTH_OK)
        return status;
    write_set(vk);
    vk->set_stale = false;
    return HTH_OK;
}

static enum hth_status create_set(struct vk *vk)
{
    const uint32_t n = vk->gpu.caps.max_chunks;
    const VkDescriptorSetLayoutBinding bindings[2] = {
        {0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, n, VK_SHADER_STAGE_COMPUTE_BIT, NULL},
        {1, VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, NULL},
    };
    const VkDescriptorPoolSize sizes[2] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, n},
                                           {VK_DESCRIPTOR_TYPE_UNIFORM_BUFFER, 1}};
    const VkPushConstantRange push = {VK_SHADER_STAGE_COMPUTE_BIT, 0, VK_MAX_PUSH_BYTES};
    VkDescriptorSetLayoutCreateInfo set_layout = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
        .bindingCount = ARRAY_LEN(bindings),
        .pBindings = bindings,
    };
    VkDescriptorPoolCreateInfo pool = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
        .maxSets = 1,
        .poolSizeCount = ARRAY_LEN(sizes),
        .pPoolSizes = sizes,
    };
    VkResult result =
        vk->f.vkCreateDescriptorSetLayout(vk->device, &set_layout, NULL, &vk->set_layout);
    if (result != VK_SUCCESS)
        return vk_fail(vk, result, "vkCreateDescriptorSetLayout");
    VkPipelineLayoutCreateInfo layout = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .setLayoutCount = 1,
        .pSetLayouts = &vk->set_layout,
        .pushConstantRangeCount = 1,
        .pPushConstantRanges = &push,
    };
    result = vk->f.vkCreatePipelineLayout(vk->device, &layout, NULL, &vk->layout);
    if (result != VK_SUCCESS)
        return vk_fail(vk, result, "vkCreatePipelineLayout");
    result = vk->f.vkCreateDescriptorPool(vk->device, &pool, NULL, &vk->set_pool);
    if (result != VK_SUCCESS)
        return vk_fail(vk, result, "vkCreateDescriptorPool");
    VkDescriptorSetAllocateInfo set = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
        .descriptorPool = vk->set_pool,
        .descriptorSetCount = 1,
        .pSetLayouts = &vk->set_layout,
    };
    result = vk->f.vkAllocateDescriptorSets(vk->device, &set, &vk->set);
    return result == VK_SUCCESS ? HTH_OK : vk_fail(vk, result, "vkAllocateDescriptorSets");
}

enum hth_status vk_memory_open(struct vk *vk)
{
    enum hth_status status = create_set(vk);
    if (status == HTH_OK)
        status = vk_buffer_create(vk, VK_MAX_CHUNKS * sizeof(uint64_t), VK_MEMORY_UPLOAD,
                                  VK_BUFFER_USAGE_UNIFORM_BUFFER_BIT, &vk->addresses);
    if (status == HTH_OK)
        status = vk_tables_open(vk);
    return status;
}

void vk_memory_close(struct vk *vk)
{
    for (uint32_t i = 0; i < VK_MAX_CHUNKS; i++)
        vk_buffer_destroy(vk, &vk->chunks[i].buffer);
    vk_buffer_destroy(vk, &vk->addresses);
    vk->f.vkDestroyDescriptorPool(vk->device, vk->set_pool, NULL);
    vk->f.vkDestroyPipelineLayout(vk->device, vk->layout, NULL);
    vk->f.vkDestroyDescriptorSetLayout(vk->device, vk->set_layout, NULL);
}
