#include "op/op_impl.h"

/* Fused ops: what their parts are says what they mean (op_reference runs them), so that here is
 * only what cannot be derived: which parts, in which order, and where their tensors stand. */

static const char not_its_parts[] = "a fused op has not the parts that make it up";
static const char not_their_tensors[] = "its tensors are not those of its parts";

/* Do the parts have these kinds, and is each well-formed? */
static const char *check_parts(const struct op *op, const enum op_kind *kinds, int n_parts)
{
    if (op->n_parts != n_parts)
        return not_its_parts;
    for (int i = 0; i < n_parts; i++) {
        if (!op->parts[i] || op->parts[i]->kind != kinds[i])
            return not_its_parts;
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
    return right ? NULL : not_their_tensors;
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
    return right ? NULL : not_their_tensors;
}

static const char *check_matmul_qkv(const struct op *op)
{
    if (op->n_parts < 2 || op->n_parts > 3)
        return not_its_parts;
    const char *wrong =
        check_parts(op, (const enum op_kind[]){OP_MATMUL, OP_MATMUL, OP_MATMUL}, op->n_parts);
    for (int i = 0; i < op->n_parts && !wrong; i++) {
        const struct op *part = op->parts[i];
        if (part->in[1] != op->in[0] || part->in[0] != op->in[1 + 2 * i] ||
            part->in[2] != op->in[2 + 2 * i] || part->in[3] || part->in[4] ||
            part->out[0] != op->out[i])
            wrong = not_their_tensors;
    }
    return wrong;
}

/* With norms of the heads they come first: of q, of k. */
static const char *check_rope_kv(const struct op *op)
{
    static const enum op_kind kinds[] = {OP_RMS_NORM, OP_RMS_NORM, OP_ROPE, OP_ROPE, OP_KV_WRITE};
    int norms = op->in[4] || op->in[5] ? 2 : 0;
    const char *wrong = check_parts(op, kinds + 2 - norms, 3 + norms);
    if (wrong)
        return wrong;
    const struct op *q = op->parts[norms], *k = op->parts[norms + 1], *write = op->parts[norms + 2];
    const struct tensor *q_in = q->in[0], *k_in = k->in[0];
    if (norms) {
        const struct op *nq = op->parts[0], *nk = op->parts[1];
        if (q_in != nq->out[0] || k_in != nk->out[0] || op->in[4] != nq->in[1] ||
            op->in[5] != nk->in[1] || nq->p.rms_norm.eps != nk->p.rms_norm.eps)
            return not_their_tensors;
        q_in = nq->in[0], k_in = nk->in[0];
    }
    bool right = op->in[0] == q_in && op->in[1] == k_in && op->in[2] == write->in[1] &&
                 op->in[3] == q->in[1] && k->in[1] == q->in[1] && op->out[0] == q->out[0] &&
                 op->out[1] == write->out[0] && write->in[0] == k->out[0];
    return right ? NULL : not_their_tensors;
}

static const char *check_matmul_sum(const struct op *op)
{
    static const enum op_kind kinds[] = {OP_MATMUL, OP_EXPERT_SUM, OP_ADD};
    const char *wrong = check_parts(op, kinds, op->in[3] ? 3 : 2);
    if (wrong)
        return wrong;
    const struct op *product = op->parts[0], *sum = op->parts[1],
                    *last = op->parts[op->n_parts - 1];
    bool right = op->in[0] == product->in[0] && op->in[1] == product->in[1] &&
                 op->in[2] == product->in[2] && op->in[4] == product->in[4] && op->in[4] &&
                 !product->in[3] && op->in[5] == sum->in[1] && sum->in[0] == product->out[0] &&
                 op->out[0] == last->out[0];
    if (right && op->in[3]) {
        int at = last->in[0] == sum->out[0]; /* the operand that is the residual */
        right = last->in[1 - at] == sum->out[0] && last->in[at] == op->in[3] &&
                tensor_same_shape(op->in[3], op->out[0]);
    }
    return right ? NULL : not_their_tensors;
}

int op_product_x(enum op_kind kind)
{
    switch (kind) {
    case OP_MATMUL:
    case OP_MATMUL_GLU: return 1;
    case OP_MATMUL_QKV: return 0;
    default: return -1;
    }
}

static const char *check_norm_matmul(const struct op *op)
{
    if (op->n_parts != 2 || op_product_x(op->parts[1]->kind) < 0)
        return not_its_parts;
    const struct op *norm = op->parts[0], *product = op->parts[1];
    const char *wrong = check_parts(op, (const enum op_kind[]){OP_RMS_NORM, product->kind}, 2);
    if (wrong)
        return wrong;
    int x = op_product_x(product->kind);
    bool right = op->in[x] == norm->in[0] && product->in[x] == norm->out[0] && norm->in[1] &&
                 op->in[OP_NORM_W] == norm->in[1];
    for (int i = 0; i < OP_NORM_W; i++)
        right = right && (i == x || op->in[i] == product->in[i]);
    for (int i = 0; i < OP_MAX_OUT; i++)
        right = right && op->out[i] == product->out[i];
    return right ? NULL : not_their_tensors;
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

const struct op_def op_def_matmul_sum = {
    .kind = OP_MATMUL_SUM,
    .name = "matmul_sum",
    .check = check_matmul_sum,
    .reference = reference,
    .cost = cost,
    .tolerance_f32 = 1e-10,
    .tolerance_f16 = 4e-6,
    .tolerance_int = 4e-4,
};

/* As its loosest: gate and up. */
const struct op_def op_def_norm_matmul = {
    .kind = OP_NORM_MATMUL,
    .name = "norm_matmul",
    .check = check_norm_matmul,
    .reference = reference,
    .cost = cost,
    .tolerance_f32 = 4e-10,
    .tolerance_f16 = 8e-6,
    .tolerance_int = 2e-3,
};
