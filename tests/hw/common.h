/*
 * common.h — what the three stand-in kernel drivers share: a larger address space than Mesa's shim
 * has (4 GiB, sparse), and silence about an ioctl that it lacks.
 *
 * Included once by each of *_extra.c, which are compiled against Mesa's sources by `build` here;
 * nothing of hearth includes it.
 */
#ifndef HW_COMMON_H
#define HW_COMMON_H

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "drm-shim/drm_shim.h"

void stock_driver_init(void); /* Mesa's drm_shim_driver_init, renamed when compiled */
extern ioctl_fn_t core_ioctls[];
extern long shim_page_size;

static int no_such_ioctl(int fd, unsigned long request, void *arg)
{
    (void)fd, (void)request, (void)arg;
    errno = EINVAL;
    return -1;
}

static void common_init(void)
{
    const uint64_t size = 64ull << 30;
    if (ftruncate(shim_device.mem_fd, (off_t)size) == 0) {
        util_vma_heap_finish(&shim_device.mem_heap);
        util_vma_heap_init(&shim_device.mem_heap, (uint64_t)shim_page_size,
                           size - (uint64_t)shim_page_size);
    }
    core_ioctls[_IOC_NR(DRM_IOCTL_PRIME_HANDLE_TO_FD)] = no_such_ioctl;
}

#endif
