#include "logits.h"

#include <stdatomic.h>
#include <stdio.h>

#include "../data/tokenizer/tiny_kinds.h"
#include "base/mem.h"
#include "base/os.h"
#include "engine/engine.h"
#include "model/synth.h"

/* What hearth.h promises besides the right logits: errors, cancelling, memory. */

static const char *const shape = "synth:tiny-moe:q4_0";

static struct hth_model *open_cpu(void)
{
    return model_open(shape, (struct hth_model_options){.device = "cpu"});
}

static struct hth_session *open_session(struct hth_model *model, struct hth_session_options options)
{
    struct hth_session *session;
    if (hth_session_open(&session, model, &options) != HTH_OK)
        fail_msg("%s", test_log_text());
    return session;
}

/* --- opening ------------------------------------------------------------------------------------
 */

static enum hth_status try_open(const char *path, struct hth_model_options options)
{
    struct hth_model *model = (struct hth_model *)&options; /* must become NULL */
    options.log = test_log()->write;
    test_log_clear();
    enum hth_status status = hth_model_open(&model, path, &options);
    if (status != HTH_OK)
        assert_null(model);
    hth_model_close(model);
    return status;
}

TEST(no_such_model)
{
    struct hth_model_options cpu = {.device = "cpu"};
    assert_int_equal(try_open(test_temp_path("none.gguf"), cpu), HTH_ERROR_IO);
    assert_logged("none.gguf");
    assert_int_equal(try_open(HEARTH_SOURCE_DIR, cpu), HTH_ERROR_IO);
    assert_int_equal(try_open("synth:tiny-moe", cpu), HTH_ERROR_ARGUMENT);
    assert_int_equal(try_open("synth:no-such-shape:q4_0", cpu), HTH_ERROR_ARGUMENT);
    assert_logged("tiny-moe"); /* those that there are */
    assert_int_equal(try_open("synth:tiny-moe:q99", cpu), HTH_ERROR_ARGUMENT);
}

TEST(no_such_device)
{
    struct hth_model_options options = {.device = "cuda"};
    assert_int_equal(try_open(shape, options), HTH_ERROR_ARGUMENT);
    assert_logged("\"cuda\"");
    options.device = "vulkan:99";
    assert_int_equal(try_open(shape, options), HTH_ERROR_DEVICE);
    options.device = "vulkan:no card of this name";
    assert_int_equal(try_open(shape, options), HTH_ERROR_DEVICE);
}

TEST(no_such_rows)
{
    struct hth_model_options options = {.device = "cpu", .rows = "matvec_f64"};
    assert_int_equal(try_open(shape, options), HTH_ERROR_ARGUMENT);
    assert_logged("\"matvec_f64\"");
    assert_logged("close are: matvec_f32");
    options.rows = "matve"; /* a name's beginning ends at '_' */
    assert_int_equal(try_open(shape, options), HTH_ERROR_ARGUMENT);
    options.rows = "";
    assert_int_equal(try_open(shape, options), HTH_ERROR_ARGUMENT);
    options.rows = "matvec";
    assert_int_equal(try_open(shape, options), HTH_OK);
}

TEST(without_options)
{
    struct hth_model *model;
    assert_int_equal(hth_model_open(&model, test_temp_path("none.gguf"), NULL), HTH_ERROR_IO);
    assert_null(model);
}

static bool refuse(void *user, uint64_t done, uint64_t total)
{
    int *n = user;
    assert_true(done <= total);
    ++*n;
    return false;
}

TEST(progress_cancels_loading_vulkan)
{
    int n = 0;
    struct hth_model_options options = {
        .device = test_device(), .progress = refuse, .progress_user = &n};
    assert_int_equal(try_open(shape, options), HTH_ERROR_CANCELLED);
    assert_int_equal(n, 1);
}

TEST(too_little_device_memory_vulkan)
{
    const uint64_t limit = 8 << 20;
    struct hth_model *model =
        model_open(shape, (struct hth_model_options){.device = test_device(), .vram_bytes = limit});
    struct hth_plan_info plan = hth_model_get_plan(model);
    assert_true(plan.divided && plan.gpu_bytes <= limit);
    assert_true(plan.host_weight_bytes > 0 && *plan.sentence);
    hth_model_close(model);
}

TEST(more_device_memory_than_there_is_vulkan)
{
    struct hth_model_options options = {.device = test_device(), .vram_bytes = UINT64_C(1) << 50};
    assert_int_equal(try_open(shape, options), HTH_ERROR_ARGUMENT);
    assert_logged("no GPU has more than");
}

TEST(layers_for_a_gpu_that_is_not_there)
{
    struct hth_model_options options = {.device = "cpu", .gpu_layers = 2};
    assert_int_equal(try_open(shape, options), HTH_ERROR_ARGUMENT);
    assert_logged("there is no GPU that hearth can use");
}

TEST(places_that_make_no_sense)
{
    static const char *const wrong[] = {"blk(=cpu", "blk=gpu", "blk", "=cpu", "blk=vulkan:7"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct hth_model_options options = {.device = "cpu", .places = &wrong[i], .n_places = 1};
        assert_int_equal(try_open(shape, options), HTH_ERROR_ARGUMENT);
        assert_logged(wrong[i]);
    }
}

/* A model is placed for one session; another that wants more gets it if there is room. */
TEST(a_session_larger_than_planned_vulkan)
{
    struct hth_session_options small = {.n_ctx = 64, .n_batch = 16}, large = {.n_ctx = 65536};
    struct hth_model_options options = {.device = test_device(), .session = small};
    struct hth_model *model = model_open(shape, options);
    uint64_t whole = hth_model_get_plan(model).gpu_bytes;
    struct hth_session *session;
    large.n_ctx = 128;
    assert_int_equal(hth_session_open(&session, model, &large), HTH_OK);
    hth_session_close(session);
    hth_model_close(model);
    options.vram_bytes = whole;
    model = model_open(shape, options);
    assert_false(hth_model_get_plan(model).divided);
    assert_int_equal(hth_session_open(&session, model, &small), HTH_OK);
    hth_session_close(session);
    test_log_clear();
    assert_int_equal(hth_session_open(&session, model, &large), HTH_ERROR_LIMIT);
    assert_logged("the model was placed for 64 tokens in batches of 16");
    hth_model_close(model);
}

TEST(vocabulary_only)
{
    struct hth_model *model =
        model_open(shape, (struct hth_model_options){.vocabulary_only = true});
    struct hth_session *session;
    int32_t *ids;
    size_t n;
    assert_int_equal(hth_session_open(&session, model, NULL), HTH_ERROR_ARGUMENT);
    assert_null(session);
    assert_int_equal(hth_tokenize(model, "abc", 3, false, false, &ids, &n), HTH_OK);
    assert_true(n > 0);
    hth_free(ids);
    hth_model_close(model);
}

TEST(closing_nothing)
{
    hth_model_close(NULL);
    hth_session_close(NULL);
    hth_sampler_destroy(NULL);
    hth_stream_destroy(NULL);
    hth_free(NULL);
}

/* --- feeding ------------------------------------------------------------------------------------
 */

static void check_refused(struct hth_session *session, struct hth_feed feed, enum hth_status want,
                          const char *said)
{
    int before = hth_session_length(session, 0);
    test_log_clear();
    assert_int_equal(hth_session_feed(session, &feed, 1), want);
    assert_logged(said);
    assert_int_equal(hth_session_length(session, 0), before);
}

static void check_feed_errors(const char *device)
{
    struct hth_model *model = model_open(shape, (struct hth_model_options){.device = device});
    struct hth_session *session =
        open_session(model, (struct hth_session_options){.n_ctx = 8, .n_seqs = 2});
    int32_t n_vocab = hth_model_get_info(model).n_vocab;
    const int32_t good[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9}, high[2] = {1, n_vocab}, low[2] = {1, -1};
    const struct hth_feed three = {.ids = good, .count = 3};
    assert_int_equal(hth_session_feed(session, &three, 1), HTH_OK);
    check_refused(session, (struct hth_feed){.ids = high, .count = 2}, HTH_ERROR_ARGUMENT, "4096");
    check_refused(session, (struct hth_feed){.ids = low, .count = 2}, HTH_ERROR_ARGUMENT, "-1");
    check_refused(session, (struct hth_feed){.seq = 2, .ids = good, .count = 1}, HTH_ERROR_ARGUMENT,
                  "sequence 2");
    check_refused(session, (struct hth_feed){.seq = -1, .ids = good, .count = 1},
                  HTH_ERROR_ARGUMENT, "sequence -1");
    check_refused(session, (struct hth_feed){.ids = good, .count = 6}, HTH_ERROR_LIMIT,
                  "a context of 8");
    const struct hth_feed twice[2] = {three, three};
    assert_int_equal(hth_session_feed(session, twice, 2), HTH_ERROR_ARGUMENT);
    const struct hth_feed full = {.ids = good, .count = 5}, one = {.ids = good, .count = 1};
    assert_int_equal(hth_session_feed(session, &full, 1), HTH_OK);
    assert_int_equal(hth_session_length(session, 0), 8);
    assert_int_equal(hth_session_feed(session, &one, 1), HTH_ERROR_LIMIT);
    assert_int_equal(hth_session_feed(session, NULL, 0), HTH_OK);
    assert_int_equal(hth_session_n_logits(session), 0);
    hth_session_close(session);
    hth_model_close(model);
}

TEST(feeds_refused)
{
    check_feed_errors("cpu");
}

TEST(feeds_refused_vulkan)
{
    check_feed_errors(test_device());
}

TEST(what_is_not_there)
{
    struct hth_model *model = open_cpu();
    struct hth_session *session = open_session(model, (struct hth_session_options){.n_ctx = 16});
    struct hth_sampler *sampler;
    int32_t id;
    assert_int_equal(hth_sampler_create(&sampler, model, NULL), HTH_OK);
    assert_int_equal(hth_sample(sampler, session, 0, &id), HTH_ERROR_ARGUMENT);
    assert_null(hth_session_logits(session, 0));
    assert_null(hth_session_logits(session, -1));
    assert_int_equal(hth_session_length(session, 1), 0);
    assert_int_equal(hth_session_length(session, -1), 0);
    assert_int_equal(hth_session_truncate(session, 0, -5), 0);
    assert_int_equal(hth_session_truncate(session, 7, 1), 0);
    assert_int_equal(hth_session_share(session, 0, 0, 1), 0);
    assert_int_equal(hth_session_share(session, 0, 1, 1), 0);
    assert_int_equal(hth_session_profile(session, NULL, NULL), HTH_ERROR_ARGUMENT);
    hth_sampler_destroy(sampler);
    hth_session_close(session);
    hth_model_close(model);
}

/* Which positions logits are of. */
TEST(outputs)
{
    struct hth_model *model = open_cpu();
    struct hth_session *session = open_session(
        model, (struct hth_session_options){.n_ctx = 32, .n_batch = 4, .float_only = true});
    const int32_t ids[10] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    struct hth_feed feed = {.ids = ids, .count = 10, .outputs = HTH_OUTPUT_ALL};
    assert_int_equal(hth_session_feed(session, &feed, 1), HTH_OK);
    assert_int_equal(hth_session_n_logits(session), 10);
    size_t n = (size_t)hth_model_get_info(model).n_vocab;
    float *all = mem_alloc(10 * n * sizeof *all);
    assert_non_null(all);
    memcpy(all, hth_session_logits(session, 0), 10 * n * sizeof *all);
    const int n_last[] = {0, 1, 3, 10, 11}, want[] = {1, 1, 3, 10, 10};
    for (size_t i = 0; i < ARRAY_LEN(n_last); i++) {
        assert_int_equal(hth_session_truncate(session, 0, 0), 0);
        struct hth_feed last = {.ids = ids, .count = 10, .n_last = n_last[i]};
        assert_int_equal(hth_session_feed(session, &last, 1), HTH_OK);
        assert_int_equal(hth_session_n_logits(session), want[i]);
        assert_memory_equal(hth_session_logits(session, 0), all + (size_t)(10 - want[i]) * n,
                            (size_t)want[i] * n * sizeof *all);
    }
    mem_free(all);
    hth_session_close(session);
    hth_model_close(model);
}

/* More sizes of batches than programs are kept for. */
TEST(many_sizes_of_batches_vulkan)
{
    struct hth_model *model =
        model_open(shape, (struct hth_model_options){.device = test_device()});
    struct hth_session *session = open_session(
        model, (struct hth_session_options){.n_ctx = 64, .n_batch = 16, .float_only = true});
    int32_t ids[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    size_t n_vocab = (size_t)hth_model_get_info(model).n_vocab;
    float *want = mem_alloc(16 * n_vocab * sizeof *want); /* of all 16, at once */
    assert_non_null(want);
    struct hth_feed all = {.ids = ids, .count = 16, .outputs = HTH_OUTPUT_ALL};
    assert_int_equal(hth_session_feed(session, &all, 1), HTH_OK);
    memcpy(want, hth_session_logits(session, 0), 16 * n_vocab * sizeof *want);
    for (int n = 1; n <= 16; n++)
        for (int outputs = 1; outputs <= n; outputs++) {
            hth_session_truncate(session, 0, 0);
            struct hth_feed feed = {.ids = ids, .count = n, .n_last = outputs};
            if (hth_session_feed(session, &feed, 1) != HTH_OK)
                fail_msg("%d tokens, %d outputs: %s", n, outputs, test_log_text());
            assert_int_equal(hth_session_n_logits(session), outputs);
            double nmse = test_nmse(want + (size_t)(n - outputs) * n_vocab,
                                    hth_session_logits(session, 0), (size_t)outputs * n_vocab);
            if (!(nmse <= 1e-7)) /* a value of the cache may round to the other side */
                fail_msg("%d tokens, %d outputs: NMSE %g", n, outputs, nmse);
        }
    mem_free(want);
    hth_session_close(session);
    hth_model_close(model);
}

/* --- cancelling ---------------------------------------------------------------------------------
 */

static void cancel_soon(void *arg)
{
    uint64_t until_ns = os_time_ns() + 30 * 1000 * 1000;
    while (os_time_ns() < until_ns)
        os_cpu_relax();
    hth_session_cancel(arg);
}

static void check_cancel(const char *device)
{
    enum { N = 4000 };
    struct hth_model *model = model_open(shape, (struct hth_model_options){.device = device});
    struct hth_session *session =
        open_session(model, (struct hth_session_options){.n_ctx = N, .n_batch = 1});
    int32_t *ids = mem_calloc(N, sizeof *ids);
    assert_non_null(ids);
    struct hth_feed feed = {.ids = ids, .count = N};
    hth_session_cancel(session); /* is not lost if the feed begins a moment later */
    assert_int_equal(hth_session_feed(session, &feed, 1), HTH_ERROR_CANCELLED);
    assert_int_equal(hth_session_length(session, 0), 0);
    struct os_thread thread;
    assert_true(os_thread_start(&thread, cancel_soon, session));
    assert_int_equal(hth_session_feed(session, &feed, 1), HTH_ERROR_CANCELLED);
    os_thread_join(&thread);
    int length = hth_session_length(session, 0);
    assert_in_range(length, 0, N - 1);
    struct hth_feed one = {.ids = ids, .count = 1}; /* and goes on from there */
    assert_int_equal(hth_session_feed(session, &one, 1), HTH_OK);
    assert_int_equal(hth_session_length(session, 0), length + 1);
    assert_int_equal(hth_session_n_logits(session), 1);
    mem_free(ids);
    hth_session_close(session);
    hth_model_close(model);
}

TEST(cancel)
{
    check_cancel("cpu");
}

TEST(cancel_vulkan)
{
    check_cancel(test_device());
}

/* --- memory -------------------------------------------------------------------------------------
 */

static _Thread_local bool is_this_thread;
static atomic_int n_allocations;

/* Pipelines may still be compiled by threads of their own, so only this thread's count. */
static bool count(void *user, size_t size)
{
    (void)user;
    (void)size;
    if (is_this_thread)
        atomic_fetch_add(&n_allocations, 1);
    return true;
}

static void check_decoding(const char *device, bool discrete, int n_best)
{
    struct hth_model *model = model_open(
        shape, (struct hth_model_options){.device = device, .treat_as_discrete = discrete});
    struct hth_session *session = open_session(
        model, (struct hth_session_options){.n_ctx = 256, .n_batch = 32, .n_best = n_best});
    struct hth_sampler *sampler;
    assert_int_equal(hth_sampler_create(&sampler, model, NULL), HTH_OK);
    int32_t id = 1;
    int counts[3];
    /* the first run of a size shows how long its submits take, and may cut it anew */
    const struct hth_feed feed = {.ids = &id, .count = 1, .n_best = n_best};
    assert_int_equal(hth_session_feed(session, &feed, 1), HTH_OK);
    is_this_thread = true;
    for (int round = 0; round < 3; round++) {
        atomic_store(&n_allocations, 0);
        mem_set_hook(count, NULL);
        bool ok = true;
        for (int i = 0; i < 70 && ok; i++) { /* over the end of a page */
            ok = hth_session_feed(session, &feed, 1) == HTH_OK &&
                 hth_sample(sampler, session, 0, &id) == HTH_OK;
        }
        mem_set_hook(NULL, NULL);
        assert_true(ok);
        counts[round] = atomic_load(&n_allocations);
    }
    is_this_thread = false;
    for (int round = 0; round < 3; round++)
        if (counts[round])
            fail_msg("70 tokens made %d, %d, %d allocations", counts[0], counts[1], counts[2]);
    hth_sampler_destroy(sampler);
    hth_session_close(session);
    hth_model_close(model);
}

static void check_decoding_allocates_nothing(const char *device, bool discrete)
{
    check_decoding(device, discrete, 0);
    check_decoding(device, discrete, 1);
}

TEST(decoding_allocates_nothing)
{
    check_decoding_allocates_nothing("cpu", false);
}

TEST(decoding_allocates_nothing_vulkan)
{
    check_decoding_allocates_nothing(test_device(), false);
}

TEST(decoding_allocates_nothing_discrete_vulkan)
{
    check_decoding_allocates_nothing(test_device(), true);
}

/* A made model in a file, so that it is not made anew for each allocation. */
static void save_model(const char *path)
{
    struct synth_params params = {.shape = "tiny-moe", .quant = "q4_0", .seed = 1};
    struct synth *synth;
    assert_int_equal(synth_create(&synth, &params, test_log()), HTH_OK);
    assert_int_equal(gguf_writer_save(synth_writer(synth), path), HTH_OK);
    synth_destroy(synth);
}

static enum hth_status open_feed_close(void *arg)
{
    struct hth_model *model;
    struct hth_session *session = NULL;
    /* Without memory for copies of weights it goes on: fault.memory has that. */
    struct hth_model_options options = {.device = "cpu", .n_threads = 1, .no_repack = true};
    enum hth_status status = hth_model_open(&model, arg, &options);
    struct hth_session_options session_options = {.n_ctx = 16, .n_seqs = 2, .n_batch = 4};
    if (status == HTH_OK)
        status = hth_session_open(&session, model, &session_options);
    static const int32_t ids[3] = {1, 2, 3};
    const struct hth_feed feeds[2] = {
        {.ids = ids, .count = 3, .outputs = HTH_OUTPUT_ALL},
        {.seq = 1, .ids = ids, .count = 2},
    };
    if (status == HTH_OK)
        status = hth_session_feed(session, feeds, 2);
    if (status == HTH_ERROR_MEMORY && session)
        assert_int_equal(hth_session_length(session, 0), 0);
    hth_session_close(session);
    hth_model_close(model);
    return status;
}

TEST(no_memory)
{
    char path[1024];
    snprintf(path, sizeof path, "%s", test_temp_path("tiny.gguf"));
    save_model(path);
    test_each_allocation_fails(open_feed_close, path);
}

/* --- text ---------------------------------------------------------------------------------------
 */

TEST(a_missing_chat_template_is_told_once)
{
    const struct hth_message question = {"user", "hello"};
    struct gguf_writer *writer;
    const char *path = test_temp_path("plain.gguf");
    assert_int_equal(gguf_writer_create(&writer, test_log()), HTH_OK);
    tiny_put_kind(writer, "rwkv");
    assert_int_equal(gguf_writer_save(writer, path), HTH_OK);
    gguf_writer_destroy(writer);
    struct hth_model *model = model_open(path, (struct hth_model_options){.vocabulary_only = true});
    for (int i = 0; i < 3; i++) {
        char *text;
        size_t len;
        test_log_clear();
        assert_int_equal(hth_render_chat(model, &question, 1, true, &text, &len), HTH_OK);
        assert_non_null(strstr(text, "<|im_start|>user\nhello<|im_end|>\n"));
        assert_int_equal(strstr(test_log_text(), "ChatML is used") != NULL, i == 0);
        hth_free(text);
    }
    hth_model_close(model);
}
