/* What hearth tune found: kept by model and device, and used where nothing else is said. */
#include "logits.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/mem.h"
#include "base/os.h"
#include "engine/engine.h"
#include "engine/kept.h"
#include "engine/rows.h"
#include "engine/tuned.h"
#include "gpu/selftest.h"

static const char *const model_name = "synth:tiny-llama:q4_0";

static struct hth_model *open_with(const char *name, struct hth_model_options options)
{
    struct hth_model *model;
    options.log = test_log()->write;
    options.log_level = HTH_LOG_INFO;
    assert_int_equal(hth_model_open(&model, name, &options), HTH_OK);
    return model;
}

static struct hth_model *open_cpu(void)
{
    return open_with(model_name, (struct hth_model_options){.device = "cpu"});
}

static void store(const struct tuned *tuned)
{
    struct hth_model *model = open_cpu();
    assert_int_equal(tuned_store(&model->tuned_file, tuned, test_log()), HTH_OK);
    hth_model_close(model);
    test_log_clear();
}

static int batch_of(struct hth_model *model)
{
    struct hth_session *session;
    assert_int_equal(hth_session_open(&session, model, NULL), HTH_OK);
    int n = hth_session_get_info(session).n_batch;
    hth_session_close(session);
    return n;
}

static void expect(struct hth_model *model, int n_threads, int n_batch)
{
    assert_int_equal(pool_threads(model->pool), n_threads);
    assert_int_equal(hth_model_get_plan(model).n_batch, n_batch);
    assert_int_equal(batch_of(model), n_batch);
    hth_model_close(model);
}

TEST(what_was_found_is_used)
{
    int n = os_cpu_count();
    expect(open_cpu(), n, 512);
    store(&(struct tuned){.n_threads = n + 1, .n_batch = 96});
    expect(open_cpu(), n + 1, 96);
    assert_logged("as hearth tune found best");
    store(&(struct tuned){0});
    expect(open_cpu(), n, 512);
    assert_string_equal(test_log_text(), "");
}

TEST(what_is_said_goes_before_it)
{
    store(&(struct tuned){.n_threads = 3, .n_batch = 96});
    struct hth_model_options said = {.device = "cpu", .n_threads = 2, .session = {.n_batch = 64}};
    expect(open_with(model_name, said), 2, 64);
    said = (struct hth_model_options){.device = "cpu", .n_threads = 2};
    expect(open_with(model_name, said), 2, 96);
    said = (struct hth_model_options){.device = "cpu", .n_threads = 2, .untuned = true};
    expect(open_with(model_name, said), 2, 512);
}

TEST(another_model_has_another_file)
{
    store(&(struct tuned){.n_threads = 3, .n_batch = 96});
    const struct hth_model_options said = {.device = "cpu", .n_threads = 2};
    expect(open_with("synth:tiny-llama:q8_0", said), 2, 512);
    expect(open_with("synth:tiny-moe:q4_0", said), 2, 512);
}

TEST(memory_of_the_gpu_vulkan)
{
    const struct hth_model_options on_gpu = {.device = test_device()};
    struct hth_model *model = open_with(model_name, on_gpu);
    uint64_t all = hth_model_get_plan(model).gpu_bytes;
    assert_false(hth_model_get_plan(model).divided);
    assert_int_equal(
        tuned_store(&model->tuned_file, &(struct tuned){.vram_bytes = all * 3 / 4}, test_log()),
        HTH_OK);
    hth_model_close(model);
    model = open_with(model_name, on_gpu);
    assert_true(hth_model_get_plan(model).divided);
    assert_true(hth_model_get_plan(model).gpu_bytes <= all * 3 / 4);
    /* who asks for a device gets it */
    assert_int_equal(tuned_store(&model->tuned_file, &(struct tuned){.no_gpu = true}, test_log()),
                     HTH_OK);
    hth_model_close(model);
    model = open_with(model_name, on_gpu);
    assert_true(hth_model_get_info(model).on_gpu);
    hth_model_close(model);
    struct hth_model_options placed = on_gpu; /* and who says how much may be used of it */
    placed.vram_bytes = 1 << 30;
    model = open_with(model_name, placed);
    assert_false(hth_model_get_plan(model).divided);
    /* more than the device has is nothing that was found on it, and no reason not to run */
    assert_int_equal(tuned_store(&model->tuned_file,
                                 &(struct tuned){.vram_bytes = UINT64_C(1) << 50}, test_log()),
                     HTH_OK);
    hth_model_close(model);
    test_log_clear();
    model = open_with(model_name, on_gpu);
    assert_logged("a figure in it is none that hearth writes");
    assert_logged("hearth tune looks again");
    assert_false(hth_model_get_plan(model).divided);
    hth_model_close(model);
}

static struct tuned_file find_file(void)
{
    struct hth_model *model = open_cpu();
    struct tuned_file file = tuned_take_file(model);
    hth_model_close(model);
    return file;
}

/* What stands there is ignored with a line, and the next time there is nothing to say. */
static void is_said_once(void)
{
    test_log_clear();
    expect(open_cpu(), os_cpu_count(), 512);
    assert_logged("is ignored, as ");
    test_log_clear();
    expect(open_cpu(), os_cpu_count(), 512);
    assert_string_equal(test_log_text(), "");
}

/* Cut anywhere, of another build, or with figures that hearth does not write: never half used. */
TEST(broken_files)
{
    struct strbuf text = {0};
    store(&(struct tuned){.n_threads = 3, .n_batch = 96, .vram_bytes = 5 << 20});
    struct tuned_file file = find_file();
    assert_int_equal(file_read(file.path.ptr, 1 << 16, &text, test_log()), HTH_OK);
    for (size_t n = 0; n + 1 < text.len; n += 1 + n) {
        test_put_bytes(file.path.ptr, text.ptr, n);
        test_log_clear();
        expect(open_cpu(), os_cpu_count(), 512);
        assert_logged("is ignored, as ");
    }
    static const char *const wrong[][2] = {
        {"\"threads\": 3", "\"threads\":-3"},
        {"\"threads\": 3", "\"threads\":\"\""},
        {"\"batch\": 96", "\"batch\":9.5"},
        {"\"batch\": 96", "\"batch\":9e6"},
        {"\"no_gpu\": false", "\"no_gpu\":    0 "},
        {"\"batch\"", "\"bitch\""},
        {"hearth ", "nothing"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char *bytes = mem_strdup(text.ptr), *at = strstr(bytes, wrong[i][0]);
        assert_non_null(at);
        memset(at, ' ', strlen(wrong[i][0]));
        memcpy(at, wrong[i][1], strlen(wrong[i][1]));
        test_put_bytes(file.path.ptr, bytes, text.len);
        mem_free(bytes);
        is_said_once();
    }
    tuned_file_free(&file);
    strbuf_free(&text);
}

static bool fail_one(void *user, size_t size)
{
    (void)size;
    return (*(long *)user)-- != 0;
}

/* Each allocation failed: that is said, or nothing came of it. */
TEST(failing_allocations)
{
    store(&(struct tuned){.n_threads = 2});
    struct hth_model *model = open_cpu();
    bool hit = true;
    for (long k = 0; hit; k++) {
        long left = k;
        test_log_clear();
        model->opt.n_threads = 0;
        tuned_file_free(&model->tuned_file);
        mem_set_hook(fail_one, &left);
        enum hth_status status = tuned_use(model);
        mem_set_hook(NULL, NULL);
        hit = left < 0;
        assert_true(status == HTH_OK || (hit && status == HTH_ERROR_MEMORY));
        assert_int_equal(model->opt.n_threads, status ? 0 : 2);
        assert_true(hit || k > 3);
    }
    hth_model_close(model);
}

/* The file is found before there is a plan: one that leaves the device idle changes nothing. */
TEST(one_file_for_all_plans_vulkan)
{
    struct hth_model *there =
        open_with(model_name, (struct hth_model_options){.device = test_device()});
    struct hth_model *not_there =
        open_with(model_name, (struct hth_model_options){.device = test_device(), .vram_bytes = 1});
    struct tuned_file cpu = find_file();
    assert_true(hth_model_get_info(there).on_gpu && !hth_model_get_info(not_there).on_gpu);
    assert_string_equal(there->tuned_file.path.ptr, not_there->tuned_file.path.ptr);
    assert_string_not_equal(there->tuned_file.path.ptr, cpu.path.ptr);
    tuned_file_free(&cpu);
    hth_model_close(there);
    hth_model_close(not_there);
}

/* --- kernels ---------------------------------------------------------------------------------- */

/* Logits after a token, and whether this row made some of them. */
static const float *logits_of(struct hth_model *model, const char *row, bool *is_used)
{
    static float logits[2][4096];
    static int n;
    float *out = logits[n++ % 2];
    struct hth_session *session;
    struct step_info info;
    int32_t id = 7;
    int n_vocab = hth_model_get_info(model).n_vocab;
    assert_true(n_vocab <= 4096);
    memset(out, 0, sizeof logits[0]);
    assert_int_equal(hth_session_open(&session, model, NULL), HTH_OK);
    const struct hth_feed feed = {.ids = &id, .count = 1};
    assert_int_equal(hth_session_feed(session, &feed, 1), HTH_OK);
    memcpy(out, hth_session_logits(session, 0), (size_t)n_vocab * sizeof *out);
    assert_int_equal(session_step_info(session, 1, &info), HTH_OK);
    *is_used = false;
    for (int i = 0; i < info.n_rows; i++)
        *is_used |= strcmp(info.rows[i], row) == 0;
    hth_session_close(session);
    return out;
}

TEST(kernels_that_were_measured_vulkan)
{
    const struct hth_model_options on_gpu = {.device = test_device()};
    bool tuned, by_default;
    struct hth_model *model = open_with(model_name, on_gpu);
    const float *plain = logits_of(model, "matvec_f32", &by_default);
    const struct table_entry as = {
        .row = "matvec_f32", .knobs = {{"ROWS", 1}}, .n_knobs = 1, .gain = 2, .whole = true};
    assert_true(model_tune(model, 1, &as) >= 4);
    hth_model_close(model);
    test_log_clear();
    model = open_with(model_name, on_gpu);
    assert_logged("the kernels that hearth tune found");
    assert_true(hth_model_get_info(model).kernels_checked > 0); /* new shapes are proved, too */
    const float *now = logits_of(model, "matvec_f32", &tuned);
    assert_true(tuned && (!by_default || !hth_model_get_info(model).software));
    assert_true(test_nmse(plain, now, 4096) < 1e-8);
    hth_model_close(model);
    struct hth_model_options without = on_gpu;
    without.untuned = true;
    model = open_with(model_name, without);
    (void)logits_of(model, "matvec_f32", &tuned);
    assert_true(tuned == by_default);
    hth_model_close(model);
    without = on_gpu; /* what the plan is measured with */
    without.as_planned = true;
    model = open_with(model_name, without);
    (void)logits_of(model, "matvec_f32", &tuned);
    assert_true(tuned);
    hth_model_close(model);
}

/* How many tuned products of a batch of so many tokens there are, all of which the device's record
 * must call right. */
static int count_proved(const struct hth_model *model, const char *record, int n_tokens)
{
    const struct model_device *device = &model->devices[1];
    const struct row_env env = {
        .caps = vk_get_caps(device->vk), .tuned = &device->kernels.table, .n_seqs = 1};
    struct kv_geom kv[64];
    struct graph graph;
    int n = 0;
    model_kv_geometry(model->model, &dtype_f16, kv);
    assert_true(model->model->hp.n_layer <= 64);
    assert_true(kv_layout(kv, model->model->hp.n_layer, test_log()) > 0);
    assert_int_equal(whole_build(model->model, kv, &graph, (struct batch_size){n_tokens, 1, 0}),
                     HTH_OK);
    assert_int_equal(compile_fuse(&graph, &env), HTH_OK);
    for (size_t i = 0; i < graph.n_ops; i++) {
        struct row_pick pick;
        struct strbuf name = {0};
        pick.row = row_select(&env, graph.ops[i], &pick.choice);
        assert_non_null(pick.row);
        if (strcmp(pick.row->name, "matvec_f32") != 0)
            continue;
        selftest_name(graph.ops[i], &pick, n_tokens, &name);
        if (!strstr(record, name.ptr))
            fail_msg("of %d tokens nobody checked: %s", n_tokens, name.ptr);
        strbuf_free(&name);
        n++;
    }
    graph_free(&graph);
    return n;
}

/* Of 5 to 8 tokens, which are one class, a matvec takes three or four at once. */
TEST(shapes_of_each_size_are_proved_vulkan)
{
    const struct hth_model_options on_gpu = {.device = test_device(), .self_test_s = 600};
    struct strbuf path = {0}, record = {0};
    struct hth_model *model = open_with(model_name, on_gpu);
    const struct table_entry as = {
        .row = "matvec_f32", .knobs = {{"ROWS", 1}}, .n_knobs = 1, .gain = 2, .whole = true};
    assert_true(model_tune(model, 8, &as) >= 4);
    hth_model_close(model);
    model = open_with(model_name, on_gpu);
    assert_true(kept_path("selftest", vk_get_caps(model->devices[1].vk), &path));
    assert_int_equal(file_read(path.ptr, 1 << 20, &record, test_log()), HTH_OK);
    for (int n_tokens = 5; n_tokens <= 8; n_tokens++)
        assert_true(count_proved(model, record.ptr, n_tokens) >= 4);
    hth_model_close(model);
    strbuf_free(&path);
    strbuf_free(&record);
}
