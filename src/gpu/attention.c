/* Rows of attention, by the type of the cache. */
#include "gpu/compile.h"

#include "attention/attention_args.h"

enum { MAX_HEAD = 512, MAX_QR = 16 };

static bool kv_fits(const struct op *op, const struct dtype *type)
{
    const struct kv_geom *kv = &op->in[1]->kv;
    return kv->k_type == type && kv->v_type == type && kv->k_dim % 8 == 0 &&
           kv->k_dim <= MAX_HEAD && kv->v_dim <= MAX_HEAD;
}

static bool fits_f32(const struct row_env *env, const struct op *op)
{
    (void)env;
    return kv_fits(op, &dtype_f32);
}

static bool fits_f16(const struct row_env *env, const struct op *op)
{
    (void)env;
    return kv_fits(op, &dtype_f16);
}

static bool fits_q8_0(const struct row_env *env, const struct op *op)
{
    (void)env;
    return kv_fits(op, &dtype_q8_0);
}

/* Rows of a workgroup: (token, head) pairs that share a KV head; fewer where registers are short
 * (wide heads, 16 lanes) or the bucket has one token per tile anyway. */
static uint32_t query_rows(const struct row_env *env, const struct op *op)
{
    const struct kv_geom *kv = &op->in[1]->kv;
    uint32_t heads = (uint32_t)(op->p.attention.n_head / kv->n_head_kv);
    uint32_t limit = MAX_QR;
    if (kv->v_dim > 128 || !row_has_many_registers(env->caps))
        limit = 8;
    if (kv->v_dim > 256)
        limit = 4;
    bool single = op->in[0]->ne[2] <= 16;
    uint32_t wanted = single ? heads : (16 / heads ? 16 / heads * heads : heads);
    return wanted < limit ? wanted : limit;
}

static void shape(const struct row_env *env, const struct op *op, struct row_choice *choice)
{
    const struct kv_geom *kv = &op->in[1]->kv;
    choice->subgroup_size = row_subgroup(env->caps, 1);
    choice_set(choice, "QR", query_rows(env, op));
    choice_set(choice, "HEAD_K", (uint32_t)kv->k_dim);
    choice_set(choice, "HEAD_V", (uint32_t)kv->v_dim);
}

static enum hth_status emit(struct compile *c, const struct op *op, const struct row_choice *choice)
{
    const struct tensor *q = op->in[0], *kv = op->in[1], *y = op->out[0];
    const struct attention_params *p = &op->p.attention;
    uint32_t qr = choice_get(choice, "QR", 1), heads = (uint32_t)(p->n_head / kv->kv.n_head_kv);
    struct attention_args a = {
        .batch = compile_batch_ref(c),
        .q = compile_ref(c, q),
        .y = compile_ref(c, y),
        .sinks = compile_vector(c, op->in[2]),
        .q_stride = (uint32_t)q->stride[2],
        .y_stride = (uint32_t)y->stride[1],
        .k_offset = kv->kv.k_offset / VK_REF_ALIGN,
        .v_offset = kv->kv.v_offset / VK_REF_ALIGN,
        .heads = heads,
        .scale = p->scale,
        .softcap = p->softcap,
        .window = (uint32_t)p->window,
    };
    const struct batch_layout *batch = &c->program->batch;
    struct dispatch d = {.choice = *choice,
                         .args = &a,
                         .args_bytes = sizeof a,
                         .groups = {batch->max_tiles, (uint32_t)kv->kv.n_head_kv,
                                    (batch->tile_tokens * heads + qr - 1) / qr}};
    dispatch_reads(&d, c, q);
    dispatch_reads(&d, c, kv);
    dispatch_writes(&d, c, y);
    return compile_add(c, &d);
}

static const struct row rows[] = {
    {.name = "attention_f16",
     .blob = "attention_f16",
     .fits = fits_f16,
     .shape = shape,
     .emit = emit},
    {.name = "attention_f32",
     .blob = "attention_f32",
     .fits = fits_f32,
     .shape = shape,
     .emit = emit},
    {.name = "attention_q8_0",
     .blob = "attention_q8_0",
     .fits = fits_q8_0,
     .shape = shape,
     .emit = emit},
};

const struct row_family row_family_attention = {
    .kinds = {OP_ATTENTION},
    .n_kinds = 1,
    .rows = rows,
    .n_rows = ARRAY_LEN(rows),
};
