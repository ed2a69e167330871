/* Rows of routing: choosing experts, and adding what they made. */
#include "gpu/compile.h"

#include "base/mem.h"
#include "moe/moe_args.h"

enum { MAX_EXPERTS = 1024, MAX_USED = 64 };

static bool router_fits(const struct row_env *env, const struct op *op)
{
    (void)env;
    return op->in[0]->ne[0] <= MAX_EXPERTS && op->p.router.n_used <= MAX_USED;
}

static void router_shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    (void)op;
    choice->subgroup_size = row_subgroup(env->caps, 32);
    uint32_t lanes = row_subgroup_actual(env->caps, choice->subgroup_size);
    choice_set(choice, "GROUP", lanes > 32 ? lanes : 32);
}

static enum hth_status router_emit(struct compile *c, const struct op *op,
                                   const struct row_choice *choice)
{
    const struct router_params *p = &op->p.router;
    struct router_args a = {
        .batch = compile_batch_ref(c),
        .logits = compile_ref(c, op->in[0]),
        .bias = compile_vector(c, op->in[1]),
        .weights = compile_ref(c, op->out[0]),
        .ids = compile_ref(c, op->out[1]),
        .n_expert = (uint32_t)op->in[0]->ne[0],
        .n_used = (uint32_t)p->n_used,
        .kind = (uint32_t)p->kind,
        .normalize = p->normalize,
        .scale = p->scale,
    };
    struct dispatch d = {.choice = *choice,
                         .args = &a,
                         .args_bytes = sizeof a,
                         .groups = {(uint32_t)c->graph->n_tokens, 1, 1}};
    dispatch_reads(&d, c, op->in[0]);
    dispatch_writes(&d, c, op->out[0]);
    dispatch_writes(&d, c, op->out[1]);
    return compile_add(c, &d);
}

static enum hth_status sum_emit(struct compile *c, const struct op *op,
                                const struct row_choice *choice)
{
    const struct tensor *x = op->in[0];
    struct expert_sum_args a = {
        .batch = compile_batch_ref(c),
        .x = compile_ref(c, x),
        .weights = compile_ref(c, op->in[1]),
        .y = compile_ref(c, op->out[0]),
        .n = (uint32_t)x->ne[0],
        .n_used = (uint32_t)x->ne[1],
    };
    struct dispatch d = {.choice = *choice,
                         .args = &a,
                         .args_bytes = sizeof a,
                         .groups = {(uint32_t)div_up(a.n, 64), (uint32_t)c->graph->n_tokens, 1}};
    dispatch_reads(&d, c, x);
    dispatch_reads(&d, c, op->in[1]);
    dispatch_writes(&d, c, op->out[0]);
    return compile_add(c, &d);
}

static const struct row router_rows[] = {
    {.name = "router",
     .blob = "router",
     .fits = router_fits,
     .shape = router_shape,
     .emit = router_emit},
};

const struct row_family row_family_router = {
    .kinds = {OP_ROUTER},
    .n_kinds = 1,
    .rows = router_rows,
    .n_rows = ARRAY_LEN(router_rows),
};

static const struct row sum_rows[] = {
    {.name = "expert_sum", .blob = "expert_sum", .emit = sum_emit},
};

const struct row_family row_family_expert_sum = {
    .kinds = {OP_EXPERT_SUM},
    .n_kinds = 1,
    .rows = sum_rows,
    .n_rows = ARRAY_LEN(sum_rows),
};
