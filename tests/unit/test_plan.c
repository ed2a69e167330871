/* Whole plans of made models on invented machines: against what is set by hand, as memory grows, in
 * time, and when memory for planning itself runs out. */
#include "harness/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/os.h"
#include "engine/plan_part.h"

static const char *const machines[] = {"card-8", "card-12", "card-24", "apu-64", "two-cards"};

static struct plan_request request_for(const char *model, const char *path)
{
    return (struct plan_request){.model = model,
                                 .profile = path,
                                 .device = {.session = {.n_ctx = 4096}},
                                 .expert_skew = 0.7};
}

/* Seconds of a turn: by what hearth may do one day, and as models run so far. */
enum { ONE_DAY, SO_FAR, WAYS };
struct seconds {
    double by[WAYS];
};

/* Zeros where nothing fits. */
static struct seconds turn_s(const struct plan_request *request)
{
    struct plan_report *report;
    if (plan_report_open(&report, request) != HTH_OK)
        return (struct seconds){{0}};
    const struct plan *plan = &report->plan;
    struct seconds seconds = {
        {plan->turn_s, plan->turn.n_in / plan->so_far.prompt_tokens_per_s +
                           plan->turn.n_out / plan->so_far.answer_tokens_per_s}};
    for (int d = 1; d < report->machine.n_devices; d++)
        assert_true(report->plan.heaps[d].planned <= report->plan.heaps[d].budget);
    plan_report_close(report);
    return seconds;
}

/* Every number of layers, with and without experts: up to the carrying over of copies from layer to
 * layer, which the search leaves out. */
static void hold_against_hand(const char *model)
{
    double worst[WAYS] = {0};
    int n_compared = 0;
    for (size_t m = 0; m < ARRAY_LEN(machines); m++) {
        char path[512];
        snprintf(path, sizeof path, "%s", test_data_path("machines/%s.json", machines[m]));
        struct plan_request request = request_for(model, path);
        struct seconds chosen = turn_s(&request);
        assert_true(chosen.by[ONE_DAY] > 0 && chosen.by[SO_FAR] > 0);
        for (int n = 0; n <= 81; n += 4)
            for (int apart = 0; apart < 2; apart++) {
                request.device.gpu_layers = n ? n : -1;
                request.device.n_cpu_moe = apart ? 1000 : 0;
                struct seconds by_hand = turn_s(&request);
                n_compared += by_hand.by[ONE_DAY] > 0;
                for (int way = 0; way < WAYS && by_hand.by[way] > 0; way++)
                    worst[way] = fmax(worst[way], chosen.by[way] / by_hand.by[way] - 1);
            }
    }
    print_message("%s: at most %.2f %% slower than %d by hand, as run so far %.2f %%\n", model,
                  100 * worst[ONE_DAY], n_compared, 100 * worst[SO_FAR]);
    assert_true(n_compared >= 20);
    assert_true(worst[ONE_DAY] <= 0.01 && worst[SO_FAR] <= 0.01);
}

TEST(dense_models_are_never_slower_than_by_hand)
{
    hold_against_hand("synth:llama-8b:q8_0");
    hold_against_hand("synth:llama-70b:q4_k_m");
}

TEST(experts_are_never_slower_than_by_hand)
{
    hold_against_hand("synth:mixtral-8x7b:q4_k_m");
    hold_against_hand("synth:qwen3-30b-a3b:q4_k_m");
}

TEST(more_vram_is_never_slower)
{
    static const char *const models[] = {"synth:llama-70b:q4_k_m", "synth:qwen3-30b-a3b:q4_k_m"};
    for (size_t m = 0; m < ARRAY_LEN(models); m++) {
        char path[512];
        snprintf(path, sizeof path, "%s", test_data_path("machines/card-24.json"));
        struct plan_request request = request_for(models[m], path);
        struct seconds before = {{1e30, 1e30}};
        for (uint64_t step = 1; step <= 24; step++) {
            request.device.vram_bytes = step << 30;
            struct seconds now = turn_s(&request);
            for (int way = 0; way < WAYS; way++) {
                assert_true(now.by[way] > 0);
                if (now.by[way] > before.by[way] * 1.01) /* carried copies, again */
                    fail_msg("%s: %.4f s with %d GiB, %.4f s with one less", models[m], now.by[way],
                             (int)step, before.by[way]);
            }
            before = now;
        }
    }
}

#if defined(__SANITIZE_ADDRESS__)
enum { TOO_LONG_S = 20 };
#else
enum { TOO_LONG_S = 1 };
#endif

TEST(takes_less_than_a_second)
{
    for (size_t m = 0; m < ARRAY_LEN(machines); m++) {
        char path[512];
        snprintf(path, sizeof path, "%s", test_data_path("machines/%s.json", machines[m]));
        struct plan_request request = request_for("synth:qwen3-30b-a3b:q4_k_m", path);
        uint64_t best_ns = UINT64_MAX;
        for (int i = 0; i < 3; i++) {
            uint64_t began = os_time_ns();
            assert_true(turn_s(&request).by[SO_FAR] > 0);
            uint64_t took = os_time_ns() - began;
            best_ns = took < best_ns ? took : best_ns;
        }
        print_message("%s: %.0f ms\n", machines[m], (double)best_ns / 1e6);
        assert_true(best_ns < TOO_LONG_S * 1000ull * 1000 * 1000);
    }
}

/* A larger batch where the bus is slow, and no larger one than the prompt. */
TEST(slow_buses_want_large_batches)
{
    char path[512];
    struct plan_report *report;
    snprintf(path, sizeof path, "%s", test_data_path("machines/card-8.json"));
    struct plan_request request = request_for("synth:qwen3-30b-a3b:q4_k_m", path);
    request.turn = PLAN_LONG_PROMPT;
    request.device.session.n_ctx = 16384;
    assert_int_equal(plan_report_open(&report, &request), HTH_OK);
    assert_true(report->plan.turn.n_batch >= 2000);
    double chosen = report->plan.prompt_tokens_per_s;
    plan_report_close(report);
    request.device.session.n_batch = 512;
    assert_int_equal(plan_report_open(&report, &request), HTH_OK);
    assert_true(report->plan.turn.n_batch <= 512);
    assert_true(report->plan.prompt_tokens_per_s < 0.7 * chosen);
    plan_report_close(report);
}

static int batch_of_runs(const char *machine, const char *model, int n_in, bool stands_in)
{
    char path[512];
    struct plan_report *report;
    int n = 512;
    snprintf(path, sizeof path, "%s", test_data_path("machines/%s.json", machine));
    struct plan_request request = request_for(model, path);
    request.device.session.n_ctx = 16384;
    assert_int_equal(plan_report_open(&report, &request), HTH_OK);
    struct plan_options options = {.n_in = n_in, .skew = 0.7, .as_run = true};
    report->machine.devices[1].stands_in = stands_in;
    assert_int_equal(plan_choose_batch(&n, &report->machine, &report->units, &options, test_log()),
                     HTH_OK);
    plan_report_close(report);
    print_message("%s on %s: batches of %d\n", model, machine, n);
    return n;
}

/* Runs, too, have larger batches where each copies the weights over a slow bus; not where computing
 * takes as long, all is on the GPU, nothing is streamed, or a program is to stand in for a GPU. */
TEST(runs_have_large_batches_where_that_pays)
{
    const char *moe = "synth:qwen3-30b-a3b:q4_k_m", *large = "synth:llama-70b:q4_k_m";
    assert_int_equal(batch_of_runs("card-8", moe, 1000, false), 1000);
    assert_in_range(batch_of_runs("card-8", moe, 8000, false), 2000, 4096);
    assert_int_equal(batch_of_runs("card-8", "synth:mixtral-8x7b:q4_k_m", 1000, false), 1000);
    assert_int_equal(batch_of_runs("card-8", moe, 1000, true), 512);
    assert_int_equal(batch_of_runs("card-8", moe, 400, false), 512);
    assert_int_equal(batch_of_runs("card-12", large, 1000, false), 512);
    assert_int_equal(batch_of_runs("card-24", "synth:llama-8b:q4_k_m", 1000, false), 512);
    assert_int_equal(batch_of_runs("apu-64", moe, 1000, false), 512);
    assert_int_equal(batch_of_runs("no-gpu", moe, 1000, false), 512);
}

/* What a prompt of 128 tokens takes where a device with these rates has all of a model. */
static double prompt_at_s(struct plan_report *report, bool stands_in, double read, double matrix)
{
    struct machine_device *device = &report->machine.devices[1];
    struct plan_options options = {.n_in = 128, .n_batch = 128, .skew = 0.7, .as_run = true};
    struct plan plan;
    device->stands_in = stands_in;
    device->rate[RATE_READ] = read;
    device->rate[RATE_MATRIX] = matrix;
    assert_int_equal(plan_create(&plan, &report->machine, &report->units, &options, test_log()),
                     HTH_OK);
    double seconds = options.n_in / plan.prompt_tokens_per_s;
    plan_free(&plan);
    return seconds;
}

/* As they run on cores that wait for weights; with 16 tokens for an expert both take as long. */
TEST(stand_ins_read_and_compute_one_after_the_other)
{
    char path[512];
    struct plan_report *report;
    const double READ = 500e9, MATRIX = 28e12, NEVER_WAITS = 1e18;
    snprintf(path, sizeof path, "%s", test_data_path("machines/card-24.json"));
    struct plan_request request = request_for("synth:qwen3-30b-a3b:q4_k_m", path);
    assert_int_equal(plan_report_open(&report, &request), HTH_OK);
    double others = prompt_at_s(report, true, NEVER_WAITS, NEVER_WAITS);
    double reads = prompt_at_s(report, true, READ, NEVER_WAITS) - others;
    double computes = prompt_at_s(report, true, NEVER_WAITS, MATRIX) - others;
    double both = prompt_at_s(report, true, READ, MATRIX) - others;
    double gpu = prompt_at_s(report, false, READ, MATRIX) - others;
    print_message("reads %g s, computes %g s, both %g s, a GPU %g s\n", reads, computes, both, gpu);
    assert_true(fabs(both / (reads + computes) - 1) < 0.01);
    assert_true(gpu > 0 && gpu < 0.8 * both);
    plan_report_close(report);
}

/* The plan that a model runs by, on an invented machine. */
static void plan_as_run(struct plan *plan, struct plan_report *report)
{
    struct plan_options options = {.n_batch = 512, .skew = 0.7, .as_run = true};
    assert_int_equal(plan_create(plan, &report->machine, &report->units, &options, test_log()),
                     HTH_OK);
    const struct plan_heap *heap = &plan->heaps[1];
    assert_true(heap->planned <= heap->budget);
    assert_true((heap->staging > 0) == (plan->stream_from > 0));
    assert_true(heap->staging == 0 || heap->staging == cost_ring_bytes(&report->units));
    for (int i = 0; i < report->units.n_units; i++) {
        enum prefill_mode mode = (enum prefill_mode)plan->items[i].choice.mode;
        bool weights = report->units.items[i].kind != UNIT_KV;
        assert_true(mode == PREFILL_CPU || (mode == PREFILL_STREAM && weights));
    }
}

/* Prompts are streamed where the bus is fast enough, down to where the CPU is as fast; not where
 * there is no bus. */
static void check_streaming(const char *model)
{
    char path[512];
    struct plan_report *report;
    struct plan fast, slow;
    snprintf(path, sizeof path, "%s", test_data_path("machines/card-12.json"));
    struct plan_request request = request_for(model, path);
    assert_int_equal(plan_report_open(&report, &request), HTH_OK);
    plan_as_run(&fast, report);
    assert_true(fast.stream_from > 16 && fast.stream_from < 512);
    report->machine.devices[1].one_queue = true;
    plan_as_run(&slow, report);
    assert_true(slow.prompt_tokens_per_s < 0.95 * fast.prompt_tokens_per_s);
    plan_free(&slow);
    report->machine.devices[1].rate[RATE_COPY] /= 1000;
    plan_as_run(&slow, report);
    assert_int_equal(slow.stream_from, 0);
    assert_true(fast.prompt_tokens_per_s > 1.5 * slow.prompt_tokens_per_s);
    plan_free(&fast);
    plan_free(&slow);
    plan_report_close(report);
    snprintf(path, sizeof path, "%s", test_data_path("machines/apu-64.json"));
    assert_int_equal(plan_report_open(&report, &request), HTH_OK);
    plan_as_run(&slow, report);
    assert_int_equal(slow.stream_from, 0);
    plan_free(&slow);
    plan_report_close(report);
}

/* Experts that stay where they are put are with the CPU or on a GPU, and so says the report. */
TEST(experts_that_stay_are_in_one_place)
{
    char path[512];
    struct plan_report *report;
    struct plan plan;
    struct strbuf text = {0};
    snprintf(path, sizeof path, "%s", test_data_path("machines/two-cards.json"));
    struct plan_request request = request_for("synth:mixtral-8x7b:q8_0", path);
    assert_int_equal(plan_report_open(&report, &request), HTH_OK);
    struct plan_options options = {.n_batch = 512, .skew = 0.7, .as_run = true};
    assert_int_equal(plan_create(&plan, &report->machine, &report->units, &options, test_log()),
                     HTH_OK);
    assert_true(plan.turn.no_cache);
    uint64_t experts = 0, there = 0;
    for (int i = 0; i < report->units.n_units; i++) {
        const struct unit *unit = &report->units.items[i];
        int n = plan.items[i].choice.resident;
        bool part = unit->kind == UNIT_EXPERTS && n < unit->n;
        experts += part ? unit->bytes * (uint64_t)(unit->n - n) : 0;
        there += part ? (uint64_t)n : 0;
    }
    assert_true(there > 0 && experts > 0);
    plan_print(&plan, &text);
    assert_non_null(strstr(text.ptr, ", cpu the others"));
    assert_null(strstr(text.ptr, "cpu all"));
    strbuf_clear(&text);
    plan_draw(&plan, &text);
    double drawn_gib = 0;
    const char *at = strstr(text.ptr, ">cpu  "); /* the last bar */
    assert_non_null(at);
    while ((at = strstr(at, ".experts, ")))
        drawn_gib += strtod(at += strlen(".experts, "), NULL);
    assert_true(fabs(drawn_gib * (1 << 30) / (double)experts - 1) < 0.03); /* as it is rounded */
    strbuf_free(&text);
    plan_free(&plan);
    plan_report_close(report);
}

static double prompt_s(const struct plan *plan, int n_prompt, int stream_from)
{
    struct plan_expected expected;
    const struct plan_asked asked = {0, n_prompt, 0, 512, stream_from};
    plan_expect(plan, &asked, &expected);
    return plan_expected_s(&expected, PHASE_PROMPT);
}

/* Of a prompt too short for that the CPU's time is expected. */
TEST(short_prompts_are_not_expected_to_stream)
{
    char path[512];
    struct plan_report *report;
    struct plan plan;
    snprintf(path, sizeof path, "%s", test_data_path("machines/card-12.json"));
    struct plan_request request = request_for("synth:llama-70b:q4_k_m", path);
    assert_int_equal(plan_report_open(&report, &request), HTH_OK);
    report->machine.devices[0].rate[RATE_MATRIX] *= 10;
    plan_as_run(&plan, report);
    int from = plan.stream_from;
    assert_true(from > 40);
    for (int n = 8; n <= 1000; n *= 2) {
        double streamed = prompt_s(&plan, n, 0), known = prompt_s(&plan, n, from);
        print_message("%d tokens: %.3f s streamed, %.3f s expected\n", n, streamed, known);
        assert_true(n >= from || known != streamed);
        assert_true(n < from || known == streamed);
        assert_true(n > from / 4 || known < streamed);
    }
    plan_free(&plan);
    plan_report_close(report);
}

TEST(runs_stream_where_it_pays)
{
    check_streaming("synth:llama-70b:q4_k_m");
    check_streaming("synth:qwen3-30b-a3b:q4_k_m");
}

/* What did not make it would have gained, and nothing that is on the GPU claims so. */
TEST(gains_are_explained)
{
    char path[512];
    struct plan_report *report;
    snprintf(path, sizeof path, "%s", test_data_path("machines/card-12.json"));
    struct plan_request request = request_for("synth:llama-70b:q4_k_m", path);
    assert_int_equal(plan_report_open(&report, &request), HTH_OK);
    int n_explained = 0;
    for (int i = 0; i < report->units.n_units; i++) {
        const struct plan_unit *item = &report->plan.items[i];
        if (item->choice.device)
            assert_true(item->gain_s == 0);
        n_explained += item->gain_s > 0;
    }
    assert_true(n_explained > 50);
    assert_true(report->plan.more.answer_tokens_per_s > report->plan.answer_tokens_per_s);
    plan_report_close(report);
}

/* What asks for more than any GPU has is refused once; it is no reason to end an answer when the
 * largest of them is lost, or has no part. */
TEST(limits_hold_for_whichever_gpus_are_left)
{
    char path[512];
    struct machine machine;
    struct hth_model_options options = {.vram_bytes = UINT64_C(10) << 30,
                                        .ram_bytes = UINT64_C(1) << 30};
    snprintf(path, sizeof path, "%s", test_data_path("machines/two-cards.json"));
    assert_int_equal(profile_read(&machine, path, test_log()), HTH_OK);
    assert_int_equal(machine.n_devices, 3);
    machine.devices[1].memory_bytes = UINT64_C(8) << 30;
    machine.devices[2].memory_bytes = UINT64_C(24) << 30;
    machine.devices[2].budget_bytes = UINT64_C(12) << 30;
    assert_int_equal(plan_check_limits(&machine, &options, test_log()), HTH_OK);
    plan_limit(&machine, &options);
    assert_true(machine.devices[0].budget_bytes == options.ram_bytes);
    assert_true(machine.devices[1].budget_bytes == UINT64_C(8) << 30);
    assert_true(machine.devices[2].budget_bytes == UINT64_C(10) << 30);
    machine.n_devices = 2;
    test_log_clear();
    assert_int_equal(plan_check_limits(&machine, &options, test_log()), HTH_ERROR_ARGUMENT);
    assert_logged("--vram asks for 10.00 GiB, and no GPU has more than 8.00: without it");
    plan_limit(&machine, &options);
    assert_true(machine.devices[1].budget_bytes == UINT64_C(8) << 30);
    machine.n_devices = 1; /* nothing to use it of */
    assert_int_equal(plan_check_limits(&machine, &options, test_log()), HTH_OK);
    options.ram_bytes = UINT64_C(1) << 50;
    assert_int_equal(plan_check_limits(&machine, &options, test_log()), HTH_ERROR_ARGUMENT);
    plan_limit(&machine, &options);
    assert_true(machine.devices[0].budget_bytes == machine.devices[0].memory_bytes);
}

/* However many are asked for. */
TEST(positions_of_all_sequences_can_be_numbered)
{
    const struct hparams hp = {.n_ctx_train = 4096};
    struct hth_session_options most = {.n_ctx = INT32_MAX, .n_seqs = 7}, usual = {.n_seqs = 3};
    session_fill(&most, &hp);
    assert_true((int64_t)most.n_ctx * most.n_seqs <= INT32_MAX);
    assert_true(most.n_ctx > INT32_MAX / 8 && most.n_batch == 512);
    session_fill(&usual, &hp);
    assert_int_equal(usual.n_ctx, 4096);
}

static enum hth_status plan_and_print(void *arg)
{
    struct plan_report *report;
    struct strbuf text = {0};
    enum hth_status status = plan_report_open(&report, arg);
    if (status == HTH_OK)
        status = plan_report_write(report, PLAN_TEXT, &text);
    if (status == HTH_OK)
        status = plan_report_write(report, PLAN_SVG, &text);
    if (status == HTH_OK)
        status = plan_report_write(report, PLAN_JSON, &text);
    strbuf_free(&text);
    plan_report_close(report);
    return status;
}

TEST(failing_allocations)
{
    char path[512];
    snprintf(path, sizeof path, "%s", test_data_path("machines/two-cards.json"));
    struct plan_request request = request_for("synth:tiny-moe:q4_k", path);
    request.device.vram_bytes = 70u << 20;
    test_each_allocation_fails(plan_and_print, &request);
}
