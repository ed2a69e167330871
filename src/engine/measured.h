/*
 * measured.h — what was measured of this machine, kept in the user's cache folder.
 *
 * One file per device with the rates of the CPU and of that device, under what they depend on: the
 * device and its driver, the processor and the threads, hearth's build. What is not as it was
 * written, or of another machine, is ignored with a line. Owns nothing. One thread.
 */
#ifndef ENGINE_MEASURED_H
#define ENGINE_MEASURED_H

#include "base/str.h"
#include "plan/machine.h"
#include "vk/vk.h"

/* Fills in the rates of the CPU and, with `caps`, of `device` where a sound file has them; *found
 * tells whether one was there. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK measured_load(struct machine *machine, int device, const struct vk_caps *caps,
                             bool *found, const struct log *log);

/* Keeps all rates of the two that are no estimates. Where the file cannot be written, a warning
 * says so. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK measured_store(const struct machine *machine, int device, const struct vk_caps *caps,
                              const struct log *log);

/* Its path; `caps` NULL: of the CPU alone. False when there is no place; out->failed as usual. */
bool measured_path(const struct vk_caps *caps, struct strbuf *out);

#endif
