#define _XOPEN_SOURCE 700 /* setenv */
#include "layer_use.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/os.h"
#include "harness/test.h"

struct layer *layer_use(void)
{
    static struct layer *layer;
    const char *software = getenv("HEARTH_TEST_SOFTWARE");
    if (!software || strcmp(software, "1") != 0)
        test_skip_device("no software device: scripts/with-lavapipe shows it to tests");
    if (layer)
        return layer;
    static char path[4096];
    const char *others = getenv("VK_LAYER_PATH");
    snprintf(path, sizeof path, "%s%s%s", HEARTH_LAYER_FOLDER, others ? ":" : "",
             others ? others : "");
    setenv("VK_LAYER_PATH", path, 1);
    setenv("VK_INSTANCE_LAYERS", LAYER_NAME, 1);
    void *library = os_library_open(HEARTH_LAYER);
    if (!library)
        fail_msg("%s: %s", HEARTH_LAYER, os_error_text());
    layer_of_tests_fn *get = (layer_of_tests_fn *)os_library_symbol(library, "layer_of_tests");
    assert_non_null(get);
    layer = get();
    return layer;
}

void layer_reset(struct layer *layer)
{
    layer->fail_call = NULL;
    layer->fail_on = false;
    memset(layer->flip, 0, sizeof layer->flip);
    layer->budget = 0;
    layer->n_failed = layer->n_late = layer->n_flipped = layer->n_overtaken = 0;
    for (size_t i = 0; i < layer->n_calls; i++)
        layer->calls[i].n_calls = 0;
}

void layer_assert_nothing_left(const struct layer *layer)
{
    for (size_t i = 0; i < layer->n_objects; i++)
        if (layer->objects[i].n_left)
            fail_msg("%d objects left: %s", layer->objects[i].n_left, layer->objects[i].name);
}

bool layer_may_go_on(const char *call, VkResult result)
{
    /* a comfort, or asked again */
    static const char *const always[] = {
        "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR",
        "vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV",
        "vkGetPipelineCacheData",
        "vkGetQueryPoolResults",
        "vkGetSemaphoreCounterValue",
        "vkSetDebugUtilsObjectNameEXT",
        "vkDeviceWaitIdle"};
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        if (strcmp(call, always[i]) == 0)
            return true;
    if (strcmp(call, "vkCreatePipelineCache") == 0) /* what is on disk may be refused */
        return result != VK_ERROR_DEVICE_LOST;
    bool compiles =
        strcmp(call, "vkCreateShaderModule") == 0 || strcmp(call, "vkCreateComputePipelines") == 0;
    if (compiles) /* tried again when it is needed */
        return result != VK_ERROR_DEVICE_LOST;
    if (strcmp(call, "vkCreateDevice") == 0) /* asked again without a wish for low priority */
        return result == VK_ERROR_INITIALIZATION_FAILED;
    return result == VK_INCOMPLETE; /* one device fewer, or extensions fewer */
}
