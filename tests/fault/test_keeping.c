/* A model keeps its place: memory of the device is taken and given back in the middle of an answer,
 * the device is lost, and the answer is the one of an undisturbed run. */
/* cost: 40 */
#include <stdio.h>

#include "base/mem.h"
#include "layer_use.h"
#include "stride.h"
#include "talk.h"

static const uint64_t PLENTY = 1ull << 40;

static const char taken[] = "another program takes the GPU's memory", back[] = "went back there";

static struct layer *layer;

static const struct layer_call *call_of(const char *name)
{
    for (size_t i = 0; i < layer->n_calls; i++)
        if (strcmp(layer->calls[i].name, name) == 0)
            return &layer->calls[i];
    fail_msg("no call %s", name);
    return NULL;
}

/* The undisturbed talk, and one that is open. */
static void start(struct talk *talk)
{
    layer = layer_use();
    layer_reset(layer);
    talk_learn(talk);
    talk_open(talk);
}

static void end(struct talk *talk)
{
    talk_close(talk);
    layer_assert_nothing_left(layer);
    mem_free(talk->logits);
    layer_reset(layer);
}

/* Talks again, with a plan for the layer. */
static void again(struct talk *talk, const char *call, int at, bool on)
{
    layer_reset(layer);
    layer->fail_call = call ? call_of(call) : NULL;
    layer->fail_at = at;
    layer->fail_on = on;
    layer->fail_result = VK_ERROR_DEVICE_LOST;
    talk_open(talk);
    talk_run(talk);
    assert_int_equal(talk->n_errors, 0);
    talk_close(talk);
    layer_assert_nothing_left(layer);
}

/* --- memory that is taken and given back ------------------------------------------------------ */

/* Of the device's memory `bytes` may be used from now on. */
static void grant(const struct talk *talk, uint64_t bytes)
{
    layer->budget = talk_margin(talk) + bytes;
}

static uint64_t whole, granted;

static void take_and_give_back(struct talk *talk, int step)
{
    if (step == 6)
        grant(talk, granted);
    if (step == 7) {
        assert_int_equal(talk_count_logged(taken), 1);
        assert_true(granted <= 1 || talk_held(talk) <= granted);
        assert_int_equal(hth_model_get_info(talk->model).on_gpu, granted > 1);
    }
    if (step == 14) {
        assert_int_equal(talk_count_logged(taken), 1);
        assert_int_equal(talk_count_logged(back), 0);
        grant(talk, PLENTY);
    }
    if (step == 15) {
        assert_int_equal(talk_count_logged(back), 1);
        assert_int_equal(talk_held(talk), whole);
    }
}

/* `part`: that is left of what it holds. */
static void check_taken(struct talk talk, double part)
{
    start(&talk);
    talk.disturb = take_and_give_back;
    whole = talk_held(&talk);
    granted = 1 + (uint64_t)(part * (double)whole);
    talk_run(&talk);
    printf("%s\n", test_log_text());
    assert_int_equal(talk_count_logged(taken), 1);
    assert_int_equal(talk_count_logged(back), 1);
    end(&talk);
}

TEST(half_is_taken)
{
    check_taken((struct talk){.path = "synth:tiny-llama:q4_k", .kv = HTH_KV_F32}, 0.5);
}

TEST(half_is_taken_of_experts)
{
    check_taken((struct talk){.path = "synth:tiny-moe:q8_0", .kv = HTH_KV_F32, .discrete = true},
                0.5);
}

TEST(all_is_taken)
{
    check_taken((struct talk){.path = "synth:tiny-llama:q4_0", .kv = HTH_KV_F16, .discrete = true},
                0);
}

static void take_more_and_more(struct talk *talk, int step)
{
    if (step == 6 || step == 10)
        grant(talk, step == 6 ? granted : granted / 2);
    if (step == 14)
        grant(talk, PLENTY);
}

/* Twice in a row, in the arithmetic that is usual. */
TEST(more_and_more_is_taken)
{
    struct talk talk = {
        .path = "synth:tiny-moe:q8_0", .kv = HTH_KV_F16, .integers = true, .tolerance = 1e-3};
    start(&talk);
    talk.disturb = take_more_and_more;
    granted = talk_held(&talk) * 3 / 4;
    talk_run(&talk);
    assert_int_equal(talk_count_logged(taken), 2);
    assert_int_equal(talk_count_logged(back), 1);
    end(&talk);
}

/* Keys and values come back as they were: what is computed by them has the same bits. */
static void check_bits(struct talk talk)
{
    start(&talk);
    talk_feed(&talk, talk.session, 0);
    talk_feed(&talk, talk.session, 1);
    float *want = mem_alloc(talk.n_vocab * sizeof *want);
    assert_non_null(want);
    memcpy(want, hth_session_logits(talk.session, 0), talk.n_vocab * sizeof *want);
    assert_int_equal(hth_session_truncate(talk.session, 0, TALK_PROMPT), TALK_PROMPT);
    for (int i = 0; i < 3; i++) {
        grant(&talk, i == 2 ? 1 : talk_held(&talk) * (uint64_t)(i + 1) / 3);
        talk_settle(&talk);
        assert_int_equal(talk_count_logged(taken), i + 1);
        grant(&talk, PLENTY);
        talk_settle(&talk);
        assert_int_equal(talk_count_logged(back), i + 1);
    }
    talk_feed(&talk, talk.session, 1);
    assert_memory_equal(want, hth_session_logits(talk.session, 0), talk.n_vocab * sizeof *want);
    mem_free(want);
    end(&talk);
}

TEST(pages_travel_exactly)
{
    check_bits((struct talk){.path = "synth:tiny-llama:q4_k", .kv = HTH_KV_F16});
    check_bits((struct talk){.path = "synth:tiny-llama:q4_0", .kv = HTH_KV_Q8_0, .discrete = true});
}

/* Whoever is fed next moves for all; each session comes back when it is its turn. */
TEST(two_sessions)
{
    struct talk talk = {.path = "synth:tiny-llama:q4_k", .kv = HTH_KV_F32};
    struct hth_session *other;
    start(&talk);
    struct hth_session_options shape = {
        .n_ctx = TALK_ALL, .n_batch = 16, .kv = HTH_KV_F32, .float_only = true};
    assert_int_equal(hth_session_open(&other, talk.model, &shape), HTH_OK);
    uint64_t both = talk_held(&talk);
    for (int step = 0; step < TALK_ANSWER; step++) {
        if (step == 4)
            grant(&talk, both / 2);
        if (step == 8)
            grant(&talk, PLENTY);
        talk_feed(&talk, talk.session, step);
        talk_check(&talk, talk.session, step);
        if (step % 3 == 2) /* less often, and with more at once */
            continue;
        if (step >= 4 && step < 8)
            assert_true(talk_held(&talk) <= both / 2 && hth_model_get_info(talk.model).on_gpu);
        talk_feed(&talk, other, step % 3 ? 0 : step / 3);
        hth_session_truncate(other, 0, 0);
    }
    assert_int_equal(talk_count_logged(taken), 1);
    assert_int_equal(talk_count_logged(back), 1);
    assert_int_equal(talk.n_errors, 0);
    hth_session_close(other);
    end(&talk);
}

/* --- memory that is refused ------------------------------------------------------------------- */

static int refused_at;
static bool refused_on, was_on_gpu;

static void refuse_memory(struct talk *talk, int step)
{
    if (step == 0) {
        layer->fail_call = NULL;
        was_on_gpu = hth_model_get_info(talk->model).on_gpu;
    }
    if (step != -1)
        return;
    layer->fail_call = call_of("vkAllocateMemory");
    layer->fail_at = layer->fail_call->n_calls + refused_at;
    layer->fail_on = refused_on;
    layer->fail_result = VK_ERROR_OUT_OF_DEVICE_MEMORY;
}

/* Each allocation that opening a session makes, and from each on all of them. */
TEST(no_memory_for_a_session)
{
    struct talk talk = {.path = "synth:tiny-llama:q4_k", .kv = HTH_KV_F32, .discrete = true};
    start(&talk);
    talk_close(&talk);
    talk.disturb = refuse_memory;
    for (refused_at = 0;; refused_at++) {
        layer_reset(layer);
        refused_on = refused_at % 2;
        talk_open(&talk);
        talk_run(&talk);
        assert_int_equal(talk.n_errors, 0);
        assert_int_equal(talk_count_logged("planned again"), layer->n_failed ? 1 : 0);
        assert_int_equal(was_on_gpu, !refused_on || !layer->n_failed);
        talk_close(&talk);
        if (!layer->n_failed)
            break;
    }
    assert_true(refused_at >= 3);
    talk_open(&talk);
    end(&talk);
}

static long allocations_left;

static bool fail_at_zero(void *user, size_t size)
{
    (void)user;
    (void)size;
    return allocations_left-- != 0;
}

/* Each allocation of a move fails once: the token comes, or one sentence and then the token. */
TEST(no_memory_for_a_move)
{
    struct talk talk = {.path = "synth:tiny-llama:q4_k", .kv = HTH_KV_F32};
    int n_failed = 0, n_whole = 0;
    const long stride = stride_or(7);
    start(&talk);
    const uint64_t half = talk_held(&talk) / 2;
    talk_feed(&talk, talk.session, 0);
    for (long k = 0; n_whole < 2; k += stride) {
        grant(&talk, k / stride % 2 ? PLENTY : half);
        allocations_left = k;
        talk.n_errors = 0;
        mem_set_hook(fail_at_zero, NULL);
        struct hth_feed feed = {.ids = &talk.ids[TALK_PROMPT], .count = 1};
        enum hth_status status = hth_session_feed(talk.session, &feed, 1);
        mem_set_hook(NULL, NULL);
        n_whole = allocations_left >= 0 ? n_whole + 1 : 0;
        n_failed += status != HTH_OK;
        assert_true(status == HTH_OK || status == HTH_ERROR_MEMORY);
        if (talk.n_errors != (status != HTH_OK))
            fail_msg("allocation %ld: %d sentences\n%s", k, talk.n_errors, test_log_text());
        if (status)
            talk_feed(&talk, talk.session, 1);
        talk_check(&talk, talk.session, 1);
        assert_int_equal(hth_session_truncate(talk.session, 0, TALK_PROMPT), TALK_PROMPT);
    }
    printf("%d feeds failed\n", n_failed);
    assert_true(n_failed > 3);
    end(&talk);
}

/* --- a device that is lost -------------------------------------------------------------------- */

static void check_lost(struct talk talk, const char *call, int usual)
{
    const int stride = stride_or(usual);
    start(&talk);
    talk_close(&talk);
    again(&talk, NULL, 0, false);
    int n = call_of(call)->n_calls, n_lost = 0;
    for (int k = 0; k < n; k += stride) {
        again(&talk, call, k, false);
        n_lost += layer->n_failed;
        assert_int_equal(talk_count_logged(" was lost: it is opened again"), layer->n_failed);
    }
    printf("lost %d times, at %d calls of %s\n", n_lost, n, call);
    assert_true(n_lost * stride * 4 >= n * 3); /* submits are cut by time: not always as many */
    talk_open(&talk);
    end(&talk);
}

TEST(lost_at_a_submit)
{
    check_lost((struct talk){.path = "synth:tiny-llama:q4_k", .kv = HTH_KV_F32}, "vkQueueSubmit",
               9);
}

TEST(lost_at_a_wait_discrete)
{
    check_lost((struct talk){.path = "synth:tiny-moe:q8_0", .kv = HTH_KV_F32, .discrete = true},
               "vkWaitSemaphores", 17);
}

TEST(lost_again_and_again)
{
    struct talk talk = {.path = "synth:tiny-llama:q4_k", .kv = HTH_KV_F32};
    start(&talk);
    talk_close(&talk);
    again(&talk, "vkQueueSubmit", 9, true);
    assert_int_equal(talk_count_logged("is lost again and again"), 1);
    talk_open(&talk);
    end(&talk);
}

/* --- two GPUs --------------------------------------------------------------------------------- */

/* The undisturbed talk is by one, which has room for all. */
static void start_two(struct talk *talk)
{
    start(talk);
    talk->vram_bytes = talk_held(talk) * 2 / 3;
    talk_close(talk);
    talk_open(talk);
    assert_int_equal(talk_n_gpus(talk), 2);
}

static void take_of_two(struct talk *talk, int step)
{
    if (step == 6)
        grant(talk, granted);
    if (step == 7) {
        assert_int_equal(talk_count_logged("'s memory, of which "), 1);
        assert_int_equal(talk_count_logged("MiB went elsewhere; now "), 1);
        assert_true(talk_held(talk) <= granted);
    }
    if (step == 14)
        grant(talk, PLENTY);
    if (step == 15) {
        assert_int_equal(talk_count_logged(back), 1);
        assert_int_equal(talk_n_gpus(talk), 2);
        assert_int_equal(talk_held(talk), whole);
    }
}

TEST(memory_of_two_is_taken)
{
    struct talk talk = {.path = "synth:tiny-llama:q4_k", .kv = HTH_KV_F32};
    start_two(&talk);
    talk.disturb = take_of_two;
    whole = talk_held(&talk);
    granted = whole * 4 / 5;
    talk_run(&talk);
    assert_int_equal(talk_count_logged(back), 1);
    end(&talk);
}

/* Whichever of the two it is, the other goes on with what it is given. */
TEST(one_of_two_is_lost)
{
    struct talk talk = {.path = "synth:tiny-llama:q4_k", .kv = HTH_KV_F32};
    const int stride = stride_or(61);
    start_two(&talk);
    talk_close(&talk);
    again(&talk, NULL, 0, false);
    int n = call_of("vkQueueSubmit")->n_calls;
    for (int k = 0; k < n; k += stride) {
        again(&talk, "vkQueueSubmit", k, false);
        assert_int_equal(talk_count_logged(" was lost: it is opened again"), layer->n_failed);
    }
    talk_open(&talk);
    end(&talk);
}

/* One that is gone for good leaves the model to the other, and that to the CPU. */
TEST(two_are_lost_again_and_again)
{
    struct talk talk = {.path = "synth:tiny-llama:q4_k", .kv = HTH_KV_F32};
    start_two(&talk);
    talk_close(&talk);
    again(&talk, "vkQueueSubmit", 29, true);
    assert_int_equal(talk_count_logged("is lost again and again, and all goes on without it"), 1);
    assert_int_equal(talk_count_logged("is lost again and again, and all goes on on the CPU"), 1);
    talk_open(&talk);
    end(&talk);
}

TEST(one_of_two_cannot_be_opened)
{
    struct talk talk = {.path = "synth:tiny-llama:q4_k", .kv = HTH_KV_F32};
    start_two(&talk);
    talk_close(&talk);
    layer_reset(layer);
    talk_open(&talk);
    int n = call_of("vkCreateDevice")->n_calls;
    talk_close(&talk);
    again(&talk, "vkCreateDevice", n / 2, true);
    assert_int_equal(talk_count_logged("is not used, as it cannot be opened ("), 1);
    layer_reset(layer);
    talk_open(&talk);
    end(&talk);
}

/* Two sequences that begin alike, and part. */
static void feed_shared(struct talk *talk, bool lose, float *logits)
{
    talk_feed(talk, talk->session, 0);
    assert_int_equal(hth_session_share(talk->session, 1, 0, 64), 64);
    struct hth_feed feeds[2] = {{.seq = 0, .ids = talk->ids, .count = 5},
                                {.seq = 1, .ids = talk->ids + 7, .count = 9}};
    assert_int_equal(hth_session_feed(talk->session, feeds, 2), HTH_OK);
    if (lose) {
        layer_reset(layer);
        layer->fail_call = call_of("vkQueueSubmit");
        layer->fail_result = VK_ERROR_DEVICE_LOST;
    }
    assert_int_equal(hth_session_feed(talk->session, feeds, 2), HTH_OK);
    assert_int_equal(layer->n_failed, lose);
    for (int i = 0; i < 2; i++)
        memcpy(logits + (size_t)i * talk->n_vocab, hth_session_logits(talk->session, i),
               talk->n_vocab * sizeof *logits);
}

TEST(lost_with_shared_pages)
{
    struct talk talk = {.path = "synth:tiny-llama:q4_k", .kv = HTH_KV_F32};
    start(&talk);
    float *logits = mem_alloc(4 * talk.n_vocab * sizeof *logits);
    assert_non_null(logits);
    feed_shared(&talk, false, logits);
    talk_close(&talk);
    talk_open(&talk);
    feed_shared(&talk, true, logits + 2 * talk.n_vocab);
    assert_true(test_nmse(logits, logits + 2 * talk.n_vocab, 2 * talk.n_vocab) <= 1e-6);
    mem_free(logits);
    end(&talk);
}
