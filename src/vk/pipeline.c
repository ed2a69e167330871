#include <string.h>

#include "base/mem.h"
#include "vk/vk_priv.h"

/* --- making one pipeline ---------------------------------------------------------------------- */

/* What a pipeline is made of; all on the stack, as workers must not allocate. */
struct recipe {
    VkSpecializationMapEntry entries[VK_MAX_SPECS];
    VkSpecializationInfo specialization;
    uint32_t local_size[3];
    VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup;
    VkPipelineShaderStageCreateFlags stage_flags;
    const void *stage_next;
};

static enum hth_status check_group(const struct vk *vk, const struct vk_pipeline_key *key,
                                   const struct recipe *recipe)
{
    const struct vk_caps *caps = &vk->gpu.caps;
    const uint32_t *size = recipe->local_size;
    uint64_t all = (uint64_t)size[0] * size[1] * size[2];
    if (all > 0 && all <= caps->max_invocations && size[0] <= caps->max_group[0] &&
        size[1] <= caps->max_group[1] && size[2] <= caps->max_group[2])
        return HTH_OK;
    return log_fail(&vk->log, HTH_ERROR_UNSUPPORTED,
                    "%s: a workgroup of %u × %u × %u, and %s takes at most %u × %u × %u, %u in all",
                    key->blob->name, size[0], size[1], size[2], caps->name, caps->max_group[0],
                    caps->max_group[1], caps->max_group[2], caps->max_invocations);
}

/* A demanded size is demanded with full subgroups, which wants the workgroup's width to be a
 * multiple. Without a demand the size may vary, as else some compilers (Intel's) report a constant
 * that is not the size they compiled for. */
static enum hth_status set_subgroups(const struct vk *vk, const struct vk_pipeline_key *key,
                                     struct recipe *recipe)
{
    const struct vk_caps *caps = &vk->gpu.caps;
    uint32_t size = key->subgroup_size, width = recipe->local_size[0];
    if (size == 0) {
        if (caps->subgroup_control && key->blob->uses_subgroups) {
            recipe->stage_flags = VK_PIPELINE_SHADER_STAGE_CREATE_ALLOW_VARYING_SUBGROUP_SIZE_BIT;
            if (width % caps->subgroup_max == 0)
                recipe->stage_flags |= VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
        }
        return HTH_OK;
    }
    bool power = (size & (size - 1)) == 0;
    if (!caps->subgroup_control || !power || size < caps->subgroup_min || size > caps->subgroup_max)
        return log_fail(&vk->log, HTH_ERROR_UNSUPPORTED,
                        "%s: subgroups of %u are demanded, and %s gives %u to %u%s",
                        key->blob->name, size, caps->name, caps->subgroup_min, caps->subgroup_max,
                        caps->subgroup_control ? "" : " without letting us choose");
    if (width % size != 0)
        return log_fail(&vk->log, HTH_ERROR_UNSUPPORTED,
                        "%s: subgroups of %u are demanded, and the workgroup is %u wide",
                        key->blob->name, size, width);
    if (caps->max_subgroups && width / size > caps->max_subgroups)
        return log_fail(&vk->log, HTH_ERROR_UNSUPPORTED,
                        "%s: a workgroup of %u in subgroups of %u is demanded, and %s takes at "
                        "most %u subgroups",
                        key->blob->name, width, size, caps->name, caps->max_subgroups);
    recipe->subgroup = (VkPipelineShaderStageRequiredSubgroupSizeCreateInfo){
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = size,
    };
    if (vk->gpu.sets_subgroup) /* some drivers of devices with one size take no demand for it */
        recipe->stage_next = &recipe->subgroup;
    recipe->stage_flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT;
    return HTH_OK;
}

static enum hth_status prepare(const struct vk *vk, const struct vk_pipeline_key *key,
                               struct recipe *recipe)
{
    const struct shader_blob *blob = key->blob;
    *recipe = (struct recipe){0};
    if (!vk_blob_fits(&vk->gpu.caps, blob))
        return log_fail(&vk->log, HTH_ERROR_UNSUPPORTED, "%s asks for more than %s has", blob->name,
                        vk->gpu.caps.name);
    for (int i = 0; i < 3; i++)
        recipe->local_size[i] = blob->local_size[i];
    for (uint32_t i = 0; i < blob->n_specs; i++) {
        recipe->entries[i] =
            (VkSpecializationMapEntry){.constantID = blob->specs[i].id, .offset = i * 4, .size = 4};
        for (int axis = 0; axis < 3; axis++)
            if (blob->local_size_spec[axis] >= 0 &&
                (uint32_t)blob->local_size_spec[axis] == blob->specs[i].id)
                recipe->local_size[axis] = key->spec[i];
    }
    recipe->specialization = (VkSpecializationInfo){
        .mapEntryCount = blob->n_specs,
        .pMapEntries = recipe->entries,
        .dataSize = blob->n_specs * 4,
        .pData = key->spec,
    };
    enum hth_status status = check_group(vk, key, recipe);
    return status == HTH_OK ? set_subgroups(vk, key, recipe) : status;
}

/* A worker says nothing: whoever waits for the pipeline tries again, and does. */
static enum hth_status fail(struct vk *vk, VkResult result, const char *call, bool is_waited_for)
{
    if (is_waited_for || result == VK_ERROR_DEVICE_LOST)
        return vk_fail(vk, result, call);
    bool memory = result == VK_ERROR_OUT_OF_HOST_MEMORY || result == VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return memory ? HTH_ERROR_MEMORY : HTH_ERROR_DEVICE;
}

/* Fills `handle`; on a worker, or where it is waited for. */
static enum hth_status create(struct vk *vk, const struct vk_pipeline_key *key, bool is_waited_for,
                              VkPipeline *handle, bool *from_cache)
{
    const struct shader_blob *blob = key->blob;
    struct recipe recipe;
    enum hth_status status = prepare(vk, key, &recipe);
    if (status != HTH_OK)
        return status;
    VkShaderModuleCreateInfo code = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                     .codeSize = (size_t)blob->n_words * 4,
                                     .pCode = blob->words};
    VkShaderModule module;
    VkResult result = vk->f.vkCreateShaderModule(vk->device, &code, NULL, &module);
    if (result != VK_SUCCESS)
        return fail(vk, result, "vkCreateShaderModule", is_waited_for);
    VkPipelineCreationFeedback whole = {0}, stage = {0};
    VkPipelineCreationFeedbackCreateInfo feedback = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_CREATION_FEEDBACK_CREATE_INFO,
        .pPipelineCreationFeedback = &whole,
        .pipelineStageCreationFeedbackCount = 1,
        .pPipelineStageCreationFeedbacks = &stage,
    };
    VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .pNext = vk_gpu_has(&vk->gpu, VK_EXT_CREATION_FEEDBACK) ? &feedback : NULL,
        .flags = VK_PIPELINE_CREATE_DISPATCH_BASE_BIT |
                 (vk->gpu.stats && vk->options.capture_stats
                      ? VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR
                      : 0),
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .pNext = recipe.stage_next,
                  .flags = recipe.stage_flags,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module,
                  .pName = "main",
                  .pSpecializationInfo = &recipe.specialization},
        .layout = vk->layout,
    };
    result =
        vk->f.vkCreateComputePipelines(vk->device, vk->pipelines.cache, 1, &info, NULL, handle);
    vk->f.vkDestroyShaderModule(vk->device, module, NULL);
    if (result != VK_SUCCESS) {
        *handle = VK_NULL_HANDLE;
        status = fail(vk, result, "vkCreateComputePipelines", is_waited_for);
        log_info(&vk->log, "the shader that failed to compile is %s", blob->name);
        return status;
    }
    *from_cache = vk->pipelines.cache_loaded &&
                  whole.flags & VK_PIPELINE_CREATION_FEEDBACK_VALID_BIT &&
                  whole.flags & VK_PIPELINE_CREATION_FEEDBACK_APPLICATION_PIPELINE_CACHE_HIT_BIT;
    vk_set_name(vk, VK_OBJECT_TYPE_PIPELINE, (uint64_t)*handle, blob->name);
    return HTH_OK;
}

/* --- workers ---------------------------------------------------------------------------------- */

/* Takes one pipeline through its compilation; the mutex is held before and after, not during. */
static void compile_locked(struct vk *vk, struct vk_pipeline *pipeline, bool is_waited_for)
{
    struct vk_pipelines *all = &vk->pipelines;
    VkPipeline handle = VK_NULL_HANDLE;
    bool from_cache = false;
    pipeline->state = VK_PIPELINE_COMPILING;
    os_mutex_unlock(&all->mutex);
    enum hth_status status = create(vk, &pipeline->key, is_waited_for, &handle, &from_cache);
    os_mutex_lock(&all->mutex);
    pipeline->handle = handle;
    pipeline->status = status;
    pipeline->state = VK_PIPELINE_DONE;
    if (status == HTH_OK) {
        all->n_created++;
        all->n_from_cache += from_cache;
    }
    os_cond_broadcast(&all->done);
}

static struct vk_pipeline *take_first(struct vk_pipelines *all)
{
    struct vk_pipeline *first = all->queue_first;
    if (first) {
        all->queue_first = first->next_queued;
        if (!all->queue_first)
            all->queue_last = NULL;
    }
    return first;
}

static void take(struct vk_pipelines *all, struct vk_pipeline *wanted)
{
    struct vk_pipeline **link = &all->queue_first, *before = NULL;
    while (*link != wanted) {
        before = *link;
        link = &(*link)->next_queued;
    }
    *link = wanted->next_queued;
    if (all->queue_last == wanted)
        all->queue_last = before;
}

static void worker(void *arg)
{
    struct vk *vk = arg;
    struct vk_pipelines *all = &vk->pipelines;
    os_mutex_lock(&all->mutex);
    while (!all->stop) {
        struct vk_pipeline *pipeline = take_first(all);
        if (pipeline)
            compile_locked(vk, pipeline, false);
        else
            os_cond_wait(&all->work, &all->mutex);
    }
    os_mutex_unlock(&all->mutex);
}

/* One more worker if there is work for it. A thread that the system refuses is no failure: whoever
 * waits for a pipeline that nobody took compiles it himself. */
static void hire(struct vk *vk)
{
    struct vk_pipelines *all = &vk->pipelines;
    int wanted = vk->options.n_workers > 0 ? vk->options.n_workers : os_cpu_count();
    if (wanted > VK_MAX_WORKERS)
        wanted = VK_MAX_WORKERS;
    if ((int)all->n_workers < wanted && os_thread_start(&all->workers[all->n_workers], worker, vk))
        all->n_workers++;
}

enum hth_status vk_pipelines_open(struct vk *vk)
{
    struct vk_pipelines *all = &vk->pipelines;
    os_mutex_init(&all->mutex);
    os_cond_init(&all->work);
    os_cond_init(&all->done);
    all->ready = true;
    return vk_cache_open(vk);
}

void vk_pipelines_close(struct vk *vk)
{
    struct vk_pipelines *all = &vk->pipelines;
    if (!all->ready)
        return;
    os_mutex_lock(&all->mutex);
    all->stop = true;
    os_cond_broadcast(&all->work);
    os_mutex_unlock(&all->mutex);
    for (uint32_t i = 0; i < all->n_workers; i++)
        os_thread_join(&all->workers[i]);
    vk_pipeline_save(vk);
    while (all->all) {
        struct vk_pipeline *next = all->all->next;
        vk->f.vkDestroyPipeline(vk->device, all->all->handle, NULL);
        mem_free(all->all);
        all->all = next;
    }
    vk->f.vkDestroyPipelineCache(vk->device, all->cache, NULL);
    os_cond_destroy(&all->done);
    os_cond_destroy(&all->work);
    os_mutex_destroy(&all->mutex);
}

/* --- the public face -------------------------------------------------------------------------- */

/* The key with nothing in it that does not matter, and what is ours to say filled in. */
static struct vk_pipeline_key normalise(const struct vk *vk, const struct vk_pipeline_key *key)
{
    struct vk_pipeline_key own = {.blob = key->blob, .subgroup_size = key->subgroup_size};
    for (uint32_t i = 0; i < key->blob->n_specs && i < VK_MAX_SPECS; i++) {
        bool ours = strcmp(key->blob->specs[i].name, "max_chunks") == 0;
        own.spec[i] = ours ? vk->gpu.caps.max_chunks : key->spec[i];
    }
    return own;
}

static bool same_key(const struct vk_pipeline_key *a, const struct vk_pipeline_key *b)
{
    return a->blob == b->blob && a->subgroup_size == b->subgroup_size &&
           memcmp(a->spec, b->spec, sizeof a->spec) == 0;
}

enum hth_status vk_pipeline_get(struct vk *vk, const struct vk_pipeline_key *key,
                                struct vk_pipeline **out)
{
    struct vk_pipelines *all = &vk->pipelines;
    const struct vk_pipeline_key own = normalise(vk, key);
    *out = NULL;
    enum hth_status status = vk_alive(vk);
    if (status != HTH_OK)
        return status;
    if (key->blob->n_specs > VK_MAX_SPECS)
        return log_fail(&vk->log, HTH_ERROR_ARGUMENT,
                        "%s has %u specialization constants, more than %d", key->blob->name,
                        key->blob->n_specs, VK_MAX_SPECS);
    /* Only the caller's thread adds to the list, so reading it needs no lock. */
    for (struct vk_pipeline *p = all->all; p; p = p->next) {
        if (same_key(&p->key, &own)) {
            *out = p;
            return HTH_OK;
        }
    }
    struct vk_pipeline *pipeline = mem_calloc(1, sizeof *pipeline);
    if (!pipeline)
        return log_fail_memory(&vk->log, "a pipeline", sizeof *pipeline);
    pipeline->key = own;
    pipeline->next = all->all;
    all->all = pipeline;
    os_mutex_lock(&all->mutex);
    if (all->queue_last)
        all->queue_last->next_queued = pipeline;
    else
        all->queue_first = pipeline;
    all->queue_last = pipeline;
    os_cond_signal(&all->work);
    os_mutex_unlock(&all->mutex);
    hire(vk);
    *out = pipeline;
    return HTH_OK;
}

enum hth_status vk_pipeline_wait(struct vk *vk, struct vk_pipeline *pipeline)
{
    struct vk_pipelines *all = &vk->pipelines;
    os_mutex_lock(&all->mutex);
    if (pipeline->state == VK_PIPELINE_QUEUED) {
        take(all, pipeline);
        compile_locked(vk, pipeline, true);
    } else {
        while (pipeline->state != VK_PIPELINE_DONE)
            os_cond_wait(&all->done, &all->mutex);
        if (pipeline->status == HTH_ERROR_MEMORY || pipeline->status == HTH_ERROR_DEVICE)
            compile_locked(vk, pipeline, true);
    }
    enum hth_status status = pipeline->status;
    os_mutex_unlock(&all->mutex);
    return status;
}

void vk_pipeline_counts(struct vk *vk, uint32_t *created, uint32_t *from_cache)
{
    os_mutex_lock(&vk->pipelines.mutex);
    *created = vk->pipelines.n_created;
    *from_cache = vk->pipelines.n_from_cache;
    os_mutex_unlock(&vk->pipelines.mutex);
}

/* --- statistics ------------------------------------------------------------------------------- */

static double stat_value(const VkPipelineExecutableStatisticKHR *stat)
{
    switch (stat->format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR: return stat->value.b32 ? 1 : 0;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR: return (double)stat->value.i64;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR: return (double)stat->value.u64;
    default: return stat->value.f64;
    }
}

enum { MAX_EXECUTABLES = 16, MAX_STATS = 128 };

static enum hth_status report(struct vk *vk, const VkPipelineExecutableInfoKHR *which,
                              const VkPipelineExecutablePropertiesKHR *executable, vk_stat_fn *fn,
                              void *user)
{
    VkPipelineExecutableStatisticKHR *stats = mem_calloc(MAX_STATS, sizeof *stats);
    if (!stats)
        return log_fail_memory(&vk->log, "pipeline statistics", MAX_STATS * sizeof *stats);
    uint32_t n = MAX_STATS;
    for (uint32_t i = 0; i < n; i++)
        stats[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
    VkResult result = vk->f.vkGetPipelineExecutableStatisticsKHR(vk->device, which, &n, stats);
    bool ok = result == VK_SUCCESS || result == VK_INCOMPLETE;
    for (uint32_t i = 0; i < n && ok; i++)
        fn(user, (int)which->executableIndex, executable->name, executable->subgroupSize,
           stats[i].name, stat_value(&stats[i]));
    mem_free(stats);
    return ok ? HTH_OK : vk_fail(vk, result, "vkGetPipelineExecutableStatisticsKHR");
}

enum hth_status vk_pipeline_stats(struct vk *vk, struct vk_pipeline *pipeline, vk_stat_fn *fn,
                                  void *user)
{
    enum hth_status status = vk_pipeline_wait(vk, pipeline);
    if (status != HTH_OK)
        return status;
    if (!vk->gpu.stats || !vk->options.capture_stats)
        return log_fail(&vk->log, HTH_ERROR_UNSUPPORTED,
                        vk->gpu.stats ? "%s: pipeline statistics were not asked for at vk_open"
                                      : "%s gives no pipeline statistics (its driver lacks "
                                        "VK_KHR_pipeline_executable_properties)",
                        vk->gpu.caps.name);
    VkPipelineExecutablePropertiesKHR *list = mem_calloc(MAX_EXECUTABLES, sizeof *list);
    if (!list)
        return log_fail_memory(&vk->log, "pipeline statistics", MAX_EXECUTABLES * sizeof *list);
    VkPipelineInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR,
                              .pipeline = pipeline->handle};
    uint32_t n = MAX_EXECUTABLES;
    for (uint32_t i = 0; i < n; i++)
        list[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR;
    VkResult result = vk->f.vkGetPipelineExecutablePropertiesKHR(vk->device, &info, &n, list);
    if (result != VK_SUCCESS && result != VK_INCOMPLETE)
        status = vk_fail(vk, result, "vkGetPipelineExecutablePropertiesKHR");
    for (uint32_t i = 0; i < n && status == HTH_OK; i++) {
        VkPipelineExecutableInfoKHR which = {.sType =
                                                 VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
                                             .pipeline = pipeline->handle,
                                             .executableIndex = i};
        status = report(vk, &which, &list[i], fn, user);
    }
    mem_free(list);
    return status;
}
