#include "layer.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vulkan/vk_layer.h>

#include "calls.h"
#include "layer_priv.h"

#define EXPORT __attribute__((visibility("default")))

/* --- what there is ---------------------------------------------------------------------------- */

enum object {
#define OBJECT(name) OBJECT_##name,
    LAYER_OBJECTS(OBJECT) N_OBJECTS
};

static struct layer_object objects[] = {
#define OBJECT_ROW(object_name) {.name = #object_name},
    LAYER_OBJECTS(OBJECT_ROW)};

#define ALL(CALL, LIST)                                                                            \
    LAYER_INSTANCE_CALLS(CALL)                                                                     \
    LAYER_INSTANCE_LISTS(LIST)                                                                     \
    LAYER_DEVICE_CALLS(CALL)                                                                       \
    LAYER_DEVICE_LISTS(LIST)

enum call {
#define CALL_NUMBER(name, object, params, args, ...)       CALL_##name,
#define LIST_NUMBER(name, count, array, params, args, ...) CALL_##name,
    ALL(CALL_NUMBER, LIST_NUMBER) N_CALLS
};

static struct layer_call calls[] = {
#define CALL_ROW(call_name, object, params, args, ...)                                             \
    {.name = #call_name, .results = {__VA_ARGS__}},
#define LIST_ROW(call_name, count, array, params, args, ...)                                       \
    {.name = #call_name, .results = {__VA_ARGS__}},
    ALL(CALL_ROW, LIST_ROW)};

struct layer layer_state = {
    .calls = calls,
    .n_calls = N_CALLS,
    .objects = objects,
    .n_objects = N_OBJECTS,
};

/* --- the plan and the report of a program ----------------------------------------------------- */

static void read_fail(const char *text)
{
    char name[64];
    int at, result;
    layer_state.fail_on = sscanf(text, "%63[^:]:%d+:%d", name, &at, &result) == 3;
    if (!layer_state.fail_on && sscanf(text, "%63[^:]:%d:%d", name, &at, &result) != 3)
        abort(); /* a test that is written wrong */
    for (size_t i = 0; i < N_CALLS; i++)
        if (strcmp(calls[i].name, name) == 0)
            layer_state.fail_call = &calls[i];
    layer_state.fail_at = at;
    layer_state.fail_result = (VkResult)result;
    if (!layer_state.fail_call)
        abort();
}

static void read_environment(void)
{
    const char *fail = getenv("HEARTH_LAYER_FAIL"), *two = getenv("HEARTH_LAYER_TWO_QUEUES");
    const char *range = getenv("HEARTH_LAYER_MAX_RANGE"), *budget = getenv("HEARTH_LAYER_BUDGET");
    const char *flip = getenv("HEARTH_LAYER_FLIP"), *late = getenv("HEARTH_LAYER_LATE");
    const char *end = getenv("HEARTH_LAYER_END");
    const char *subgroup = getenv("HEARTH_LAYER_SUBGROUP");
    if (fail && *fail)
        read_fail(fail);
    if (two && *two)
        layer_state.queues = strcmp(two, "early") == 0 ? LAYER_COPIES_EARLY : LAYER_COPIES_LATE;
    if (range)
        layer_state.max_range = (uint32_t)strtoul(range, NULL, 10);
    if (budget)
        atomic_store(&layer_state.budget, strtoull(budget, NULL, 10));
    if (flip && sscanf(flip, "%" SCNx64 ":%" SCNx32 ":%" SCNx32, &layer_state.flip[0].hash,
                       &layer_state.flip[0].word, &layer_state.flip[0].mask) != 3)
        abort(); /* a test that is written wrong */
    if (late)
        layer_state.late_hash = strtoull(late, NULL, 16);
    if (end)
        layer_state.end_hash = strtoull(end, NULL, 16);
    if (subgroup)
        layer_state.subgroup = (uint32_t)strtoul(subgroup, NULL, 10);
}

__attribute__((destructor)) static void write_report(void)
{
    const char *path = getenv("HEARTH_LAYER_REPORT");
    FILE *file = path && *path ? fopen(path, "w") : NULL;
    if (!file)
        return;
    for (size_t i = 0; i < N_CALLS; i++)
        if (calls[i].n_calls)
            fprintf(file, "call %s %d\n", calls[i].name, atomic_load(&calls[i].n_calls));
    if (layer_state.n_failed)
        fprintf(file, "failed %s\n", layer_state.fail_call->name);
    for (size_t i = 0; i < N_OBJECTS; i++)
        if (objects[i].n_left)
            fprintf(file, "left %s %d\n", objects[i].name, atomic_load(&objects[i].n_left));
    fprintf(file, "late %d\n", atomic_load(&layer_state.n_late));
    fclose(file);
}

/* --- calls ------------------------------------------------------------------------------------ */

static PFN_vkGetInstanceProcAddr next_instance_proc;
static PFN_vkGetDeviceProcAddr next_device_proc;
static PFN_vkDestroyInstance next_vkDestroyInstance;
static PFN_vkDestroyDevice next_vkDestroyDevice;

#define NEXT_OF_CALL(name, object, params, args, ...)       static PFN_##name next_##name;
#define NEXT_OF_LIST(name, count, array, params, args, ...) static PFN_##name next_##name;
ALL(NEXT_OF_CALL, NEXT_OF_LIST)
#define NEXT_OF_DESTROY(name, object, type) static PFN_##name next_##name;
LAYER_DESTROYS(NEXT_OF_DESTROY)

static VkDevice the_device;

/* Counts a call; is it the one to fail? What is lost works on nothing any more, and there is
 * nothing that a program could do about a wait that fails but go on as if it had waited: in both
 * cases the driver is given the time that it needs. */
static bool fails(enum call call)
{
    const struct layer *plan = &layer_state;
    int number = atomic_fetch_add(&calls[call].n_calls, 1);
    if (plan->fail_call != &calls[call] ||
        (plan->fail_on ? number < plan->fail_at : number != plan->fail_at))
        return false;
    atomic_fetch_add(&layer_state.n_failed, 1);
    if (the_device && (plan->fail_result == LOST || call == CALL_vkDeviceWaitIdle))
        next_vkDeviceWaitIdle(the_device);
    return true;
}

static void count_made(enum object object, VkResult result)
{
    if (result == VK_SUCCESS && object != OBJECT_NONE)
        atomic_fetch_add(&objects[object].n_left, 1);
}

#define DEFINE_CALL(name, object, params, args, ...)                                               \
    static VkResult VKAPI_CALL own_##name params                                                   \
    {                                                                                              \
        if (fails(CALL_##name))                                                                    \
            return layer_state.fail_result;                                                        \
        VkResult result = next_##name args;                                                        \
        count_made(OBJECT_##object, result);                                                       \
        return result;                                                                             \
    }
/* Asking how many there are fails too, but is never incomplete: then the list is, by one. */
#define DEFINE_LIST(name, count, array, params, args, ...)                                         \
    static VkResult VKAPI_CALL own_##name params                                                   \
    {                                                                                              \
        if (!fails(CALL_##name) || (layer_state.fail_result == VK_INCOMPLETE && !(array)))         \
            return next_##name args;                                                               \
        if (layer_state.fail_result == VK_INCOMPLETE) {                                            \
            *(count) -= *(count) > 0;                                                              \
            VkResult ignored = next_##name args;                                                   \
            (void)ignored;                                                                         \
        }                                                                                          \
        return layer_state.fail_result;                                                            \
    }
#define DEFINE_DESTROY(name, object, type)                                                         \
    static void VKAPI_CALL own_##name(VkDevice device, type handle,                                \
                                      const VkAllocationCallbacks *allocator)                      \
    {                                                                                              \
        if (handle)                                                                                \
            atomic_fetch_sub(&objects[OBJECT_##object].n_left, 1);                                 \
        next_##name(device, handle, allocator);                                                    \
    }
ALL(DEFINE_CALL, DEFINE_LIST)
LAYER_DESTROYS(DEFINE_DESTROY)

static void VKAPI_CALL own_vkDestroyInstance(VkInstance instance,
                                             const VkAllocationCallbacks *allocator)
{
    if (instance)
        atomic_fetch_sub(&objects[OBJECT_INSTANCE].n_left, 1);
    next_vkDestroyInstance(instance, allocator);
}

static void VKAPI_CALL own_vkDestroyDevice(VkDevice device, const VkAllocationCallbacks *allocator)
{
    if (device)
        atomic_fetch_sub(&objects[OBJECT_DEVICE].n_left, 1);
    queues_flush();
    the_device = VK_NULL_HANDLE;
    next_vkDestroyDevice(device, allocator);
}

/* --- the way to the driver -------------------------------------------------------------------- */

static PFN_vkVoidFunction VKAPI_CALL own_vkGetInstanceProcAddr(VkInstance instance,
                                                               const char *name);
static PFN_vkVoidFunction VKAPI_CALL own_vkGetDeviceProcAddr(VkDevice device, const char *name);

/* The loader's note to a layer in a chain of structs: what comes after it. */
static void *find_link(const void *chain, VkStructureType type)
{
    for (const VkLayerInstanceCreateInfo *link = chain; link; link = link->pNext)
        if (link->sType == type && link->function == VK_LAYER_LINK_INFO)
            return (void *)(uintptr_t)link;
    return NULL;
}

static VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo *info,
                                           const VkAllocationCallbacks *allocator,
                                           VkInstance *instance)
{
    VkLayerInstanceCreateInfo *link =
        find_link(info->pNext, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO);
    if (!link)
        return VK_ERROR_INITIALIZATION_FAILED;
    next_instance_proc = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    PFN_vkCreateInstance create =
        (PFN_vkCreateInstance)next_instance_proc(VK_NULL_HANDLE, "vkCreateInstance");
    VkResult result = create(info, allocator, instance);
    if (result != VK_SUCCESS)
        return result;
#define NEXT(name)                                                                                 \
    next_##name = (PFN_##name)clock_between(                                                       \
        #name, queues_between(#name, next_instance_proc(*instance, #name)));
#define NEXT_LIST(name, count, array, params, args, ...) NEXT(name)
    LAYER_INSTANCE_LISTS(NEXT_LIST)
    NEXT(vkDestroyInstance)
    return VK_SUCCESS;
}

static VkResult VKAPI_CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
                                         const VkAllocationCallbacks *allocator, VkDevice *device)
{
    VkLayerDeviceCreateInfo *link =
        find_link(info->pNext, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO);
    if (!link)
        return VK_ERROR_INITIALIZATION_FAILED;
    PFN_vkGetInstanceProcAddr instance_proc = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    next_device_proc = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    VkDeviceCreateInfo own = *info;
    queues_device_info(&own);
    clock_device_info(&own);
    PFN_vkCreateDevice create = (PFN_vkCreateDevice)instance_proc(VK_NULL_HANDLE, "vkCreateDevice");
    VkResult result = create(physical, &own, allocator, device);
    if (result != VK_SUCCESS)
        return result;
    the_device = *device;
#undef NEXT
#define NEXT(name)                                                                                 \
    next_##name = (PFN_##name)clock_between(                                                       \
        #name, wrong_between(#name, queues_between(#name, next_device_proc(*device, #name))));
#define NEXT_CALL(name, object, params, args, ...) NEXT(name)
#define NEXT_DESTROY(name, object, type)           NEXT(name)
    LAYER_DEVICE_CALLS(NEXT_CALL)
    LAYER_DEVICE_LISTS(NEXT_LIST)
    LAYER_DESTROYS(NEXT_DESTROY)
    NEXT(vkDestroyDevice)
#undef NEXT
    return VK_SUCCESS;
}

#define CASE(fn)                                                                                   \
    if (strcmp(name, #fn) == 0)                                                                    \
        return (PFN_vkVoidFunction)own_##fn;
#define CASE_CALL(fn, object, params, args, ...)       CASE(fn)
#define CASE_LIST(fn, count, array, params, args, ...) CASE(fn)
#define CASE_DESTROY(fn, object, type)                 CASE(fn)

static PFN_vkVoidFunction own_of_instance(const char *name)
{
    LAYER_INSTANCE_CALLS(CASE_CALL)
    LAYER_INSTANCE_LISTS(CASE_LIST)
    CASE(vkDestroyInstance)
    CASE(vkGetInstanceProcAddr)
    CASE(vkGetDeviceProcAddr)
    return NULL;
}

static PFN_vkVoidFunction own_of_device(const char *name)
{
    LAYER_DEVICE_CALLS(CASE_CALL)
    LAYER_DEVICE_LISTS(CASE_LIST)
    LAYER_DESTROYS(CASE_DESTROY)
    CASE(vkDestroyDevice)
    CASE(vkGetDeviceProcAddr)
    return NULL;
}

static PFN_vkVoidFunction VKAPI_CALL own_vkGetDeviceProcAddr(VkDevice device, const char *name)
{
    PFN_vkVoidFunction real = next_device_proc(device, name), own = own_of_device(name);
    if (real && own)
        return own;
    return real ? wrong_between(name, clock_between(name, queues_between(name, real))) : NULL;
}

static PFN_vkVoidFunction VKAPI_CALL own_vkGetInstanceProcAddr(VkInstance instance,
                                                               const char *name)
{
    PFN_vkVoidFunction own = own_of_instance(name);
    if (own || !instance)
        return own;
    PFN_vkVoidFunction real = next_instance_proc(instance, name);
    return real ? wrong_between(name, queues_between(name, limits_between(name, real))) : NULL;
}

EXPORT VkResult VKAPI_CALL
vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *negotiation)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_environment);
    if (negotiation->loaderLayerInterfaceVersion < 2)
        return VK_ERROR_INITIALIZATION_FAILED;
    negotiation->loaderLayerInterfaceVersion = 2;
    negotiation->pfnGetInstanceProcAddr = own_vkGetInstanceProcAddr;
    negotiation->pfnGetDeviceProcAddr = own_vkGetDeviceProcAddr;
    negotiation->pfnGetPhysicalDeviceProcAddr = NULL;
    next_vkCreateInstance = create_instance;
    next_vkCreateDevice = create_device;
    return VK_SUCCESS;
}

EXPORT struct layer *layer_of_tests(void);

struct layer *layer_of_tests(void)
{
    return &layer_state;
}
