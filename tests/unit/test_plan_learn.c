/* Rates by format, and runs that correct what was measured. */
#include "harness/test.h"
#include "harness/virtual.h"

#include <math.h>
#include <stdlib.h>

#include "engine/plan_part.h"
#include "plan/learn.h"

/* --- past runs -------------------------------------------------------------------------------- */

static struct past_runs past_of(const double *times, int n)
{
    struct past_runs past = {0};
    for (int i = 0; i < n; i++)
        learn_add(&past, times[i]);
    return past;
}

static double factor_of(const double *times, int n)
{
    struct past_runs past = past_of(times, n);
    return learn_factor(&past);
}

TEST(a_single_run_changes_nothing_and_three_alike_are_believed)
{
    static const double runs[] = {8, 2, 2, 2, 2, 2};
    assert_true(factor_of(runs, 0) == 1);
    assert_true(factor_of(runs, 1) == 1);
    assert_true(factor_of(runs, 2) == 1);
    assert_true(factor_of(runs, 3) == 2);
    assert_true(factor_of(runs, 6) == 2);
    static const double faster[] = {0.5, 0.25, 0.5};
    assert_true(factor_of(faster, 3) == 0.5);
}

TEST(the_oldest_runs_are_forgotten)
{
    struct past_runs past = {0};
    for (int i = 1; i <= 12; i++) {
        learn_add(&past, i);
        assert_int_equal(past.n, i < PAST_RUNS ? i : PAST_RUNS);
        assert_true(past.times[past.n - 1] == i);
    }
    assert_true(past.times[0] == 8);
    assert_true(learn_factor(&past) == 10);
}

/* --- what a run tells ------------------------------------------------------------------------- */

static const struct machine two = {.n_devices = 2};

static void tells(const struct learn_run *run, int device, double expected)
{
    double times = 0;
    assert_int_equal(learn_from(&two, PHASE_ANSWER, run, &times), device);
    if (device >= 0)
        assert_true(fabs(times - expected) < 1e-9);
}

TEST(the_device_with_most_of_the_time_is_corrected)
{
    tells(&(struct learn_run){32, {0, 1}, 0, 1.5}, 1, 1.5);
    tells(&(struct learn_run){32, {1, 0}, 0, 0.5}, 0, 0.5);
    tells(&(struct learn_run){32, {3, 1}, 0, 7}, 0, 2);      /* the other took its 1 s */
    tells(&(struct learn_run){32, {1, 3}, 0.5, 6}, 1, 1.5);  /* so did the hand-overs */
    tells(&(struct learn_run){32, {1, 1}, 1, 3}, -1, 0);     /* nobody has half of it */
    tells(&(struct learn_run){32, {1, 3}, -0.5, 5}, 1, 1.5); /* half a second overlaps */
}

TEST(runs_that_mean_nothing_are_not_heard)
{
    tells(&(struct learn_run){LEARN_MIN_ANSWER - 1, {1, 0}, 0, 2}, -1, 0);
    tells(&(struct learn_run){32, {1e-3, 0}, 0, LEARN_MIN_S / 2}, -1, 0);
    tells(&(struct learn_run){32, {1, 0}, 0, NAN}, -1, 0);
    tells(&(struct learn_run){32, {1, 0}, 0, INFINITY}, -1, 0);
    tells(&(struct learn_run){32, {1, 0}, 0, 0}, -1, 0);
    tells(&(struct learn_run){32, {0, 0}, 0, 1}, -1, 0);
    tells(&(struct learn_run){32, {NAN, 1}, 0, 1}, -1, 0);
    double times;
    const struct learn_run prompt = {LEARN_MIN_PROMPT - 1, {1, 0}, 0, 2};
    assert_int_equal(learn_from(&two, PHASE_PROMPT, &prompt, &times), -1);
}

TEST(what_a_run_tells_is_bounded)
{
    tells(&(struct learn_run){32, {1, 0}, 0, 1000}, 0, LEARN_MOST);
    tells(&(struct learn_run){32, {100, 0}, 0, 1}, 0, 1 / LEARN_MOST);
    tells(&(struct learn_run){32, {100, 30}, 0, 1}, 0, 1 / LEARN_MOST); /* less than the others */
}

/* --- on a clock ------------------------------------------------------------------------------- */

struct trial {
    struct plan_report *report;
    struct virtual_machine vm;
    struct machine learned;
    struct plan plan;
    struct choice *choices;
    int n_in; /* tokens of the prompt; 0: as usual */
};

static void make_plan(struct trial *t)
{
    struct plan_options options = {
        .n_in = t->n_in, .skew = 0.7, .as_run = t->learned.n_devices == 1};
    plan_free(&t->plan);
    assert_int_equal(plan_create(&t->plan, &t->learned, &t->report->units, &options, test_log()),
                     HTH_OK);
    for (int i = 0; i < t->report->units.n_units; i++)
        t->choices[i] = t->plan.items[i].choice;
}

/* Formats that are slower than the others on every device, more on some. */
static void slow_down_formats(struct machine *machine)
{
    for (int d = 0; d < machine->n_devices; d++) {
        const double *rate = machine->devices[d].rate;
        struct machine_rates *formats = machine->devices[d].formats;
        formats[dtype_q4_k.gguf_id] =
            (struct machine_rates){.read = rate[RATE_READ] * (d ? 0.9 : 0.7),
                                   .matrix = rate[RATE_MATRIX] * (d ? 0.6 : 0.5)};
        formats[dtype_q6_k.gguf_id] =
            (struct machine_rates){.read = rate[RATE_READ] * (d ? 0.6 : 0.4),
                                   .matrix = rate[RATE_MATRIX] * (d ? 0.4 : 0.6)};
    }
}

static void open_trial(struct trial *t, const char *machine, const char *model, bool slow)
{
    char name[96], path[512];
    *t = (struct trial){0};
    snprintf(name, sizeof name, "synth:%s:q4_k_m", model);
    snprintf(path, sizeof path, "%s", test_data_path("machines/%s.json", machine));
    struct plan_request request = {.model = name, .profile = path, .expert_skew = 0.7};
    assert_int_equal(plan_report_open(&t->report, &request), HTH_OK);
    t->choices = calloc((size_t)t->report->units.n_units, sizeof *t->choices);
    virtual_start(&t->vm, &t->report->machine, 1);
    if (slow)
        slow_down_formats(&t->vm.truth);
    virtual_learn(&t->vm, &t->learned);
}

static void close_trial(struct trial *t)
{
    free(t->choices);
    plan_free(&t->plan);
    plan_report_close(t->report);
}

static struct virtual_result run_trial(struct trial *t)
{
    struct cost cost;
    cost_init(&cost, &t->learned, &t->report->units, &t->plan.turn, 0);
    struct virtual_job job = {.units = &t->report->units,
                              .choices = t->choices,
                              .turn = t->plan.turn,
                              .stream_device = cost.stream_device};
    return virtual_run(&t->vm, &job);
}

static double off(double predicted, double achieved)
{
    return fabs(predicted / achieved - 1);
}

/* The larger error of the two predictions. */
static double error_of(struct trial *t)
{
    struct virtual_result result = run_trial(t);
    return fmax(off(t->plan.prompt_tokens_per_s, result.prompt_tokens_per_s),
                off(t->plan.answer_tokens_per_s, result.answer_tokens_per_s));
}

static void learn_cache(struct trial *t)
{
    struct probe probe = virtual_probe(&t->vm);
    for (int d = 0; d < t->learned.n_devices; d++)
        assert_true(machine_measure_cache(&t->learned, &probe, d, &t->report->units.cache));
}

/* Measured by format a prediction holds; with one rate for all it does not, and says that it is
 * estimated. */
TEST(formats_have_rates_of_their_own)
{
    static const struct {
        const char *machine, *model;
    } cases[] = {{"no-gpu", "llama-8b"},
                 {"card-24", "llama-8b"},
                 {"card-8", "llama-8b"},
                 {"card-12", "mixtral-8x7b"},
                 {"apu-64", "qwen3-30b-a3b"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trial t;
        open_trial(&t, cases[i].machine, cases[i].model, true);
        for (int d = 0; d < t.learned.n_devices; d++)
            t.learned.devices[d].measured = true;
        make_plan(&t);
        double alike = error_of(&t);
        assert_true(t.plan.estimated);
        bool cpu = t.learned.n_devices == 1; /* nobody measures a CPU's copies */
        struct probe probe = virtual_probe(&t.vm);
        for (int d = 0; d < t.learned.n_devices; d++)
            for (size_t f = 0; dtype_at(f); f++)
                assert_true(machine_measure_format(&t.learned, &probe, d, dtype_at(f),
                                                   t.report->units.n_embd));
        learn_cache(&t);
        make_plan(&t);
        double own = error_of(&t);
        print_message("%s, %s: off by %.1f %%; with rates by format %.1f %%\n", cases[i].machine,
                      cases[i].model, 100 * alike, 100 * own);
        assert_true(t.plan.estimated == !cpu);
        assert_true(alike > 0.10);
        assert_true(own <= 0.10);
        close_trial(&t);
    }
}

/* All but attention. */
static void make_known(struct trial *t, int width)
{
    struct probe probe = virtual_probe(&t->vm);
    for (int d = 0; d < t->learned.n_devices; d++) {
        t->learned.devices[d].measured = true;
        t->learned.devices[d].estimated = 0;
        for (size_t f = 0; dtype_at(f); f++)
            assert_true(machine_measure_format(&t->learned, &probe, d, dtype_at(f), width));
    }
}

/* With much to look back at, attention has most of the time. */
TEST(attention_has_rates_of_its_own)
{
    static const struct {
        const char *machine, *model;
    } cases[] = {{"no-gpu", "llama-8b"}, {"card-24", "llama-8b"}, {"card-8", "llama-8b"}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trial t;
        open_trial(&t, cases[i].machine, cases[i].model, false);
        t.n_in = 12000;
        for (int d = 0; d < t.learned.n_devices; d++) {
            const double *rate = t.vm.truth.devices[d].rate;
            struct machine_cache slow = {.rates = {0.2 * rate[RATE_READ], 0.3 * rate[RATE_MATRIX]}};
            snprintf(slow.shape, sizeof slow.shape, "%s", t.report->units.cache_name);
            machine_add_cache(&t.vm.truth.devices[d], &slow);
        }
        make_known(&t, t.report->units.n_embd);
        make_plan(&t);
        double alike = error_of(&t);
        assert_true(t.plan.estimated);
        learn_cache(&t);
        make_plan(&t);
        double own = error_of(&t);
        assert_false(t.plan.estimated);
        print_message("%s, %s: off by %.1f %%; with rates of attention %.1f %%\n", cases[i].machine,
                      cases[i].model, 100 * alike, 100 * own);
        assert_true(alike > 0.10);
        assert_true(own <= 0.10);
        close_trial(&t);
    }
}

/* With little to look back at, attention takes what it takes beside its bytes, in each layer. */
TEST(attention_has_a_time_of_its_own)
{
    struct trial t;
    open_trial(&t, "card-24", "llama-1b", false);
    t.n_in = 64;
    for (int d = 0; d < t.learned.n_devices; d++) {
        const double *rate = t.vm.truth.devices[d].rate;
        struct machine_cache own = {.rates = {.read = rate[RATE_READ],
                                              .matrix = rate[RATE_MATRIX],
                                              .op_s = 12 * rate[RATE_DISPATCH]}};
        snprintf(own.shape, sizeof own.shape, "%s", t.report->units.cache_name);
        machine_add_cache(&t.vm.truth.devices[d], &own);
    }
    make_known(&t, t.report->units.n_embd);
    make_plan(&t);
    double alike = error_of(&t);
    learn_cache(&t);
    make_plan(&t);
    double own = error_of(&t);
    print_message("off by %.1f %%; with attention's own time %.1f %%\n", 100 * alike, 100 * own);
    assert_true(alike > 0.10);
    assert_true(own <= 0.10);
    close_trial(&t);
}

/* Short rows are over before a device is at full speed: measured at the model's width a prediction
 * holds, and what is known of another width is no help. */
TEST(short_products_have_times_of_their_own)
{
    struct trial t;
    open_trial(&t, "card-24", "llama-1b", false);
    int width = t.report->units.n_embd, class = machine_width_class(width);
    assert_int_equal(class, 2);
    struct machine_device *gpu = &t.vm.truth.devices[1];
    for (size_t f = 0; dtype_at(f); f++) {
        struct machine_rates *format = &gpu->formats[dtype_at(f)->gguf_id];
        *format =
            (struct machine_rates){.read = gpu->rate[RATE_READ], .matrix = gpu->rate[RATE_MATRIX]};
        format->products[class].read = 0.8 * format->read;
        format->products[class].op_s = 5 * gpu->rate[RATE_DISPATCH];
        format->products[class].matrix = format->matrix;
    }
    make_known(&t, 4096);
    learn_cache(&t);
    make_plan(&t);
    double other = error_of(&t);
    assert_true(t.plan.estimated);
    make_known(&t, width);
    make_plan(&t);
    double own = error_of(&t);
    assert_false(t.plan.estimated);
    print_message("off by %.1f %%; with products of its width %.1f %%\n", 100 * other, 100 * own);
    assert_true(other > 0.10);
    assert_true(own <= 0.10);
    close_trial(&t);
}

/* What small and large amounts take, `user`. */
static double either_s(void *user, enum probe_kind kind, int device, uint64_t amount)
{
    const double *times = user;
    (void)kind;
    (void)device;
    return times[amount > (64 << 20)];
}

/* A machine that was busy for one of two sizes has rates all the same. */
TEST(a_busy_moment_spoils_no_rate)
{
    static double times[][2] = {{2, 0.01}, {0, 0.01}, {0.01 / 16, 0}};
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        struct machine machine = {.n_devices = 2};
        machine.devices[1].kind = MACHINE_DISCRETE;
        const struct probe probe = {.user = times[i], .time_s = either_s};
        machine_measure(&machine, &probe);
        for (int d = 0; d < 2; d++)
            assert_true(off(machine.devices[d].rate[RATE_READ], (128 << 20) / 0.01) < 1e-6);
        assert_true(off(machine.devices[1].rate[RATE_COPY], (128 << 20) / 0.01) < 1e-6);
        assert_true(machine.devices[1].rate[RATE_LATENCY] < 1e-6);
    }
}

/* Where an op's own time was measured in a busy moment and came out as more than a whole product
 * takes, rates of formats are found all the same, and are at most doubled. */
TEST(a_busy_moment_spoils_no_format)
{
    struct trial t;
    open_trial(&t, "card-24", "llama-8b", true);
    struct probe probe = virtual_probe(&t.vm);
    for (int d = 0; d < t.learned.n_devices; d++) {
        const struct machine_rates *found = &t.learned.devices[d].formats[dtype_q4_k.gguf_id];
        const struct machine_rates *true_rate = &t.vm.truth.devices[d].formats[dtype_q4_k.gguf_id];
        t.learned.devices[d].rate[RATE_DISPATCH] = 1;
        assert_true(machine_measure_format(&t.learned, &probe, d, &dtype_q4_k, 4096));
        double read = found->read / true_rate->read, matrix = found->matrix / true_rate->matrix;
        assert_true(read > 0.9 && read < 2.1);
        assert_true(matrix > 0.9 && matrix < 2.1);
        assert_true(off(found->products[3].read, true_rate->read) < 0.1);
    }
    close_trial(&t);
}

/* What a run of the plan's own turn took, told as the engine does. */
static void learn_run(struct trial *t, double prompt_s, double answer_s)
{
    const struct turn *turn = &t->plan.turn;
    const struct plan_asked asked = {turn->depth, turn->n_in, turn->n_out, turn->n_batch, 0};
    const double achieved_s[PHASES] = {prompt_s, answer_s};
    struct plan_expected expected;
    plan_expect(&t->plan, &asked, &expected);
    for (int phase = 0; phase < PHASES; phase++) {
        const struct learn_run run = {.n_tokens = phase == PHASE_PROMPT ? turn->n_in : turn->n_out,
                                      .expected_s = {expected.cpu_s[phase], expected.gpu_s[phase]},
                                      .others_s = expected.others_s[phase],
                                      .achieved_s = achieved_s[phase]};
        double times;
        int device = learn_from(&t->learned, (enum phase)phase, &run, &times);
        if (device >= 0)
            learn_add(&t->learned.devices[device].past[phase], times);
    }
}

static void live_through(struct trial *t, int n_runs)
{
    for (int i = 0; i < n_runs; i++) {
        struct virtual_result result = run_trial(t);
        learn_run(t, t->plan.turn.n_in / result.prompt_tokens_per_s,
                  t->plan.turn.n_out / result.answer_tokens_per_s);
        make_plan(t);
    }
}

/* Another power mode: everything on a device takes longer. */
static void change_power(struct machine *truth, int device, double part)
{
    truth->devices[device].rate[RATE_READ] *= part;
    truth->devices[device].rate[RATE_MATRIX] *= part;
    truth->devices[device].rate[RATE_DISPATCH] /= part;
}

static void hold_learning(const char *machine, const char *model, int device, double part)
{
    struct trial t;
    open_trial(&t, machine, model, false);
    make_plan(&t);
    assert_true(error_of(&t) <= 0.10);
    change_power(&t.vm.truth, device, part);
    double stale = error_of(&t);
    live_through(&t, 3);
    double later = error_of(&t);
    print_message("%s, %s at %.1f of its speed: off by %.1f %%, after three runs by %.1f %%\n",
                  machine, model, part, 100 * stale, 100 * later);
    assert_true(stale > 0.10);
    assert_true(later <= 0.10);
    change_power(&t.vm.truth, device, 1 / part);
    live_through(&t, 5);
    assert_true(error_of(&t) <= 0.10); /* and back */
    close_trial(&t);
}

TEST(a_stale_profile_corrects_itself)
{
    hold_learning("no-gpu", "llama-8b", 0, 0.5);
    hold_learning("no-gpu", "llama-8b", 0, 1.6);
    hold_learning("card-24", "llama-8b", 1, 0.6);
}

/* A prompt that runs while something else has the machine: nothing is believed of it. */
TEST(an_absurd_run_does_not_ruin_it)
{
    static const double absurd[] = {1e6, 1e-6, 30, 0.01};
    struct trial t;
    open_trial(&t, "card-24", "llama-8b", false);
    make_plan(&t);
    for (size_t i = 0; i < ARRAY_LEN(absurd); i++) {
        struct virtual_result result = run_trial(&t);
        live_through(&t, 4);
        learn_run(&t, absurd[i] * t.plan.turn.n_in / result.prompt_tokens_per_s,
                  absurd[i] * t.plan.turn.n_out / result.answer_tokens_per_s);
        make_plan(&t);
        assert_true(error_of(&t) <= 0.10);
    }
    close_trial(&t);
}

/* --- turns of other lengths ------------------------------------------------------------------- */

TEST(a_plan_knows_its_own_turn_and_others)
{
    struct trial t;
    open_trial(&t, "card-8", "llama-70b", false);
    make_plan(&t);
    const struct turn *turn = &t.plan.turn;
    struct plan_expected own, none, longer;
    plan_expect(&t.plan,
                &(struct plan_asked){turn->depth, turn->n_in, turn->n_out, turn->n_batch, 0}, &own);
    assert_true(
        fabs(plan_expected_s(&own, PHASE_ANSWER) * t.plan.answer_tokens_per_s / turn->n_out - 1) <
        1e-9);
    /* the prompt's logits are not in the plan's figure */
    assert_true(off(plan_expected_s(&own, PHASE_PROMPT) * t.plan.prompt_tokens_per_s, turn->n_in) <
                0.02);
    plan_expect(&t.plan, &(struct plan_asked){.n_batch = turn->n_batch}, &none);
    assert_true(plan_expected_s(&none, PHASE_PROMPT) == 0);
    assert_true(plan_expected_s(&none, PHASE_ANSWER) == 0);
    plan_expect(&t.plan, &(struct plan_asked){4000, turn->n_in, turn->n_out, turn->n_batch, 0},
                &longer);
    assert_true(plan_expected_s(&longer, PHASE_ANSWER) > plan_expected_s(&own, PHASE_ANSWER));
    close_trial(&t);
}
