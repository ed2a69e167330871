#include "logits.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/engine.h"

/* cost: 30 */

/* Whatever experts change places between the device and the CPU, and whenever, a model computes
 * what it computes whole: in single tokens, in batches, and in batches for which weights are
 * streamed. */

enum { N_CTX = 112, N_BATCH = 24, N_SINGLE = 20 };
/* How tokens are fed: a prompt, an answer, more of a prompt, more of the answer. */
static const int pieces[] = {N_BATCH, -N_SINGLE, 3, N_BATCH, -N_SINGLE};

struct run {
    uint64_t vram_bytes, whole, planned;
    bool discrete, shuffled, refused, streamed;
    size_t n_vocab, n_tokens;
    struct slots_count count;
};

/* Swaps that no policy would make: any expert for any other, now many, now none. */
struct shuffle {
    struct rng rng;
    const struct hth_model *model;
};

static int any_at(struct shuffle *shuffle, const struct slots *slots, int layer,
                  enum slots_place place)
{
    int n_expert = shuffle->model->model->hp.n_expert;
    for (int i = 0; i < 200; i++) {
        int expert = (int)rng_below(&shuffle->rng, (uint32_t)n_expert);
        if (slots_place_of(slots, layer, expert) == place)
            return expert;
    }
    return -1;
}

static bool choose(void *user, const struct slots *slots, struct slots_swap *swap)
{
    struct shuffle *shuffle = user;
    const struct hth_model *model = shuffle->model;
    int layer = (int)rng_below(&shuffle->rng, (uint32_t)model->model->hp.n_layer);
    if (rng_below(&shuffle->rng, 3) == 0 || !placing_caches(&model->placing, layer))
        return false;
    *swap = (struct slots_swap){layer, any_at(shuffle, slots, layer, SLOTS_HERE),
                                any_at(shuffle, slots, layer, SLOTS_HOST)};
    return swap->gone >= 0 && swap->comes >= 0;
}

static void feed(struct hth_session *session, const int32_t *ids, int n, float *out, size_t n_vocab)
{
    struct hth_feed feed = {.ids = ids, .count = n, .outputs = HTH_OUTPUT_ALL};
    if (hth_session_feed(session, &feed, 1) != HTH_OK)
        fail_msg("%s", test_log_text());
    memcpy(out, hth_session_logits(session, 0), (size_t)n * n_vocab * sizeof *out);
}

/* The device refuses an expert that is half way there. */
static void feed_refused(struct hth_session *session, const int32_t *ids, float *out,
                         size_t n_vocab)
{
    struct experts *experts = session->model->experts;
    const char *warning = "the device takes no more experts";
    enum { NO_CHUNK = 200 };
    struct experts_swap *swap = &experts->swaps[experts->n_sent];
    bool half = experts->n_swaps > experts->n_sent && swap->sent > 0 && !experts->refused;
    uint32_t *chunk = &swap->parts[swap->matrix].chunk, was = half ? *chunk : 0;
    if (half)
        *chunk = NO_CHUNK;
    feed(session, ids, 1, out, n_vocab);
    if (half) {
        assert_true(experts->refused && experts->n_sent == 0);
        assert_logged(warning);
        *chunk = was;
    }
}

static float *feed_all(struct hth_session *session, struct run *run)
{
    float *out = mem_alloc(N_CTX * run->n_vocab * sizeof *out);
    int32_t ids[N_CTX];
    size_t at = 0;
    assert_non_null(out);
    for (int i = 0; i < N_CTX; i++)
        ids[i] = (int32_t)((size_t)i * 7919 % run->n_vocab);
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        int n = pieces[i] < 0 ? -pieces[i] : pieces[i], each = pieces[i] < 0 ? 1 : n;
        for (int k = 0; k < n; k += each, at += (size_t)each)
            if (run->refused && each == 1)
                feed_refused(session, ids + at, out + at * run->n_vocab, run->n_vocab);
            else
                feed(session, ids + at, each, out + at * run->n_vocab, run->n_vocab);
    }
    run->n_tokens = at;
    return out;
}

/* Each expert of a divided layer is in one place: the device's, or the CPU's. */
static void check_places(const struct hth_model *model)
{
    const struct experts *experts = model->experts;
    for (size_t i = 0; experts && i < model->model->n_weights; i++) {
        const struct weight *weight = model->model->weights[i];
        int layer = split_is_experts(weight) ? model_layer_of(weight->name) : -1;
        for (int e = 0; layer >= 0 && e < weight->ne[2]; e++) {
            bool there = model->devices[1].place.weights[i].parts[e].size_bytes > 0;
            assert_int_equal(there, split_has(&model->placing.split, 1, weight, e));
            if (placing_caches(&model->placing, layer))
                assert_int_equal(there, slots_place_of(experts->slots, layer, e) == SLOTS_HERE);
        }
    }
}

static float *compute(struct run *run, const char *path)
{
    struct hth_session_options shape = {.n_ctx = N_CTX,
                                        .n_seqs = 1,
                                        .n_batch = N_BATCH,
                                        .n_outputs = N_BATCH,
                                        .kv = HTH_KV_F32,
                                        .float_only = true};
    struct hth_model *model =
        model_open(path, (struct hth_model_options){.device = test_device(),
                                                    .treat_as_discrete = run->discrete,
                                                    .vram_bytes = run->vram_bytes,
                                                    .session = shape});
    struct shuffle shuffle = {rng_seed(run->vram_bytes), model};
    struct hth_session *session;
    run->n_vocab = (size_t)hth_model_get_info(model).n_vocab;
    run->planned = hth_model_get_plan(model).gpu_bytes;
    run->whole = model->placing.whole_bytes;
    if (model->experts && run->shuffled) {
        model->experts->choose = choose;
        model->experts->user = &shuffle;
    }
    if (model->experts && run->refused)
        model->experts->options.most_bytes = 100 << 10; /* less than a matrix of an expert */
    assert_int_equal(hth_session_open(&session, model, &shape), HTH_OK);
    float *out = feed_all(session, run);
    check_places(model);
    assert_int_equal(vk_allocated_bytes(model->devices[1].vk, VK_MEMORY_DEVICE), run->planned);
    run->streamed = session->gpu[1].exec && gpu_exec_passed_bytes(session->gpu[1].exec) > 0;
    run->count = experts_count(model->experts);
    assert_int_equal(hth_session_get_info(session).expert_uses, run->count.uses);
    assert_int_equal(hth_session_get_info(session).expert_hits, run->count.hits);
    assert_true(!run->refused || !model->experts || model->experts->refused);
    hth_session_close(session);
    hth_model_close(model);
    return out;
}

static void check(const char *path, const struct run *how)
{
    struct run whole = {.discrete = how->discrete};
    test_set_env("HEARTH_CACHE", test_temp_path("cache"));
    float *want = compute(&whole, path);
    uint64_t swaps = 0;
    for (uint64_t percent = 60; percent < 100; percent += 20) {
        struct run run = *how;
        run.vram_bytes = whole.whole * percent / 100;
        float *got = compute(&run, path);
        double nmse = test_nmse(want, got, run.n_tokens * run.n_vocab);
        print_message("%s at %d %%: %d of %d uses hit, %d uploads, streamed: %d, NMSE %.1e\n", path,
                      (int)percent, (int)run.count.hits, (int)run.count.uses,
                      (int)run.count.uploads, run.streamed, nmse);
        mem_free(got);
        swaps += run.count.uploads;
        if (!(nmse <= 1e-6))
            fail_msg("%s at %d %%: NMSE %g", path, (int)percent, nmse);
    }
    assert_true(how->discrete ? swaps > (how->shuffled && !how->refused ? 20 : 0) : swaps == 0);
    mem_free(want);
}

TEST(any_place_gives_the_same_vulkan)
{
    check("synth:tiny-moe:q8_0", &(struct run){.discrete = true, .shuffled = true});
}

TEST(what_is_used_comes_vulkan)
{
    check("synth:tiny-moe:q4_k_m", &(struct run){.discrete = true});
}

TEST(what_is_refused_stays_vulkan)
{
    check("synth:tiny-moe:q8_0",
          &(struct run){.discrete = true, .shuffled = true, .refused = true});
}

TEST(shared_memory_has_no_cache_vulkan)
{
    check("synth:tiny-moe:q8_0", &(struct run){.shuffled = true});
}

/* --- at the same time ------------------------------------------------------------------------- */

/* A token by both sides, and how long this one waited for the other. */
struct both {
    struct hth_session *session;
    uint64_t waited_ns;
};

static enum hth_status wait_hop(void *user, int device, int hop)
{
    struct both *both = user;
    uint64_t begun_ns = os_time_ns();
    enum hth_status status = gpu_exec_wait_hop(both->session->gpu[device].exec, hop);
    both->waited_ns += os_time_ns() - begun_ns;
    return status;
}

static enum hth_status advance(void *user, int device, int hop)
{
    struct both *both = user;
    uint64_t begun_ns = os_time_ns();
    enum hth_status status = gpu_exec_advance(both->session->gpu[device].exec, hop);
    both->waited_ns += os_time_ns() - begun_ns;
    return status;
}

static struct cpu_exec *exec_of_token(const struct hth_session *session)
{
    for (int i = 0; i < MAX_CPU_BUCKETS; i++)
        if (session->cpu[i].exec && session->cpu[i].size.n_tokens == 1)
            return session->cpu[i].exec;
    fail_msg("the CPU has no part of a token");
    return NULL;
}

static uint64_t busy_ns(struct hth_session *session)
{
    const struct program *program;
    const struct batch_size size = {.n_tokens = 1, .n_outputs = 1};
    uint64_t sum = 0;
    assert_int_equal(gpu_exec_program(session->gpu[1].exec, size, &program), HTH_OK);
    uint64_t *times = mem_calloc(program->n_steps, sizeof *times);
    assert_non_null(times);
    assert_int_equal(gpu_exec_times(session->gpu[1].exec, size, times), HTH_OK);
    for (size_t i = 0; i < program->n_steps; i++)
        sum += times[i];
    mem_free(times);
    return sum;
}

/* The part of the shorter one's work in which both were at it, at least: together they worked for
 * longer than passed. */
static double part_at_once(struct hth_session *session)
{
    const void *result;
    struct both both = {session, 0};
    struct batch batch = session->last;
    const struct cpu_hops hops = {.memory = {NULL, gpu_exec_hops(session->gpu[1].exec)},
                                  .before_read = wait_hop,
                                  .after_write = advance,
                                  .user = &both};
    uint64_t begun_ns = os_time_ns();
    assert_int_equal(gpu_exec_start(session->gpu[1].exec, &batch), HTH_OK);
    assert_int_equal(gpu_exec_advance(session->gpu[1].exec, -1), HTH_OK);
    uint64_t cpu_ns = os_time_ns();
    assert_int_equal(cpu_exec_run(exec_of_token(session), &batch, session->cpu_pages, &hops),
                     HTH_OK);
    cpu_ns = os_time_ns() - cpu_ns - both.waited_ns;
    assert_int_equal(gpu_exec_finish(session->gpu[1].exec, &batch, &result), HTH_OK);
    uint64_t all_ns = os_time_ns() - begun_ns;
    double cpu = (double)cpu_ns, gpu = (double)busy_ns(session);
    return (cpu + gpu - (double)all_ns) / (cpu < gpu ? cpu : gpu);
}

/* By the clocks of both, that are never added up where one waits for the other. */
TEST(both_sides_work_at_once_vulkan)
{
    enum { TRIES = 300 };
    struct hth_session_options shape = {.n_ctx = 64, .n_batch = 8, .profile = true};
    test_set_env("HEARTH_CACHE", test_temp_path("cache"));
    struct hth_model_options options = {
        .device = test_device(), .treat_as_discrete = true, .session = shape};
    struct hth_model *model = model_open("synth:tiny-moe:q8_0", options);
    options.vram_bytes = model->placing.whole_bytes * 7 / 10;
    hth_model_close(model);
    model = model_open("synth:tiny-moe:q8_0", options);
    struct hth_session *session;
    assert_true(model->experts != NULL);
    assert_int_equal(hth_session_open(&session, model, &shape), HTH_OK);
    struct hth_feed one = {.ids = (int32_t[]){7}, .count = 1};
    assert_int_equal(hth_session_feed(session, &one, 1), HTH_OK);
    double most = -1, now;
    for (int i = 0; i < TRIES && most < 0.2; i++)
        most = (now = part_at_once(session)) > most ? now : most;
    print_message("both at work for %.0f %% at least\n", 100 * most);
    assert_true(most >= 0.2);
    hth_session_close(session);
    hth_model_close(model);
}
