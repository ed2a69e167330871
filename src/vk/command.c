#include <string.h>

#include "base/mem.h"
#include "vk/vk_priv.h"

struct vk_cmd {
    struct vk *vk;
    VkCommandPool pool;
    VkCommandBuffer commands;
    VkQueryPool queries;
    uint32_t n_timestamps;
    uint64_t generation; /* of the chunks when recording began */
    uint64_t ticket;     /* of the last submit; 0: never submitted */
    VkPipeline bound;
    bool set_bound, recording, recorded;
    enum hth_status status; /* the first failure of recording */
};

/* --- shared with other files ------------------------------------------------------------------ */

enum hth_status vk_commands_create(struct vk *vk, uint32_t family, VkCommandPool *pool,
                                   VkCommandBuffer *commands)
{
    VkCommandPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .queueFamilyIndex = family};
    VkResult result = vk->f.vkCreateCommandPool(vk->device, &info, NULL, pool);
    if (result != VK_SUCCESS) {
        *pool = VK_NULL_HANDLE;
        return vk_fail(vk, result, "vkCreateCommandPool");
    }
    VkCommandBufferAllocateInfo buffer = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                          .commandPool = *pool,
                                          .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                          .commandBufferCount = 1};
    result = vk->f.vkAllocateCommandBuffers(vk->device, &buffer, commands);
    return result == VK_SUCCESS ? HTH_OK : vk_fail(vk, result, "vkAllocateCommandBuffers");
}

void vk_record_barrier(const struct vk *vk, VkCommandBuffer commands, bool compute)
{
    VkMemoryBarrier barrier = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_TRANSFER_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
    };
    VkPipelineStageFlags stages = VK_PIPELINE_STAGE_TRANSFER_BIT;
    if (compute) {
        barrier.srcAccessMask |= VK_ACCESS_SHADER_WRITE_BIT;
        barrier.dstAccessMask |= VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT;
        stages |= VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT;
    }
    vk->f.vkCmdPipelineBarrier(commands, stages, stages, 0, 1, &barrier, 0, NULL, 0, NULL);
}

enum hth_status vk_wait_timeline(struct vk *vk, VkSemaphore timeline, uint64_t value)
{
    VkSemaphoreWaitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
        .semaphoreCount = 1,
        .pSemaphores = &timeline,
        .pValues = &value,
    };
    VkResult result = vk->f.vkWaitSemaphores(vk->device, &info, UINT64_MAX);
    return result == VK_SUCCESS ? HTH_OK : vk_fail(vk, result, "vkWaitSemaphores");
}

enum hth_status vk_queue_compute(struct vk *vk, VkCommandBuffer commands, uint64_t uploads,
                                 uint64_t *ticket)
{
    enum hth_status status = uploads > vk->transfer.submitted ? vk_transfer_flush(vk) : HTH_OK;
    if (status != HTH_OK)
        return status;
    const uint64_t value = vk->submitted + 1;
    const VkPipelineStageFlags stages =
        VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    VkTimelineSemaphoreSubmitInfo timeline = {
        .sType = VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO,
        .waitSemaphoreValueCount = uploads ? 1 : 0,
        .pWaitSemaphoreValues = &uploads,
        .signalSemaphoreValueCount = 1,
        .pSignalSemaphoreValues = &value,
    };
    VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .pNext = &timeline,
        .waitSemaphoreCount = uploads ? 1 : 0,
        .pWaitSemaphores = &vk->transfer.timeline,
        .pWaitDstStageMask = &stages,
        .commandBufferCount = 1,
        .pCommandBuffers = &commands,
        .signalSemaphoreCount = 1,
        .pSignalSemaphores = &vk->timeline,
    };
    VkResult result = vk->f.vkQueueSubmit(vk->queue, 1, &info, VK_NULL_HANDLE);
    if (result != VK_SUCCESS)
        return vk_fail(vk, result, "vkQueueSubmit");
    *ticket = vk->submitted = value;
    return HTH_OK;
}

enum hth_status vk_wait(struct vk *vk, uint64_t ticket)
{
    enum hth_status status = vk_alive(vk);
    if (status != HTH_OK || ticket <= vk->passed)
        return status;
    if (ticket > vk->submitted)
        return log_fail(&vk->log, HTH_ERROR_ARGUMENT, "there is no submit %llu: the last was %llu",
                        (unsigned long long)ticket, (unsigned long long)vk->submitted);
    status = vk_wait_timeline(vk, vk->timeline, ticket);
    if (status == HTH_OK)
        vk->passed = ticket;
    return status;
}

enum hth_status vk_wait_all(struct vk *vk)
{
    return vk_wait(vk, vk->submitted);
}

void vk_idle(struct vk *vk)
{
    if (vk->f.vkDeviceWaitIdle(vk->device) == VK_SUCCESS)
        vk->passed = vk->submitted;
}

/* --- lists of commands ------------------------------------------------------------------------ */

enum hth_status vk_cmd_create(struct vk *vk, uint32_t n_timestamps, struct vk_cmd **out)
{
    *out = NULL;
    enum hth_status status = vk_alive(vk);
    if (status != HTH_OK)
        return status;
    struct vk_cmd *cmd = mem_calloc(1, sizeof *cmd);
    if (!cmd)
        return log_fail_memory(&vk->log, "a list of commands", sizeof *cmd);
    cmd->vk = vk;
    status = vk_commands_create(vk, vk->gpu.compute_family, &cmd->pool, &cmd->commands);
    if (status == HTH_OK && n_timestamps > 0 && vk->gpu.caps.timestamps) {
        VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                      .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                      .queryCount = n_timestamps};
        VkResult result = vk->f.vkCreateQueryPool(vk->device, &info, NULL, &cmd->queries);
        if (result == VK_SUCCESS)
            cmd->n_timestamps = n_timestamps;
        else
            status = vk_fail(vk, result, "vkCreateQueryPool");
    }
    if (status != HTH_OK) {
        vk_cmd_destroy(vk, cmd);
        return status;
    }
    *out = cmd;
    return HTH_OK;
}

/* Waits until the device is done with a list. */
static enum hth_status settle(struct vk *vk, const struct vk_cmd *cmd)
{
    return cmd->ticket ? vk_wait(vk, cmd->ticket) : vk_alive(vk);
}

void vk_cmd_destroy(struct vk *vk, struct vk_cmd *cmd)
{
    if (!cmd)
        return;
    if (cmd->ticket > vk->passed)
        vk_idle(vk);
    vk->f.vkDestroyQueryPool(vk->device, cmd->queries, NULL);
    vk->f.vkDestroyCommandPool(vk->device, cmd->pool, NULL);
    mem_free(cmd);
}

void vk_cmd_begin(struct vk_cmd *cmd)
{
    struct vk *vk = cmd->vk;
    VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    cmd->recording = cmd->recorded = cmd->set_bound = false;
    cmd->bound = VK_NULL_HANDLE;
    cmd->status = settle(vk, cmd);
    cmd->ticket = 0;
    if (cmd->status == HTH_OK)
        cmd->status = vk_set_refresh(vk);
    if (cmd->status != HTH_OK)
        return;
    VkResult result = vk->f.vkResetCommandPool(vk->device, cmd->pool, 0);
    if (result != VK_SUCCESS) {
        cmd->status = vk_fail(vk, result, "vkResetCommandPool");
        return;
    }
    result = vk->f.vkBeginCommandBuffer(cmd->commands, &info);
    if (result != VK_SUCCESS) {
        cmd->status = vk_fail(vk, result, "vkBeginCommandBuffer");
        return;
    }
    cmd->recording = true;
    cmd->generation = vk->generation;
    if (cmd->n_timestamps)
        vk->f.vkCmdResetQueryPool(cmd->commands, cmd->queries, 0, cmd->n_timestamps);
    vk_record_barrier(vk, cmd->commands, true); /* against what was submitted before */
}

static enum hth_status check_groups(const struct vk *vk, const struct shader_blob *blob,
                                    const struct vk_groups *groups)
{
    uint64_t end[3];
    const uint32_t *most = vk->gpu.caps.max_groups;
    bool fits = true;
    for (int i = 0; i < 3; i++) {
        end[i] = (uint64_t)groups->first[i] + groups->count[i];
        fits &= end[i] <= most[i];
    }
    return fits
               ? HTH_OK
               : log_fail(&vk->log, HTH_ERROR_LIMIT,
                          "%s: %llu × %llu × %llu workgroups, and %s takes at most %u × %u × %u",
                          blob->name, (unsigned long long)end[0], (unsigned long long)end[1],
                          (unsigned long long)end[2], vk->gpu.caps.name, most[0], most[1], most[2]);
}

void vk_cmd_dispatch(struct vk_cmd *cmd, const struct vk_pipeline *pipeline, const void *args,
                     uint32_t args_bytes, const uint32_t groups[3])
{
    const struct vk_groups all = {.count = {groups[0], groups[1], groups[2]}};
    vk_cmd_dispatch_part(cmd, pipeline, args, args_bytes, &all);
}

void vk_cmd_dispatch_part(struct vk_cmd *cmd, const struct vk_pipeline *pipeline, const void *args,
                          uint32_t args_bytes, const struct vk_groups *groups)
{
    struct vk *vk = cmd->vk;
    if (cmd->status != HTH_OK || !cmd->recording)
        return;
    const struct shader_blob *blob = pipeline->key.blob;
    if (pipeline->state != VK_PIPELINE_DONE || !pipeline->handle)
        cmd->status = log_fail(&vk->log, HTH_ERROR_ARGUMENT,
                               "the pipeline %s is recorded before it is ready", blob->name);
    else if (args_bytes != blob->push_bytes)
        cmd->status =
            log_fail(&vk->log, HTH_ERROR_ARGUMENT, "%s takes %u bytes of arguments and is given %u",
                     blob->name, blob->push_bytes, args_bytes);
    else
        cmd->status = check_groups(vk, blob, groups);
    if (cmd->status != HTH_OK)
        return;
    if (!cmd->set_bound) {
        vk->f.vkCmdBindDescriptorSets(cmd->commands, VK_PIPELINE_BIND_POINT_COMPUTE, vk->layout, 0,
                                      1, &vk->set, 0, NULL);
        cmd->set_bound = true;
    }
    if (cmd->bound != pipeline->handle) {
        vk->f.vkCmdBindPipeline(cmd->commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline->handle);
        cmd->bound = pipeline->handle;
    }
    if (args_bytes)
        vk->f.vkCmdPushConstants(cmd->commands, vk->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                                 args_bytes, args);
    const uint32_t *first = groups->first, *count = groups->count;
    if (first[0] || first[1] || first[2])
        vk->f.vkCmdDispatchBase(cmd->commands, first[0], first[1], first[2], count[0], count[1],
                                count[2]);
    else
        vk->f.vkCmdDispatch(cmd->commands, count[0], count[1], count[2]);
}

void vk_cmd_barrier(struct vk_cmd *cmd)
{
    if (cmd->status == HTH_OK && cmd->recording)
        vk_record_barrier(cmd->vk, cmd->commands, true);
}

static bool inside(const struct vk *vk, uint32_t chunk, uint64_t offset, uint64_t size_bytes)
{
    uint64_t have = vk_chunk_bytes(vk, chunk);
    return size_bytes <= have && offset <= have - size_bytes;
}

void vk_cmd_copy(struct vk_cmd *cmd, uint32_t from, uint64_t from_offset, uint32_t to,
                 uint64_t to_offset, uint64_t size_bytes)
{
    struct vk *vk = cmd->vk;
    if (cmd->status != HTH_OK || !cmd->recording || size_bytes == 0)
        return;
    if (!inside(vk, from, from_offset, size_bytes) || !inside(vk, to, to_offset, size_bytes)) {
        cmd->status =
            log_fail(&vk->log, HTH_ERROR_ARGUMENT,
                     "a copy of %llu bytes from %u:%llu to %u:%llu is outside of its chunks",
                     (unsigned long long)size_bytes, from, (unsigned long long)from_offset, to,
                     (unsigned long long)to_offset);
        return;
    }
    VkBufferCopy region = {from_offset, to_offset, size_bytes};
    vk->f.vkCmdCopyBuffer(cmd->commands, vk->chunks[from].buffer.handle,
                          vk->chunks[to].buffer.handle, 1, &region);
}

void vk_cmd_timestamp(struct vk_cmd *cmd, uint32_t index)
{
    if (cmd->status == HTH_OK && cmd->recording && index < cmd->n_timestamps)
        cmd->vk->f.vkCmdWriteTimestamp(cmd->commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT,
                                       cmd->queries, index);
}

void vk_cmd_label(struct vk_cmd *cmd, const char *label)
{
    if (cmd->status != HTH_OK || !cmd->recording || !cmd->vk->instance.debug_utils ||
        !vkCmdInsertDebugUtilsLabelEXT)
        return;
    VkDebugUtilsLabelEXT info = {.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_LABEL_EXT,
                                 .pLabelName = label};
    vkCmdInsertDebugUtilsLabelEXT(cmd->commands, &info);
}

enum hth_status vk_cmd_end(struct vk_cmd *cmd)
{
    struct vk *vk = cmd->vk;
    if (!cmd->recording)
        return cmd->status != HTH_OK ? cmd->status
                                     : log_fail(&vk->log, HTH_ERROR_ARGUMENT,
                                                "a list of commands is ended that was not begun");
    VkMemoryBarrier to_host = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_HOST_READ_BIT,
    };
    vk->f.vkCmdPipelineBarrier(
        cmd->commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT,
        VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &to_host, 0, NULL, 0, NULL);
    VkResult result = vk->f.vkEndCommandBuffer(cmd->commands);
    cmd->recording = false;
    if (cmd->status == HTH_OK && result != VK_SUCCESS)
        cmd->status = vk_fail(vk, result, "vkEndCommandBuffer");
    cmd->recorded = cmd->status == HTH_OK;
    return cmd->status;
}

enum hth_status vk_submit(struct vk *vk, struct vk_cmd *cmd, uint64_t *ticket)
{
    return vk_submit_after(vk, cmd, vk_uploads(vk), ticket);
}

enum hth_status vk_submit_after(struct vk *vk, struct vk_cmd *cmd, uint64_t uploads,
                                uint64_t *ticket)
{
    enum hth_status status = vk_alive(vk);
    if (status != HTH_OK)
        return status;
    if (!cmd->recorded)
        return log_fail(&vk->log, HTH_ERROR_ARGUMENT, "a list of commands is submitted unrecorded");
    if (cmd->generation != vk->generation)
        return log_fail(
            &vk->log, HTH_ERROR_ARGUMENT,
            "a list of commands is stale: chunks came or went since it was recorded, so "
            "it must be recorded again");
    status = settle(vk, cmd);
    if (status == HTH_OK)
        status = vk_queue_compute(vk, cmd->commands, uploads, &cmd->ticket);
    if (status == HTH_OK && ticket)
        *ticket = cmd->ticket;
    return status;
}

uint64_t vk_cmd_time_ns(struct vk *vk, const struct vk_cmd *cmd, uint32_t from, uint32_t to)
{
    uint64_t ticks[2];
    if (from >= cmd->n_timestamps || to >= cmd->n_timestamps || !cmd->ticket ||
        cmd->ticket > vk->passed || vk_alive(vk) != HTH_OK)
        return 0;
    for (int i = 0; i < 2; i++)
        if (vk->f.vkGetQueryPoolResults(vk->device, cmd->queries, i ? to : from, 1, sizeof ticks[i],
                                        &ticks[i], sizeof ticks[i],
                                        VK_QUERY_RESULT_64_BIT) != VK_SUCCESS)
            return 0;
    uint64_t mask = vk->gpu.timestamp_bits < 64 ? (1ull << vk->gpu.timestamp_bits) - 1 : ~0ull;
    return (uint64_t)((double)((ticks[1] - ticks[0]) & mask) * vk->gpu.caps.timestamp_ns);
}
