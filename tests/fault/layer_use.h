/*
 * layer_use.h — our Vulkan layer as tests use it.
 *
 * Owns the layer's library, which stays open. One thread.
 */
#ifndef FAULT_LAYER_USE_H
#define FAULT_LAYER_USE_H

#include "layer/layer.h"

/* Makes the Vulkan loader of this process, and of programs started from now on, use the layer, and
 * returns it; the test skips where there is no software device. To be called before anything of
 * Vulkan. */
struct layer *layer_use(void);

/* No plan, all counts 0. */
void layer_reset(struct layer *layer);

/* Fails the test if something was made and not destroyed. */
void layer_assert_nothing_left(const struct layer *layer);

/* May hearth, when this call fails so, go on as if nothing had happened? */
bool layer_may_go_on(const char *call, VkResult result);

#endif
