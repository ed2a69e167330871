#include <string.h>

#include "base/mem.h"
#include "vk/vk_priv.h"

/* Uploads are gathered in a slot of staging memory, each with the copy that takes it further
 * recorded, and sent off when the slot is full or somebody needs the bytes; meanwhile the other
 * slot fills. */

static uint32_t family(const struct vk *vk)
{
    return vk->gpu.transfer_family != VK_NO_FAMILY ? vk->gpu.transfer_family
                                                   : vk->gpu.compute_family;
}

static bool own_queue(const struct vk *vk)
{
    return vk->gpu.transfer_family != VK_NO_FAMILY;
}

static enum hth_status open_slot(struct vk *vk, struct vk_slot *slot)
{
    enum hth_status status = vk_buffer_create(vk, VK_SLOT_BYTES, VK_MEMORY_UPLOAD,
                                              VK_BUFFER_USAGE_TRANSFER_SRC_BIT, &slot->buffer);
    if (status != HTH_OK)
        return status;
    vk_set_name(vk, VK_OBJECT_TYPE_BUFFER, (uint64_t)slot->buffer.handle, "staging");
    return vk_commands_create(vk, family(vk), &slot->pool, &slot->commands);
}

enum hth_status vk_transfer_open(struct vk *vk)
{
    struct vk_transfer *transfer = &vk->transfer;
    VkSemaphoreTypeCreateInfo type = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                      .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    VkSemaphoreCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
    VkResult result = vk->f.vkCreateSemaphore(vk->device, &info, NULL, &transfer->timeline);
    if (result != VK_SUCCESS)
        return vk_fail(vk, result, "vkCreateSemaphore");
    enum hth_status status = HTH_OK;
    for (uint32_t i = 0; i < VK_N_SLOTS && status == HTH_OK && !vk_is_unified(vk); i++)
        status = open_slot(vk, &transfer->slots[i]);
    return status;
}

void vk_transfer_close(struct vk *vk)
{
    struct vk_transfer *transfer = &vk->transfer;
    for (uint32_t i = 0; i < VK_N_SLOTS; i++) {
        vk->f.vkDestroyCommandPool(vk->device, transfer->slots[i].pool, NULL);
        vk_buffer_destroy(vk, &transfer->slots[i].buffer);
    }
    vk->f.vkDestroyCommandPool(vk->device, transfer->download_pool, NULL);
    vk_buffer_destroy(vk, &transfer->download);
    vk->f.vkDestroySemaphore(vk->device, transfer->timeline, NULL);
}

static enum hth_status begin(struct vk *vk, VkCommandPool pool, VkCommandBuffer commands)
{
    VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                     .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    VkResult result = vk->f.vkResetCommandPool(vk->device, pool, 0);
    if (result != VK_SUCCESS)
        return vk_fail(vk, result, "vkResetCommandPool");
    result = vk->f.vkBeginCommandBuffer(commands, &info);
    return result == VK_SUCCESS ? HTH_OK : vk_fail(vk, result, "vkBeginCommandBuffer");
}

/* Tickets already seen to be done are waited for here once more: it costs nothing and makes what
 * they wrote visible to a queue of copies. On the one queue there is, barriers do for both. */
static enum hth_status submit_slot(struct vk *vk, struct vk_slot *slot)
{
    struct vk_transfer *transfer = &vk->transfer;
    const uint64_t value = transfer->submitted + 1;
    const uint64_t after = transfer->after > vk->passed ? transfer->after : vk->passed;
    const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_TRANSFER_BIT;
    VkTimelineSemaphoreSubmitInfo timeline = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .waitSemaphoreValueCount = own_queue(vk) ? 1 : 0,
        .pWaitSemaphoreValues = &after,
        .signalSemaphoreValueCount = 1,
        .pSignalSemaphoreValues = &value,
    };
    VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .pNext = &timeline,
        .waitSemaphoreCount = own_queue(vk) ? 1 : 0,
        .pWaitSemaphores = &vk->timeline,
        .pWaitDstStageMask = &stage,
        .commandBufferCount = 1,
        .pCommandBuffers = &slot->commands,
        .signalSemaphoreCount = 1,
        .pSignalSemaphores = &transfer->timeline,
    };
    VkResult result = vk->f.vkEndCommandBuffer(slot->commands);
    if (result != VK_SUCCESS)
        return vk_fail(vk, result, "vkEndCommandBuffer");
    result = vk->f.vkQueueSubmit(vk->transfer_queue, 1, &info, VK_NULL_HANDLE);
    if (result != VK_SUCCESS)
        return vk_fail(vk, result, "vkQueueSubmit");
    slot->value = transfer->submitted = value;
    return HTH_OK;
}

enum hth_status vk_transfer_flush(struct vk *vk)
{
    struct vk_transfer *transfer = &vk->transfer;
    struct vk_slot *slot = &transfer->slots[transfer->current];
    if (slot->used_bytes == 0)
        return HTH_OK;
    slot->used_bytes = 0;
    transfer->current = (transfer->current + 1) % VK_N_SLOTS;
    return submit_slot(vk, slot);
}

enum hth_status vk_transfer_wait(struct vk *vk)
{
    enum hth_status status = vk_alive(vk);
    if (status == HTH_OK)
        status = vk_transfer_flush(vk);
    if (status != HTH_OK || vk->transfer.submitted == 0)
        return status;
    return vk_wait_timeline(vk, vk->transfer.timeline, vk->transfer.submitted);
}

static enum hth_status check_range(struct vk *vk, const char *what, uint32_t chunk, uint64_t offset,
                                   uint64_t size_bytes)
{
    uint64_t have = vk_chunk_bytes(vk, chunk);
    if (have > 0 && size_bytes <= have && offset <= have - size_bytes)
        return HTH_OK;
    return log_fail(&vk->log, HTH_ERROR_ARGUMENT,
                    "%s of %llu bytes at %llu: chunk %u has %llu bytes", what,
                    (unsigned long long)size_bytes, (unsigned long long)offset, chunk,
                    (unsigned long long)have);
}

/* Is what was submitted last not done? */
static bool is_computing(const struct vk *vk)
{
    uint64_t done;
    return vk->passed < vk->submitted &&
           vk->f.vkGetSemaphoreCounterValue(vk->device, vk->timeline, &done) == VK_SUCCESS &&
           done < vk->submitted;
}

/* Puts at most a slot's worth of bytes on their way; returns how many in `*done`. */
static enum hth_status stage(struct vk *vk, const struct vk_chunk *chunk, uint64_t offset,
                             const void *data, uint64_t *size_bytes)
{
    struct vk_transfer *transfer = &vk->transfer;
    struct vk_slot *slot = &transfer->slots[transfer->current];
    enum hth_status status = HTH_OK;
    if (slot->used_bytes == 0) {
        if (slot->value)
            status = vk_wait_timeline(vk, transfer->timeline, slot->value);
        if (status == HTH_OK)
            status = begin(vk, slot->pool, slot->commands);
        if (status != HTH_OK)
            return status;
    }
    uint64_t room = VK_SLOT_BYTES - slot->used_bytes;
    uint64_t n = *size_bytes < room ? *size_bytes : room;
    VkBufferCopy region = {.srcOffset = slot->used_bytes, .dstOffset = offset, .size = n};
    uint64_t begin_ns = os_time_ns();
    memcpy((char *)slot->buffer.data + slot->used_bytes, data, n);
    transfer->staged.time_ns += os_time_ns() - begin_ns;
    transfer->staged.bytes += n;
    /* what is in flight now was so before it was copied, too */
    transfer->staged.beside_bytes += is_computing(vk) ? n : 0;
    vk_record_barrier(vk, slot->commands, !own_queue(vk)); /* places may be written twice */
    vk->f.vkCmdCopyBuffer(slot->commands, slot->buffer.handle, chunk->buffer.handle, 1, &region);
    slot->used_bytes += align_up(n, 64);
    *size_bytes = n;
    if (slot->used_bytes >= VK_SLOT_BYTES)
        status = vk_transfer_flush(vk);
    return status;
}

enum hth_status vk_upload(struct vk *vk, uint32_t chunk, uint64_t offset, const void *data,
                          uint64_t size_bytes)
{
    enum hth_status status = vk_alive(vk);
    if (status == HTH_OK)
        status = check_range(vk, "an upload", chunk, offset, size_bytes);
    if (status != HTH_OK || size_bytes == 0)
        return status;
    const struct vk_chunk *to = &vk->chunks[chunk];
    if (to->buffer.data) {
        status = vk_wait(vk, vk->transfer.after);
        if (status == HTH_OK)
            memcpy((char *)to->buffer.data + offset, data, size_bytes);
        return status;
    }
    const char *from = data;
    while (size_bytes > 0 && status == HTH_OK) {
        uint64_t n = size_bytes;
        status = stage(vk, to, offset, from, &n);
        from += n;
        offset += n;
        size_bytes -= n;
    }
    return status;
}

void vk_upload_after(struct vk *vk, uint64_t ticket)
{
    if (ticket > vk->transfer.after)
        vk->transfer.after = ticket;
}

enum hth_status vk_send_uploads(struct vk *vk)
{
    enum hth_status status = vk_alive(vk);
    return status ? status : vk_transfer_flush(vk);
}

/* What is staged and not yet sent off will be the next flush. */
uint64_t vk_uploads(const struct vk *vk)
{
    const struct vk_transfer *transfer = &vk->transfer;
    return transfer->submitted + (transfer->slots[transfer->current].used_bytes > 0);
}

struct vk_staged vk_get_staged(const struct vk *vk)
{
    return vk->transfer.staged;
}

/* --- downloads -------------------------------------------------------------------------------- */

static enum hth_status open_download(struct vk *vk)
{
    struct vk_transfer *transfer = &vk->transfer;
    if (transfer->download.handle)
        return HTH_OK;
    enum hth_status status = HTH_OK;
    if (!transfer->download_pool)
        status = vk_commands_create(vk, vk->gpu.compute_family, &transfer->download_pool,
                                    &transfer->download_commands);
    if (status == HTH_OK)
        status = vk_buffer_create(vk, VK_SLOT_BYTES, VK_MEMORY_READBACK,
                                  VK_BUFFER_USAGE_TRANSFER_DST_BIT, &transfer->download);
    return status;
}

static enum hth_status download_piece(struct vk *vk, VkBuffer from, uint64_t offset, void *data,
                                      uint64_t size_bytes)
{
    struct vk_transfer *transfer = &vk->transfer;
    VkCommandBuffer commands = transfer->download_commands;
    VkBufferCopy region = {.srcOffset = offset, .size = size_bytes};
    VkMemoryBarrier to_host = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                               .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
                               .dstAccessMask = VK_ACCESS_HOST_READ_BIT};
    uint64_t ticket;
    enum hth_status status = begin(vk, transfer->download_pool, commands);
    if (status != HTH_OK)
        return status;
    vk_record_barrier(vk, commands, true);
    vk->f.vkCmdCopyBuffer(commands, from, transfer->download.handle, 1, &region);
    vk->f.vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_TRANSFER_BIT, VK_PIPELINE_STAGE_HOST_BIT,
                               0, 1, &to_host, 0, NULL, 0, NULL);
    VkResult result = vk->f.vkEndCommandBuffer(commands);
    if (result != VK_SUCCESS)
        return vk_fail(vk, result, "vkEndCommandBuffer");
    status = vk_queue_compute(vk, commands, vk_uploads(vk), &ticket);
    if (status == HTH_OK)
        status = vk_wait(vk, ticket);
    if (status == HTH_OK)
        memcpy(data, transfer->download.data, size_bytes);
    return status;
}

enum hth_status vk_download(struct vk *vk, uint32_t chunk, uint64_t offset, void *data,
                            uint64_t size_bytes)
{
    enum hth_status status = vk_alive(vk);
    if (status == HTH_OK)
        status = check_range(vk, "a download", chunk, offset, size_bytes);
    if (status == HTH_OK)
        status = vk_wait_all(vk);
    if (status != HTH_OK || size_bytes == 0)
        return status;
    const struct vk_chunk *from = &vk->chunks[chunk];
    if (from->buffer.data) {
        status = vk_transfer_wait(vk);
        if (status == HTH_OK)
            memcpy(data, (const char *)from->buffer.data + offset, size_bytes);
        return status;
    }
    status = open_download(vk);
    char *to = data;
    while (size_bytes > 0 && status == HTH_OK) {
        uint64_t n = size_bytes < VK_SLOT_BYTES ? size_bytes : VK_SLOT_BYTES;
        status = download_piece(vk, from->buffer.handle, offset, to, n);
        to += n;
        offset += n;
        size_bytes -= n;
    }
    return status;
}
