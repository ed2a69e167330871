#include "op/op_impl.h"

/* Fused ops: what their parts are says what they mean (op_reference runs them), so that here is
 * only what cannot be derived: which parts, in which order, and where their tensors stand. */

/* Do the parts have these kinds, and is each well-formed? */
static const char *check_parts(const struct op *op, const enum op_kind *kinds, int n_parts)
{
    if (op->n_parts != n_parts)
        return "a fused op has not the parts that make it up";
    for (int i = 0; i < n_parts; i++) {
        if (!op->parts[i] || op->parts[i]->kind != kinds[i])
            return "a fused op has not the parts that make it up";
        const char *wrong = op_def_of(kinds[i])->check(op->parts[i]);
        if (wrong)
            return wrong;
    }
    return NULL;
}

static const char *check_add_rms_norm(const struct op *op)
{
    const char *wrong = check_parts(op, (const enum op_kind[]){OP_ADD, OP_RMS_NORM}, 2);
    if (wrong)
        return wrong;
    const struct op *add = op->parts[0], *norm = op->parts[1];
    bool right = op->in[0] == add->in[0] && op->in[1] == add->in[1] && op->in[2] == norm->in[1] &&
                 op->out[0] == add->out[0] && op->out[1] == norm->out[0] &&
                 norm->in[0] == add->out[0] && tensor_same_shape(add->in[0], add->in[1]);
    return right ? NULL : "its tensors are not those of its parts";
}

static const char *check_matmul_glu(const struct op *op)
{
    const char *wrong = check_parts(op, (const enum op_kind[]){OP_MATMUL, OP_MATMUL, OP_GLU}, 3);
    if (wrong)
        return wrong;
    const struct op *gate = op->parts[0], *up = op->parts[1], *glu = op->parts[2];
    bool right = op->in[0] == gate->in[0] && op->in[1] == gate->in[1] && op->in[2] == gate->in[2] &&
                 !op->in[3] && op->in[4] == gate->in[4] && op->in[5] == up->in[0] &&
                 op->in[6] == up->in[2] && op->out[0] == glu->out[0];
    right = right && up->in[1] == gate->in[1] && up->in[4] == gate->in[4] && !gate->in[3] &&
            !up->in[3] && glu->in[0] == gate->out[0] && glu->in[1] == up->out[0] &&
            tensor_same_shape(gate->in[0], up->in[0]);
    return right ? NULL : "its tensors are not those of its parts";
}

static const char *check_matmul_qkv(const struct op *op)
{
    if (op->n_parts < 2 || op->n_parts > 3)
        return "a fused op has not the parts that make it up";
    const char *wrong =
        check_parts(op, (const enum op_kind[]){OP_MATMUL, OP_MATMUL, OP_MATMUL}, op->n_parts);
    for (int i = 0; i < op->n_parts && !wrong; i++) {
        const struct op *part = op->parts[i];
        if (part->in[1] != op->in[0] || part->in[0] != op->in[1 + 2 * i] ||
            part->in[2] != op->in[2 + 2 * i] || part->in[3] || part->in[4] ||
            part->out[0] != op->out[i])
            wrong = "its tensors are not those of its parts";
    }
    return wrong;
}

static const char *check_rope_kv(const struct op *op)
{
    const char *wrong = check_parts(op, (const enum op_kind[]){OP_ROPE, OP_ROPE, OP_KV_WRITE}, 3);
    if (wrong)
        return wrong;
    const struct op *q = op->parts[0], *k = op->parts[1], *write = op->parts[2];
    bool right = op->in[0] == q->in[0] && op->in[1] == k->in[0] && op->in[2] == write->in[1] &&
                 op->in[3] == q->in[1] && k->in[1] == q->in[1] && op->out[0] == q->out[0] &&
                 op->out[1] == write->out[0] && write->in[0] == k->out[0];
    return right ? NULL : "its tensors are not those of its parts";
}

static enum hth_status reference(const struct op_call *call)
{
    return op_reference(call);
}

/* What the parts compute and read of weights and cache, without what goes between them. */
static struct op_cost cost(const struct op *op, int64_t kv_len)
{
    struct op_cost cost = {.act_bytes = op_act_bytes(op)};
    for (int i = 0; i < op->n_parts; i++) {
        struct op_cost part = op_def_of(op->parts[i]->kind)->cost(op->parts[i], kv_len);
        cost.weight_bytes += part.weight_bytes;
        cost.kv_bytes += part.kv_bytes;
        cost.flops += part.flops;
    }
    return cost;
}

/* Tolerances are those of the loosest part. */
const struct op_def op_def_add_rms_norm = {
    .kind = OP_ADD_RMS_NORM,
    .name = "add_rms_norm",
    .check = check_add_rms_norm,
    .reference = reference,
    .cost = cost,
    .tolerance_f32 = 1e-11,
    .tolerance_f16 = 4e-6,
    .tolerance_int = 1e-11,
};

/* The product of two matmuls adds their errors. */
const struct op_def op_def_matmul_glu = {
    .kind = OP_MATMUL_GLU,
    .name = "matmul_glu",
    .check = check_matmul_glu,
    .reference = reference,
    .cost = cost,
    .tolerance_f32 = 4e-10,
    .tolerance_f16 = 8e-6,
    .tolerance_int = 2e-3,
};

const struct op_def op_def_matmul_qkv = {
    .kind = OP_MATMUL_QKV,
    .name = "matmul_qkv",
    .check = check_matmul_qkv,
    .reference = reference,
    .cost = cost,
    .tolerance_f32 = 1e-10,
    .tolerance_f16 = 4e-6,
    .tolerance_int = 4e-4,
};

const struct op_def op_def_rope_kv = {
    .kind = OP_ROPE_KV,
    .name = "rope_kv",
    .check = check_rope_kv,
    .reference = reference,
    .cost = cost,
    .tolerance_f32 = 1e-5,
    .tolerance_f16 = 1e-5,
    .tolerance_int = 1e-5,
};
