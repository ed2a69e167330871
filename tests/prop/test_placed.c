#include "logits.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "engine/engine.h"

/* cost: 30 */

/* However little of the device's memory there is, a model that the plan has split, with prompts
 * streamed, computes what it computes whole, takes no more than that, and takes to the byte what
 * was planned. */

enum { N_TOKENS = 70, N_BATCH = 24, N_STEPS = 6 };

struct run {
    const char *path;
    uint64_t vram_bytes;
    bool discrete, two_gpus;
    int n_seqs;
    uint64_t planned, whole;
    bool on_gpu, divided, streamed;
    int n_gpus; /* that have a part */
    size_t n_vocab;
};

static struct hth_session_options shape_of(const struct run *run)
{
    return (struct hth_session_options){.n_ctx = N_TOKENS,
                                        .n_seqs = run->n_seqs,
                                        .n_batch = N_BATCH,
                                        .n_outputs = N_BATCH,
                                        .kv = HTH_KV_F32,
                                        .float_only = true};
}

/* Logits of all tokens: batches, what is left of them, and some one by one. */
static float *feed_all(struct hth_session *session, size_t n_vocab)
{
    float *out = mem_alloc(N_TOKENS * n_vocab * sizeof *out);
    assert_non_null(out);
    for (int at = 0, n; at < N_TOKENS; at += n) {
        int32_t ids[N_TOKENS];
        n = at < N_TOKENS - N_STEPS ? N_TOKENS - N_STEPS : 1;
        for (int i = 0; i < n; i++)
            ids[i] = (int32_t)((size_t)(at + i) * 7919 % n_vocab);
        struct hth_feed feed = {.ids = ids, .count = n, .outputs = HTH_OUTPUT_ALL};
        if (hth_session_feed(session, &feed, 1) != HTH_OK)
            fail_msg("%s", test_log_text());
        memcpy(out + (size_t)at * n_vocab, hth_session_logits(session, 0),
               (size_t)n * n_vocab * sizeof *out);
    }
    return out;
}

/* Of each GPU. */
static void check_bytes(const struct run *run, const struct hth_model *model, const char *when)
{
    uint64_t all = 0;
    for (int d = 1; d < model->n_devices; d++) {
        uint64_t taken = vk_allocated_bytes(model->devices[d].vk, VK_MEMORY_DEVICE);
        uint64_t planned = device_need_all(&model->placing.need[d]);
        if (taken != planned)
            fail_msg("%s, %s: %llu bytes planned for GPU %d, %llu allocated", run->path, when,
                     (unsigned long long)planned, d, (unsigned long long)taken);
        if (run->vram_bytes && taken > run->vram_bytes)
            fail_msg("%s, %s: %llu bytes of at most %llu", run->path, when,
                     (unsigned long long)taken, (unsigned long long)run->vram_bytes);
        all += taken;
    }
    assert_int_equal(all, run->planned);
}

static bool has_streamed(const struct hth_session *session)
{
    bool has = false;
    for (int d = 1; d < SPLIT_DEVICES; d++)
        has |= session->gpu[d].exec && gpu_exec_passed_bytes(session->gpu[d].exec) > 0;
    return has;
}

/* The device of the test run, once or twice, as if there were two of it. */
static const char *devices_of(const struct run *run)
{
    static char twice[256];
    snprintf(twice, sizeof twice, "%s,%s", test_device(), test_device());
    return run->two_gpus ? twice : test_device();
}

static float *compute(struct run *run)
{
    struct hth_session_options shape = shape_of(run);
    struct hth_model *model =
        model_open(run->path, (struct hth_model_options){.device = devices_of(run),
                                                         .treat_as_discrete = run->discrete,
                                                         .vram_bytes = run->vram_bytes,
                                                         .session = shape});
    struct hth_plan_info plan = hth_model_get_plan(model);
    run->n_vocab = (size_t)hth_model_get_info(model).n_vocab;
    run->planned = plan.gpu_bytes;
    run->whole = model->placing.whole_bytes;
    run->on_gpu = hth_model_get_info(model).on_gpu;
    run->divided = plan.divided;
    printf("%s\n", plan.sentence);
    struct hth_session *session;
    if (hth_session_open(&session, model, &shape) != HTH_OK)
        fail_msg("%s", test_log_text());
    check_bytes(run, model, "open");
    float *out = feed_all(session, run->n_vocab);
    check_bytes(run, model, "fed");
    run->streamed = has_streamed(session);
    run->n_gpus = model->n_devices - 1;
    assert_true(run->streamed == (plan.stream_from > 0 && plan.streamed_bytes > 0));
    hth_session_close(session);
    hth_model_close(model);
    return out;
}

static void check(const char *path, bool discrete, int n_seqs)
{
    struct run whole = {.path = path, .discrete = discrete, .n_seqs = n_seqs};
    float *want = compute(&whole);
    assert_true(whole.on_gpu && !whole.divided && whole.planned == whole.whole);
    for (uint64_t percent = 0; percent <= 100; percent += 25) {
        struct run run = whole;
        run.vram_bytes = percent ? whole.whole * percent / 100 : 1;
        float *got = compute(&run);
        double nmse = test_nmse(want, got, N_TOKENS * run.n_vocab);
        printf("%s at %d %%: %llu of %llu bytes on the device, NMSE %.1e\n", path, (int)percent,
               (unsigned long long)run.planned, (unsigned long long)run.vram_bytes, nmse);
        mem_free(got);
        assert_int_equal(run.whole, whole.whole);
        assert_int_equal(run.on_gpu, percent > 0);
        assert_int_equal(run.divided, percent < 100);
        if (percent != 75) /* there all that could be streamed may have its place */
            assert_int_equal(run.streamed, percent > 0 && percent < 100);
        if (!(nmse <= 1e-6))
            fail_msg("%s at %d %%: NMSE %g", path, (int)percent, nmse);
    }
    mem_free(want);
}

/* With two GPUs none of which has room for all. */
static void check_two(const char *path, bool discrete)
{
    struct run whole = {.path = path, .discrete = discrete, .n_seqs = 1, .two_gpus = true};
    float *want = compute(&whole);
    assert_true(whole.n_gpus == 1 && !whole.divided);
    for (uint64_t percent = 50; percent <= 80; percent += 15) {
        struct run run = whole;
        run.vram_bytes = whole.whole * percent / 100;
        float *got = compute(&run);
        double nmse = test_nmse(want, got, N_TOKENS * run.n_vocab);
        printf("%s at %d %% of two: %llu bytes on %d GPUs, NMSE %.1e\n", path, (int)percent,
               (unsigned long long)run.planned, run.n_gpus, nmse);
        mem_free(got);
        assert_true(run.divided && run.on_gpu && run.n_gpus == 2);
        if (!(nmse <= 1e-6))
            fail_msg("%s at %d %% of two: NMSE %g", path, (int)percent, nmse);
    }
    mem_free(want);
}

TEST(experts_on_two_gpus_vulkan)
{
    check_two("synth:tiny-moe:q8_0", true);
}

TEST(dense_on_two_gpus_vulkan)
{
    check_two("synth:tiny-llama:q4_k", false);
}

TEST(experts_vulkan)
{
    check("synth:tiny-moe:q8_0", false, 1);
}

TEST(experts_discrete_vulkan)
{
    check("synth:tiny-moe:q4_k_m", true, 3);
}

TEST(dense_vulkan)
{
    check("synth:tiny-llama:q4_k", false, 2);
}

TEST(dense_discrete_vulkan)
{
    check("synth:tiny-llama:q4_0", true, 1);
}

/* --- the CPU's copies ------------------------------------------------------------------------- */

/* Bytes that the host keeps, and those of them that pass through the device. */
static void count_bytes(const struct hth_model *model, uint64_t *own, uint64_t *again)
{
    *own = *again = 0;
    for (size_t i = 0; i < model->model->n_weights; i++) {
        uint64_t bytes = placing_host_bytes(&model->placing, model->model->weights[i]);
        *own += bytes;
        *again += model->placing.split.streamed[i] ? bytes : 0;
    }
}

/* With so much of the host's memory; returns whether the CPU copies its matrices. */
static bool copies_with(struct hth_model_options options, uint64_t ram_bytes, uint64_t *both)
{
    uint64_t own, again;
    options.ram_bytes = ram_bytes;
    struct hth_model *model = model_open(test_real_model(), options);
    bool copies = model->interleaved != NULL;
    count_bytes(model, &own, &again);
    assert_true(again > own / 2);
    *both = own + again;
    hth_model_close(model);
    return copies;
}

/* Three tenths of what all of it would take on the device. */
static uint64_t part_of_model(struct hth_model_options options)
{
    struct hth_model *model = model_open(test_real_model(), options);
    uint64_t bytes = model->placing.whole_bytes * 3 / 10;
    hth_model_close(model);
    return bytes;
}

/* What passes through the device is read from the file every time: copies for the CPU that would
 * push it out of memory are not made. */
TEST(what_is_streamed_stays_in_memory_vulkan)
{
    struct hth_model_options options = {.device = test_device(),
                                        .treat_as_discrete = true,
                                        .session = {.n_ctx = 128, .n_batch = 64}};
    options.vram_bytes = part_of_model(options);
    uint64_t both, now;
    assert_true(copies_with(options, 0, &both));
    assert_true(copies_with(options, both * 8 / 7 * 11 / 10, &now));
    uint64_t few = both * 8 / 7 * 9 / 10;
    assert_false(copies_with(options, few, &now));
    assert_true(now > few * 7 / 8); /* nothing else has become less */
}

/* --- copies beside computing ------------------------------------------------------------------ */

enum { STREAMED_TOKENS = 64, STREAMED_TRIES = 20 };
#define LEAST_BESIDE 0.7

/* The part of what was copied for a batch that was copied while a submit was in flight. */
static double part_beside(struct hth_session *session, struct vk *vk)
{
    int32_t ids[STREAMED_TOKENS];
    for (int i = 0; i < STREAMED_TOKENS; i++)
        ids[i] = 5 + 3 * i;
    const struct hth_feed feed = {.ids = ids, .count = STREAMED_TOKENS};
    (void)hth_session_truncate(session, 0, 0);
    const struct vk_staged before = vk_get_staged(vk);
    assert_int_equal(hth_session_feed(session, &feed, 1), HTH_OK);
    const struct vk_staged after = vk_get_staged(vk);
    double copied = (double)(after.bytes - before.bytes);
    double beside = (double)(after.beside_bytes - before.beside_bytes);
    printf("copied %.1f MiB, %.1f MiB of them while something was computed\n", copied / (1 << 20),
           beside / (1 << 20));
    assert_true(copied > 0);
    return beside / copied;
}

/* On a busy machine one of some trials is enough. */
TEST(streamed_weights_are_copied_while_others_compute_vulkan)
{
    const struct hth_session_options shape = {.n_ctx = 128, .n_batch = 64};
    struct hth_model_options options = {
        .device = test_device(), .treat_as_discrete = true, .session = shape};
    options.vram_bytes = part_of_model(options);
    struct hth_model *model = model_open(test_real_model(), options);
    struct hth_session *session;
    assert_int_equal(hth_session_open(&session, model, &shape), HTH_OK);
    double most = 0;
    for (int i = 0; i < STREAMED_TRIES && most < LEAST_BESIDE; i++)
        most = fmax(most, part_beside(session, model->devices[1].vk));
    assert_true(most >= LEAST_BESIDE);
    hth_session_close(session);
    hth_model_close(model);
}

/* --- the host's memory ------------------------------------------------------------------------ */

/* Of this process, without what is mapped from files; 0: the system does not say. */
static uint64_t private_bytes(void)
{
    unsigned long long kib = 0;
    char line[256];
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "RssAnon: %llu kB", &kib) == 1)
            break;
    if (file)
        fclose(file);
    return kib << 10;
}

/* A model on the CPU takes no more than its plan says: with copies of weights, or without. */
static void check_host_bytes(bool no_repack)
{
    struct hth_session_options shape = {.n_ctx = 512, .n_batch = N_BATCH, .n_outputs = N_BATCH};
    uint64_t before = private_bytes();
    struct hth_model *model = model_open(
        test_real_model(),
        (struct hth_model_options){.device = "cpu", .no_repack = no_repack, .session = shape});
    struct hth_session *session;
    assert_int_equal(hth_session_open(&session, model, &shape), HTH_OK);
    mem_free(feed_all(session, (size_t)hth_model_get_info(model).n_vocab));
    const struct plan_heap *heap = &model->placing.plan.heaps[SPLIT_HOST];
    uint64_t grown = private_bytes() - before;
    uint64_t copies = interleaved_bytes(model->interleaved);
    uint64_t planned = heap->planned - heap->weights + copies;
    printf("%s copies: %.1f MiB of %.1f planned\n", no_repack ? "without" : "with",
           (double)grown / (1 << 20), (double)planned / (1 << 20));
    assert_true(grown <= planned);
    assert_true(no_repack ? copies == 0 : copies > heap->weights / 2 && copies <= heap->weights);
    hth_session_close(session);
    hth_model_close(model);
}

TEST(host_memory_is_as_planned)
{
#if defined(__SANITIZE_ADDRESS__)
    test_skip("sanitizers take memory of their own");
#endif
    if (!private_bytes())
        test_skip("the system does not say what a process takes");
    check_host_bytes(true);
    check_host_bytes(false);
}
