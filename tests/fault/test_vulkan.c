/* Every call of Vulkan that a model's life makes fails once, with each result it may have. */
/* cost: 40 */
#include <stdio.h>
#include <stdlib.h>

#include "layer_use.h"
#include "life.h"
#include "logits.h"
#include "stride.h"
#include "vk/vk.h"

static struct layer *layer;
static int n_failed_before_closing;

static void closing(void)
{
    n_failed_before_closing = layer->n_failed;
}

/* What the calls of opening a driver say of it: that there is none. */
static bool is_early(const char *call)
{
    return strcmp(call, "vkCreateInstance") == 0 || strncmp(call, "vkEnumerate", 11) == 0;
}

static enum hth_status expected(VkResult result)
{
    switch (result) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    case VK_ERROR_OUT_OF_POOL_MEMORY:
    case VK_ERROR_FRAGMENTATION: return HTH_ERROR_MEMORY;
    case VK_ERROR_DEVICE_LOST: return HTH_ERROR_DEVICE_LOST;
    default: return HTH_ERROR_DEVICE;
    }
}

static void check(const struct life *life, const char *call, int number, VkResult result)
{
    bool while_closing = n_failed_before_closing == 0;
    char what[128];
    snprintf(what, sizeof what, "%s, call %d, VkResult %d", call, number, (int)result);
    if (life->status == HTH_OK) {
        enum hth_status usual = expected(result);
        bool placed_anew = life_placed_anew(life) && strstr(life->said.ptr, call) &&
                           (usual == HTH_ERROR_MEMORY || usual == HTH_ERROR_DEVICE_LOST);
        bool without_one = strstr(life->said.ptr, "cannot be opened (") &&
                           (is_early(call) || strstr(life->said.ptr, call));
        if (!while_closing && !placed_anew && !without_one && !layer_may_go_on(call, result))
            fail_msg("%s: went unnoticed", what);
    } else if (is_early(call)) {
        if (!life->said.len)
            fail_msg("%s: nothing was said", what);
    } else if (life->status != expected(result) || !strstr(life->said.ptr, call)) {
        fail_msg("%s: status \"%s\", and the log says:\n%s", what, hth_status_name(life->status),
                 life->said.ptr);
    }
    layer_assert_nothing_left(layer);
}

static void fail_one(struct life *life, const struct layer_call *call, int number, VkResult result)
{
    layer_reset(layer);
    layer->fail_call = call;
    layer->fail_at = number;
    layer->fail_result = result;
    n_failed_before_closing = 0;
    life_run(life);
    if (layer->n_failed)
        check(life, call->name, number, result);
}

static void fail_each(struct life life, int usual)
{
    enum { MAX_CALLS = 64, ENOUGH = 40 };
    layer = layer_use();
    const int stride = stride_or(usual);
    life.path = life_model();
    life.device = life.device ? life.device : test_device();
    int n_calls[MAX_CALLS], n = 0, n_tried = 0, n_ended = 0, n_anew = 0;
    life.closing = closing;
    life_run(&life);
    layer_reset(layer);
    life_run(&life); /* this time with a cache on disk */
    assert_true(layer->n_calls <= MAX_CALLS);
    for (size_t c = 0; c < layer->n_calls; c++)
        n_calls[c] = layer->calls[c].n_calls;
    for (size_t c = 0; c < layer->n_calls; c++) {
        const struct layer_call *call = &layer->calls[c];
        for (const VkResult *result = call->results; *result != VK_SUCCESS; result++)
            for (int k = 0; k < n_calls[c]; k++) {
                /* is always tried, but under sanitizers (tests.cmake) */
                bool first = stride < 50 && k == 0 && result == call->results;
                if (!first && n++ % stride != 0)
                    continue;
                fail_one(&life, call, k, *result);
                n_tried += layer->n_failed;
                n_ended += life.status != HTH_OK;
                n_anew += layer->n_failed && life_placed_anew(&life);
            }
    }
    printf("%d calls failed, %d lives ended so, %d went on\n", n_tried, n_ended, n_anew);
    assert_true(n_tried >= 4 && n_ended + n_anew > 0);
    if (n_tried >= ENOUGH) /* the rest is of calls that close, or that a driver may do without */
        assert_true((n_ended + n_anew) * 2 > n_tried);
    layer_reset(layer);
    life_free(&life);
}

TEST(unified)
{
    fail_each((struct life){0}, 13);
}

TEST(discrete)
{
    fail_each((struct life){.discrete = true}, 13);
}

TEST(split)
{
    fail_each((struct life){.gpu_layers = 1}, 13);
}

/* Each with room for a part. */
TEST(two_gpus)
{
    fail_each((struct life){.device = life_two_gpus(), .vram_bytes = 1500000}, 293);
}

/* Of this memory a part is a ring, through which all else passes for a prompt. */
enum { LITTLE_VRAM = 1500000 };

TEST(streamed)
{
    fail_each((struct life){.discrete = true, .vram_bytes = LITTLE_VRAM}, 61);
}

/* Memory that was there when it was planned, and is not when weights come: planned again, said
 * once, and the model answers. */
TEST(memory_gone_between_plan_and_load)
{
    layer = layer_use();
    layer_reset(layer);
    struct life life = {.path = life_model(), .device = test_device()};
    int n_planned_again = 0;
    life_run(&life);
    for (size_t c = 0; c < layer->n_calls; c++) {
        int n_calls = layer->calls[c].n_calls;
        for (int k = 0; k < n_calls && strcmp(layer->calls[c].name, "vkAllocateMemory") == 0; k++) {
            fail_one(&life, &layer->calls[c], k, VK_ERROR_OUT_OF_DEVICE_MEMORY);
            bool again = strstr(life.said.ptr, "planned again") != NULL;
            assert_true(!again || (life.status == HTH_OK && life.n_warnings == 1));
            n_planned_again += again;
        }
    }
    assert_true(n_planned_again > 0);
    layer_reset(layer);
    life_free(&life);
}

/* --- a queue for copies ----------------------------------------------------------------------- */

/* Uploads that nobody waits for but the submit that needs them. */
static void upload_and_submit(struct vk *vk)
{
    enum { N_BYTES = 4096 };
    unsigned char in[N_BYTES], out[N_BYTES];
    uint32_t from, to;
    struct vk_cmd *cmd;
    assert_int_equal(vk_chunk_create(vk, N_BYTES, VK_MEMORY_DEVICE, "from", &from), HTH_OK);
    assert_int_equal(vk_chunk_create(vk, N_BYTES, VK_MEMORY_DEVICE, "to", &to), HTH_OK);
    assert_int_equal(vk_cmd_create(vk, 0, &cmd), HTH_OK);
    vk_cmd_begin(cmd);
    vk_cmd_copy(cmd, from, 0, to, 0, N_BYTES);
    assert_int_equal(vk_cmd_end(cmd), HTH_OK);
    for (int round = 1; round <= 3; round++) {
        memset(in, round, sizeof in);
        assert_int_equal(vk_upload(vk, from, 0, in, sizeof in), HTH_OK);
        assert_int_equal(vk_submit(vk, cmd, NULL), HTH_OK);
        assert_int_equal(vk_download(vk, to, 0, out, sizeof out), HTH_OK);
        assert_memory_equal(out, in, sizeof in);
    }
    vk_cmd_destroy(vk, cmd);
}

TEST(a_submit_waits_for_its_copies)
{
    layer = layer_use();
    layer_reset(layer);
    struct vk_options options = {
        .index = atoi(test_device() + strlen("vulkan:")), .discrete = true, .no_disk_cache = true};
    struct vk *vk;
    layer->queues = LAYER_COPIES_LATE;
    assert_int_equal(vk_open(&vk, &options, test_log()), HTH_OK);
    assert_true(vk_get_caps(vk)->transfer_queue);
    upload_and_submit(vk);
    vk_close(vk);
    layer->queues = LAYER_ONE_QUEUE;
    assert_true(layer->n_late >= 3);
    layer_assert_nothing_left(layer);
}

/* Copies on a queue of their own come as late as they may, and all the same in time. */
TEST(a_life_with_two_queues)
{
    layer = layer_use();
    layer_reset(layer);
    struct life life = {.path = life_model(), .device = test_device(), .discrete = true};
    life_run(&life);
    assert_int_equal(layer->n_late, 0);
    layer->queues = LAYER_COPIES_LATE;
    life_run(&life);
    layer->queues = LAYER_ONE_QUEUE;
    assert_int_equal(life.status, HTH_OK);
    assert_true(layer->n_late > 0);
    layer_assert_nothing_left(layer);
    life_free(&life);
}

/* Weights that pass through the device: no submit runs before they are there, none of them comes
 * over others that are still to be read. */
TEST(streams_with_two_queues)
{
    layer = layer_use();
    layer_reset(layer);
    struct life life = {
        .path = life_model(), .device = test_device(), .discrete = true, .vram_bytes = LITTLE_VRAM};
    life_run(&life);
    for (int queues = LAYER_COPIES_LATE; queues <= LAYER_COPIES_EARLY; queues++) {
        layer_reset(layer);
        layer->queues = (enum layer_queues)queues;
        life_run(&life);
        layer->queues = LAYER_ONE_QUEUE;
        assert_int_equal(life.status, HTH_OK);
        assert_true(layer->n_late > 10);
        layer_assert_nothing_left(layer);
    }
    life_free(&life);
}
