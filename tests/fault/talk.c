#include "talk.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "engine/session_part.h"
#include "logits.h"

static double tolerance_of(const struct talk *talk)
{
    return talk->tolerance > 0 ? talk->tolerance : 1e-6;
}

static void hear(void *user, enum hth_log_level level, const char *line)
{
    struct talk *talk = user;
    talk->n_errors += level == HTH_LOG_ERROR;
    test_log()->write(test_log()->user, level, line);
}

static void disturb(struct talk *talk, int step)
{
    if (talk->disturb && talk->logits)
        talk->disturb(talk, step);
}

/* What neither of two GPUs has room for is on both. */
static void use_two_gpus(const struct talk *talk, struct hth_model_options *options)
{
    static char devices[256];
    snprintf(devices, sizeof devices, "%s,%s", test_device(), test_device());
    options->device = devices;
    options->vram_bytes = talk->vram_bytes;
}

void talk_open(struct talk *talk)
{
    talk->n_errors = 0;
    struct hth_session_options shape = {.n_ctx = TALK_ALL,
                                        .n_seqs = 2,
                                        .n_batch = 24,
                                        .kv = talk->kv,
                                        .float_only = !talk->integers};
    test_log_clear();
    struct hth_model_options options = {.device = test_device(),
                                        .treat_as_discrete = talk->discrete,
                                        .session = shape,
                                        .log = hear,
                                        .log_user = talk,
                                        .log_level = HTH_LOG_INFO};
    if (talk->vram_bytes)
        use_two_gpus(talk, &options);
    if (hth_model_open(&talk->model, talk->path, &options) != HTH_OK)
        fail_msg("%s", test_log_text());
    disturb(talk, -1);
    if (hth_session_open(&talk->session, talk->model, &shape) != HTH_OK)
        fail_msg("%s", test_log_text());
    talk->n_vocab = (size_t)hth_model_get_info(talk->model).n_vocab;
    talk->model->keeping.every_ns = 0;
    talk->model->keeping.calm_ns = 0;
    talk->model->keeping.slack_bytes = 0;
}

void talk_close(struct talk *talk)
{
    hth_session_close(talk->session);
    hth_model_close(talk->model);
}

static int32_t best(const float *logits, size_t n)
{
    size_t top = 0;
    for (size_t i = 1; i < n; i++)
        top = logits[i] > logits[top] ? i : top;
    return (int32_t)top;
}

/* Is the best token best by more than errors of `nmse` could make it? */
static bool is_clear(const float *logits, size_t n, double nmse)
{
    double square = 0, first = -INFINITY, second = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        square += (double)logits[i] * logits[i];
        if (logits[i] > first) {
            second = first;
            first = logits[i];
        } else if (logits[i] > second) {
            second = logits[i];
        }
    }
    return first - second > 4 * sqrt(2 * nmse) * sqrt(square / (double)n);
}

void talk_feed(struct talk *talk, struct hth_session *session, int step)
{
    struct hth_feed feed = {.ids = talk->ids, .count = TALK_PROMPT};
    if (step > 0)
        feed = (struct hth_feed){.ids = &talk->ids[TALK_PROMPT + step - 1], .count = 1};
    if (hth_session_feed(session, &feed, 1) != HTH_OK)
        fail_msg("step %d: %s", step, test_log_text());
}

static const float *logits_of(const struct talk *talk, int step)
{
    return talk->logits + (size_t)step * talk->n_vocab;
}

void talk_check(const struct talk *talk, struct hth_session *session, int step)
{
    const float *got = hth_session_logits(session, 0), *want = logits_of(talk, step);
    double nmse = test_nmse(want, got, talk->n_vocab);
    int32_t id = talk->ids[TALK_PROMPT + step];
    if (!(nmse <= tolerance_of(talk)))
        fail_msg("step %d: NMSE %g; the log says\n%s", step, nmse, test_log_text());
    if (is_clear(want, talk->n_vocab, tolerance_of(talk)) && best(got, talk->n_vocab) != id)
        fail_msg("step %d: %d instead of %d", step, best(got, talk->n_vocab), id);
}

static void learn_prompt(struct talk *talk)
{
    talk->logits = mem_calloc(TALK_ANSWER * talk->n_vocab, sizeof *talk->logits);
    assert_non_null(talk->logits);
    for (int i = 0; i < TALK_PROMPT; i++)
        talk->ids[i] = (int32_t)((size_t)i * 7919 % talk->n_vocab);
}

static void learn_step(struct talk *talk, int step)
{
    const float *logits = hth_session_logits(talk->session, 0);
    talk->ids[TALK_PROMPT + step] = best(logits, talk->n_vocab);
    memcpy(talk->logits + (size_t)step * talk->n_vocab, logits, talk->n_vocab * sizeof *logits);
}

void talk_run(struct talk *talk)
{
    bool learns = !talk->logits;
    int n_narrow = 0;
    if (learns)
        learn_prompt(talk);
    for (int step = 0; step < TALK_ANSWER; step++) {
        disturb(talk, step);
        talk_feed(talk, talk->session, step);
        if (learns)
            learn_step(talk, step);
        else
            talk_check(talk, talk->session, step);
        n_narrow += !is_clear(logits_of(talk, step), talk->n_vocab, tolerance_of(talk));
    }
    if (learns)
        printf("%s: %d of %d tokens by a narrow margin\n", talk->path, n_narrow, TALK_ANSWER);
    /* most are told apart; by products of integers, which round, at least a quarter */
    assert_true(n_narrow * 4 < TALK_ANSWER * (talk->integers ? 3 : 1));
}

void talk_learn(struct talk *talk)
{
    talk_open(talk);
    talk_run(talk);
    talk_close(talk);
}

uint64_t talk_held(const struct talk *talk)
{
    return vk_allocated_bytes(talk->model->devices[1].vk, VK_MEMORY_DEVICE);
}

uint64_t talk_margin(const struct talk *talk)
{
    return vk_get_caps(talk->model->devices[1].vk)->heaps[0].margin_bytes;
}

int talk_n_gpus(const struct talk *talk)
{
    int n = 0;
    for (int d = 1; d < talk->model->n_devices; d++)
        n += talk->model->placing.split.used[d];
    return n;
}

void talk_settle(struct talk *talk)
{
    keeping_begin(talk->model);
    enum hth_status status = keeping_poll(talk->model);
    if (status == HTH_OK && !talk->session->entered)
        status = session_enter(talk->session);
    if (keeping_end(talk->model, status) != HTH_OK)
        fail_msg("%s", test_log_text());
}

int talk_count_logged(const char *text)
{
    int n = 0;
    for (const char *at = test_log_text(); (at = strstr(at, text)); at++)
        n++;
    return n;
}
