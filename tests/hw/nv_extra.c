/* Around Mesa's nouveau shim: the engine classes of GPUs newer than Ampere, a settable size of
 * device memory, and no chatter about parameters that it lacks. */
#include "common.h"
#include "drm-uapi/nouveau_drm.h"
#include "nouveau/nvif/ioctl.h"
#include "nouveau/nvif/cl0080.h"

static ioctl_fn_t stock_getparam, stock_nvif, table[0x60];
static const int32_t *classes;
static uint64_t vram;

static int getparam(int fd, unsigned long request, void *arg)
{
    struct drm_nouveau_getparam *gp = arg;
    if (gp->param == NOUVEAU_GETPARAM_FB_SIZE && vram) {
        gp->value = vram;
        return 0;
    }
    return gp->param > 16 ? no_such_ioctl(fd, request, arg) : stock_getparam(fd, request, arg);
}

static int nvif(int fd, unsigned long request, void *arg)
{
    struct nvif_ioctl_v0 *io = arg;
    int r = stock_nvif(fd, request, arg);
    if (io->type == NVIF_IOCTL_V0_SCLASS && classes) {
        struct nvif_ioctl_sclass_v0 *s = (void *)(io + 1);
        for (int i = 0; s->count >= 5 && i < 5; i++) {
            s->oclass[i].oclass = classes[i];
            s->oclass[i].minver = s->oclass[i].maxver = -1;
        }
    } else if (io->type == NVIF_IOCTL_V0_MTHD && vram) {
        struct nvif_ioctl_mthd_v0 *m = (void *)(io + 1);
        if (m->method == NV_DEVICE_V0_INFO) {
            struct nv_device_info_v0 *info = (void *)m->data;
            info->ram_size = info->ram_user = vram;
        }
    }
    return r;
}

void drm_shim_driver_init(void)
{
    /* inline to memory, copy, 2D, 3D, compute; numbers: NVIDIA's public class headers */
    static const int32_t ada[] = {0xa140, 0xc7b5, 0x902d, 0xc997, 0xc9c0},
                         blackwell[] = {0xcd40, 0xcab5, 0x902d, 0xce97, 0xcec0};
    const char *chip = getenv("NOUVEAU_CHIPSET"), *v = getenv("NOUVEAU_VRAM_MIB");
    long id = chip ? strtol(chip, NULL, 16) : 0;
    classes = id >= 0x1a0 ? blackwell : id >= 0x190 ? ada : NULL;
    vram = v ? strtoull(v, NULL, 0) << 20 : 0;
    common_init();
    stock_driver_init();
    memcpy(table, shim_device.driver_ioctls,
           (size_t)shim_device.driver_ioctl_count * sizeof *table);
    stock_getparam = table[DRM_NOUVEAU_GETPARAM];
    stock_nvif = table[DRM_NOUVEAU_NVIF];
    table[DRM_NOUVEAU_GETPARAM] = getparam;
    table[DRM_NOUVEAU_NVIF] = nvif;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (!table[i])
            table[i] = no_such_ioctl;
    shim_device.driver_ioctls = table;
    shim_device.driver_ioctl_count = sizeof table / sizeof *table;
}
