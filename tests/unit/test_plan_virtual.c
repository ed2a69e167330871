/* Predictions against a machine on a simulated clock, which the planner knows only by measuring. */
#include "harness/test.h"
#include "harness/virtual.h"

#include <math.h>
#include <stdlib.h>

#include "engine/plan_part.h"
#include "plan/solve.h"
static const char *const models[] = {"llama-8b", "mixtral-8x7b", "qwen3-30b-a3b", "llama-70b"};
static const int contexts[] = {4096, 65536};

/* One case: the machine as it is, what the planner learned of it, the plan, and what came of it. */
struct trial {
    struct plan_report *report; /* units, and the machine as its profile says */
    struct virtual_machine vm;
    struct machine learned;
    struct plan plan;
    struct choice *choices;
    struct virtual_result result;
    bool fits; /* false: nothing does, and the plan says so */
};

static struct virtual_job job_of(const struct trial *t)
{
    struct cost cost;
    cost_init(&cost, &t->learned, &t->report->units, &t->plan.turn, 0);
    return (struct virtual_job){.units = &t->report->units,
                                .choices = t->choices,
                                .turn = t->plan.turn,
                                .stream_device = cost.stream_device};
}

static void make_trial(struct trial *t, const char *machine, const char *model, int n_ctx,
                       bool as_run)
{
    char name[96], path[512];
    *t = (struct trial){0};
    snprintf(name, sizeof name, "synth:%s:q4_k_m", model);
    snprintf(path, sizeof path, "%s", test_data_path("machines/%s.json", machine));
    struct plan_request request = {.model = name,
                                   .profile = path,
                                   .device = {.session = {.n_ctx = n_ctx}},
                                   .expert_skew = 0.7};
    if (plan_report_open(&t->report, &request) != HTH_OK)
        return;
    virtual_start(&t->vm, &t->report->machine, 1);
    for (int d = 0; d < t->vm.truth.n_devices; d++) {
        double *rate = t->vm.truth.devices[d].rate;
        rate[RATE_ACTIVATION] = rate[RATE_READ] / 2;
    }
    virtual_learn(&t->vm, &t->learned);
    struct plan_options options = {.skew = 0.7, .as_run = as_run, .n_batch = as_run ? 512 : 0};
    assert_int_equal(plan_create(&t->plan, &t->learned, &t->report->units, &options, test_log()),
                     HTH_OK);
    t->choices = calloc((size_t)t->report->units.n_units, sizeof *t->choices);
    for (int i = 0; i < t->report->units.n_units; i++)
        t->choices[i] = t->plan.items[i].choice;
    struct virtual_job job = job_of(t);
    t->result = virtual_run(&t->vm, &job);
    t->fits = true;
}

static void free_trial(struct trial *t)
{
    free(t->choices);
    plan_free(&t->plan);
    plan_report_close(t->report);
}

static double off(double predicted, double achieved)
{
    return predicted / achieved - 1;
}

/* `n_fit`: for so many of the cases the machine is large enough. Of plans as models run so far, and
 * of those that count with more. */
static void hold_predictions(const char *machine, int n_fit)
{
    double worst = 0;
    int n = 0;
    for (size_t m = 0; m < ARRAY_LEN(models); m++)
        for (size_t c = 0; c < 2 * ARRAY_LEN(contexts); c++) {
            struct trial t;
            make_trial(&t, machine, models[m], contexts[c / 2], c % 2);
            if (!t.fits)
                continue;
            double prompt = off(t.plan.prompt_tokens_per_s, t.result.prompt_tokens_per_s);
            double answer = off(t.plan.answer_tokens_per_s, t.result.answer_tokens_per_s);
            print_message("%-10s %-14s %5d: prompt %8.1f of %8.1f (%+5.1f %%), answer %7.2f of "
                          "%7.2f (%+5.1f %%)\n",
                          machine, models[m], contexts[c / 2], t.plan.prompt_tokens_per_s,
                          t.result.prompt_tokens_per_s, 100 * prompt, t.plan.answer_tokens_per_s,
                          t.result.answer_tokens_per_s, 100 * answer);
            worst = fmax(worst, fmax(fabs(prompt), fabs(answer)));
            n++;
            free_trial(&t);
        }
    assert_int_equal(n, 2 * n_fit);
    assert_true(worst <= 0.10);
}

TEST(predictions_hold_on_a_card_of_8)
{
    hold_predictions("card-8", 8);
}

TEST(predictions_hold_on_a_card_of_12)
{
    hold_predictions("card-12", 8);
}

TEST(predictions_hold_on_a_card_of_24)
{
    hold_predictions("card-24", 8);
}

TEST(predictions_hold_on_shared_memory)
{
    hold_predictions("apu-64", 8);
}

TEST(predictions_hold_on_two_cards)
{
    hold_predictions("two-cards", 8);
}

TEST(predictions_hold_without_a_gpu)
{
    hold_predictions("no-gpu", 8);
}

/* Prompts as they are streamed by now: in the batch that a session has, all of a layer's experts,
 * through a ring. */
TEST(streamed_prompts_are_as_predicted)
{
    static const char *const cards[] = {"card-8", "card-12", "card-24"};
    int n_streamed = 0;
    for (size_t c = 0; c < ARRAY_LEN(cards); c++)
        for (size_t m = 0; m < ARRAY_LEN(models); m++) {
            struct trial t;
            make_trial(&t, cards[c], models[m], 4096, true);
            assert_true(t.fits);
            double prompt = off(t.plan.prompt_tokens_per_s, t.result.prompt_tokens_per_s);
            n_streamed += t.plan.stream_from > 0;
            print_message("%-10s %-14s: streams from %d tokens, prompt %8.1f (%+5.1f %%)\n",
                          cards[c], models[m], t.plan.stream_from, t.plan.prompt_tokens_per_s,
                          100 * prompt);
            assert_true(fabs(prompt) <= 0.10);
            free_trial(&t);
        }
    assert_true(n_streamed >= 6);
}

/* --- wrong models ----------------------------------------------------------------------------- */

/* What a cost model says of a placement: tokens/s of prompt and answer. */
struct said {
    double prompt, answer;
};

static struct said predict(const struct trial *t, const struct machine *machine,
                           const struct units *units, const struct turn *turn, double file_part)
{
    struct cost cost;
    struct cost_state state = {0};
    struct cost_parts sum = {0};
    cost_init(&cost, machine, units, turn, file_part);
    for (int l = 0; l <= units->n_layers; l++) {
        struct cost_parts parts;
        (void)cost_layer(&cost, l, &t->choices[units->layer_first[l]], &state, &parts);
        cost_parts_add(&sum, &parts);
    }
    return (struct said){turn->n_in / (turn->n_batches * sum.prefill_s), 1 / sum.decode_s};
}

/* Each makes one mistake. */
enum mistake {
    NONE,
    NO_HOPS,
    NO_DISPATCHES,
    NO_ACTIVATIONS,
    NO_EXPERT_CACHE,
    NO_CACHE_OF_KEYS,
    NO_FILE,
    CPU_AS_FAST_AS_GPU,
    OVERLAP_AS_SUM,
    COPIES_FOR_NOTHING,
    ALL_EXPERTS_READ,
    ONE_AFTER_THE_OTHER,
    MISTAKES
};

static const char *const mistakes[MISTAKES] = {
    "none",
    "no hops",
    "no cost of dispatches",
    "norms cost nothing",
    "no expert cache",
    "context not counted",
    "file as fast as memory",
    "CPU as fast as the GPU",
    "overlap as a sum",
    "copies cost nothing",
    "every expert read",
    "CPU and GPU one after the other",
};

static struct said predict_wrongly(const struct trial *t, enum mistake mistake)
{
    struct machine machine = t->learned;
    struct units units = t->report->units;
    struct turn turn = t->plan.turn;
    double file_part = mistake == NO_FILE ? 0 : t->plan.file_part;
    for (int d = 0; d < machine.n_devices; d++) {
        double *rate = machine.devices[d].rate;
        rate[RATE_HOP] *= mistake != NO_HOPS;
        rate[RATE_DISPATCH] *= mistake != NO_DISPATCHES;
        rate[RATE_ACTIVATION] *= mistake != NO_ACTIVATIONS;
        rate[RATE_COPY] *= mistake == COPIES_FOR_NOTHING ? 1e6 : 1;
        if (mistake == CPU_AS_FAST_AS_GPU)
            rate[RATE_READ] = machine.devices[machine.n_devices - 1].rate[RATE_READ];
    }
    turn.no_cache = mistake == NO_EXPERT_CACHE;
    units.kv_bytes_per_position *= mistake != NO_CACHE_OF_KEYS;
    units.attn_flop *= mistake != NO_CACHE_OF_KEYS;
    struct unit *items = calloc((size_t)units.n_units, sizeof *items);
    memcpy(items, units.items, (size_t)units.n_units * sizeof *items);
    units.items = items;
    for (int i = 0; i < units.n_units && mistake == ALL_EXPERTS_READ; i++)
        items[i].n_used = items[i].n;
    struct said said = predict(t, &machine, &units, &turn, file_part);
    const struct cost_parts *total = &t->plan.total;
    if (mistake == OVERLAP_AS_SUM)
        said.prompt =
            turn.n_in / (turn.n_batches * (total->cpu_s + total->gpu_s + total->hop_s +
                                           total->copy_s + total->streamed_s + total->direct_s));
    if (mistake == ONE_AFTER_THE_OTHER)
        said.answer = 1 / (total->decode_s + fmin(total->decode_gpu_s, total->decode_cpu_s));
    free(items);
    return said;
}

static double wrong_by(const struct trial *t, enum mistake mistake)
{
    struct said said = predict_wrongly(t, mistake);
    return fmax(fabs(off(said.prompt, t->result.prompt_tokens_per_s)),
                fabs(off(said.answer, t->result.answer_tokens_per_s)));
}

TEST(wrong_cost_models_are_found)
{
    static const struct {
        const char *machine, *model;
        int n_ctx;
    } cases[] = {
        {"card-8", "qwen3-30b-a3b", 4096},   {"card-12", "mixtral-8x7b", 4096},
        {"card-8", "llama-70b", 4096},       {"two-cards", "llama-70b", 65536},
        {"card-24", "qwen3-30b-a3b", 65536}, {"two-cards", "mixtral-8x7b", 4096},
    };
    double worst[MISTAKES] = {0}, beside[MISTAKES] = {0}; /* by how much more than without it */
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trial t;
        make_trial(&t, cases[i].machine, cases[i].model, cases[i].n_ctx, false);
        assert_true(t.fits);
        for (int m = 0; m < MISTAKES; m++) {
            worst[m] = fmax(worst[m], wrong_by(&t, (enum mistake)m));
            beside[m] = fmax(beside[m], wrong_by(&t, (enum mistake)m) - wrong_by(&t, NONE));
        }
        free_trial(&t);
    }
    for (int m = 0; m < MISTAKES; m++)
        print_message("%-34s off by at most %.1f %%, %.1f more than without\n", mistakes[m],
                      100 * worst[m], 100 * beside[m]);
    assert_true(worst[NONE] <= 0.10);
    for (int m = NONE + 1; m < MISTAKES; m++)
        assert_true(worst[m] > 0.10 && beside[m] > 0.05);
}

/* --- prompts ---------------------------------------------------------------------------------- */

/* All of a model in the host's memory, one mode for all of it. */
static struct virtual_result run_mode(struct trial *t, enum prefill_mode mode, int n_batch,
                                      double *predicted_s)
{
    struct turn turn = {
        .n_in = n_batch, .n_out = 1, .skew = 0.7, .n_batch = n_batch, .n_batches = 1};
    const struct units *units = &t->report->units;
    for (int i = 0; i < units->n_units; i++) {
        bool on_gpu = units->items[i].kind == UNIT_KV || units->items[i].kind == UNIT_HEAD ||
                      (units->items[i].kind == UNIT_ATTENTION && mode != PREFILL_CPU);
        t->choices[i] = (struct choice){.device = on_gpu && mode != PREFILL_CPU,
                                        .mode = on_gpu ? PREFILL_CPU : (uint8_t)mode};
    }
    struct said said = predict(t, &t->learned, units, &turn, 0);
    *predicted_s = n_batch / said.prompt;
    struct virtual_job job = {
        .units = units, .choices = t->choices, .turn = turn, .stream_device = 1};
    return virtual_run(&t->vm, &job);
}

static void hold_overlap(const char *model)
{
    for (int n_batch = 250; n_batch <= 4000; n_batch *= 2) {
        struct trial t;
        double predicted_s;
        make_trial(&t, "card-12", model, 4096, false);
        struct virtual_result result = run_mode(&t, PREFILL_STREAM, n_batch, &predicted_s);
        double bound = fmax(result.copy_s, result.compute_s);
        print_message("%s, %4d tokens: %.3f s, copies %.3f, computing %.3f\n", model, n_batch,
                      result.batch_s, result.copy_s, result.compute_s);
        assert_true(result.batch_s <= 1.10 * bound);
        assert_true(fabs(off(predicted_s, result.batch_s)) <= 0.10);
        free_trial(&t);
    }
}

TEST(streamed_dense_prompts_overlap)
{
    hold_overlap("llama-8b");
}

TEST(streamed_expert_prompts_overlap)
{
    hold_overlap("mixtral-8x7b");
}

/* Few tokens are read over the bus or computed on the CPU, many are streamed; where two ways are
 * more than 5 % apart on the clock, the formulas must know which is faster. */
static void hold_choice(const char *machine, const char *model, double latency_s, int *n_best)
{
    for (int n_batch = 1; n_batch <= 4096; n_batch *= 4) {
        struct trial t;
        double predicted[PREFILL_MODES], took[PREFILL_MODES];
        int expected = 0, best = 0;
        make_trial(&t, machine, model, 4096, false);
        if (latency_s > 0) { /* shaders read the bus as fast as copies do, and copies begin late */
            double *rate = t.vm.truth.devices[1].rate;
            rate[RATE_DIRECT] = rate[RATE_COPY];
            rate[RATE_LATENCY] = latency_s;
            virtual_learn(&t.vm, &t.learned);
        }
        for (int mode = 0; mode < PREFILL_MODES; mode++) {
            took[mode] = run_mode(&t, (enum prefill_mode)mode, n_batch, &predicted[mode]).batch_s;
            expected = predicted[mode] < predicted[expected] ? mode : expected;
            best = took[mode] < took[best] ? mode : best;
        }
        n_best[best]++;
        print_message("%s, %s, %4d tokens: %s best (cpu %.4f s, stream %.4f, direct %.4f)\n",
                      machine, model, n_batch, plan_mode_name((enum prefill_mode)best), took[0],
                      took[1], took[2]);
        assert_true(took[expected] <= 1.05 * took[best]);
        free_trial(&t);
    }
}

TEST(the_way_of_a_prompt_is_chosen_right)
{
    int n_best[PREFILL_MODES] = {0};
    hold_choice("card-8", "llama-8b", 0, n_best);
    hold_choice("card-12", "qwen3-30b-a3b", 0, n_best);
    hold_choice("card-12", "qwen3-30b-a3b", 100e-6, n_best);
    hold_choice("card-24", "llama-8b", 500e-6, n_best);
    for (int mode = 0; mode < PREFILL_MODES; mode++)
        assert_true(n_best[mode] > 0);
}
