/*
 * kernels.h — which rows and shapes of kernels were measured to be fastest on a device, kept in the
 * cache folder.
 *
 * One file per device, of one driver and one build of hearth. What is not as it was written, or of
 * another device, is ignored with a line and begun anew, so that the line comes once; what it says
 * is taken only as far as rows offer it (gpu/table.h). Owns what it read. One thread.
 */
#ifndef ENGINE_KERNELS_H
#define ENGINE_KERNELS_H

#include "base/log.h"
#include "base/str.h"
#include "gpu/table.h"

struct kernels {
    struct table table;
    struct strbuf path, of; /* the file (empty: there is no place), and what it depends on */
};

/* Reads a device's file into `out`, which is zero and is freed after an error, too. Errors:
 * HTH_ERROR_MEMORY. */
HTH_MUST_CHECK kernels_load(struct kernels *out, const struct vk_caps *caps, const struct log *log);
void kernels_free(struct kernels *kernels);

/* For how many classes of ops something is faster than what rows say of themselves. */
int kernels_count(const struct kernels *kernels);

/* Of what another process measured to the end meanwhile, and this one did not, the file keeps the
 * entries, and `kernels` gets them, so that its entries may move. Where the file cannot be written,
 * a warning says so. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK kernels_store(struct kernels *kernels, const struct log *log);

#endif
