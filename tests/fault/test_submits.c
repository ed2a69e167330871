/* What hearth asks of a device that somebody looks at: no submit that takes so long that a desktop
 * would stand still, a queue of low priority, and a host that sleeps until work is done. Times are
 * the layer's, so that they are the same on every machine. */
/* cost: 20 */
#include <stdio.h>
#include <time.h>

#include "base/mem.h"
#include "base/os.h"
#include "gpu/cut.h"
#include "layer_use.h"
#include "logits.h"

enum { N_TOKENS = 256, MOST_RUNS = 16 };

/* A session, and what it computed when nothing was cut. */
struct subject {
    struct layer *layer;
    struct hth_model *model;
    struct hth_session *session;
    int32_t ids[N_TOKENS];
    int n_tokens; /* of a feed */
    bool streams; /* weights pass through the device */
    size_t n_vocab;
    float *wanted;
};

/* Feeds the same tokens as ever; the same bits are to come of it. Returns what the longest submit
 * took, in ns. */
static uint64_t run(struct subject *s)
{
    hth_session_truncate(s->session, 0, 0);
    s->layer->most_groups = 0;
    struct hth_feed feed = {.ids = s->ids, .count = s->n_tokens};
    if (hth_session_feed(s->session, &feed, 1) != HTH_OK)
        fail_msg("%s", test_log_text());
    const float *logits = hth_session_logits(s->session, 0);
    size_t bytes = s->n_vocab * sizeof *logits;
    if (!s->wanted) {
        s->wanted = mem_alloc(bytes);
        assert_non_null(s->wanted);
        memcpy(s->wanted, logits, bytes);
    }
    assert_memory_equal(s->wanted, logits, bytes);
    return s->layer->most_groups * s->layer->group_ns;
}

/* A device on which nothing takes long, at first. */
static void start(struct subject *s, const char *path, struct hth_model_options options)
{
    s->layer = layer_use();
    layer_reset(s->layer);
    s->layer->group_ns = 1;
    options.device = "vulkan:0";
    options.self_test_s = -1;
    options.session = (struct hth_session_options){.n_ctx = N_TOKENS, .n_batch = N_TOKENS};
    options.log = test_log()->write;
    options.log_user = test_log()->user;
    options.log_level = HTH_LOG_WARNING;
    if (hth_model_open(&s->model, path, &options) != HTH_OK ||
        hth_session_open(&s->session, s->model, &options.session) != HTH_OK)
        fail_msg("%s", test_log_text());
    s->n_vocab = (size_t)hth_model_get_info(s->model).n_vocab;
    struct hth_plan_info plan = hth_model_get_plan(s->model);
    printf("%s\n", plan.sentence);
    s->streams = plan.stream_from > 0 && s->n_tokens >= plan.stream_from && plan.streamed_bytes > 0;
    for (int i = 0; i < N_TOKENS; i++)
        s->ids[i] = (i * 7919 + 13) % (int)s->n_vocab;
    for (int i = 0; i < 3; i++)
        run(s);
}

static void end(struct subject *s)
{
    hth_session_close(s->session);
    hth_model_close(s->model);
    mem_free(s->wanted);
    s->layer->group_ns = 0;
    layer_assert_nothing_left(s->layer);
}

/* Runs until no submit is too long any more, which then stays so; returns how many runs were. */
static int settle(struct subject *s)
{
    int n = 1;
    while (run(s) > CUT_MOST_NS && n < MOST_RUNS)
        n++;
    uint64_t longest = run(s);
    int recorded = s->layer->n_dispatches;
    printf("%d runs, then %.1f ms at most\n", n, (double)longest * 1e-6);
    for (int i = 0; i < 3; i++)
        assert_true(run(s) <= CUT_MOST_NS);
    assert_int_equal(s->layer->n_dispatches, recorded);
    return n;
}

/* As attention does with a longer context: what was short enough comes to take long. */
static void check_growth(const char *path, int n_tokens, struct hth_model_options options)
{
    struct subject s = {.n_tokens = n_tokens};
    start(&s, path, options);
    assert_int_equal(s.streams, options.gpu_layers && n_tokens == N_TOKENS);
    uint64_t whole = s.layer->most_groups;
    const uint64_t takes_ms[] = {200, n_tokens == N_TOKENS ? 3200 : 800};
    for (size_t i = 0; i < ARRAY_LEN(takes_ms); i++) {
        s.layer->group_ns = takes_ms[i] * 1000000 / whole + 1;
        assert_true(run(&s) > CUT_MOST_NS);
        assert_true(settle(&s) < MOST_RUNS);
    }
    printf("%d dispatches of a part\n", s.layer->n_parts);
    assert_true(s.layer->n_parts > 0);
    end(&s);
}

TEST(a_submit_that_grows_is_cut_again)
{
    check_growth("synth:tiny-llama:q4_0", N_TOKENS, (struct hth_model_options){0});
}

TEST(a_submit_of_experts_that_grows)
{
    check_growth("synth:tiny-moe:q8_0", N_TOKENS, (struct hth_model_options){0});
}

/* Parts take what other devices give, and give what they wait for, each once it is all there. */
TEST(a_submit_that_grows_beside_the_cpu)
{
    check_growth("synth:tiny-moe:q8_0", 48,
                 (struct hth_model_options){.gpu_layers = 2, .treat_as_discrete = true});
}

/* They wait for weights that pass, and these for all parts that read what they come over. */
TEST(a_submit_that_grows_as_weights_pass)
{
    struct layer *layer = layer_use();
    for (int queues = LAYER_COPIES_LATE; queues <= LAYER_COPIES_EARLY; queues++) {
        layer->queues = (enum layer_queues)queues;
        check_growth("synth:tiny-moe:q8_0", N_TOKENS,
                     (struct hth_model_options){.gpu_layers = 2, .treat_as_discrete = true});
        assert_true(layer->n_late > 10);
    }
    layer->queues = LAYER_ONE_QUEUE;
}

/* What waited for others' work now and then is not cut for that. Short runs are followed by some
 * that nobody looks at, and those by one that is. */
TEST(once_or_twice_is_no_reason)
{
    enum { UNWATCHED = 7, MOST = 4 * UNWATCHED };
    struct subject s = {.n_tokens = N_TOKENS};
    start(&s, "synth:tiny-llama:q4_0", (struct hth_model_options){0});
    int recorded = s.layer->n_dispatches, n = 0;
    for (int i = 0; i < 6 * (UNWATCHED + 1); i++) { /* two watched ones of three are long */
        s.layer->group_ns = i % (UNWATCHED + 3) < 2 ? 200000000 / s.layer->most_groups : 1;
        run(&s);
    }
    assert_int_equal(s.layer->n_dispatches, recorded);
    s.layer->group_ns = 200000000 / s.layer->most_groups;
    for (; s.layer->n_dispatches == recorded && n < MOST; n++)
        run(&s);
    assert_in_range(n, 3, UNWATCHED + 3); /* three that are long are a reason, soon */
    end(&s);
}

/* --- priority --------------------------------------------------------------------------------- */

TEST(low_priority_is_asked_for)
{
    struct layer *layer = layer_use();
    layer_reset(layer);
    layer->offers_priority = true;
    struct hth_model *model;
    const struct hth_model_options options = {.device = "vulkan:0", .self_test_s = -1};
    assert_int_equal(hth_model_open(&model, "synth:tiny-llama:q4_0", &options), HTH_OK);
    assert_int_equal(layer->wished_priority, VK_QUEUE_GLOBAL_PRIORITY_LOW_KHR);
    hth_model_close(model);
    layer->offers_priority = false;
}

/* --- waiting ---------------------------------------------------------------------------------- */

static uint64_t thread_ns(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* Work that is not done for half a second takes that long, and next to nothing of the processor. */
TEST(the_host_sleeps_until_it_is_done)
{
    enum { LATE_MS = 500 };
    struct subject s = {.n_tokens = 1};
    start(&s, "synth:tiny-llama:q4_0", (struct hth_model_options){0});
    s.layer->late_ns = LATE_MS * 1000000ull;
    uint64_t began_ns = os_time_ns(), busy_ns = thread_ns();
    run(&s);
    busy_ns = thread_ns() - busy_ns;
    uint64_t took_ns = os_time_ns() - began_ns;
    s.layer->late_ns = 0;
    printf("%.1f ms, of which %.1f busy\n", (double)took_ns * 1e-6, (double)busy_ns * 1e-6);
    assert_true(took_ns >= LATE_MS * 1000000ull);
    assert_true(busy_ns < took_ns / 20);
    end(&s);
}
