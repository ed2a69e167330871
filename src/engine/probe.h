/*
 * probe.h — this machine as plan/machine.h measures it: matrix products, norms and gates,
 * attention, copies and hand-overs timed on its real devices.
 *
 * Owns the matrices that are being multiplied, or the cache that is looked at, until others are
 * asked for or it is closed. Pool and devices are borrowed. What cannot be had (memory, a kernel)
 * is not timed, and nothing is said. One thread.
 */
#ifndef ENGINE_PROBE_H
#define ENGINE_PROBE_H

#include "base/pool.h"
#include "plan/machine.h"
#include "vk/vk.h"

struct machine_probe;

/* `vk` has the machine's devices from 1 to n_devices − 1. Errors: HTH_ERROR_MEMORY. */
HTH_MUST_CHECK machine_probe_open(struct machine_probe **out, struct pool *pool,
                                  struct vk *const *vk, int n_devices, const struct log *log);
void machine_probe_close(struct machine_probe *probe);

/* Seconds of one action, as struct probe wants it. */
double machine_probe_time_s(void *probe, enum probe_kind kind, int device, uint64_t amount);
double machine_probe_format_s(void *probe, enum probe_kind kind, int device,
                              const struct dtype *dtype, uint64_t amount);
double machine_probe_cache_s(void *probe, enum probe_kind kind, int device,
                             const struct cache_shape *shape, uint64_t amount);

#endif
