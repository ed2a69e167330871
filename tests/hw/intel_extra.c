/* Around Mesa's i915 shim: a production stepping instead of A0 (which would turn on pre-production
 * workarounds), a settable size of device memory, and no chatter about queries that it lacks. */
#include "common.h"
#include "drm-uapi/i915_drm.h"

static ioctl_fn_t stock_getparam, stock_query;
static int revision;
static uint64_t vram;

static int getparam(int fd, unsigned long request, void *arg)
{
    struct drm_i915_getparam *gp = arg;
    if (gp->param == I915_PARAM_REVISION) {
        *gp->value = revision;
        return 0;
    }
    if (gp->param == 1 /* a parameter of the time before GEM */ ||
        gp->param == I915_PARAM_PXP_STATUS)
        return no_such_ioctl(fd, request, arg);
    return stock_getparam(fd, request, arg);
}

static int query(int fd, unsigned long request, void *arg)
{
    struct drm_i915_query *q = arg;
    struct drm_i915_query_item *item = (void *)(uintptr_t)q->items_ptr;
    if (q->num_items == 1 && (item->query_id == DRM_I915_QUERY_HWCONFIG_BLOB ||
                              item->query_id == DRM_I915_QUERY_GUC_SUBMISSION_VERSION)) {
        item->length = -EINVAL; /* as an older kernel */
        return 0;
    }
    int r = stock_query(fd, request, arg);
    if (r == 0 && q->num_items == 1 && item->query_id == DRM_I915_QUERY_MEMORY_REGIONS &&
        item->length > 0 && item->data_ptr) {
        struct drm_i915_query_memory_regions *m = (void *)(uintptr_t)item->data_ptr;
        for (uint32_t i = 0; i < m->num_regions; i++)
            m->regions[i].unallocated_size = m->regions[i].probed_size =
                m->regions[i].region.memory_class == I915_MEMORY_CLASS_DEVICE && vram ? vram
                                                                                      : 32ull << 30;
    }
    return r;
}

void drm_shim_driver_init(void)
{
    const char *r = getenv("INTEL_STUB_GPU_REVISION"), *v = getenv("INTEL_STUB_GPU_VRAM_MIB");
    revision = r ? (int)strtol(r, NULL, 0) : 4;
    vram = v ? strtoull(v, NULL, 0) << 20 : 0;
    common_init();
    stock_driver_init();
    if (!shim_device.driver_ioctls)
        return; /* a device that the shim does not know: it has said so */
    stock_getparam = shim_device.driver_ioctls[DRM_I915_GETPARAM];
    stock_query = shim_device.driver_ioctls[DRM_I915_QUERY];
    shim_device.driver_ioctls[DRM_I915_GETPARAM] = getparam;
    shim_device.driver_ioctls[DRM_I915_QUERY] = query;
}
