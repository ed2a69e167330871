/* Each mapping of a file that the software device's driver makes in this process stands between
 * pages that nobody may touch: what reads outside of it faults each time, not only where nothing
 * happens to lie there. So stand lavapipe's memory and its tables of descriptors (Mesa 26.1.6 maps
 * both as pieces of a file without a name). The fences stay when what they are around is unmapped:
 * addresses, no memory. Drivers of cards, which map registers and memory of theirs as files and may
 * count on where, are left alone: scripts/with-lavapipe says when the software device is meant. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>

/* More than the descriptors that the 8 bits of a chunk's number reach, 64 bytes each there. */
enum { FENCE_BYTES = 1 << 20 };

typedef void *mmap_fn(void *address, size_t size, int protection, int flags, int file, off_t at);

static bool is_software(void)
{
    const char *software = getenv("HEARTH_TEST_SOFTWARE");
    return software && strcmp(software, "1") == 0;
}

/* glibc's name of mmap where file offsets have 64 bits. The test exports it (tests.cmake), and so
 * comes before all libraries. */
mmap_fn mmap64;
void *mmap64(void *address, size_t size, int protection, int flags, int file, off_t at)
{
    mmap_fn *next = (mmap_fn *)dlsym(RTLD_NEXT, "mmap64");
    if (address || file < 0 || size == 0 || !is_software())
        return next(address, size, protection, flags, file, at);
    char *fenced = next(NULL, size + 2 * (size_t)FENCE_BYTES, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fenced == MAP_FAILED)
        return MAP_FAILED;
    return next(fenced + FENCE_BYTES, size, protection, flags | MAP_FIXED, file, at);
}
