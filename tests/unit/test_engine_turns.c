#include "logits.h"

#include <stdatomic.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"

/* Sessions that share a model: from several threads, and after memory ran out. */

static const char *const shape = "synth:tiny-llama:q4_0";

enum { N_TOKENS = 32, ROUNDS = 6, N_THREADS = 3 };

static void fill_ids(int32_t *ids, int n, int first)
{
    for (int i = 0; i < n; i++)
        ids[i] = 10 + (first * 31 + i * 7) % 200;
}

/* Feeds a session of its own, some tokens at once and then one by one; the last logits. */
struct talk {
    struct hth_model *model;
    int number;
    float *logits;
    size_t n_vocab;
    enum hth_status status;
};

static void run_talk(void *arg)
{
    struct talk *talk = arg;
    struct hth_session *session = NULL;
    int32_t ids[N_TOKENS];
    fill_ids(ids, N_TOKENS, talk->number);
    talk->status = hth_session_open(&session, talk->model, &(struct hth_session_options){0});
    for (int round = 0; round < ROUNDS && talk->status == HTH_OK; round++) {
        hth_session_truncate(session, 0, 0);
        struct hth_feed feed = {.ids = ids, .count = N_TOKENS - 4};
        talk->status = hth_session_feed(session, &feed, 1);
        for (int i = N_TOKENS - 4; i < N_TOKENS && talk->status == HTH_OK; i++)
            talk->status =
                hth_session_feed(session, &(struct hth_feed){.ids = ids + i, .count = 1}, 1);
    }
    if (talk->status == HTH_OK)
        memcpy(talk->logits, hth_session_logits(session, 0), talk->n_vocab * sizeof *talk->logits);
    hth_session_close(session);
}

static void check_threads(const char *device)
{
    struct hth_model *model =
        model_open(shape, (struct hth_model_options){.device = device, .n_threads = 2});
    size_t n_vocab = (size_t)hth_model_get_info(model).n_vocab;
    struct talk alone[N_THREADS], together[N_THREADS];
    struct os_thread threads[N_THREADS];
    for (int i = 0; i < N_THREADS; i++) {
        alone[i] = (struct talk){.model = model, .number = i, .n_vocab = n_vocab};
        alone[i].logits = mem_calloc(n_vocab, sizeof(float));
        together[i] = alone[i];
        together[i].logits = mem_calloc(n_vocab, sizeof(float));
        assert_true(alone[i].logits && together[i].logits);
        run_talk(&alone[i]);
        assert_int_equal(alone[i].status, HTH_OK);
    }
    for (int i = 0; i < N_THREADS; i++)
        assert_true(os_thread_start(&threads[i], run_talk, &together[i]));
    for (int i = 0; i < N_THREADS; i++)
        os_thread_join(&threads[i]);
    for (int i = 0; i < N_THREADS; i++) {
        assert_int_equal(together[i].status, HTH_OK);
        assert_memory_equal(alone[i].logits, together[i].logits, n_vocab * sizeof(float));
        mem_free(alone[i].logits);
        mem_free(together[i].logits);
    }
    hth_model_close(model);
}

TEST(threads)
{
    check_threads("cpu");
}

TEST(threads_vulkan)
{
    check_threads(test_device());
}

static bool try_open(uint64_t limit, struct hth_model **model, struct hth_session **session)
{
    const struct hth_session_options options = {.n_ctx = 64, .n_batch = N_TOKENS};
    struct hth_model_options with = {.device = test_device(),
                                     .vram_bytes = limit,
                                     .log = test_log()->write,
                                     .log_level = HTH_LOG_WARNING,
                                     .session = options};
    test_log_clear();
    if (hth_model_open(model, "synth:tiny-moe:q4_0", &with) == HTH_OK &&
        !hth_model_get_plan(*model).divided && /* all of it is there */
        hth_session_open(session, *model, &options) == HTH_OK)
        return true;
    hth_model_close(*model);
    return false;
}

/* With as little device memory as a session can be opened in, to 64 KiB. */
static struct hth_session *open_tight(struct hth_model **model)
{
    struct hth_session *session;
    uint64_t least = 1 << 20, most = 1 << 30;
    while (most - least > 64 << 10) {
        uint64_t middle = least + (most - least) / 2;
        if (!try_open(middle, model, &session)) {
            least = middle;
            continue;
        }
        most = middle;
        hth_session_close(session);
        hth_model_close(*model);
    }
    if (!try_open(most, model, &session))
        fail_msg("%s", test_log_text());
    return session;
}

/* A batch that wants all its logits needs more memory than is there: less of the model is on the
 * device then, which is said, and what it gives is what it gave before. */
TEST(memory_that_ran_out_vulkan)
{
    struct hth_model *model;
    struct hth_session *session = open_tight(&model);
    size_t n_vocab = (size_t)hth_model_get_info(model).n_vocab;
    int32_t ids[N_TOKENS];
    fill_ids(ids, N_TOKENS, 1);
    const struct hth_feed one = {.ids = ids, .count = 1},
                          all = {.ids = ids, .count = N_TOKENS, .outputs = HTH_OUTPUT_ALL};
    assert_int_equal(hth_session_feed(session, &one, 1), HTH_OK);
    float *before = mem_calloc(n_vocab, sizeof *before);
    assert_non_null(before);
    memcpy(before, hth_session_logits(session, 0), n_vocab * sizeof *before);
    hth_session_truncate(session, 0, 0);
    assert_int_equal(hth_session_feed(session, &all, 1), HTH_OK);
    if (!strstr(test_log_text(), "planned again"))
        fail_msg("memory was enough: the test shows nothing");
    assert_int_equal(hth_session_length(session, 0), N_TOKENS);
    assert_int_equal(hth_session_truncate(session, 0, 0), 0);
    assert_int_equal(hth_session_feed(session, &one, 1), HTH_OK);
    assert_true(test_nmse(before, hth_session_logits(session, 0), n_vocab) < 1e-3);
    mem_free(before);
    hth_session_close(session);
    hth_model_close(model);
}
