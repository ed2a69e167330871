/* A driver that makes wrong kernels: the self-test of a first start finds them, and the answer is
 * right all the same. */
/* cost: 20 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "gpu/table.h"
#include "harness/test.h"
#include "layer_use.h"
#include "logits.h"
#include "spawn.h"
#include "hearth/hearth.h"
#include "vk/shader_blob.h"

static const char MODEL[] = "synth:tiny-llama:q4_0";
enum { N_TOKENS = 40 };

/* --- models ----------------------------------------------------------------------------------- */

/* Time for the self-test. */
static const double WHOLE = 600, NONE = -1;

/* What is opened, and for how many sequences. */
static struct {
    const char *path;
    int n_seqs;
} meant = {MODEL, 1};

static enum hth_status try_open(struct hth_model **model, const char *device, double self_test_s)
{
    struct hth_model_options options = {.device = device,
                                        .session.n_seqs = meant.n_seqs,
                                        .self_test_s = self_test_s,
                                        .log = test_log()->write,
                                        .log_user = test_log()->user,
                                        .log_level = HTH_LOG_WARNING};
    test_log_clear();
    return hth_model_open(model, meant.path, &options);
}

static struct hth_model *open_on(const char *device)
{
    struct hth_model *model;
    if (try_open(&model, device, WHOLE) != HTH_OK)
        fail_msg("%s", test_log_text());
    return model;
}

/* How a prompt is fed. */
struct feeding {
    int n_batch;
    int n_last; /* outputs of it */
};

/* Logits of a prompt's last token and of one after it. */
static float *compute(struct hth_model *model, struct feeding as, size_t *n_vocab)
{
    struct hth_session *session;
    struct hth_session_options options = {.n_ctx = 64, .n_batch = as.n_batch};
    int32_t ids[N_TOKENS];
    if (hth_session_open(&session, model, &options) != HTH_OK)
        fail_msg("%s", test_log_text());
    *n_vocab = (size_t)hth_model_get_info(model).n_vocab;
    for (int i = 0; i < N_TOKENS; i++)
        ids[i] = (i * 7919 + 13) % (int)*n_vocab;
    float *logits = mem_alloc(2 * *n_vocab * sizeof *logits);
    assert_non_null(logits);
    for (size_t i = 0; i < 2; i++) {
        int n_last = i ? 1 : as.n_last;
        struct hth_feed feed = {.ids = ids, .count = i ? 1 : N_TOKENS, .n_last = n_last};
        if (hth_session_feed(session, &feed, 1) != HTH_OK)
            fail_msg("%s", test_log_text());
        memcpy(logits + i * *n_vocab, hth_session_logits(session, n_last - 1),
               *n_vocab * sizeof *logits);
    }
    hth_session_close(session);
    return logits;
}

/* Fails unless a model computes what the CPU does. */
static void assert_right_so(struct hth_model *model, struct feeding as)
{
    static float *wanted;
    size_t n_vocab;
    if (!wanted) {
        struct hth_model *cpu = open_on("cpu");
        wanted = compute(cpu, as, &n_vocab);
        hth_model_close(cpu);
    }
    float *got = compute(model, as, &n_vocab);
    double nmse = test_nmse(wanted, got, 2 * n_vocab);
    mem_free(got);
    if (!(nmse < 1e-3)) /* the CPU multiplies bytes */
        fail_msg("NMSE %g beside the CPU; the log says:\n%s", nmse, test_log_text());
}

static void assert_right(struct hth_model *model)
{
    assert_right_so(model, (struct feeding){.n_batch = 64, .n_last = 1});
}

/* --- wrong shaders ---------------------------------------------------------------------------- */

/* FNV-1a over words, as the layer has it. */
static uint64_t hash_of(const struct shader_blob *blob)
{
    uint64_t hash = 0xcbf29ce484222325;
    for (uint32_t i = 0; i < blob->n_words; i++)
        hash = (hash ^ blob->words[i]) * 0x100000001b3;
    return hash;
}

/* The word of the first 32-bit constant of a blob with this value; OpConstant is number 43, and its
 * value its fourth word (SPIR-V 1.6, 3.49.7). */
static uint32_t find_constant(const struct shader_blob *blob, uint32_t value)
{
    for (uint32_t at = 5; at < blob->n_words && blob->words[at] >> 16; at += blob->words[at] >> 16)
        if ((blob->words[at] & 0xffff) == 43 && blob->words[at] >> 16 == 4 &&
            blob->words[at + 3] == value)
            return at + 3;
    fail_msg("%s has no constant %#x", blob->name, value);
    return 0;
}

/* One bit of one constant of a blob is another from now on. */
static struct layer *flip(const char *name, uint32_t value, uint32_t mask)
{
    struct layer *layer = layer_use();
    const struct shader_blob *blob = shader_blob_find(name);
    assert_non_null(blob);
    layer_reset(layer);
    layer->flip[0] = (struct layer_flip){hash_of(blob), find_constant(blob, value), mask};
    return layer;
}

/* A row that the layer makes wrong is barred with numbers, another takes its place, and that is
 * remembered. */
static void check_replaced(const char *row, const char *blob, const char *instead)
{
    char barred[128], next[128];
    struct layer *layer = layer_use();
    struct hth_model *model = open_on("vulkan:0");
    assert_true(layer->n_flipped + layer->n_overtaken > 0);
    snprintf(barred, sizeof barred, "the kernel %s (%s) is not used", row, blob);
    snprintf(next, sizeof next, "in its place: %s", instead);
    assert_logged(barred);
    assert_logged("NMSE ");
    assert_logged(", allowed ");
    assert_logged(next);
    assert_true(hth_model_get_info(model).kernels_wrong > 0);
    assert_right(model);
    hth_model_close(model);
    model = open_on("vulkan:0"); /* the log is empty again */
    assert_logged(barred);
    assert_int_equal(hth_model_get_info(model).kernels_checked, 0);
    assert_right(model);
    hth_model_close(model);
    layer->flip[0].mask = layer->flip[1].mask = 0;
    layer->late_hash = 0;
}

/* What is taken from each half byte: −8, of which a bit in the middle of the mantissa is flipped,
 * and all of which makes infinity of it. */
static const uint32_t EIGHT = 0xc1000000, MIDDLE_BIT = 1u << 13, TO_INFINITY = 0x3e800000;

/* What products are multiplied by where there is nothing to normalize; all of it makes zero. */
static const uint32_t ONE = 0x3f800000;

TEST(a_bit_of_a_matvec)
{
    flip("matvec_q4_0", EIGHT, MIDDLE_BIT);
    check_replaced("matvec_lanes_f32", "matvec_q4_0", "matvec_f32");
    assert_logged("the kernel matvec_f32 (matvec_q4_0) is not used");
}

/* And of the one that takes its place; then comes one that this device would not prefer. */
static struct layer *flip_tiles_of_floats(void)
{
    struct layer *layer = flip("matmul_lanes_q4_0", EIGHT, MIDDLE_BIT);
    const struct shader_blob *next = shader_blob_find("matmul_f32_q4_0");
    layer->flip[1] = (struct layer_flip){hash_of(next), find_constant(next, EIGHT), MIDDLE_BIT};
    return layer;
}

TEST(a_bit_of_a_tile)
{
    flip("matmul_lanes_q4_0", EIGHT, MIDDLE_BIT);
    check_replaced("matmul_lanes_f32", "matmul_lanes_q4_0", "matmul_f32");
}

TEST(a_bit_of_two_tiles)
{
    flip_tiles_of_floats();
    check_replaced("matmul_f32", "matmul_f32_q4_0", "matmul_coop_s8");
    assert_logged("the kernel matmul_lanes_f32 (matmul_lanes_q4_0) is not used");
}

/* Tiles that take bytes run before there are any, as the driver forgets the barrier between the
 * two: these are what takes the place of tiles that are wrong. */
TEST(a_missing_barrier)
{
    flip_tiles_of_floats()->late_hash = hash_of(shader_blob_find("quantize"));
    check_replaced("matmul_coop_s8", "matmul_coop_s8_q4_0", "matmul_coop_f16");
    assert_true(layer_use()->n_overtaken > 0);
}

/* Where no row of an op is right, a device that was asked for says which op it is. */
TEST(nothing_is_left)
{
    struct layer *layer = flip("rms_norm", 0, 1u << 30);
    struct hth_model *model;
    assert_int_equal(try_open(&model, "vulkan:0", WHOLE), HTH_ERROR_UNSUPPORTED);
    assert_logged("nothing else fits");
    assert_logged("use --device cpu");
    layer->flip[0].mask = 0;
}

/* The program's report names it, and ends with 1. */
TEST(a_report_of_a_wrong_kernel)
{
    struct spawn s = {0};
    char plan[64];
    struct layer *layer = flip("matvec_q4_0", EIGHT, MIDDLE_BIT);
    snprintf(plan, sizeof plan, "%llx:%x:%x", (unsigned long long)layer->flip[0].hash,
             layer->flip[0].word, layer->flip[0].mask);
    setenv("HEARTH_LAYER_FLIP", plan, 1);
    RUN(&s, "selftest", MODEL, "--device", "vulkan:0", "--rows", "matvec_f32");
    unsetenv("HEARTH_LAYER_FLIP");
    layer->flip[0].mask = 0;
    assert_code(&s, 1);
    assert_contains(s.out.ptr, "\nWRONG ");
    assert_contains(s.out.ptr, "matvec_f32 (matvec_q4_0): GROUP=");
    assert_contains(s.out.ptr, " wrong, 0 failed to run\n");
    spawn_free(&s);
}

/* "N kernels", as the last line of a report says. */
static int count_kernels(const struct strbuf *report)
{
    int n = 0;
    for (const char *line = report->ptr; line; line = strchr(line, '\n'))
        if (sscanf(line += *line == '\n', "%d kernels: ", &n) == 1)
            return n;
    fail_msg("no line tells how many kernels were tested:\n%s", report->ptr);
    return 0;
}

/* A row that the device is lost with is named, and those after it are tested, too. */
TEST(a_report_goes_on_after_a_lost_device)
{
    struct spawn s = {0};
    layer_reset(layer_use());
    RUN(&s, "selftest", MODEL, "--device", "vulkan:0", "--rows", "matvec_f32");
    assert_code(&s, 0);
    int n = count_kernels(&s.out);
    assert_true(n > 10);
    spawn_free(&s);
    setenv("HEARTH_LAYER_FAIL", "vkQueueSubmit:5:-4", 1);
    RUN(&s, "selftest", MODEL, "--device", "vulkan:0", "--rows", "matvec_f32");
    unsetenv("HEARTH_LAYER_FAIL");
    assert_code(&s, 1);
    assert_contains(s.out.ptr, "\nFAILED ");
    assert_contains(s.out.ptr, "VK_ERROR_DEVICE_LOST");
    assert_contains(s.out.ptr, ": 0 wrong, 1 failed to run\n");
    assert_int_equal(count_kernels(&s.out), n);
    spawn_free(&s);
}

/* --- kernels that end the process ------------------------------------------------------------- */

static void eval(struct spawn *s)
{
    spawn_free(s);
    RUN(s, "eval", MODEL, "--ids", "1,2", "--logits", spawn_temp("logits"), "--device", "vulkan:0",
        "--ctx", "64");
}

/* What a driver does not survive twice is not tried again, which is said, and the next row takes
 * its place; once may have been anything. */
TEST(a_kernel_that_ends_the_process)
{
    struct spawn s = {0};
    char plan[32];
    layer_reset(layer_use());
    snprintf(plan, sizeof plan, "%llx",
             (unsigned long long)hash_of(shader_blob_find("matmul_lanes_q4_0")));
    setenv("HEARTH_LAYER_END", plan, 1);
    eval(&s);
    assert_code(&s, -1);
    unsetenv("HEARTH_LAYER_END");
    eval(&s);
    assert_code(&s, 0);
    assert_null(strstr(s.err.ptr, "is not used"));
    test_fresh_cache();
    setenv("HEARTH_LAYER_END", plan, 1);
    for (int i = 0; i < 2; i++) {
        eval(&s);
        assert_code(&s, -1);
    }
    eval(&s);
    assert_code(&s, 0);
    assert_contains(s.err.ptr,
                    "the kernel matmul_lanes_f32 (matmul_lanes_q4_0) is not used from now on");
    assert_contains(s.err.ptr, "hearth was ended 2 times while it ran; in its place: matmul_f32");
    eval(&s);
    assert_code(&s, 0);
    assert_contains(s.err.ptr, "the kernel matmul_lanes_f32 (matmul_lanes_q4_0) is not used, as ");
    unsetenv("HEARTH_LAYER_END");
    spawn_free(&s);
}

/* --- lies ------------------------------------------------------------------------------------- */

/* Kernels are shaped for a size of subgroups and are right at another: at 8 as well as at 4, of
 * which one is what the device has. */
TEST(subgroups_of_another_size)
{
    struct layer *layer = layer_use();
    for (uint32_t size = 4; size <= 8; size *= 2) {
        layer_reset(layer);
        layer->subgroup = size;
        test_fresh_cache();
        struct hth_model *model = open_on("vulkan:0");
        assert_true(hth_model_get_info(model).kernels_checked > 0);
        assert_int_equal(hth_model_get_info(model).kernels_wrong, 0);
        assert_right(model);
        hth_model_close(model);
    }
    layer->subgroup = 0;
}

/* --- logits that are none --------------------------------------------------------------------- */

/* Feeds one token; the status is the session's. */
static enum hth_status feed_one(struct hth_model *model)
{
    struct hth_session *session;
    struct hth_session_options options = {.n_ctx = 64};
    struct hth_feed feed = {.ids = &(int32_t){7}, .count = 1};
    if (hth_session_open(&session, model, &options) != HTH_OK)
        fail_msg("%s", test_log_text());
    enum hth_status status = hth_session_feed(session, &feed, 1);
    assert_int_equal(hth_session_length(session, 0), status == HTH_OK);
    hth_session_close(session);
    return status;
}

/* Kernels that nobody checked and that make nothing usable: the session goes on with plain ones. */
static void check_again(const char *blob, uint32_t value, uint32_t mask, struct feeding as)
{
    struct hth_model *model;
    struct layer *layer = flip(blob, value, mask);
    assert_int_equal(try_open(&model, "vulkan:0", NONE), HTH_OK);
    assert_right_so(model, as);
    assert_true(layer->n_flipped > 0);
    assert_logged("tried again with the plainest kernels");
    hth_model_close(model);
    layer->flip[0].mask = 0;
}

TEST(no_numbers_are_computed_again)
{
    check_again("matvec_q4_0", EIGHT, TO_INFINITY, (struct feeding){.n_batch = 64, .n_last = 1});
}

/* Of several batches only the last has logits to be looked at; what those before it left in the
 * cache is computed again, too. */
TEST(no_numbers_of_several_batches)
{
    check_again("matvec_q4_0", EIGHT, TO_INFINITY, (struct feeding){.n_batch = 16, .n_last = 1});
    check_again("matvec_q4_0", EIGHT, TO_INFINITY, (struct feeding){.n_batch = 12, .n_last = 1});
}

/* The kernels of 32 tokens are wrong, those of the 8 after them and of all that follow are not. */
TEST(no_numbers_of_an_early_batch)
{
    const struct table_entry as = {.row = "matmul_f16", .gain = 2, .whole = true};
    struct hth_model *model;
    layer_reset(layer_use());
    assert_int_equal(try_open(&model, "vulkan:0", NONE), HTH_OK);
    assert_true(model_tune(model, 32, &as) >= 4);
    hth_model_close(model);
    check_again("matmul_f16_q4_0", EIGHT, TO_INFINITY,
                (struct feeding){.n_batch = 32, .n_last = 1});
}

/* The sequences that share what such a batch left are right afterwards, each. */
TEST(no_numbers_that_are_shared)
{
    enum { N_PAGE = 64, N_SEQS = 3 };
    int32_t ids[N_PAGE + N_SEQS];
    float *logits[2][N_SEQS];
    size_t n_vocab = 0;
    for (int i = 0; i < N_PAGE + N_SEQS; i++)
        ids[i] = (i * 7919 + 13) % 500;
    for (int wrong = 0; wrong < 2; wrong++) {
        struct hth_model *model;
        struct hth_session *session;
        struct hth_session_options options = {.n_ctx = 128, .n_seqs = N_SEQS, .n_batch = 16};
        struct layer *layer = flip("matvec_q4_0", EIGHT, wrong ? TO_INFINITY : 0);
        assert_int_equal(try_open(&model, wrong ? "vulkan:0" : "cpu", NONE), HTH_OK);
        assert_int_equal(hth_session_open(&session, model, &options), HTH_OK);
        n_vocab = (size_t)hth_model_get_info(model).n_vocab;
        struct hth_feed begin = {.ids = ids, .count = N_PAGE, .outputs = HTH_OUTPUT_NONE};
        assert_int_equal(hth_session_feed(session, &begin, 1), HTH_OK);
        assert_string_equal(test_log_text(), ""); /* nobody has looked yet */
        for (int seq = 1; seq < N_SEQS; seq++)
            assert_int_equal(hth_session_share(session, seq, 0, N_PAGE), N_PAGE);
        for (int seq = 0; seq < N_SEQS; seq++) {
            struct hth_feed feed = {.seq = seq, .ids = &ids[N_PAGE + seq], .count = 1};
            if (hth_session_feed(session, &feed, 1) != HTH_OK)
                fail_msg("%s", test_log_text());
            logits[wrong][seq] = mem_alloc(n_vocab * sizeof *logits[wrong][seq]);
            assert_non_null(logits[wrong][seq]);
            memcpy(logits[wrong][seq], hth_session_logits(session, 0), n_vocab * sizeof(float));
        }
        if (wrong)
            assert_logged("tried again with the plainest kernels");
        hth_session_close(session);
        hth_model_close(model);
        layer->flip[0].mask = 0;
    }
    for (int seq = 0; seq < N_SEQS; seq++) {
        assert_true(test_nmse(logits[0][seq], logits[1][seq], n_vocab) < 1e-3);
        mem_free(logits[0][seq]);
        mem_free(logits[1][seq]);
    }
}

/* Zeros are no logits either. */
TEST(all_zero_is_computed_again)
{
    check_again("matvec_q4_0", ONE, ONE, (struct feeding){.n_batch = 64, .n_last = 2});
    check_again("matvec_q4_0", ONE, ONE, (struct feeding){.n_batch = 16, .n_last = 2});
}

/* Where plain kernels make none, the answer stops with a sentence, and nothing is in the cache. */
TEST(no_numbers_at_all)
{
    struct hth_model *model;
    struct layer *layer = flip("get_rows_q4_0", EIGHT, TO_INFINITY);
    assert_int_equal(try_open(&model, "vulkan:0", NONE), HTH_OK);
    assert_int_equal(feed_one(model), HTH_ERROR_FORMAT);
    assert_logged("tried again with the plainest kernels");
    assert_logged("the answer stops here; use --device cpu");
    hth_model_close(model);
    layer->flip[0].mask = 0;
}

/* The likeliest token after another, as the session found it or by all logits. */
static int32_t likeliest(struct hth_model *model, bool best)
{
    struct hth_session *session;
    struct hth_session_options options = {.n_ctx = 64, .n_best = best};
    struct hth_feed feed = {.ids = &(int32_t){7}, .count = 1, .n_best = best};
    if (hth_session_open(&session, model, &options) != HTH_OK ||
        hth_session_feed(session, &feed, 1) != HTH_OK)
        fail_msg("%s", test_log_text());
    assert_int_equal(hth_session_best(session, 0).count, best);
    const float *logits = hth_session_logits(session, 0);
    int32_t id = best ? hth_session_best(session, 0).ids[0] : 0;
    for (int i = 1; i < hth_model_get_info(model).n_vocab && !best; i++)
        id = logits[i] > logits[id] ? i : id;
    hth_session_close(session);
    return id;
}

/* Of logits that are none there is no best: it is the same retry for who asked for that alone. */
TEST(no_best_is_computed_again)
{
    struct hth_model *model;
    struct layer *layer = flip("matvec_q4_0", EIGHT, TO_INFINITY);
    assert_int_equal(try_open(&model, "vulkan:0", NONE), HTH_OK);
    int32_t id = likeliest(model, true);
    assert_logged("tried again with the plainest kernels");
    assert_int_equal(id, likeliest(model, false));
    hth_model_close(model);
    layer->flip[0].mask = 0;
}

/* A kernel that chooses wrongly is found, and the host chooses in its place. */
TEST(a_bit_of_a_choice)
{
    struct layer *layer = flip("top_k", 0x80000000, 1u << 30);
    struct hth_model *model = open_on("vulkan:0");
    assert_true(layer->n_flipped > 0);
    assert_logged("the kernel top_k (top_k) is not used");
    assert_logged("in its place: the CPU");
    assert_int_equal(likeliest(model, true), likeliest(model, false));
    hth_model_close(model);
    layer->flip[0].mask = 0;
}

/* --- the record ------------------------------------------------------------------------------- */

TEST(what_was_checked_is_not_checked_again)
{
    layer_reset(layer_use());
    for (int start = 0; start < 2; start++) {
        struct hth_model *model = open_on("vulkan:0");
        struct hth_model_info info = hth_model_get_info(model);
        assert_int_equal(info.kernels_checked > 0, start == 0);
        assert_int_equal(info.kernels_wrong, 0);
        assert_false(info.kernels_left);
        assert_int_equal(info.kernels_checked_s > 0, start == 0);
        assert_string_equal(test_log_text(), "");
        hth_model_close(model);
    }
}

/* Where time is up the others come at the next start. */
TEST(what_time_does_not_suffice_for)
{
    static const double instant = 1e-9;
    struct hth_model *model;
    layer_reset(layer_use());
    model = open_on("vulkan:0");
    int n_all = hth_model_get_info(model).kernels_checked;
    hth_model_close(model);
    test_fresh_cache();
    assert_int_equal(try_open(&model, "vulkan:0", instant), HTH_OK);
    struct hth_model_info info = hth_model_get_info(model);
    assert_true(info.kernels_left);
    assert_true(info.kernels_checked > 0 && info.kernels_checked < n_all / 2);
    assert_right(model);
    hth_model_close(model);
    int n_first = info.kernels_checked;
    model = open_on("vulkan:0");
    info = hth_model_get_info(model);
    assert_false(info.kernels_left);
    assert_int_equal(info.kernels_checked, n_all - n_first);
    hth_model_close(model);
}

static int count_compiled(const struct layer *layer)
{
    for (size_t i = 0; i < layer->n_calls; i++)
        if (strcmp(layer->calls[i].name, "vkCreateComputePipelines") == 0)
            return layer->calls[i].n_calls;
    fail_msg("the layer does not count pipelines");
    return 0;
}

static void feed_each(struct hth_model *model, int n_seqs, int n_tokens)
{
    enum { MOST_SEQS = 4 };
    static const int32_t ids[512];
    struct hth_session *session;
    struct hth_session_options options = {.n_ctx = 512, .n_seqs = n_seqs};
    struct hth_feed feeds[MOST_SEQS];
    for (int i = 0; i < n_seqs; i++)
        feeds[i] = (struct hth_feed){.seq = i, .ids = ids, .count = n_tokens};
    assert_int_equal(hth_session_open(&session, model, &options), HTH_OK);
    assert_int_equal(hth_session_feed(session, feeds, n_seqs), HTH_OK);
    hth_session_close(session);
}

/* Whatever the size of a batch, its kernels were checked; with one sequence or several. */
TEST(none_is_compiled_later)
{
    static const int sizes[] = {1,  2,  3,  4,  5,  6,  7,  8,  9,   10,  11,
                                12, 13, 14, 15, 16, 32, 64, 65, 129, 257, 512};
    struct layer *layer = layer_use();
    layer_reset(layer);
    meant.path = "synth:tiny-llama:q4_k_s"; /* whose output has a format of its own */
    for (int n_seqs = 1; n_seqs <= 4; n_seqs++) {
        meant.n_seqs = n_seqs;
        struct hth_model *model = open_on("vulkan:0");
        int n_compiled = count_compiled(layer);
        assert_true(n_compiled > 0);
        for (size_t i = 0; i < ARRAY_LEN(sizes) && sizes[i] * n_seqs <= 512; i++) {
            feed_each(model, n_seqs, sizes[i]);
            if (count_compiled(layer) > n_compiled)
                fail_msg("%d kernels that %d tokens of each of %d sequences need were not there",
                         count_compiled(layer) - n_compiled, sizes[i], n_seqs);
        }
        hth_model_close(model);
        test_fresh_cache();
    }
    meant.path = MODEL;
    meant.n_seqs = 1;
}

/* The only file of a folder of the cache. */
static void find_record(char *path, size_t size)
{
    char folder[1024];
    snprintf(folder, sizeof folder, "%s/selftest", getenv("HEARTH_CACHE"));
    DIR *list = opendir(folder);
    assert_non_null(list);
    path[0] = '\0';
    for (const struct dirent *entry = readdir(list); entry; entry = readdir(list))
        if (strstr(entry->d_name, ".json"))
            snprintf(path, size, "%s/%s", folder, entry->d_name);
    closedir(list);
    assert_true(path[0] != '\0');
}

/* What hearth did not write is ignored with a line, and all is checked again. */
TEST(records_that_are_none)
{
    static const char *const texts[] = {"", "{", "[]", "{\"of\": \"another\"}",
                                        "{\"of\": 1, \"right\": {}, \"wrong\": []}"};
    char path[2048];
    layer_reset(layer_use());
    hth_model_close(open_on("vulkan:0"));
    find_record(path, sizeof path);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        test_put_text(path, texts[i]);
        struct hth_model *model = open_on("vulkan:0");
        assert_logged(" is ignored, as ");
        assert_true(hth_model_get_info(model).kernels_checked > 0);
        hth_model_close(model);
    }
    struct hth_model *model = open_on("vulkan:0");
    assert_int_equal(hth_model_get_info(model).kernels_checked, 0);
    hth_model_close(model);
}

/* --- kernels that were tuned ------------------------------------------------------------------ */

/* What measuring proposed and is wrong is not used any more; the rows that are used without it are,
 * as nothing is known against them. That is kept. */
TEST(a_bit_of_a_tuned_kernel)
{
    const struct table_entry as = {.row = "matmul_f16", .gain = 2, .whole = true};
    layer_reset(layer_use());
    struct hth_model *model = open_on("vulkan:0");
    assert_true(model_tune(model, 64, &as) >= 4);
    hth_model_close(model);
    struct layer *layer = flip("matmul_f16_q4_0", EIGHT, MIDDLE_BIT);
    model = open_on("vulkan:0");
    assert_true(layer->n_flipped > 0);
    assert_logged("the kernel matmul_f16 (matmul_f16_q4_0) is not used as it was tuned");
    assert_int_equal(hth_model_get_info(model).kernels_wrong, 0);
    assert_right(model);
    hth_model_close(model);
    model = open_on("vulkan:0"); /* the log is empty again */
    assert_string_equal(test_log_text(), "");
    assert_right(model);
    hth_model_close(model);
    layer->flip[0].mask = 0;
}
