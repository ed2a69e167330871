#include "op/op_impl.h"

#include <assert.h>

#include "base/mem.h"

extern const struct op_def *const op_def_list[];

const struct op_def *op_def_of(enum op_kind kind)
{
    for (size_t i = 0; op_def_list[i]; i++)
        if (op_def_list[i]->kind == kind)
            return op_def_list[i];
    assert(!"an op without a definition");
    return op_def_list[0];
}

bool op_has_layout(const struct op *op, enum weight_layout layout)
{
    for (int i = 0; i < OP_MAX_IN; i++)
        if (op->in[i] && op->in[i]->kind == TENSOR_WEIGHT && op->in[i]->weight->layout != layout)
            return false;
    return true;
}

int64_t batch_rows(const struct batch *batch, const struct tensor *tensor)
{
    int64_t there = tensor->ne[tensor->n_dims - 1];
    int64_t bound = tensor->rows == ROWS_TOKENS    ? batch->n_tokens
                    : tensor->rows == ROWS_OUTPUTS ? batch->n_outputs
                                                   : there;
    return bound < there ? bound : there;
}

int64_t batch_rows_flat(const struct batch *batch, const struct tensor *tensor)
{
    if (tensor->n_dims == 1)
        return 1;
    int64_t rows = batch_rows(batch, tensor);
    for (int d = 1; d < tensor->n_dims - 1; d++)
        rows *= tensor->ne[d];
    return rows;
}

struct view view_of(const struct tensor *tensor, void *base)
{
    struct view view = {.dtype = tensor->dtype};
    int64_t offset;
    const struct tensor *owner = tensor_base(tensor, &offset);
    for (int d = 0; d < OP_MAX_DIMS; d++) {
        view.ne[d] = tensor->ne[d];
        view.stride[d] = tensor->stride[d];
    }
    if (base)
        view.data = (char *)base + dtype_row_bytes(tensor->dtype, (uint64_t)offset);
    if (owner->weight)
        view.experts = (void *const *)owner->weight->experts;
    return view;
}

uint64_t op_act_bytes(const struct op *op)
{
    uint64_t bytes = 0;
    for (int i = 0; i < OP_MAX_IN; i++)
        if (op->in[i] && op->in[i]->kind == TENSOR_ACTIVATION)
            bytes += tensor_bytes(op->in[i]);
    for (int i = 0; i < OP_MAX_OUT; i++)
        if (op->out[i] && op->out[i]->kind == TENSOR_ACTIVATION)
            bytes += tensor_bytes(op->out[i]);
    return bytes;
}

struct op_cost op_cost_elementwise(const struct op *op, int flops)
{
    struct op_cost cost = {.act_bytes = op_act_bytes(op)};
    for (int i = 0; i < OP_MAX_IN; i++)
        if (op->in[i] && op->in[i]->kind == TENSOR_WEIGHT)
            cost.weight_bytes += tensor_bytes(op->in[i]);
    cost.flops = (uint64_t)tensor_elems(op->out[0]) * (uint64_t)flops;
    return cost;
}

/* --- a fused op runs as its parts ------------------------------------------------------------- */

enum { MAX_BETWEEN = OP_MAX_PARTS * OP_MAX_OUT };

/* What lies between the parts: tensors that the fused op neither takes nor gives. */
struct between {
    const struct op_call *whole;
    const struct tensor *tensors[MAX_BETWEEN];
    void *bytes[MAX_BETWEEN];
    int n;
};

static bool find_view(const struct op_call *whole, const struct tensor *tensor, struct view *view)
{
    for (int i = 0; i < OP_MAX_OUT; i++)
        if (whole->op->out[i] == tensor) {
            *view = whole->out[i];
            return true;
        }
    for (int i = 0; i < OP_MAX_IN; i++)
        if (whole->op->in[i] == tensor) {
            *view = whole->in[i];
            return true;
        }
    return false;
}

/* A view of a part's tensor; scratch is made for one that nobody outside knows. */
static enum hth_status part_view(struct between *between, const struct tensor *tensor,
                                 struct view *view)
{
    if (!tensor || find_view(between->whole, tensor, view))
        return HTH_OK;
    if (tensor->kind == TENSOR_KV) {
        *view = view_of(tensor, NULL);
        return HTH_OK;
    }
    const struct tensor *base = tensor_base(tensor, NULL);
    struct view of_base;
    if (base != tensor && find_view(between->whole, base, &of_base)) {
        *view = view_of(tensor, of_base.data);
        return HTH_OK;
    }
    int i = 0;
    while (i < between->n && between->tensors[i] != base)
        i++;
    if (i == between->n) {
        assert(i < MAX_BETWEEN);
        between->bytes[i] = mem_calloc(1, tensor_bytes(base));
        if (!between->bytes[i])
            return HTH_ERROR_MEMORY;
        between->tensors[i] = base;
        between->n++;
    }
    *view = view_of(tensor, between->bytes[i]);
    return HTH_OK;
}

static enum hth_status run_part(struct between *between, const struct op *part)
{
    struct op_call call = {
        .op = part, .batch = between->whole->batch, .kv_pages = between->whole->kv_pages};
    enum hth_status status = HTH_OK;
    for (int i = 0; i < OP_MAX_IN && status == HTH_OK; i++)
        status = part_view(between, part->in[i], &call.in[i]);
    for (int i = 0; i < OP_MAX_OUT && status == HTH_OK; i++)
        status = part_view(between, part->out[i], &call.out[i]);
    return status == HTH_OK ? op_reference(&call) : status;
}

enum hth_status op_reference(const struct op_call *call)
{
    if (call->op->n_parts == 0)
        return op_def_of(call->op->kind)->reference(call);
    struct between between = {.whole = call};
    enum hth_status status = HTH_OK;
    for (int i = 0; i < call->op->n_parts && status == HTH_OK; i++)
        status = run_part(&between, call->op->parts[i]);
    for (int i = 0; i < between.n; i++)
        mem_free(between.bytes[i]);
    return status;
}
