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
                                .file_part = t->plan.file_part,
                                .stream_device = cost.stream_device};
}

static void make_trial(struct trial *t, const char *machine, const char *model, int n_ctx)
{
    char name[96], path[512];
    *t = (struct trial){0};
    snprintf(name, sizeof name, "synth:%s:q4_k_m", model);
    snprintf(path, sizeof path, "%s", test_data_path("machines/%s.json", machine));
    struct plan_request request = {
        .model = name, .profile = path, .n_ctx = n_ctx, .expert_skew = 0.7, .gpu_layers = -1};
    if (plan_report_open(&t->report, &request) != HTH_OK)
        return;
    virtual_start(&t->vm, &t->report->machine, 1);
    virtual_learn(&t->vm, &t->learned);
    struct plan_options options = {.skew = 0.7};
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

static void hold_predictions(const char *machine)
{
    double worst = 0;
    for (size_t m = 0; m < ARRAY_LEN(models); m++)
        for (size_t c = 0; c < ARRAY_LEN(contexts); c++) {
            struct trial t;
            make_trial(&t, machine, models[m], contexts[c]);
            if (!t.fits)
                continue;
            double prompt = off(t.plan.prompt_tokens_per_s, t.result.prompt_tokens_per_s);
            double answer = off(t.plan.answer_tokens_per_s, t.result.answer_tokens_per_s);
            print_message("%-10s %-14s %5d: prompt %8.1f of %8.1f (%+5.1f %%), answer %7.2f of "
                          "%7.2f (%+5.1f %%)\n",
                          machine, models[m], contexts[c], t.plan.prompt_tokens_per_s,
                          t.result.prompt_tokens_per_s, 100 * prompt, t.plan.answer_tokens_per_s,
                          t.result.answer_tokens_per_s, 100 * answer);
            worst = fmax(worst, fmax(fabs(prompt), fabs(answer)));
            free_trial(&t);
        }
    assert_true(worst > 0);
    assert_true(worst <= 0.10);
}

TEST(predictions_hold_on_a_card_of_8)
{
    hold_predictions("card-8");
}

TEST(predictions_hold_on_a_card_of_12)
{
    hold_predictions("card-12");
}

TEST(predictions_hold_on_a_card_of_24)
{
    hold_predictions("card-24");
}

TEST(predictions_hold_on_shared_memory)
{
    hold_predictions("apu-64");
}

TEST(predictions_hold_on_two_cards)
{
    hold_predictions("two-cards");
}

TEST(predictions_hold_without_a_gpu)
{
    hold_predictions("no-gpu");
}
