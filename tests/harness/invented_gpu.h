/*
 * invented_gpu.h — a graphics card that is not there: what any card of today has, for tests of
 * pure functions over capabilities.
 *
 * Owns nothing. Used as the beginning of an initializer, behind which a test says what it adds.
 */
#ifndef HARNESS_INVENTED_GPU_H
#define HARNESS_INVENTED_GPU_H

#include "vk/vk.h"

/* clang-format off */
#define INVENTED_GPU                                                                               \
    .name = "invented", .kind = VK_KIND_DISCRETE,                                                  \
    .subgroup_default = 32, .subgroup_min = 32, .subgroup_max = 32, .subgroup_ops = 0xff,          \
    .int8 = true, .int16 = true, .int64 = true, .storage8 = true, .storage16 = true,               \
    .addresses = true, .shared_bytes = 32768,                                                      \
    .max_invocations = 1024, .max_group = {1024, 1024, 64}, .max_groups = {65535, 65535, 65535},   \
    .max_range_bytes = 1u << 30, .max_chunks = VK_MAX_CHUNKS
/* clang-format on */

#endif
