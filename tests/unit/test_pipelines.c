/* How many pipelines a model takes, and that a second start finds all of them on disk. On
 * stand-ins, too (hw.pipelines), where nothing runs: what a prompt and an answer take is compiled
 * all the same. */
#include <stdio.h>
#include <stdlib.h>

#include "engine/session_part.h"
#include "logits.h"
#include "harness/test.h"

enum { MOST_PIPELINES = 60 };

/* A stand-in is the only device there is, and its driver says what it found in its cache. */
static bool is_stand_in(void)
{
    const char *nothing = getenv("HEARTH_TEST_NOTHING_RUNS");
    return nothing && strcmp(nothing, "1") == 0;
}

/* Everything that batches of these sizes take. */
static void compile(struct hth_session *session)
{
    static const struct batch_size sizes[] = {
        {1, 1, 1}, {512, 1, 1}, {512, 512, 0}, {40, 1, 1}, {3, 3, 0}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const struct program *program;
        struct vk *vk = session->model->devices[1].vk;
        if (gpu_exec_program(session->gpu[1].exec, sizes[i], &program) != HTH_OK)
            fail_msg("%s", test_log_text());
        for (size_t s = 0; s < program->n_steps; s++)
            assert_int_equal(vk_pipeline_wait(vk, program->steps[s].pipeline), HTH_OK);
    }
    session_count(session);
}

static struct hth_session_info start(const char *path)
{
    struct hth_model *model;
    struct hth_session *session;
    struct hth_model_options options = {.device = is_stand_in() ? "vulkan:0" : test_device(),
                                        .self_test_s = -1,
                                        .session = {.n_ctx = 512, .n_batch = 512},
                                        .log = test_log()->write,
                                        .log_user = test_log()->user,
                                        .log_level = HTH_LOG_WARNING};
    if (hth_model_open(&model, path, &options) != HTH_OK ||
        hth_session_open(&session, model, &options.session) != HTH_OK)
        fail_msg("%s", test_log_text());
    compile(session);
    struct hth_session_info info = hth_session_get_info(session);
    printf("%s: %d pipelines, %d of them compiled\n", path, info.pipelines,
           info.pipelines_compiled);
    hth_session_close(session);
    hth_model_close(model);
    return info;
}

static const char *const paths[] = {"synth:tiny-llama:q4_k_m", "synth:tiny-moe:q8_0"};

TEST(a_model_takes_few)
{
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct hth_session_info info = start(paths[i]);
        assert_in_range(info.pipelines, 10, MOST_PIPELINES);
    }
}

/* Whoever asks for a kernel twice gets it once: the number is the same each time. */
TEST(a_second_start_compiles_none)
{
    struct hth_session_info again = {0};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        struct hth_session_info first = start(paths[i]);
        again = start(paths[i]);
        assert_in_range(first.pipelines, 10, MOST_PIPELINES);
        assert_int_equal(again.pipelines, first.pipelines);
        assert_true(first.pipelines_compiled > 0);
        if (again.pipelines_compiled == again.pipelines && !is_stand_in())
            test_skip("the driver does not say what it found, or keeps nothing in its cache");
        if (again.pipelines_compiled)
            fail_msg("%d compiled again; the log says:\n%s", again.pipelines_compiled,
                     test_log_text());
    }
}
