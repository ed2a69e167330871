/* Rows of rope and of writing the cache: apart, and in one dispatch, with norms of the heads. */
#include "gpu/compile.h"

#include "kv/rope_kv_args.h"

enum { MAX_DIM = 1024 }; /* of a head, in shared memory */

struct parts {
    const struct tensor *q, *k, *v, *q_out, *kv, *factors;
    const struct rope_params *rope;       /* NULL: nothing turns */
    const struct tensor *q_norm, *k_norm; /* of heads; NULL: none */
    float eps;
};

static struct parts parts_of(const struct op *op)
{
    if (op->kind == OP_ROPE)
        return (struct parts){
            .q = op->in[0], .factors = op->in[1], .q_out = op->out[0], .rope = &op->p.rope};
    if (op->kind == OP_KV_WRITE)
        return (struct parts){.k = op->in[0], .v = op->in[1], .kv = op->out[0]};
    return (struct parts){.q = op->in[0],
                          .k = op->in[1],
                          .v = op->in[2],
                          .factors = op->in[3],
                          .q_out = op->out[0],
                          .kv = op->out[1],
                          .rope = &op->p.rope,
                          .q_norm = op->in[4],
                          .k_norm = op->in[5],
                          .eps = op->in[4] ? op->parts[0]->p.rms_norm.eps : 0};
}

/* The cache's type that a row's shader is for; a rope alone runs in any. */
static bool kv_fits(const struct op *op, const struct dtype *type)
{
    struct parts p = parts_of(op);
    const struct tensor *head = p.q ? p.q : p.k;
    if (head->ne[0] > MAX_DIM || head->ne[0] % 2 || (p.v && p.v->ne[0] > MAX_DIM))
        return false;
    return p.kv ? p.kv->kv.k_type == type && p.kv->kv.v_type == type : type == &dtype_f16;
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

static bool fits_q4_0(const struct row_env *env, const struct op *op)
{
    (void)env;
    return kv_fits(op, &dtype_q4_0);
}

static enum hth_status emit(struct compile *c, const struct op *op, const struct row_choice *choice)
{
    struct parts p = parts_of(op);
    const struct tensor *head = p.q ? p.q : p.k;
    enum hth_status status = HTH_OK;
    struct rope_kv_args a = {
        .batch = compile_batch_ref(c),
        .q = compile_ref(c, p.q),
        .q_out = compile_ref(c, p.q_out),
        .k = compile_ref(c, p.k),
        .v = compile_ref(c, p.v),
        .n_q = p.q ? (uint32_t)p.q->ne[1] : 0,
        .n_kv = p.k ? (uint32_t)p.k->ne[1] : 0,
        .dim_q = (uint32_t)head->ne[0],
        .dim_v = p.v ? (uint32_t)p.v->ne[0] : 0,
        .q_stride = p.q ? (uint32_t)p.q->stride[2] : 0,
        .q_out_stride = p.q ? (uint32_t)p.q_out->stride[2] : 0,
        .k_stride = p.k ? (uint32_t)p.k->stride[2] : 0,
        .v_stride = p.v ? (uint32_t)p.v->stride[2] : 0,
        .k_offset = p.kv ? p.kv->kv.k_offset / VK_REF_ALIGN : 0,
        .v_offset = p.kv ? p.kv->kv.v_offset / VK_REF_ALIGN : 0,
        .n_rot = p.rope ? (uint32_t)p.rope->n_rot : 0,
        .neox = p.rope && p.rope->kind == ROPE_NEOX,
        .q_norm = compile_vector(c, p.q_norm),
        .k_norm = compile_vector(c, p.k_norm),
        .eps = p.eps,
        .rope_at = p.rope ? compile_rope(c, p.rope, p.factors, &status) : 0,
    };
    if (status)
        return status;
    struct dispatch d = {.choice = *choice,
                         .args = &a,
                         .args_bytes = sizeof a,
                         .groups = {(uint32_t)c->graph->n_tokens, a.n_q + 2 * a.n_kv, 1}};
    dispatch_reads(&d, c, p.q);
    dispatch_reads(&d, c, p.k);
    dispatch_reads(&d, c, p.v);
    dispatch_writes(&d, c, p.q_out);
    dispatch_writes(&d, c, p.kv);
    return compile_add(c, &d);
}

static const struct row rows[] = {
    {.name = "rope_kv_f16", .blob = "rope_kv_f16", .fits = fits_f16, .emit = emit},
    {.name = "rope_kv_f32", .blob = "rope_kv_f32", .fits = fits_f32, .emit = emit},
    {.name = "rope_kv_q8_0", .blob = "rope_kv_q8_0", .fits = fits_q8_0, .emit = emit},
    {.name = "rope_kv_q4_0", .blob = "rope_kv_q4_0", .fits = fits_q4_0, .emit = emit},
};

const struct row_family row_family_rope_kv = {
    .kinds = {OP_ROPE, OP_KV_WRITE, OP_ROPE_KV},
    .n_kinds = 3,
    .rows = rows,
    .n_rows = ARRAY_LEN(rows),
};
