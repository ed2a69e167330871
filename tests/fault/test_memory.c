/* Every allocation of a model's life failed once (HEARTH_TEST_STRIDE: every so-manieth). */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "life.h"
#include "logits.h"
#include "stride.h"

static struct {
    long number, left; /* of the allocation that fails; allocations until then */
    bool hit, closing, hit_closing;
} plan;

static bool fail_at_zero(void *user, size_t size)
{
    (void)user;
    (void)size;
    if (plan.left-- != 0)
        return true;
    plan.hit = true;
    plan.hit_closing = plan.closing;
    return false;
}

static void closing(void)
{
    plan.closing = true;
}

/* Lives on with the k-th allocation failed, for each k of the stride; that of a pipeline cache's
 * copy, and of a compiling thread, are done without, which `may_go_on` allows; those of weights as
 * the processor likes them are, too, which is said. */
static void fail_each(struct life *life, bool may_go_on, int usual)
{
    const long stride = usual > 1 ? stride_or(usual) : 1;
    long n = 0, n_failed = 0;
    life->closing = closing;
    life_run(life);
    for (long k = 0;; k += stride) {
        memset(&plan, 0, sizeof plan);
        plan.number = plan.left = k;
        mem_set_hook(fail_at_zero, NULL);
        life_run(life);
        mem_set_hook(NULL, NULL);
        if (!plan.hit)
            break;
        n++;
        n_failed += life->status != HTH_OK;
        if (life->status == HTH_OK ? !may_go_on && !life_read_slower(life) && !plan.hit_closing
                                   : life->status != HTH_ERROR_MEMORY)
            fail_msg("allocation %ld failed, and the status was \"%s\":\n%s", k,
                     hth_status_name(life->status), life->said.ptr);
    }
    printf("%ld allocations failed, %ld lives ended so\n", n, n_failed);
    assert_true(n_failed * 10 >= n * 8 && n * stride > 100);
    life_free(life);
}

TEST(cpu)
{
    fail_each(&(struct life){.path = life_model(), .device = "cpu"}, false, 1);
}

TEST(vulkan)
{
    fail_each(&(struct life){.path = life_model(), .device = test_device()}, true, 13);
}

TEST(vulkan_and_cpu)
{
    fail_each(&(struct life){.path = life_model(), .device = test_device(), .gpu_layers = 1}, true,
              13);
}

TEST(vulkan_discrete)
{
    fail_each(&(struct life){.path = life_model(), .device = test_device(), .discrete = true}, true,
              13);
}

/* Each with room for a part. */
TEST(two_gpus_and_cpu)
{
    fail_each(
        &(struct life){.path = life_model(), .device = life_two_gpus(), .vram_bytes = 1500000},
        true, 29);
}

/* All but a ring's worth of weights passes through the device. */
TEST(vulkan_streamed)
{
    fail_each(
        &(struct life){
            .path = life_model(), .device = test_device(), .discrete = true, .vram_bytes = 1500000},
        true, 13);
}

/* Experts may change places: of those of a layer the device has room for a part. */
TEST(vulkan_experts)
{
    struct life life = {
        .path = life_model_like("tiny-moe"), .device = test_device(), .discrete = true};
    life.vram_bytes = life_whole_bytes(life) / 10 * 7;
    life_run(&life);
    assert_true(life.n_expert_uses > 0);
    fail_each(&life, true, 61);
}
