/* Samplers through hearth.h: what the engine adds to src/sample. */
#include "harness/test.h"

#include <math.h>

#include "hearth/hearth.h"

static struct hth_model *open_model(bool vocabulary_only)
{
    struct hth_model *model;
    struct hth_model_options options = {
        .device = "cpu", .vocabulary_only = vocabulary_only, .log = test_log()->write};
    if (hth_model_open(&model, "synth:tiny-moe:q4_0", &options))
        fail_msg("%s", test_log_text());
    return model;
}

static struct hth_session *open_session(struct hth_model *model)
{
    struct hth_session *session;
    struct hth_session_options options = {.n_ctx = 128};
    assert_int_equal(hth_session_open(&session, model, &options), HTH_OK);
    return session;
}

static struct hth_sampler *create(const struct hth_model *model, struct hth_sampler_options options)
{
    struct hth_sampler *sampler;
    if (hth_sampler_create(&sampler, model, &options))
        fail_msg("%s", test_log_text());
    return sampler;
}

static void feed(struct hth_session *session, int32_t id)
{
    struct hth_feed one = {.ids = &id, .count = 1};
    assert_int_equal(hth_session_feed(session, &one, 1), HTH_OK);
}

static int32_t sample(struct hth_sampler *sampler, struct hth_session *session)
{
    int32_t id;
    assert_int_equal(hth_sample(sampler, session, 0, &id), HTH_OK);
    return id;
}

TEST(history_is_what_was_set_and_sampled)
{
    struct hth_model *model = open_model(false);
    struct hth_session *session = open_session(model);
    struct hth_sampler *greedy = create(model, (struct hth_sampler_options){0});
    struct hth_sampler *sampler =
        create(model, (struct hth_sampler_options){.presence_penalty = 1e5f});
    feed(session, 5);
    int32_t best = sample(greedy, session), others[3];
    assert_int_equal(sample(greedy, session), best);
    hth_sampler_set_history(sampler, &best, 1);
    for (int i = 0; i < 3; i++) {
        others[i] = sample(sampler, session); /* each is remembered, so the next is another one */
        assert_int_not_equal(others[i], best);
        for (int k = 0; k < i; k++)
            assert_int_not_equal(others[i], others[k]);
    }
    hth_sampler_set_history(sampler, others, 3); /* in place of what was there */
    assert_int_equal(sample(sampler, session), best);
    hth_sampler_reset(sampler);
    assert_int_equal(sample(sampler, session), best);
    hth_sampler_set_history(sampler, NULL, 0);
    assert_int_equal(sample(sampler, session), best);
    hth_sampler_destroy(sampler);
    hth_sampler_destroy(greedy);
    hth_session_close(session);
    hth_model_close(model);
}

TEST(reset_begins_the_seed_anew)
{
    struct hth_model *model = open_model(false);
    struct hth_session *session = open_session(model);
    struct hth_sampler *sampler = create(model, (struct hth_sampler_options){.temp = 2, .seed = 4});
    int32_t first[20];
    int n_same = 0;
    feed(session, 5);
    for (int i = 0; i < 20; i++)
        first[i] = sample(sampler, session);
    hth_sampler_set_history(sampler, first, 20); /* random numbers go on */
    for (int i = 0; i < 20; i++)
        n_same += sample(sampler, session) == first[i];
    assert_true(n_same < 20);
    hth_sampler_reset(sampler);
    for (int i = 0; i < 20; i++)
        assert_int_equal(sample(sampler, session), first[i]);
    hth_sampler_destroy(sampler);
    hth_session_close(session);
    hth_model_close(model);
}

static int32_t token(const struct hth_model *model, const char *text)
{
    int32_t *ids, id;
    size_t count;
    assert_int_equal(hth_tokenize(model, text, strlen(text), false, false, &ids, &count), HTH_OK);
    assert_int_equal(count, 1);
    id = ids[0];
    hth_free(ids);
    return id;
}

/* Breakers are looked for in what the model's own tokens say: "wo" is two of them here. */
TEST(breakers_are_texts_of_tokens)
{
    struct hth_model *model = open_model(false);
    struct hth_session *session = open_session(model);
    int32_t w = token(model, "w"), o = token(model, "o"), a = token(model, "a");
    int32_t b = token(model, "b"), text[] = {w, o, a, b, w, o, a};
    const char *const two[] = {"wo", NULL}, *const other[] = {"ow", NULL};
    const struct hth_logit_bias bias = {b, 1000}; /* the model would repeat itself */
    struct hth_sampler_options options = {
        .dry_multiplier = 1e5f, .logit_bias = &bias, .n_logit_bias = 1};
    feed(session, a);
    for (int i = 0; i < 2; i++) {
        options.dry_breakers = i ? two : other;
        struct hth_sampler *sampler = create(model, options);
        hth_sampler_set_history(sampler, text, 7);
        int32_t next = sample(sampler, session);
        assert_true(i ? next == b : next != b);
        hth_sampler_destroy(sampler);
    }
    hth_session_close(session);
    hth_model_close(model);
}

TEST(options_are_checked_without_a_model)
{
    struct hth_sampler_options good = {.temp = 1, .samplers = "top_k;temperature"};
    struct hth_sampler_options bad = {.temp = 1, .samplers = "top_k;temprature"};
    assert_int_equal(hth_sampler_check(NULL, NULL, NULL), HTH_OK);
    assert_int_equal(hth_sampler_check(&good, NULL, NULL), HTH_OK);
    assert_int_equal(hth_sampler_check(&bad, NULL, NULL), HTH_ERROR_ARGUMENT);
    test_log_clear();
    assert_int_equal(hth_sampler_check(&bad, test_log()->write, NULL), HTH_ERROR_ARGUMENT);
    assert_logged("did you mean temperature?");
}

TEST(what_is_set_and_not_asked_is_a_warning)
{
    struct hth_sampler_options odd = {.temp = 1, .top_k = 5, .samplers = "min_p;temperature"};
    test_log_clear();
    assert_int_equal(hth_sampler_check(&odd, test_log()->write, NULL), HTH_OK);
    assert_string_equal(test_log_text(), "sampling: top_k is set, but top_k ('k') is not among the "
                                         "samplers \"min_p;temperature\"\n");
    odd.mirostat = 2; /* works in its place */
    test_log_clear();
    assert_int_equal(hth_sampler_check(&odd, test_log()->write, NULL), HTH_OK);
    assert_string_equal(test_log_text(), "");
}

TEST(a_vocabulary_alone_has_no_sampler)
{
    struct hth_model *model = open_model(true);
    struct hth_sampler *sampler;
    assert_int_equal(hth_sampler_create(&sampler, model, NULL), HTH_ERROR_ARGUMENT);
    assert_null(sampler);
    assert_logged("vocabulary only");
    hth_model_close(model);
}

static enum hth_status create_once(void *arg)
{
    static const struct hth_logit_bias bias = {4, -INFINITY};
    struct hth_sampler_options options = {
        .presence_penalty = 1, .dry_multiplier = 1, .logit_bias = &bias, .n_logit_bias = 1};
    struct hth_sampler *sampler;
    enum hth_status status = hth_sampler_create(&sampler, arg, &options);
    if (status)
        assert_null(sampler);
    hth_sampler_destroy(sampler);
    return status;
}

TEST(allocation_failures)
{
    struct hth_model *model = open_model(false);
    test_each_allocation_fails(create_once, model);
    hth_model_close(model);
}
