#include "engine/split.h"

#include "base/mem.h"
#include "kv/kv.h"
#include "op/op_def.h"
#include "op/partition.h"

/* --- weights ---------------------------------------------------------------------------------- */

bool split_is_vector(const struct weight *weight)
{
    return weight->ne[1] == 1 && weight->ne[2] == 1;
}

bool split_is_experts(const struct weight *weight)
{
    return weight->ne[2] > 1 || weight->experts;
}

static const void *expert_data(const struct weight *weight, int64_t expert)
{
    uint64_t bytes = weight->size_bytes / (uint64_t)weight->ne[2];
    return weight->experts ? weight->experts[expert]
                           : (const char *)weight->data + (uint64_t)expert * bytes;
}

/* A weight whose experts are on several devices, `at` these; for the host without the others'. */
static enum hth_status divide_weight(struct split *split, const struct model *model,
                                     const struct weight *weight, const uint8_t *at)
{
    size_t n = (size_t)weight->ne[2];
    uint8_t *each = arena_alloc(&split->arena, n * sizeof *each);
    struct weight *copy = arena_alloc(&split->arena, sizeof *copy);
    const void **experts = arena_calloc(&split->arena, n, sizeof *experts);
    if (!each || !copy || !experts)
        return log_fail_memory(model->log, "the places of experts", n * sizeof *experts);
    *copy = *weight;
    copy->experts = experts;
    for (size_t e = 0; e < n; e++) {
        each[e] = at[e];
        experts[e] = at[e] == SPLIT_HOST ? expert_data(weight, (int64_t)e) : NULL;
    }
    split->of_expert[weight->index] = each;
    if (split->of_weight[weight->index] >> SPLIT_HOST & 1)
        split->on_host[weight->index] = copy;
    return HTH_OK;
}

static bool has_experts_of(const struct weight *weight, int layer)
{
    return split_is_experts(weight) && model_layer_of(weight->name) == layer;
}

/* Where each expert of a layer is with all its matrices; returns the devices' bits. */
static uint32_t find_experts(const struct model *model, int layer,
                             const struct split_choice *choice, uint8_t *at)
{
    enum { NOWHERE = UINT8_MAX };
    uint32_t devices = 0;
    for (int e = 0; e < model->hp.n_expert; e++) {
        at[e] = NOWHERE;
        for (size_t i = 0; i < model->n_weights; i++) {
            if (!has_experts_of(model->weights[i], layer))
                continue;
            uint8_t device = (uint8_t)choice->weight(choice->user, model->weights[i], e);
            at[e] = at[e] == NOWHERE || at[e] == device ? device : SPLIT_HOST;
        }
        devices |= at[e] == NOWHERE ? 0 : 1u << at[e];
    }
    return devices;
}

static enum hth_status place_experts(struct split *split, const struct model *model, int layer,
                                     const struct split_choice *choice)
{
    uint8_t *at = mem_alloc((size_t)model->hp.n_expert * sizeof *at);
    if (!at)
        return log_fail_memory(model->log, "the places of experts", (size_t)model->hp.n_expert);
    uint32_t devices = find_experts(model, layer, choice, at);
    enum hth_status status = HTH_OK;
    for (size_t i = 0; i < model->n_weights && status == HTH_OK; i++) {
        if (!has_experts_of(model->weights[i], layer))
            continue;
        split->of_weight[i] = (uint8_t)devices;
        if (!partition_is_one(devices))
            status = divide_weight(split, model, model->weights[i], at);
    }
    mem_free(at);
    return status;
}

static enum hth_status place_all(struct split *split, const struct model *model,
                                 const struct split_choice *choice)
{
    for (size_t i = 0; i < model->n_weights; i++)
        split->of_weight[i] =
            (uint8_t)(1u << (choice && !split_is_experts(model->weights[i])
                                 ? choice->weight(choice->user, model->weights[i], -1)
                                 : SPLIT_HOST));
    enum hth_status status = HTH_OK;
    for (int layer = 0; choice && layer < model->hp.n_layer; layer++) {
        split->of_cache[layer] = (uint8_t)choice->cache(choice->user, layer);
        if (status == HTH_OK && model->hp.n_expert > 0)
            status = place_experts(split, model, layer, choice);
    }
    for (size_t i = 0; choice && choice->streamed && i < model->n_weights; i++) {
        const struct weight *weight = model->weights[i];
        split->streamed[i] = (split->of_weight[i] >> SPLIT_HOST & 1) && !split_is_vector(weight) &&
                             choice->streamed(choice->user, weight);
        split->used[split->stream_to] |= split->streamed[i];
    }
    for (int layer = 0; layer < model->hp.n_layer; layer++)
        split->used[split->of_cache[layer]] = true;
    for (size_t i = 0; i < model->n_weights; i++)
        for (int d = 0; d < split->n_devices; d++)
            split->used[d] |= !split_is_vector(model->weights[i]) && (split->of_weight[i] >> d & 1);
    return status;
}

enum hth_status split_create(struct split *out, const struct model *model,
                             const struct split_choice *choice)
{
    *out = (struct split){0};
    size_t n = model->n_weights + 1;
    out->of_weight = arena_calloc(&out->arena, n, sizeof *out->of_weight);
    out->of_cache = arena_calloc(&out->arena, (size_t)model->hp.n_layer + 1, sizeof *out->of_cache);
    out->of_expert = arena_calloc(&out->arena, n, sizeof *out->of_expert);
    out->on_host = arena_calloc(&out->arena, n, sizeof(struct weight *));
    out->streamed = arena_calloc(&out->arena, n, sizeof *out->streamed);
    out->n_devices = choice ? choice->n_devices : 1;
    if (choice && choice->streamed) {
        out->stream_to = choice->stream_to;
        out->stream_from = choice->stream_from;
    }
    if (!out->of_weight || !out->of_cache || !out->of_expert || !out->on_host || !out->streamed)
        return log_fail_memory(model->log, "the places of weights", n);
    return place_all(out, model, choice);
}

void split_free(struct split *split)
{
    arena_free(&split->arena);
    *split = (struct split){0};
}

bool split_needs_host(const struct split *split)
{
    int n_gpus = 0;
    for (int d = 1; d < split->n_devices; d++)
        n_gpus += split->used[d];
    return split->used[SPLIT_HOST] || n_gpus > 1;
}

bool split_has(const struct split *split, int device, const struct weight *weight, int64_t expert)
{
    const uint8_t *each = split->of_expert[weight->index];
    if (each)
        return each[expert] == device;
    return (device != SPLIT_HOST && split_is_vector(weight)) ||
           (split->of_weight[weight->index] >> device & 1);
}

void split_move_expert(struct split *split, const struct weight *weight, int64_t expert, int device)
{
    const void **experts = (const void **)(uintptr_t)split->on_host[weight->index]->experts;
    experts[expert] = device == SPLIT_HOST ? expert_data(weight, expert) : NULL;
    split->of_expert[weight->index][expert] = (uint8_t)device;
}

bool split_streams(const struct split *split, const struct weight *weight, int64_t expert)
{
    return split->streamed[weight->index] && split_has(split, SPLIT_HOST, weight, expert);
}

uint64_t split_host_bytes(const struct split *split, const struct weight *weight)
{
    uint64_t experts = 0;
    if (!split->of_expert[weight->index])
        return split_has(split, SPLIT_HOST, weight, -1) ? weight->size_bytes : 0;
    for (int64_t e = 0; e < weight->ne[2]; e++)
        experts += split_has(split, SPLIT_HOST, weight, e);
    return weight->size_bytes / (uint64_t)weight->ne[2] * experts;
}

/* --- cache ------------------------------------------------------------------------------------ */

enum hth_status split_cache(const struct split *split, struct kv_geom *layers, int n_layer,
                            uint64_t page_bytes[SPLIT_DEVICES], const struct log *log)
{
    struct kv_geom *own = mem_calloc((size_t)n_layer, sizeof *own);
    if (!own)
        return log_fail_memory(log, "the cache's shape", (size_t)n_layer * sizeof *own);
    enum hth_status status = HTH_OK;
    for (int d = 0; d < SPLIT_DEVICES && status == HTH_OK; d++) {
        int n = 0;
        for (int i = 0; i < n_layer; i++)
            if (split->of_cache[i] == d)
                own[n++] = layers[i];
        page_bytes[d] = n ? kv_layout(own, n, log) : 0;
        if (n && page_bytes[d] == 0)
            status = HTH_ERROR_LIMIT;
        for (int i = 0, k = 0; i < n_layer; i++)
            if (split->of_cache[i] == d)
                layers[i] = own[k++];
    }
    mem_free(own);
    return status;
}

/* --- ops -------------------------------------------------------------------------------------- */

/* The op that made a tensor, by its number and one; 0: none of the first n. */
static size_t maker_of(const struct graph *graph, size_t n, const struct tensor *tensor)
{
    const struct tensor *base = tensor_base(tensor, NULL);
    for (size_t i = n; i-- > 0;)
        for (int k = 0; k < OP_MAX_OUT; k++)
            if (graph->ops[i]->out[k] && tensor_base(graph->ops[i]->out[k], NULL) == base)
                return i + 1;
    return 0;
}

/* Where a matrix is when a graph of this size runs. */
static uint32_t devices_of_weight(const struct split *split, const struct graph *graph,
                                  const struct weight *weight)
{
    uint32_t devices = split->of_weight[weight->index];
    bool comes = split->stream_from && graph->n_tokens >= split->stream_from;
    if (!comes || !split->streamed[weight->index])
        return devices;
    return (devices & ~(1u << SPLIT_HOST)) | 1u << split->stream_to;
}

/* Where an op's matrix or cache is; 0: it has neither. */
static uint32_t devices_by_weight(const struct split *split, const struct graph *graph,
                                  const struct op *op)
{
    for (int i = 0; i < OP_MAX_IN; i++)
        if (op->in[i] && op->in[i]->kind == TENSOR_WEIGHT && !split_is_vector(op->in[i]->weight))
            return devices_of_weight(split, graph, op->in[i]->weight);
    for (int i = 0; i < OP_MAX_IN + OP_MAX_OUT; i++) {
        const struct tensor *tensor = i < OP_MAX_IN ? op->in[i] : op->out[i - OP_MAX_IN];
        if (tensor && tensor->kind == TENSOR_KV)
            return 1u << split->of_cache[op->layer];
    }
    return 0;
}

/* Where the first reader of what an op makes has its matrix; 0: it has none, or on several. */
static uint32_t devices_of_reader(const struct split *split, const struct graph *graph,
                                  size_t index)
{
    const struct tensor *made = tensor_base(graph->ops[index]->out[0], NULL);
    for (size_t i = index + 1; i < graph->n_ops; i++)
        for (int k = 0; k < OP_MAX_IN; k++)
            if (graph->ops[i]->in[k] && tensor_base(graph->ops[i]->in[k], NULL) == made) {
                uint32_t devices = devices_by_weight(split, graph, graph->ops[i]);
                return partition_is_one(devices) ? devices : 0;
            }
    return 0;
}

/* Where the input of an op was made, that was made last: a sum behind a block is where the block
 * is, which had the other summand for its norm. What experts make is on all devices that have some,
 * and their sum goes to the other summand, which they did not have. */
static uint32_t devices_of_inputs(const struct graph *graph, const uint32_t *devices, size_t index)
{
    const struct op *op = graph->ops[index];
    bool by_expert = op_def_of(op->kind)->by_expert;
    size_t last = 0, of_experts = 0;
    for (int i = 0; i < OP_MAX_IN; i++) {
        size_t maker = op->in[i] ? maker_of(graph, index, op->in[i]) : 0;
        if (by_expert && maker)
            return devices[maker - 1];
        if (!maker || !partition_is_one(devices[maker - 1]))
            continue;
        if (op_def_of(graph->ops[maker - 1]->kind)->by_expert)
            of_experts = maker;
        else
            last = maker > last ? maker : last;
    }
    last = last ? last : of_experts;
    return last ? devices[last - 1] : 0;
}

/* An op runs where its matrix or cache is, any other where its definition says (op_def.h). A norm
 * goes where its result is read: its input has to go there anyway, for the sum behind the block. */
static uint32_t devices_of_op(const struct split *split, const struct graph *graph,
                              const uint32_t *devices, size_t index)
{
    const struct op *op = graph->ops[index];
    const struct op_def *def = op_def_of(op->kind);
    uint32_t found = devices_by_weight(split, graph, op);
    if (!found && def->with_reader)
        found = devices_of_reader(split, graph, index);
    found = found ? found : devices_of_inputs(graph, devices, index);
    return found ? found : 1u << SPLIT_HOST;
}

/* The host reads experts that lie apart, without those that are elsewhere. */
static void leave_out_experts(const struct split *split, struct graph *graph)
{
    for (size_t i = 0; i < graph->n_tensors; i++) {
        struct tensor *tensor = graph->tensors[i];
        if (tensor->kind == TENSOR_WEIGHT && split->on_host[tensor->weight->index])
            tensor->weight = split->on_host[tensor->weight->index];
    }
}

enum hth_status split_graph(const struct split *split, struct graph *graph, int device)
{
    const struct log *log = graph->log;
    uint32_t *devices = mem_calloc(graph->n_ops + 1, sizeof *devices);
    if (!devices) {
        graph_free(graph);
        return log_fail_memory(log, "the devices of ops", sizeof *devices);
    }
    for (size_t i = 0; i < graph->n_ops; i++)
        devices[i] = devices_of_op(split, graph, devices, i);
    struct partition parts;
    struct partition_options options = {
        .n_devices = split->n_devices, .host = SPLIT_HOST, .devices = devices};
    enum hth_status status = partition_graph(&parts, graph, &options);
    mem_free(devices);
    if (status)
        return status;
    *graph = parts.graphs[device];
    graph_init(&parts.graphs[device], 0, 0, log);
    partition_free(&parts);
    if (device == SPLIT_HOST)
        leave_out_experts(split, graph);
    return HTH_OK;
}
