/*
 * layer_priv.h — what the files of the layer share: its one state, and who stands between whom.
 *
 * layer.c owns the plan, the counts and the way from the loader to the driver; queues.c the second
 * queue; limits.c what the device says it can; wrong.c shaders that are not what hearth gave, or
 * not when; clock.c how long work takes, and the priority of queues. Threads: as layer.h says.
 */
#ifndef LAYER_LAYER_PRIV_H
#define LAYER_LAYER_PRIV_H

#include "layer.h"

extern struct layer layer_state;

/* In a function of (name, real): if that is the name of `fn`, keeps the driver's in real_fn and
 * gives own_fn. */
#define LAYER_STAND_BETWEEN(fn)                                                                    \
    if (strcmp(name, #fn) == 0) {                                                                  \
        real_##fn = (PFN_##fn)real;                                                                \
        return (PFN_vkVoidFunction)own_##fn;                                                       \
    }

/* Ours for a function that deals with queues, with `real` kept to be called; or `real`. */
PFN_vkVoidFunction queues_between(const char *name, PFN_vkVoidFunction real);

/* The same for what asks for limits. */
PFN_vkVoidFunction limits_between(const char *name, PFN_vkVoidFunction real);

/* The same for what makes shaders and runs them, and for what is said of subgroups. */
PFN_vkVoidFunction wrong_between(const char *name, PFN_vkVoidFunction real);

/* The same for what takes time, or says how much. */
PFN_vkVoidFunction clock_between(const char *name, PFN_vkVoidFunction real);

/* What the driver is told of the queues that hearth wants: `own` is changed where need be. */
void queues_device_info(VkDeviceCreateInfo *own);
void clock_device_info(VkDeviceCreateInfo *own);

/* Hands the driver what is held back. */
void queues_flush(void);

#endif
