#include "plan/plan.h"

static int ceil_div(int a, int b)
{
    return (a + b - 1) / b;
}

/* The plan's turn, but of these lengths. */
static struct turn turn_of(const struct plan *plan, const struct plan_asked *asked)
{
    struct turn turn = plan->turn;
    int n_prompt = asked->n_prompt;
    turn.n_in = n_prompt;
    turn.n_out = asked->n_answer;
    turn.depth = asked->depth;
    turn.n_batches = n_prompt > 0 ? ceil_div(n_prompt, asked->n_batch) : 0;
    turn.n_batch = n_prompt > 0 ? ceil_div(n_prompt, turn.n_batches) : 1;
    return turn;
}

/* Whose parts are asked for. */
struct asked_cost {
    const struct plan *plan;
    struct cost cost;
    bool streams;
};

/* The parts of one layer, choices gathered from the plan. */
static void layer_parts(const struct asked_cost *a, int layer, struct cost_state *state,
                        struct cost_parts *parts)
{
    struct choice choices[UNITS_PER_LAYER];
    int first = a->plan->units->layer_first[layer];
    for (int i = first; i < a->plan->units->layer_first[layer + 1]; i++) {
        struct choice *choice = &choices[i - first];
        *choice = a->plan->items[i].choice;
        if (!a->streams && choice->mode == PREFILL_STREAM)
            choice->mode = PREFILL_CPU;
    }
    (void)cost_layer(&a->cost, layer, choices, state, parts);
}

void plan_expect(const struct plan *plan, const struct plan_asked *asked, struct plan_expected *out)
{
    struct turn turn = turn_of(plan, asked);
    struct asked_cost a = {.plan = plan, .streams = turn.n_batch >= asked->stream_from};
    struct cost_state state = {0};
    struct cost_parts all = {0}, head = {0};
    cost_init(&a.cost, plan->machine, plan->units, &turn, plan->file_part);
    for (int l = 0; l <= plan->units->n_layers; l++) {
        layer_parts(&a, l, &state, &head);
        cost_parts_add(&all, &head);
    }
    double batches = turn.n_batches, logits = asked->n_prompt > 0; /* of its last position */
    out->cpu_s[PHASE_PROMPT] = batches * all.cpu_s + logits * head.decode_cpu_s;
    out->gpu_s[PHASE_PROMPT] = batches * (all.gpu_s + all.streamed_s) + logits * head.decode_gpu_s;
    out->others_s[PHASE_PROMPT] =
        batches * (all.prefill_s - all.cpu_s - all.gpu_s - all.streamed_s) +
        logits * head.decode_hop_s;
    out->cpu_s[PHASE_ANSWER] = asked->n_answer * all.decode_cpu_s;
    out->gpu_s[PHASE_ANSWER] = asked->n_answer * all.decode_gpu_s;
    out->others_s[PHASE_ANSWER] =
        asked->n_answer * (all.decode_s - all.decode_cpu_s - all.decode_gpu_s);
}
