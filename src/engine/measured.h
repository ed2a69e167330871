/*
 * measured.h — what was measured of this machine, kept in the user's cache folder.
 *
 * One file for the CPU and one per device, under what they depend on: the device and its driver,
 * the processor and the threads, hearth's build. In it are the rates, those by format and cache as
 * far as models needed them, and what the last runs took (plan/learn.h). What is not as it was
 * written, or of another machine, is ignored with a line. Owns nothing. One thread.
 */
#ifndef ENGINE_MEASURED_H
#define ENGINE_MEASURED_H

#include "base/str.h"
#include "plan/machine.h"
#include "vk/vk.h"

/* Fills in what a sound file has of a device: of devices[device] with its `caps`, of the CPU with
 * NULL and 0. devices[device].measured tells whether there was one, .outdated whether one is there
 * that cannot be used. A rate by format and past runs that no machine has are left out, with a
 * line. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK measured_load(struct machine *machine, int device, const struct vk_caps *caps,
                             const struct log *log);

/* Keeps all of it that is no estimate. Where the file cannot be written, a warning says so. Errors:
 * HTH_ERROR_MEMORY. */
HTH_MUST_CHECK measured_store(const struct machine *machine, int device, const struct vk_caps *caps,
                              const struct log *log);

/* Adds what a run took (learn_add) to what the file has by now, if there is still one of this
 * machine and build. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK measured_add_run(const struct machine *machine, int device,
                                const struct vk_caps *caps, enum phase phase, double times,
                                const struct log *log);

/* Its path; `caps` NULL: of the CPU alone. False when there is no place; out->failed as usual. */
bool measured_path(const struct vk_caps *caps, struct strbuf *out);

#endif
