#include "logits.h"

#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "engine/engine.h"

/* cost: 20 */

/* Every architecture, and a real model, gives the same answer wherever its parts live: divided at
 * random, and by the plan for less and less of the device's memory, of which it takes to the byte
 * what was planned. Logits of a prompt and of an answer along the greedy ids of the model whole;
 * the choice may differ only where the two best are as close as rounding can bring them. */

enum { N_ANSWER = 12, MOST_NARROW = 4 };

static const double TOLERANCE = 1e-6;

struct model_run {
    const char *path;
    int n_batch;
    struct hth_model_options options;
    struct random_places *places; /* NULL: by the plan */
    uint64_t whole_bytes;
    bool divided;
};

/* What a model says: of each of n_prompt tokens and of the answer's, one after the other. */
struct said {
    int32_t *ids; /* [n] */
    int n_prompt, n;
    float *logits; /* [n × n_vocab] */
    size_t n_vocab;
};

static struct hth_session_options shape_of(const struct model_run *run, const struct said *said)
{
    return (struct hth_session_options){.n_ctx = said->n,
                                        .n_batch = run->n_batch,
                                        .n_outputs = run->n_batch,
                                        .kv = HTH_KV_F32,
                                        .float_only = true};
}

/* Can errors within the tolerance change which of a row's is best? */
static bool is_narrow(const float *row, size_t n)
{
    double square = 0;
    size_t best[2];
    logits_top(row, n, best);
    for (size_t i = 0; i < n; i++)
        square += (double)row[i] * row[i];
    return row[best[0]] - row[best[1]] <= 4 * sqrt(2 * TOLERANCE * square / (double)n);
}

static void feed(struct hth_session *session, struct said *said, int at, int n)
{
    struct hth_feed feed = {.ids = said->ids + at, .count = n, .outputs = HTH_OUTPUT_ALL};
    if (hth_session_feed(session, &feed, 1) != HTH_OK)
        fail_msg("%s", test_log_text());
    memcpy(said->logits + (size_t)at * said->n_vocab, hth_session_logits(session, 0),
           (size_t)n * said->n_vocab * sizeof *said->logits);
}

/* Says it; the first time (`learns`) each token of the answer is the best of those before. */
static void say(struct hth_session *session, struct said *said, bool learns)
{
    size_t best[2];
    feed(session, said, 0, said->n_prompt);
    for (int at = said->n_prompt; at < said->n; at++) {
        if (learns) {
            logits_top(said->logits + (size_t)(at - 1) * said->n_vocab, said->n_vocab, best);
            said->ids[at] = (int32_t)best[0];
        }
        feed(session, said, at, 1);
    }
}

static void check_bytes(const struct hth_model *model, const struct model_run *run)
{
    for (int d = 1; d < model->n_devices; d++) {
        uint64_t taken = vk_allocated_bytes(model->devices[d].vk, VK_MEMORY_DEVICE);
        uint64_t planned = device_need_all(&model->placing.need[d]);
        if (taken != planned || (run->options.vram_bytes && taken > run->options.vram_bytes))
            fail_msg("%s: %llu bytes planned, %llu allocated, of %llu", run->path,
                     (unsigned long long)planned, (unsigned long long)taken,
                     (unsigned long long)run->options.vram_bytes);
    }
}

static void run_model(struct model_run *run, struct said *said, bool learns)
{
    struct hth_session *session;
    struct hth_session_options shape = shape_of(run, said);
    run->options.device = test_device();
    run->options.session = shape;
    run->options.place = run->places ? random_place : NULL;
    run->options.place_user = run->places;
    struct hth_model *model = model_open(run->path, run->options);
    run->whole_bytes = model->placing.whole_bytes;
    run->divided = split_needs_host(&model->placing.split) && model->n_devices > 1;
    if (hth_session_open(&session, model, &shape) != HTH_OK)
        fail_msg("%s", test_log_text());
    check_bytes(model, run);
    say(session, said, learns);
    check_bytes(model, run);
    hth_session_close(session);
    hth_model_close(model);
}

/* Against what the model says whole. */
static void compare(struct model_run *run, const struct said *want, const char *how)
{
    struct said got = *want;
    size_t n_all = (size_t)want->n * want->n_vocab;
    got.logits = mem_calloc(n_all, sizeof *got.logits);
    assert_non_null(got.logits);
    run_model(run, &got, false);
    double nmse = test_nmse(want->logits, got.logits, n_all);
    printf("%s, %s: %s, NMSE %.1e\n", run->path, how, run->divided ? "divided" : "in one piece",
           nmse);
    if (!(nmse <= TOLERANCE))
        fail_msg("%s, %s: NMSE %g", run->path, how, nmse);
    for (int i = 0; i < want->n; i++) {
        size_t before[2], now[2], at = (size_t)i * want->n_vocab;
        logits_top(want->logits + at, want->n_vocab, before);
        logits_top(got.logits + at, want->n_vocab, now);
        if (before[0] != now[0] && !is_narrow(want->logits + at, want->n_vocab))
            fail_msg("%s, %s: token %d is %zu instead of %zu", run->path, how, i, now[0],
                     before[0]);
    }
    mem_free(got.logits);
}

static void learn(struct model_run *run, const struct golden *golden, struct said *want)
{
    *want = (struct said){.n_prompt = golden->n_tokens,
                          .n = golden->n_tokens + N_ANSWER,
                          .n_vocab = (size_t)golden->n_vocab};
    want->ids = mem_calloc((size_t)want->n, sizeof *want->ids);
    want->logits = mem_calloc((size_t)want->n * want->n_vocab, sizeof *want->logits);
    assert_true(want->ids && want->logits);
    memcpy(want->ids, golden->tokens, (size_t)want->n_prompt * sizeof *want->ids);
    run_model(run, want, true);
    assert_false(run->divided);
    int n_narrow = 0;
    for (int i = 0; i < want->n; i++)
        n_narrow += is_narrow(want->logits + (size_t)i * want->n_vocab, want->n_vocab);
    printf("%s: %d of %d tokens by a narrow margin\n", run->path, n_narrow, want->n);
    assert_true(n_narrow <= MOST_NARROW);
}

struct split_case {
    const char *path, *golden;
    int n_batch, n_places;
    uint64_t percents[4]; /* of the bytes of all of it; 0: no more */
};

static void check(const struct split_case *c)
{
    struct golden golden;
    struct said want;
    struct model_run whole = {.path = c->path, .n_batch = c->n_batch};
    test_device(); /* skips where there is none, with nothing to be freed */
    golden_open(&golden, c->golden);
    whole.options.treat_as_discrete = true;
    learn(&whole, &golden, &want);
    int n_divided = 0;
    for (int i = 0; i < c->n_places; i++) {
        struct random_places places = {
            .seed = (uint64_t)i + 20261122, .mode = (enum random_mode)i, .n_gpus = 1};
        struct model_run run = {.path = c->path, .n_batch = c->n_batch, .places = &places};
        compare(&run, &want, "at random");
        n_divided += run.divided;
    }
    for (int i = 0; i < 4 && c->percents[i]; i++) {
        struct model_run run = {.path = c->path, .n_batch = c->n_batch};
        run.options.treat_as_discrete = true;
        run.options.vram_bytes = whole.whole_bytes * c->percents[i] / 100;
        compare(&run, &want, "with less memory");
        n_divided += run.divided;
    }
    assert_true(n_divided > c->n_places / 2);
    mem_free(want.ids);
    mem_free(want.logits);
    golden_close(&golden);
}

/* A small random model of an architecture; with experts also in the ways that only they have. */
static void check_rich(const char *name, bool experts)
{
    struct split_case c = {.n_batch = 24, .n_places = experts ? 4 : 2, .percents = {85, 50}};
    char path[1024], golden[1024];
    snprintf(path, sizeof path, "%s", test_golden_path("rich/models/%s.gguf", name));
    snprintf(golden, sizeof golden, "%s", test_golden_path("rich/logits/%s.gguf", name));
    c.path = path;
    c.golden = golden;
    check(&c);
}

TEST(llamas_vulkan)
{
    check_rich("llama-gqa", false);
    check_rich("llama-yarn", false);
    check_rich("llama-linear", false);
    check_rich("mistral3", false);
    check_rich("smollm3", false);
}

TEST(others_vulkan)
{
    check_rich("qwen2", false);
    check_rich("qwen3", false);
    check_rich("seed_oss", false);
    check_rich("cohere2", false);
}

TEST(experts_vulkan)
{
    check_rich("llama-moe", true);
    check_rich("qwen3moe", true);
}

/* SmolLM2-135M-Instruct. */
TEST(real_vulkan)
{
    char path[1024], golden[1024];
    snprintf(path, sizeof path, "%s", test_real_model());
    snprintf(golden, sizeof golden, "%s", test_golden_path("real/smollm2-sky.gguf"));
    check(&(struct split_case){path, golden, .n_batch = 24, .n_places = 2, .percents = {75, 40}});
}
