// router.comp: which experts a token goes to, and how much of each: one workgroup per token.
// args: router_args moe/moe_args.h
#version 460
#extension GL_GOOGLE_include_directive : require
#include "common/prelude.glsl"
#include "moe/moe_args.h"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint GROUP = 64u;
layout(push_constant, std430) uniform Args { router_args a; };

#include "common/reduce.glsl"

const uint MAX_EXPERTS = 1024u, MAX_USED = 64u;
const uint SOFTMAX = 0u, SIGMOID = 1u, SOFTMAX_CHOSEN = 2u;
const float TAKEN = -3.4e38;
shared float prob[MAX_EXPERTS], rank[MAX_EXPERTS];
shared float chosen_weight[MAX_USED];

// Probabilities into prob, what the choice goes by into rank.
void score(uint token)
{
    uint lane = gl_LocalInvocationIndex;
    float largest = TAKEN, sum = 0.0;
    for (uint e = lane; e < a.n_expert; e += GROUP) {
        float value = LOAD_F32(a.logits, token * a.n_expert + e);
        if (a.kind == SOFTMAX_CHOSEN && a.bias != REF_NONE)
            value += LOAD_F32(a.bias, e);
        prob[e] = value;
        largest = max(largest, value);
    }
    largest = group_max(largest);
    for (uint e = lane; e < a.n_expert; e += GROUP) {
        if (a.kind == SOFTMAX)
            prob[e] = exp(prob[e] - largest);
        else if (a.kind == SIGMOID)
            prob[e] = 1.0 / (1.0 + exp(-prob[e]));
        sum += prob[e];
    }
    sum = group_add(sum);
    for (uint e = lane; e < a.n_expert; e += GROUP) {
        if (a.kind == SOFTMAX)
            prob[e] /= sum;
        // without a bias the order is that of the logits, which probabilities may have lost
        rank[e] = a.kind == SOFTMAX_CHOSEN ? prob[e]
                  : a.bias != REF_NONE     ? prob[e] + LOAD_F32(a.bias, e)
                                           : LOAD_F32(a.logits, token * a.n_expert + e);
    }
    barrier();
}

void main()
{
    uint lane = gl_LocalInvocationIndex, token = gl_WorkGroupID.x;
    if (token >= BATCH(a.batch, BATCH_N_TOKENS))
        return;
    score(token);
    for (uint j = 0u; j < a.n_used; j++) {
        float best = TAKEN;
        for (uint e = lane; e < a.n_expert; e += GROUP)
            best = max(best, rank[e]);
        best = group_max(best);
        float first = -float(MAX_EXPERTS); // ties go to the lower number; -1: only NaN is left
        for (uint e = lane; e < a.n_expert; e += GROUP)
            if (rank[e] == best)
                first = max(first, -float(e));
        uint expert = min(uint(-group_max(first)), a.n_expert - 1u);
        barrier();
        if (lane == 0u) {
            rank[expert] = TAKEN;
            chosen_weight[j] = prob[expert];
            STORE_U32(a.ids, token * a.n_used + j, expert);
        }
        barrier();
    }
    if (lane != 0u)
        return;
    float sum = 0.0, largest = chosen_weight[0];
    for (uint j = 0u; j < a.n_used; j++) {
        if (a.kind == SOFTMAX_CHOSEN)
            chosen_weight[j] = exp(chosen_weight[j] - largest);
        sum += chosen_weight[j];
    }
    float factor = a.kind == SOFTMAX_CHOSEN ? 1.0 / sum : a.normalize != 0u ? 1.0 / max(sum, 6.1e-5) : 1.0;
    for (uint j = 0u; j < a.n_used; j++)
        STORE_F32(a.weights, token * a.n_used + j, chosen_weight[j] * factor * a.scale);
}
