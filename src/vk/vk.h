/*
 * vk.h — everything hearth wants of a Vulkan device, and the only face of Vulkan to the rest.
 *
 * Owns the instance, one logical device, its memory (chunks), pipelines with their cache on disk,
 * command lists and the clock of the GPU. Knows no op, no tensor, no model. The loader is opened at
 * run time: a machine without one runs on the CPU. Threads: pipelines compile on workers of its
 * own; all functions are called by one thread at a time.
 *
 * Buffers are named (chunk, offset): one descriptor set for the whole engine, binding 0 an array of
 * VK_MAX_CHUNKS storage buffers, one per chunk (unused ones point at chunk 0, which holds the
 * tables that shaders look into); binding 1 a uniform buffer with the chunks' addresses, for what
 * is read by address. A place is packed in 32 bits for shaders: `vk_ref`. A few drivers (mobile
 * ones, Mesa 22's lavapipe) bind fewer than VK_MAX_CHUNKS storage buffers: there the array has
 * caps.max_chunks, and only shaders whose array is as long as their specialization constant
 * "max_chunks" (filled in here, whatever the key says) fit.
 *
 * Errors: HTH_ERROR_DEVICE (a call failed; said with its name and result), HTH_ERROR_DEVICE_LOST
 * (sticky: every later call returns it), HTH_ERROR_MEMORY, HTH_ERROR_UNSUPPORTED.
 */
#ifndef VK_VK_H
#define VK_VK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/log.h"
#include "vk/shader_blob.h"

enum {
    VK_MAX_CHUNKS = 64,
    VK_MAX_SPECS = 16,
    VK_MAX_PUSH_BYTES = 128,
    VK_REF_ALIGN = 256, /* every place a shader is told of is a multiple of this */
    VK_MAX_HEAPS = 16,
    VK_MAX_MATRICES = 64,
};

struct vk;

/* --- devices ---------------------------------------------------------------------------------- */

enum vk_kind {
    VK_KIND_DISCRETE,
    VK_KIND_INTEGRATED,
    VK_KIND_VIRTUAL,
    VK_KIND_SOFTWARE,
    VK_KIND_OTHER
};

struct vk_heap {
    uint64_t size_bytes;
    uint64_t budget_bytes; /* what may be used now, less a margin; size if the driver is silent */
    uint64_t margin_bytes;
    uint64_t used_bytes; /* by this process, as the driver says; 0 if it does not */
    bool device_local;
};

/* A shape of cooperative matrices of a subgroup: A of m × k numbers times B of k × n, plus C. Types
 * by name, "f16", "bf16", "s8"; "?" for one that hearth does not know. */
struct vk_matrix {
    uint32_t m, n, k;
    const char *a, *b, *c, *result;
    bool saturates;
};

struct vk_caps {
    char name[256], driver[256]; /* "AMD Radeon …", "radv Mesa 26.1.6" */
    enum vk_kind kind;
    uint32_t vendor_id, device_id, driver_version, api_version;
    uint8_t uuid[16]; /* pipelineCacheUUID: device, driver and build */
    uint32_t subgroup_default, subgroup_min, subgroup_max;
    uint32_t subgroup_ops;  /* VkSubgroupFeatureFlags that compute shaders have */
    bool subgroup_control;  /* a size can be demanded for compute */
    uint32_t max_subgroups; /* of a workgroup, where a size is demanded; 0: no limit is known */
    bool fp16, int8, int16, int64, storage8, storage16, addresses;
    bool int_dot_any;    /* shaders may use integer dot products */
    bool int_dot;        /* and packed 4×8 signed ones are accelerated */
    bool bf16_matrices;  /* shaders may use those of bfloat16, where there are any */
    uint32_t n_matrices; /* 0: shaders may not use any */
    struct vk_matrix matrices[VK_MAX_MATRICES];
    /* Matrices of any multiples of these sizes, up to `flexible_most`, whose elements shaders may
     * tell apart, reduce and put to another use (VK_NV_cooperative_matrix2). */
    uint32_t n_flexible, flexible_most;
    struct vk_matrix flexible[VK_MAX_MATRICES];
    bool timestamps;
    double timestamp_ns; /* per tick */
    uint32_t shared_bytes, max_invocations, max_group[3], max_groups[3];
    uint64_t max_range_bytes; /* of one chunk: binding range, buffer, allocation, below 4 GiB */
    uint32_t max_chunks;      /* at most VK_MAX_CHUNKS */
    uint32_t n_heaps;
    struct vk_heap heaps[VK_MAX_HEAPS];
    uint64_t device_bytes; /* of the largest device-local heap */
    bool unified;          /* device-local memory is host memory: nothing needs staging */
    bool transfer_queue;   /* a queue of its own for copies */
    const char *lacks;     /* NULL, or what hearth needs and this device has not */
};

/* All devices, in the driver's order; free with mem_free. No loader or no driver: *count is 0 and
 * `*why` (static) says so. */
HTH_MUST_CHECK vk_list(struct vk_caps **devices, uint32_t *count, const char **why,
                       const struct log *log);

/* The best real GPU of a list, by kind, then by memory; −1: there is none. */
int vk_best(const struct vk_caps *devices, uint32_t count);

struct vk_options {
    int index;       /* in vk_list's order; −1: the best real GPU (software never) */
    bool validation; /* VK_LAYER_KHRONOS_validation; its messages are logged and counted */
    bool discrete;   /* test mode: nothing counts as unified, staging is forced */
    uint64_t memory_limit_bytes; /* device memory to use at most; 0: the budget. Opening itself
                                  * takes some KiB, which count but are not refused */
    bool capture_stats; /* keep pipeline statistics (VK_KHR_pipeline_executable_properties) */
    bool no_disk_cache;
    int n_workers; /* pipeline compilers; 0: one per processor */
};

/* HTH_ERROR_UNSUPPORTED when there is no such device or it lacks something needed (named). */
HTH_MUST_CHECK vk_open(struct vk **out, const struct vk_options *options, const struct log *log);
void vk_close(struct vk *vk);
const struct vk_caps *vk_get_caps(const struct vk *vk);
int vk_get_index(const struct vk *vk); /* in vk_list's order */
bool vk_is_lost(const struct vk *vk);

/* Asks the driver for the budgets again. */
void vk_update_budget(struct vk *vk, struct vk_caps *caps);

/* Of the shaders in this program: another text where they are others. */
const char *vk_build_id(void);

/* Messages of the validation layer so far. */
uint32_t vk_validation_messages(const struct vk *vk);

/* Does the device have every capability, and the shared memory, that a blob asks for? */
bool vk_blob_fits(const struct vk_caps *caps, const struct shader_blob *blob);

/* --- memory ----------------------------------------------------------------------------------- */

enum vk_memory {
    VK_MEMORY_DEVICE,   /* fast for the device; mapped only where that is the same memory */
    VK_MEMORY_UPLOAD,   /* written by the host, read by the device */
    VK_MEMORY_READBACK, /* written by the device, read by the host (cached) */
};

/* A chunk of `size_bytes` (1 … max_range_bytes); its number names it in shaders. Not zeroed. Lists
 * recorded before are stale afterwards (`vk_generation`), as the descriptor set is rewritten.
 * HTH_ERROR_LIMIT: all numbers in use, or over the memory limit (for VK_MEMORY_DEVICE the option's,
 * or the budget of the heap); HTH_ERROR_MEMORY: the driver has no room. */
HTH_MUST_CHECK vk_chunk_create(struct vk *vk, uint64_t size_bytes, enum vk_memory kind,
                               const char *label, uint32_t *chunk);
/* Waits until the device no longer uses it. Makes recorded lists stale too. Chunk 0 stays. */
void vk_chunk_destroy(struct vk *vk, uint32_t chunk);
/* Changes with every chunk created or destroyed. A list can be submitted while it is what it was
 * when the list was begun; then record again. */
uint64_t vk_generation(const struct vk *vk);
/* Host address, or NULL if it cannot be mapped (or discrete mode forbids it). Coherent. */
void *vk_chunk_data(struct vk *vk, uint32_t chunk);
uint64_t vk_chunk_bytes(const struct vk *vk, uint32_t chunk);
/* How often the device or its driver had no memory, or no number for a chunk, since it was opened;
 * *allocated (VK_MEMORY_DEVICE) is what there was the last time. */
uint32_t vk_refusals(const struct vk *vk, uint64_t *allocated);
/* Sum of all chunks of a kind. */
uint64_t vk_allocated_bytes(const struct vk *vk, enum vk_memory kind);

/* Packs a place for a shader; offset is a multiple of VK_REF_ALIGN and below 4 GiB. */
static inline uint32_t vk_ref(uint32_t chunk, uint64_t offset)
{
    return chunk << 24 | (uint32_t)(offset / VK_REF_ALIGN);
}
static inline uint32_t vk_ref_chunk(uint32_t ref)
{
    return ref >> 24;
}
static inline uint64_t vk_ref_offset(uint32_t ref)
{
    return (uint64_t)(ref & 0xffffff) * VK_REF_ALIGN;
}

/* Copies host bytes into a chunk, through staging where it must; returns when `data` may be reused,
 * perhaps before the device has them. `vk_transfer_wait` waits for all uploads; a submit is ordered
 * after every upload that was begun before it, but not the other way round: nothing submitted
 * earlier may still use these bytes, but what vk_upload_after names. */
HTH_MUST_CHECK vk_upload(struct vk *vk, uint32_t chunk, uint64_t offset, const void *data,
                         uint64_t size_bytes);
/* Uploads from here on touch the chunk only when submit `ticket` has passed. The device waits, not
 * the host, but where the host writes device memory itself. */
void vk_upload_after(struct vk *vk, uint64_t ticket);
/* Sends off what is gathered, so that it is copied while others compute. */
HTH_MUST_CHECK vk_send_uploads(struct vk *vk);
/* All uploads begun so far, for vk_submit_after. */
uint64_t vk_uploads(const struct vk *vk);
/* Time and bytes that the host has spent on copying into staging memory since the device was
 * opened. */
struct vk_staged {
    uint64_t bytes, time_ns;
    uint64_t beside_bytes; /* copied while a submit was in flight from begin to end */
};
struct vk_staged vk_get_staged(const struct vk *vk);
HTH_MUST_CHECK vk_transfer_wait(struct vk *vk);
/* Copies from a chunk to the host; waits for all submits first. For tests and tools. */
HTH_MUST_CHECK vk_download(struct vk *vk, uint32_t chunk, uint64_t offset, void *data,
                           uint64_t size_bytes);

/* --- pipelines -------------------------------------------------------------------------------- */

struct vk_pipeline;

struct vk_pipeline_key {
    const struct shader_blob *blob;
    uint32_t spec[VK_MAX_SPECS]; /* values in the order of blob->specs */
    uint32_t subgroup_size;      /* demanded; 0: any (then the kernel must not care) */
};

/* The pipeline of a key, compiled in the background if it is new. Never fails for a compile error:
 * that is `vk_pipeline_wait`'s, which tries once more what a worker failed at. */
HTH_MUST_CHECK vk_pipeline_get(struct vk *vk, const struct vk_pipeline_key *key,
                               struct vk_pipeline **out);
HTH_MUST_CHECK vk_pipeline_wait(struct vk *vk, struct vk_pipeline *pipeline);

/* What the driver's compiler says (capture_stats): calls `fn` per statistic with the driver's own
 * names; `executable` counts from 0. */
typedef void vk_stat_fn(void *user, int executable, const char *executable_name,
                        uint32_t subgroup_size, const char *stat, double value);
HTH_MUST_CHECK vk_pipeline_stats(struct vk *vk, struct vk_pipeline *pipeline, vk_stat_fn *fn,
                                 void *user);

/* How many pipelines were created, and how many of these came out of the cache on disk. */
void vk_pipeline_counts(struct vk *vk, uint32_t *created, uint32_t *from_cache);

/* Writes the cache to disk if there is something new in it; vk_close does it too. Where it cannot
 * be written a warning says so, once. */
void vk_pipeline_save(struct vk *vk);

/* --- commands --------------------------------------------------------------------------------- */

struct vk_cmd;

/* A list of commands that can be submitted again and again, with room for `n_timestamps`. */
HTH_MUST_CHECK vk_cmd_create(struct vk *vk, uint32_t n_timestamps, struct vk_cmd **out);
void vk_cmd_destroy(struct vk *vk, struct vk_cmd *cmd);

/* Recording. Failures are kept and returned by vk_cmd_end. Pipelines must have been waited for. */
void vk_cmd_begin(struct vk_cmd *cmd);
void vk_cmd_dispatch(struct vk_cmd *cmd, const struct vk_pipeline *pipeline, const void *args,
                     uint32_t args_bytes, const uint32_t groups[3]);
/* The same of some of the workgroups: shaders find their own numbers, but in gl_NumWorkGroups those
 * of the part. */
struct vk_groups {
    uint32_t first[3], count[3];
};
void vk_cmd_dispatch_part(struct vk_cmd *cmd, const struct vk_pipeline *pipeline, const void *args,
                          uint32_t args_bytes, const struct vk_groups *groups);
/* What was written by shaders and copies before is seen by shaders and copies after. */
void vk_cmd_barrier(struct vk_cmd *cmd);
void vk_cmd_copy(struct vk_cmd *cmd, uint32_t from, uint64_t from_offset, uint32_t to,
                 uint64_t to_offset, uint64_t size_bytes);
void vk_cmd_timestamp(struct vk_cmd *cmd, uint32_t index);
void vk_cmd_label(struct vk_cmd *cmd, const char *label); /* for debuggers; may do nothing */
HTH_MUST_CHECK vk_cmd_end(struct vk_cmd *cmd);

/* Submits in order; `*ticket` is what vk_wait waits for (may be NULL). Makes what the list wrote
 * visible to the host. A list may be submitted again once its last ticket has passed (else this
 * waits for it). HTH_ERROR_ARGUMENT: the list is stale or was not recorded. */
HTH_MUST_CHECK vk_submit(struct vk *vk, struct vk_cmd *cmd, uint64_t *ticket);
/* The same, ordered only after the uploads that vk_uploads named: later ones may come beside it. */
HTH_MUST_CHECK vk_submit_after(struct vk *vk, struct vk_cmd *cmd, uint64_t uploads,
                               uint64_t *ticket);
/* Sleeps until a submit is done. */
HTH_MUST_CHECK vk_wait(struct vk *vk, uint64_t ticket);
/* Nanoseconds between timestamp `from` and `to` of the last finished run; 0 if there is no clock.
 */
uint64_t vk_cmd_time_ns(struct vk *vk, const struct vk_cmd *cmd, uint32_t from, uint32_t to);

#endif
