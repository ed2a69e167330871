#include "logits.h"

#include <stdio.h>

#include "base/mem.h"
#include "engine/engine.h"

/* cost: 10 */

/* Tokens that are picked by the likeliest alone, as their device found them, are those picked by
 * all logits, bit for bit; and of a greedy token four bytes are read. */

enum { N_PROMPT = 21, N_ANSWER = 24, N_BATCH = 16 };

/* A session that asks for all logits, or for as few as its sampler needs. */
struct talk {
    struct hth_session *session;
    struct hth_sampler *sampler;
    int n_best;
    int32_t ids[N_ANSWER];
};

static struct talk open_talk(struct hth_model *model, const struct hth_sampler_options *options,
                             bool best)
{
    struct talk talk = {0};
    if (hth_sampler_create(&talk.sampler, model, options) != HTH_OK)
        fail_msg("%s", test_log_text());
    talk.n_best = best ? hth_sampler_best(talk.sampler) : 0;
    const struct hth_session_options session = {
        .n_ctx = 64, .n_batch = N_BATCH, .n_best = talk.n_best};
    if (hth_session_open(&talk.session, model, &session) != HTH_OK)
        fail_msg("%s", test_log_text());
    return talk;
}

static void close_talk(struct talk *talk)
{
    hth_sampler_destroy(talk->sampler);
    hth_session_close(talk->session);
}

static void feed(struct talk *talk, const int32_t *ids, int count)
{
    const struct hth_feed one = {.ids = ids, .count = count, .n_best = talk->n_best};
    if (hth_session_feed(talk->session, &one, 1) != HTH_OK)
        fail_msg("%s", test_log_text());
    assert_int_equal(hth_session_n_logits(talk->session), 1);
    assert_int_equal(hth_session_best(talk->session, 0).count, talk->n_best);
    assert_int_equal(hth_session_logits(talk->session, 0) == NULL, talk->n_best > 0);
}

static void answer(struct talk *talk)
{
    int32_t prompt[N_PROMPT];
    for (int i = 0; i < N_PROMPT; i++)
        prompt[i] = 5 + i * i % 90;
    feed(talk, prompt, N_PROMPT);
    for (int i = 0; i < N_ANSWER; i++) {
        if (hth_sample(talk->sampler, talk->session, 0, &talk->ids[i]) != HTH_OK)
            fail_msg("%s", test_log_text());
        feed(talk, &talk->ids[i], 1);
    }
}

static const struct hth_sampler_options greedy = {0},
                                        sampled = {.temp = 0.9f, .top_k = 20, .seed = 7},
                                        cut = {.temp = 2, .top_k = 50, .top_p = 0.9f, .seed = 8};

static void check_model(const char *path, struct hth_model_options options)
{
    const struct hth_sampler_options *const samplers[] = {&greedy, &sampled, &cut};
    struct hth_model *model = model_open(path, options);
    for (size_t i = 0; i < ARRAY_LEN(samplers); i++) {
        struct talk all = open_talk(model, samplers[i], false),
                    best = open_talk(model, samplers[i], true);
        assert_int_equal(best.n_best, i == 0 ? 1 : samplers[i]->top_k);
        answer(&all);
        answer(&best);
        assert_memory_equal(all.ids, best.ids, sizeof all.ids);
        close_talk(&all);
        close_talk(&best);
    }
    hth_model_close(model);
}

TEST(the_same_tokens)
{
    check_model("synth:tiny-llama:q4_0", (struct hth_model_options){.device = "cpu"});
}

TEST(the_same_tokens_vulkan)
{
    check_model("synth:tiny-llama:q4_0", (struct hth_model_options){.device = test_device()});
    check_model("synth:tiny-moe:q8_0",
                (struct hth_model_options){.device = test_device(), .treat_as_discrete = true});
}

/* The output's matrix alone, and all but it. */
static int place_output(void *user, const char *tensor, int expert)
{
    (void)expert;
    bool output = strcmp(tensor, "output.weight") == 0 || strcmp(tensor, "token_embd.weight") == 0;
    return output == *(const bool *)user;
}

TEST(the_same_tokens_of_two_devices)
{
    for (int i = 0; i < 2; i++) {
        bool on_gpu = i;
        struct hth_model_options options = {
            .device = test_device(), .place = place_output, .place_user = &on_gpu};
        check_model("synth:tiny-llama:q4_0", options);
    }
}

/* Bytes that the answer of a greedy talk brought from the GPU, without its prompt's. */
static uint64_t answer_bytes(struct hth_model_options options, bool best)
{
    struct hth_model *model = model_open("synth:tiny-llama:q4_0", options);
    struct talk talk = open_talk(model, &greedy, best);
    int32_t id = 9;
    feed(&talk, &id, 1);
    uint64_t before = hth_session_get_info(talk.session).read_bytes;
    for (int i = 0; i < N_ANSWER; i++)
        feed(&talk, &id, 1);
    uint64_t bytes = hth_session_get_info(talk.session).read_bytes - before;
    if (!best)
        assert_int_equal(bytes, N_ANSWER * 4ull * (uint64_t)hth_model_get_info(model).n_vocab);
    close_talk(&talk);
    hth_model_close(model);
    return bytes;
}

TEST(four_bytes_of_a_token)
{
    for (int discrete = 0; discrete < 2; discrete++) {
        struct hth_model_options options = {.device = test_device(), .treat_as_discrete = discrete};
        assert_int_equal(answer_bytes(options, true), N_ANSWER * 4);
        answer_bytes(options, false);
    }
    assert_int_equal(answer_bytes((struct hth_model_options){.device = "cpu"}, true), 0);
}

/* Several outputs of several sequences, in batches: each is the best of its own logits. */
static void check_outputs(const char *device)
{
    enum { N = 20, SEQS = 2, BEST = 3 };
    int32_t ids[SEQS][N];
    struct hth_model *model =
        model_open("synth:tiny-llama:q4_0", (struct hth_model_options){.device = device});
    const struct hth_session_options options = {
        .n_ctx = N, .n_seqs = SEQS, .n_batch = N_BATCH, .n_outputs = N_BATCH};
    struct hth_session *all, *best;
    assert_int_equal(hth_session_open(&all, model, &options), HTH_OK);
    assert_int_equal(hth_session_open(&best, model, &options), HTH_OK);
    struct hth_feed feeds[SEQS];
    for (int s = 0; s < SEQS; s++) {
        for (int i = 0; i < N; i++)
            ids[s][i] = 3 + (i * 31 + s * 17) % 200;
        feeds[s] = (struct hth_feed){.seq = s, .ids = ids[s], .count = N - s, .n_last = N - 4};
    }
    assert_int_equal(hth_session_feed(all, feeds, SEQS), HTH_OK);
    for (int s = 0; s < SEQS; s++)
        feeds[s].n_best = BEST - s; /* the most is what all get */
    assert_int_equal(hth_session_feed(best, feeds, SEQS), HTH_OK);
    int n = hth_session_n_logits(all);
    assert_int_equal(n, SEQS * (N - 4));
    assert_int_equal(hth_session_n_logits(best), n);
    for (int i = 0; i < n; i++) {
        struct hth_best got = hth_session_best(best, i);
        const float *logits = hth_session_logits(all, i);
        int n_vocab = hth_model_get_info(model).n_vocab;
        assert_int_equal(got.count, BEST);
        for (int k = 0; k < BEST; k++) {
            assert_true(got.logits[k] == logits[got.ids[k]]);
            int n_before = 0;
            for (int id = 0; id < n_vocab; id++)
                n_before +=
                    logits[id] > got.logits[k] || (logits[id] == got.logits[k] && id < got.ids[k]);
            assert_int_equal(n_before, k);
        }
    }
    assert_int_equal(hth_session_best(best, n).count, 0);
    assert_int_equal(hth_session_best(best, -1).count, 0);
    assert_int_equal(hth_session_best(all, 0).count, 0);
    hth_session_close(all);
    hth_session_close(best);
    hth_model_close(model);
}

TEST(outputs)
{
    check_outputs("cpu");
}

TEST(outputs_vulkan)
{
    check_outputs(test_device());
}

static enum hth_status sample_of(struct hth_model *model, int n_best,
                                 struct hth_sampler_options options)
{
    struct talk talk = open_talk(model, &options, false);
    int32_t id = 3;
    const struct hth_feed one = {.ids = &id, .count = 1, .n_best = n_best};
    assert_int_equal(hth_session_feed(talk.session, &one, 1), HTH_OK);
    test_log_clear();
    enum hth_status status = hth_sample(talk.sampler, talk.session, 0, &id);
    close_talk(&talk);
    return status;
}

/* Who asked for too few is told so; who asked for more than may be had gets all. */
TEST(as_many_as_the_sampler_needs)
{
    struct hth_model *model =
        model_open("synth:tiny-llama:q4_0", (struct hth_model_options){.device = "cpu"});
    assert_int_equal(sample_of(model, 20, sampled), HTH_OK);
    assert_int_equal(sample_of(model, 64, sampled), HTH_OK);
    assert_int_equal(sample_of(model, 65, sampled), HTH_OK);
    assert_int_equal(sample_of(model, -1, sampled), HTH_OK);
    assert_int_equal(sample_of(model, 19, sampled), HTH_ERROR_ARGUMENT);
    assert_logged("only the best 19 were asked for, but the sampler must know more of them");
    assert_int_equal(sample_of(model, 5, (struct hth_sampler_options){.temp = 1}),
                     HTH_ERROR_ARGUMENT);
    assert_logged("the sampler must know all");
    hth_model_close(model);
}

static enum hth_status talk_once(void *arg)
{
    struct hth_session *session = NULL;
    const struct hth_session_options options = {.n_ctx = 64, .n_batch = N_BATCH, .n_best = 1};
    const int32_t ids[3] = {1, 2, 3};
    const struct hth_feed first = {.ids = ids, .count = 3, .n_best = 4},
                          second = {.ids = ids, .count = 1, .n_last = 1};
    enum hth_status status = hth_session_open(&session, arg, &options);
    if (status == HTH_OK)
        status = hth_session_feed(session, &first, 1);
    if (status == HTH_OK)
        status = hth_session_feed(session, &second, 1);
    hth_session_close(session);
    return status;
}

TEST(allocation_failures)
{
    /* without memory for copies of weights it goes on */
    struct hth_model_options options = {.device = "cpu", .n_threads = 1, .no_repack = true};
    struct hth_model *model = model_open("synth:tiny-llama:q4_0", options);
    test_each_allocation_fails(talk_once, model);
    hth_model_close(model);
}
