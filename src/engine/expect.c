/* What a turn of an opened model should take, and what it took. */
#include "engine/engine.h"

#include "engine/measured.h"
#include "plan/learn.h"

static void expect(const struct hth_model *model, const struct hth_turn *turn,
                   struct plan_expected *out)
{
    const struct placing *placing = &model->placing;
    const struct plan_asked asked = {turn->depth, turn->n_prompt, turn->n_answer,
                                     placing->session.n_batch, placing_stream_from(placing)};
    plan_expect(&placing->plan, &asked, out);
}

static double per_second(int n, double seconds)
{
    return n > 0 && seconds > 0 ? n / seconds : 0;
}

static bool is_planned(const struct hth_model *model)
{
    return model->model && model->placing.plan.items;
}

struct hth_expected hth_model_expect(const struct hth_model *model, const struct hth_turn *turn)
{
    struct plan_expected expected;
    if (!is_planned(model))
        return (struct hth_expected){0};
    expect(model, turn, &expected);
    return (struct hth_expected){
        .prompt_tokens_per_s = per_second(turn->n_prompt, plan_expected_s(&expected, PHASE_PROMPT)),
        .answer_tokens_per_s = per_second(turn->n_answer, plan_expected_s(&expected, PHASE_ANSWER)),
        .estimated = model->placing.plan.estimated,
    };
}

static enum hth_status learn(const struct hth_model *model, enum phase phase,
                             const struct plan_expected *expected, int n_tokens, double achieved_s)
{
    const struct machine *machine = &model->placing.machine;
    const struct learn_run run = {
        .n_tokens = n_tokens,
        .expected_s = {expected->cpu_s[phase], expected->gpu_s[phase]},
        .others_s = expected->others_s[phase],
        .achieved_s = achieved_s,
    };
    double times;
    int device = learn_from(machine, phase, &run, &times);
    if (device < 0 || device >= model->n_devices || machine->n_devices > 2)
        return HTH_OK; /* of several GPUs nobody knows which it was */
    const struct vk_caps *caps = device ? vk_get_caps(model->devices[device].vk) : NULL;
    return measured_add_run(machine, device, caps, phase, times, &model->log);
}

enum hth_status hth_model_achieved(const struct hth_model *model, const struct hth_turn *turn,
                                   double prompt_s, double answer_s)
{
    struct plan_expected expected;
    if (!is_planned(model) || model->placing.plan.estimated ||
        !placing_as_measured(&model->placing))
        return HTH_OK;
    expect(model, turn, &expected);
    enum hth_status status = learn(model, PHASE_PROMPT, &expected, turn->n_prompt, prompt_s);
    return status ? status : learn(model, PHASE_ANSWER, &expected, turn->n_answer, answer_s);
}
