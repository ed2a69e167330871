/*
 * vk_priv.h — what the files of src/vk share: the struct behind `struct vk`, and who owns which
 * part.
 *
 * instance.c owns `instance`, caps.c fills `gpu`, device.c opens and closes the whole, memory.c
 * owns chunks and the descriptor set, transfer.c the staging slots, pipeline.c the pipelines and
 * their workers, cache.c the file they are kept in. Threads: only pipeline.c's workers run beside
 * the caller; they touch `pipelines` under its mutex, the pipeline cache, `lost` and nothing else.
 */
#ifndef VK_VK_PRIV_H
#define VK_VK_PRIV_H

#include <stdatomic.h>

#include <volk.h>

#include "base/os.h"
#include "vk/vk.h"

enum { VK_NO_FAMILY = 0xffffffff };

/* --- instance.c ------------------------------------------------------------------------------- */

struct vk_instance {
    VkInstance handle;
    VkDebugUtilsMessengerEXT messenger;
    PFN_vkDestroyDebugUtilsMessengerEXT destroy_messenger;
    bool debug_utils;
    struct log log;
    atomic_uint n_messages;
};

/* Opens the loader and an instance. Without a loader or a driver `handle` stays NULL, the status is
 * HTH_OK and `*why` says so. `instance` must not move afterwards. */
HTH_MUST_CHECK vk_instance_open(struct vk_instance *instance, bool validation,
                                const struct log *log, const char **why);
void vk_instance_close(struct vk_instance *instance);

/* "VK_ERROR_DEVICE_LOST" */
const char *vk_result_name(VkResult result);

/* --- caps.c ----------------------------------------------------------------------------------- */

enum vk_extension {
    VK_EXT_SUBGROUP_SIZE,
    VK_EXT_INTEGER_DOT,
    VK_EXT_MAINTENANCE_4,
    VK_EXT_CREATION_FEEDBACK,
    VK_EXT_MATRIX,
    VK_EXT_BFLOAT16,
    VK_EXT_MATRIX_2,
    VK_EXT_BUDGET,
    VK_EXT_PIPELINE_STATS,
    VK_EXT_PRIORITY_KHR,
    VK_EXT_PRIORITY_EXT,
    VK_EXT_PORTABILITY,
    VK_N_EXTENSIONS,
};

/* VkPhysicalDeviceShaderBfloat16FeaturesKHR, for headers before 1.4.311 (Vulkan specification,
 * VK_KHR_shader_bfloat16). */
enum { VK_BFLOAT16_FEATURES_TYPE = 1000141000 };
struct vk_bfloat16_features {
    VkStructureType sType;
    void *pNext;
    VkBool32 type, dot_product, cooperative_matrix;
};

/* VkPhysicalDeviceCooperativeMatrix2FeaturesNV, for headers before 1.4.304 (Vulkan specification,
 * VK_NV_cooperative_matrix2). */
enum { VK_MATRIX_2_FEATURES_TYPE = 1000593000 };
struct vk_matrix_2_features {
    VkStructureType sType;
    void *pNext;
    VkBool32 workgroup_scope, flexible, reductions, conversions, per_element, tensor_addressing,
        block_loads;
};

/* The features hearth knows of: read as what the driver has, handed to vkCreateDevice as what is
 * switched on. Chained; must not be copied. */
struct vk_features {
    VkPhysicalDeviceFeatures2 core;
    VkPhysicalDeviceVulkan11Features v11;
    VkPhysicalDeviceVulkan12Features v12;
    VkPhysicalDeviceSubgroupSizeControlFeatures subgroup;
    VkPhysicalDeviceShaderIntegerDotProductFeatures dot;
    VkPhysicalDeviceMaintenance4Features maintenance4;
    VkPhysicalDeviceCooperativeMatrixFeaturesKHR matrix;
    struct vk_bfloat16_features bfloat16;
    struct vk_matrix_2_features matrix_2;
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR stats;
};

/* One physical device, and all that was asked of it. */
struct vk_gpu {
    VkPhysicalDevice handle;
    struct vk_caps caps;
    VkPhysicalDeviceMemoryProperties memory;
    VkDriverId driver_id;
    uint32_t api_version; /* the least of what the driver and we speak */
    uint32_t listed,
        usable; /* bits of enum vk_extension: listed by name; those, or part of the core */
    uint32_t compute_family,
        transfer_family; /* the latter VK_NO_FAMILY if there is none of its own */
    uint32_t timestamp_bits;
    bool stats;         /* pipeline statistics can be had */
    bool sets_subgroup; /* a size must be named to be had; else there is only one, if any control */
};

/* Asks a device for everything. */
HTH_MUST_CHECK vk_gpu_read(struct vk_gpu *gpu, VkPhysicalDevice handle, const struct log *log);

/* Fills heap sizes and budgets of `caps`, a margin taken off. */
void vk_gpu_read_heaps(const struct vk_gpu *gpu, struct vk_caps *caps);

/* Builds the chain of all features that this device's version and extensions know, all off. */
void vk_features_chain(struct vk_features *features, const struct vk_gpu *gpu);

/* Switches off what hearth does not use of the features that a device has. */
void vk_features_keep_ours(struct vk_features *features, bool stats);

/* Names of the extensions to enable; returns how many. */
uint32_t vk_gpu_extensions(const struct vk_gpu *gpu, bool stats,
                           const char *names[VK_N_EXTENSIONS]);

static inline bool vk_gpu_has(const struct vk_gpu *gpu, enum vk_extension extension)
{
    return gpu->usable >> extension & 1;
}

/* --- quirks.c --------------------------------------------------------------------------------- */

/* Takes from `gpu` what its driver is known to get wrong; each time a debug line says so. */
void vk_quirks_apply(struct vk_gpu *gpu, const struct log *log);

/* --- memory.c, transfer.c --------------------------------------------------------------------- */

struct vk_buffer {
    VkBuffer handle;
    VkDeviceMemory memory;
    void *data; /* mapped, or NULL */
    uint64_t size_bytes;
};

struct vk_chunk {
    struct vk_buffer buffer; /* handle VK_NULL_HANDLE: the number is free */
    uint64_t asked_bytes;
    enum vk_memory kind;
};

enum { VK_N_SLOTS = 2, VK_SLOT_BYTES = 16 << 20 };

/* A piece of staging memory with the command buffer that empties it. */
struct vk_slot {
    struct vk_buffer buffer;
    VkCommandPool pool;
    VkCommandBuffer commands;
    uint64_t used_bytes; /* since the last flush; > 0: `commands` is being recorded */
    uint64_t value;      /* of the transfer timeline, when the last flush is done */
};

struct vk_transfer {
    struct vk_slot slots[VK_N_SLOTS];
    uint32_t current;
    struct vk_buffer download; /* made at the first download that needs it */
    VkCommandPool download_pool;
    VkCommandBuffer download_commands;
    VkSemaphore timeline;
    uint64_t submitted; /* value of the last flush */
    uint64_t after;     /* ticket that copies wait for */
    struct vk_staged staged;
};

/* --- pipeline.c, cache.c ---------------------------------------------------------------------- */

enum vk_pipeline_state { VK_PIPELINE_QUEUED, VK_PIPELINE_COMPILING, VK_PIPELINE_DONE };

struct vk_pipeline {
    struct vk_pipeline *next; /* all pipelines */
    struct vk_pipeline *next_queued;
    struct vk_pipeline_key key;
    VkPipeline handle;
    enum vk_pipeline_state state; /* under the mutex */
    enum hth_status status;
};

enum { VK_MAX_WORKERS = 64 };

struct vk_pipelines {
    struct os_mutex mutex;
    struct os_cond work, done;
    bool ready; /* mutex and conditions exist */
    bool stop;
    struct os_thread workers[VK_MAX_WORKERS];
    uint32_t n_workers;
    struct vk_pipeline *all, *queue_first, *queue_last;
    VkPipelineCache cache;
    bool cache_loaded; /* from a file */
    bool save_failed;
    uint32_t n_created, n_from_cache, n_saved;
};

/* --- the device ------------------------------------------------------------------------------- */

struct vk {
    struct vk_instance instance;
    struct vk_gpu gpu;
    struct vk_options options;
    int index; /* in vk_list's order */
    struct log log;
    VkDevice device;
    struct VolkDeviceTable f;
    VkQueue queue, transfer_queue; /* the same where there is one only */
    atomic_bool lost;

    VkSemaphore timeline;
    uint64_t submitted, passed; /* tickets: given out; known to be done */

    struct vk_chunk chunks[VK_MAX_CHUNKS];
    uint64_t allocated[3]; /* by enum vk_memory */
    uint64_t refused_at;   /* of these VK_MEMORY_DEVICE, when memory was last refused */
    atomic_uint n_refused;
    uint64_t generation; /* counts changes of chunks */
    bool set_stale;
    struct vk_buffer addresses; /* the uniform buffer */
    VkDescriptorSetLayout set_layout;
    VkDescriptorPool set_pool;
    VkDescriptorSet set;
    VkPipelineLayout layout;

    struct vk_transfer transfer;
    struct vk_pipelines pipelines;
};

/* Logs "CALL failed: RESULT" with what may help, marks the device lost where it is, and returns the
 * status that belongs to the result. */
HTH_MUST_CHECK vk_fail(struct vk *vk, VkResult result, const char *call);

/* Counts memory that could not be had. */
void vk_refuse(struct vk *vk);

/* HTH_ERROR_DEVICE_LOST once the device is lost. */
static inline enum hth_status vk_alive(const struct vk *vk)
{
    return atomic_load(&vk->lost) ? HTH_ERROR_DEVICE_LOST : HTH_OK;
}

/* May the host write device memory directly? */
static inline bool vk_is_unified(const struct vk *vk)
{
    return vk->gpu.caps.unified;
}

/* Gives a Vulkan object a name for debuggers; does nothing where there is none. */
void vk_set_name(struct vk *vk, VkObjectType type, uint64_t handle, const char *name);

/* Sleeps until a timeline semaphore has reached a value. */
HTH_MUST_CHECK vk_wait_timeline(struct vk *vk, VkSemaphore timeline, uint64_t value);

/* Submits to the compute queue after `uploads`, which are flushed if need be; counts a ticket. */
HTH_MUST_CHECK vk_queue_compute(struct vk *vk, VkCommandBuffer commands, uint64_t uploads,
                                uint64_t *ticket);

/* Waits for every ticket given out. */
HTH_MUST_CHECK vk_wait_all(struct vk *vk);

/* Waits until the device does nothing, for whoever destroys what it may be using. A failure is not
 * said, as nothing is wanted of the device here; if it is lost, the next call that wants something
 * says so. */
void vk_idle(struct vk *vk);

/* A command pool with one command buffer, for a queue family. */
HTH_MUST_CHECK vk_commands_create(struct vk *vk, uint32_t family, VkCommandPool *pool,
                                  VkCommandBuffer *commands);

/* Everything that shaders and copies wrote before is seen by those after. */
void vk_record_barrier(const struct vk *vk, VkCommandBuffer commands, bool compute);

HTH_MUST_CHECK vk_memory_open(struct vk *vk);
void vk_memory_close(struct vk *vk);
/* Makes chunk 0 and fills it with the tables that shaders look into. */
HTH_MUST_CHECK vk_tables_open(struct vk *vk);
HTH_MUST_CHECK vk_buffer_create(struct vk *vk, uint64_t size_bytes, enum vk_memory kind,
                                VkBufferUsageFlags usage, struct vk_buffer *buffer);
void vk_buffer_destroy(struct vk *vk, struct vk_buffer *buffer);

/* Writes the descriptor set if chunks came or went since; waits for the device first. */
HTH_MUST_CHECK vk_set_refresh(struct vk *vk);

HTH_MUST_CHECK vk_transfer_open(struct vk *vk);
void vk_transfer_close(struct vk *vk);

/* Submits what was staged so far. */
HTH_MUST_CHECK vk_transfer_flush(struct vk *vk);

HTH_MUST_CHECK vk_pipelines_open(struct vk *vk);
void vk_pipelines_close(struct vk *vk);

/* Makes the VkPipelineCache, from its file where that is there and sound. */
HTH_MUST_CHECK vk_cache_open(struct vk *vk);

#endif
