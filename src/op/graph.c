#include "op/op_impl.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

/* More elements than any machine holds, few enough that bytes never overflow 64 bits. */
static const int64_t MAX_ELEMS = (int64_t)1 << 48;

static void set_contiguous(struct tensor *tensor)
{
    tensor->stride[0] = 1;
    for (int d = 1; d < OP_MAX_DIMS; d++)
        tensor->stride[d] = tensor->stride[d - 1] * tensor->ne[d - 1];
}

void graph_init(struct graph *graph, int n_tokens, int n_outputs, const struct log *log)
{
    *graph = (struct graph){
        .n_tokens = n_tokens, .n_outputs = n_outputs, .layer = -1, .log = log, .status = HTH_OK};
    graph->broken = (struct tensor){.name = "broken",
                                    .kind = TENSOR_ACTIVATION,
                                    .dtype = &dtype_f32,
                                    .ne = {1, 1, 1, 1},
                                    .n_dims = 1,
                                    .id = -1};
    set_contiguous(&graph->broken);
}

void graph_free(struct graph *graph)
{
    mem_free(graph->tensors);
    mem_free(graph->by_index);
    mem_free(graph->ops);
    arena_free(&graph->arena);
    const struct log *log = graph->log;
    graph_init(graph, 0, 0, log);
}

void graph_fail(struct graph *graph, enum hth_status status, const char *fmt, ...)
{
    if (graph->status != HTH_OK)
        return;
    graph->status = status;
    va_list args;
    va_start(args, fmt);
    log_linev(graph->log, HTH_LOG_ERROR, fmt, args);
    va_end(args);
}

static void fail_memory(struct graph *graph)
{
    if (graph->status == HTH_OK)
        graph->status = log_fail_memory(graph->log, "the graph of the model",
                                        (unsigned long long)graph->arena.used_bytes);
}

const char *graph_label(struct graph *graph, const char *label)
{
    if (graph->status != HTH_OK)
        return NULL;
    const char *name = graph->layer >= 0
                           ? arena_printf(&graph->arena, "blk.%d.%s", graph->layer, label)
                           : arena_strdup(&graph->arena, label);
    if (!name)
        fail_memory(graph);
    return name;
}

bool graph_can(struct graph *graph, const char *label, const struct tensor *input)
{
    if (graph->status != HTH_OK)
        return false;
    if (!input)
        graph_fail(graph, HTH_ERROR_FORMAT, "%s%s: an input that it cannot do without is missing",
                   graph->layer >= 0 ? "a layer's " : "", label);
    return graph->status == HTH_OK;
}

/* Adds a zeroed tensor; NULL after a failure. */
static struct tensor *add_tensor(struct graph *graph)
{
    if (graph->status != HTH_OK)
        return NULL;
    struct tensor **grown =
        mem_grow(graph->tensors, &graph->cap_tensors, graph->n_tensors + 1, sizeof *graph->tensors);
    if (grown)
        graph->tensors = grown;
    struct tensor *tensor = grown ? arena_alloc(&graph->arena, sizeof *tensor) : NULL;
    if (!tensor) {
        fail_memory(graph);
        return NULL;
    }
    tensor->id = (int)graph->n_tensors;
    graph->tensors[graph->n_tensors++] = tensor;
    return tensor;
}

static int bucket(const struct graph *graph, enum row_count rows)
{
    return rows == ROWS_TOKENS ? graph->n_tokens : rows == ROWS_OUTPUTS ? graph->n_outputs : 0;
}

/* Fills ne, strides and n_dims. The outermost dimension of what a batch bounds is the bucket's
 * size: where that is 1, it is the one above the last that is more than 1. False: the shape is
 * impossible. */
static bool set_shape(struct tensor *tensor, const int64_t ne[OP_MAX_DIMS], int bound)
{
    uint64_t elems = 1;
    int last = 0;
    for (int d = 0; d < OP_MAX_DIMS; d++) {
        tensor->ne[d] = ne[d] == 0 && d > 0 ? 1 : ne[d];
        if (tensor->ne[d] < 1 || !mul_u64(elems, (uint64_t)tensor->ne[d], &elems) ||
            elems > (uint64_t)MAX_ELEMS)
            return false;
        if (tensor->ne[d] > 1)
            last = d;
    }
    set_contiguous(tensor);
    tensor->n_dims = last + 1;
    if (bound == 0)
        return true;
    if (bound == 1)
        tensor->n_dims = last + 2;
    return tensor->n_dims >= 2 && tensor->n_dims <= OP_MAX_DIMS &&
           tensor->ne[tensor->n_dims - 1] == bound;
}

static void fail_shape(struct graph *graph, const char *name, const int64_t ne[OP_MAX_DIMS])
{
    graph_fail(graph, HTH_ERROR_FORMAT,
               "%s: no tensor can have the shape %lld × %lld × %lld × %lld here", name,
               (long long)ne[0], (long long)ne[1], (long long)ne[2], (long long)ne[3]);
}

/* Indices up to here are looked up in a table; a model's are positions in its list. */
enum { MAX_INDEX = 1 << 20 };

/* Where the table has this index; NULL after a failure. */
static struct tensor **index_place(struct graph *graph, size_t index)
{
    if (graph->status != HTH_OK)
        return NULL;
    struct tensor **grown =
        mem_grow(graph->by_index, &graph->cap_by_index, index + 1, sizeof *grown);
    if (!grown) {
        fail_memory(graph);
        return NULL;
    }
    graph->by_index = grown;
    for (; graph->n_by_index <= index; graph->n_by_index++)
        grown[graph->n_by_index] = NULL;
    return &grown[index];
}

/* For weights of no model's list, whose indices are what they happen to be. */
static struct tensor *search_weight(const struct graph *graph, const struct weight *weight)
{
    for (size_t i = 0; i < graph->n_tensors; i++)
        if (graph->tensors[i]->weight == weight)
            return graph->tensors[i];
    return NULL;
}

struct tensor *graph_weight(struct graph *graph, const struct weight *weight)
{
    if (!weight)
        return NULL;
    struct tensor **place = NULL, *there = NULL;
    if (weight->index >= 0 && weight->index < MAX_INDEX) {
        place = index_place(graph, (size_t)weight->index);
        if (!place)
            return &graph->broken;
        if (*place && (*place)->weight == weight)
            return *place;
    }
    if (!place || *place)
        there = search_weight(graph, weight);
    if (there)
        return there;
    struct tensor *tensor = add_tensor(graph);
    if (!tensor)
        return &graph->broken;
    if (place && !*place)
        *place = tensor;
    tensor->name = weight->name;
    tensor->kind = TENSOR_WEIGHT;
    tensor->dtype = weight->dtype;
    tensor->weight = weight;
    if (!set_shape(tensor, weight->ne, 0)) {
        fail_shape(graph, weight->name, weight->ne);
        return &graph->broken;
    }
    return tensor;
}

struct tensor *graph_kv(struct graph *graph, const char *name, const struct kv_geom *geom)
{
    const char *label = graph_label(graph, name);
    struct tensor *tensor = label ? add_tensor(graph) : NULL;
    if (!tensor)
        return &graph->broken;
    tensor->name = label;
    tensor->kind = TENSOR_KV;
    tensor->dtype = geom->k_type;
    tensor->kv = *geom;
    const int64_t ne[OP_MAX_DIMS] = {geom->k_dim, KV_PAGE, geom->n_head_kv, 1};
    if (!set_shape(tensor, ne, 0)) {
        fail_shape(graph, label, ne);
        return &graph->broken;
    }
    return tensor;
}

struct tensor *graph_activation(struct graph *graph, const char *name, const struct dtype *dtype,
                                const int64_t ne[OP_MAX_DIMS], enum row_count rows)
{
    const char *label = graph_label(graph, name);
    struct tensor *tensor = label ? add_tensor(graph) : NULL;
    if (!tensor)
        return &graph->broken;
    tensor->name = label;
    tensor->kind = TENSOR_ACTIVATION;
    tensor->dtype = dtype;
    tensor->rows = rows;
    if (!set_shape(tensor, ne, bucket(graph, rows))) {
        fail_shape(graph, label, ne);
        return &graph->broken;
    }
    return tensor;
}

struct tensor *graph_reshape(struct graph *graph, struct tensor *x, int64_t ne0, int64_t ne1,
                             int64_t ne2)
{
    if (!graph_can(graph, "reshape", x))
        return &graph->broken;
    const int64_t ne[OP_MAX_DIMS] = {ne0, ne1, ne2, 1};
    struct tensor *tensor = add_tensor(graph);
    if (!tensor)
        return &graph->broken;
    int id = tensor->id;
    *tensor = *x;
    tensor->id = id;
    tensor->view_of = x;
    tensor->view_offset = 0;
    if (!tensor_is_contiguous(x) || !set_shape(tensor, ne, bucket(graph, x->rows)) ||
        tensor_elems(tensor) != tensor_elems(x)) {
        graph_fail(graph, HTH_ERROR_FORMAT,
                   "%s: %lld elements cannot take the shape %lld × %lld × %lld", x->name,
                   (long long)tensor_elems(x), (long long)ne0, (long long)ne1, (long long)ne2);
        return &graph->broken;
    }
    return tensor;
}

static void print_shape(struct strbuf *out, const struct tensor *tensor)
{
    strbuf_printf(out, "%s %s [", tensor->name, tensor->dtype->name);
    for (int d = 0; d < tensor->n_dims; d++)
        strbuf_printf(out, "%s%lld", d ? ", " : "", (long long)tensor->ne[d]);
    strbuf_append_char(out, ']');
}

static void print_op(struct strbuf *out, const struct op *op)
{
    strbuf_printf(out, "%s = %s(", op->label, op_def_of(op->kind)->name);
    const char *between = "";
    int last = OP_MAX_IN - 1;
    while (last >= 0 && !op->in[last])
        last--;
    for (int i = 0; i <= last; i++, between = ", ") {
        strbuf_append(out, str_of(between));
        if (op->in[i])
            print_shape(out, op->in[i]);
        else
            strbuf_append_char(out, '-');
    }
    strbuf_append(out, STR(") -> "));
    between = "";
    for (int i = 0; i < OP_MAX_OUT; i++) {
        if (!op->out[i])
            continue;
        strbuf_append(out, str_of(between));
        print_shape(out, op->out[i]);
        between = ", ";
    }
}

void graph_print(const struct graph *graph, struct strbuf *out)
{
    for (size_t i = 0; i < graph->n_ops; i++) {
        print_op(out, graph->ops[i]);
        strbuf_append_char(out, '\n');
    }
}

static bool push_op(struct graph *graph, struct op *op)
{
    struct op **grown = mem_grow(graph->ops, &graph->cap_ops, graph->n_ops + 1, sizeof *graph->ops);
    if (!grown)
        return false;
    graph->ops = grown;
    graph->ops[graph->n_ops++] = op;
    return true;
}

static void fail_check(struct graph *graph, const struct op *op, const char *wrong)
{
    struct strbuf text = {0};
    print_op(&text, op);
    graph_fail(graph, HTH_ERROR_FORMAT, "%s: %s: %s: %s", op->label, op_def_of(op->kind)->name,
               wrong, text.ptr ? text.ptr : "");
    strbuf_free(&text);
}

struct op *graph_append(struct graph *graph, const struct op *op)
{
    if (graph->status != HTH_OK)
        return NULL;
    struct op *copy = arena_alloc(&graph->arena, sizeof *copy);
    if (!copy) {
        fail_memory(graph);
        return NULL;
    }
    *copy = *op;
    copy->layer = graph->layer;
    if (!copy->label)
        copy->label = copy->out[0] ? copy->out[0]->name : "?";
    const char *wrong = op_def_of(op->kind)->check(copy);
    if (wrong) {
        fail_check(graph, copy, wrong);
        return NULL;
    }
    if (!push_op(graph, copy)) {
        fail_memory(graph);
        return NULL;
    }
    return copy;
}

struct tensor *graph_finish(struct graph *graph, const char *label, struct op *op)
{
    if (!op->label && op->out[0] && op->out[0]->kind == TENSOR_KV)
        op->label = graph_label(graph, label);
    return graph_append(graph, op) ? op->out[0] : &graph->broken;
}

struct tensor *graph_result(const struct graph *graph)
{
    return graph->best ? graph->best : graph->logits;
}

struct tensor *tensor_base(const struct tensor *tensor, int64_t *offset)
{
    int64_t elems = 0;
    while (tensor->view_of) {
        elems += tensor->view_offset;
        tensor = tensor->view_of;
    }
    if (offset)
        *offset = elems;
    return (struct tensor *)tensor;
}

int64_t tensor_elems(const struct tensor *tensor)
{
    return tensor->ne[0] * tensor_rows(tensor);
}

int64_t tensor_rows(const struct tensor *tensor)
{
    return tensor->ne[1] * tensor->ne[2] * tensor->ne[3];
}

bool tensor_same_shape(const struct tensor *a, const struct tensor *b)
{
    for (int d = 0; d < OP_MAX_DIMS; d++)
        if (a->ne[d] != b->ne[d])
            return false;
    return true;
}

bool tensor_is_contiguous(const struct tensor *tensor)
{
    int64_t stride = 1;
    for (int d = 0; d < OP_MAX_DIMS; d++) {
        if (tensor->stride[d] != stride && tensor->ne[d] > 1)
            return false;
        stride *= tensor->ne[d];
    }
    return true;
}

bool tensor_is_f32(const struct tensor *tensor)
{
    return tensor->dtype == &dtype_f32 && tensor->kind != TENSOR_KV && tensor->ne[3] == 1;
}

bool tensor_is_vector(const struct tensor *tensor, int64_t n)
{
    return tensor_is_f32(tensor) && tensor->ne[0] == n && tensor_rows(tensor) == 1;
}

bool tensor_batch_dim(const struct tensor *tensor, int d)
{
    if (tensor->rows == ROWS_FIXED)
        return false;
    for (int above = d + 1; above < OP_MAX_DIMS; above++)
        if (tensor->ne[above] != 1)
            return false;
    return tensor->n_dims - 1 == d || (tensor->ne[tensor->n_dims - 1] == 1 && tensor->ne[d] == 1);
}

uint64_t tensor_bytes(const struct tensor *tensor)
{
    return dtype_row_bytes(tensor->dtype, (uint64_t)tensor_elems(tensor));
}
