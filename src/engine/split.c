#include "engine/split.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "kv/kv.h"
#include "op/op_def.h"
#include "op/partition.h"

/* --- weights ---------------------------------------------------------------------------------- */

int split_layer_of(const char *name)
{
    int layer;
    return sscanf(name, "blk.%d.", &layer) == 1 ? layer : -1;
}

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

/* A weight without the experts that are on the GPU. */
static enum hth_status keep_some(struct split *split, const struct model *model,
                                 const struct weight *weight, const bool *gpu)
{
    size_t n = (size_t)weight->ne[2];
    struct weight *copy = arena_alloc(&split->arena, sizeof *copy);
    const void **experts = arena_calloc(&split->arena, n, sizeof *experts);
    if (!copy || !experts)
        return log_fail_memory(model->log, "the places of experts", n * sizeof *experts);
    *copy = *weight;
    copy->experts = experts;
    for (size_t e = 0; e < n; e++)
        experts[e] = gpu[e] ? NULL : expert_data(weight, (int64_t)e);
    split->on_host[weight->index] = copy;
    return HTH_OK;
}

/* Experts of a layer that are on the GPU with all their matrices. */
static enum hth_status place_experts(struct split *split, const struct model *model, int layer,
                                     const struct split_choice *choice)
{
    int n_expert = model->hp.n_expert, n_gpu = 0;
    bool *gpu = mem_alloc((size_t)n_expert * sizeof *gpu);
    if (!gpu)
        return log_fail_memory(model->log, "the places of experts", (size_t)n_expert);
    for (int e = 0; e < n_expert; e++)
        gpu[e] = true;
    for (size_t i = 0; i < model->n_weights; i++)
        for (int e = 0; e < n_expert; e++)
            if (split_is_experts(model->weights[i]) &&
                split_layer_of(model->weights[i]->name) == layer)
                gpu[e] &= choice->weight(choice->user, model->weights[i], e);
    for (int e = 0; e < n_expert; e++)
        n_gpu += gpu[e];
    enum hth_status status = HTH_OK;
    for (size_t i = 0; i < model->n_weights && status == HTH_OK; i++) {
        const struct weight *weight = model->weights[i];
        if (!split_is_experts(weight) || split_layer_of(weight->name) != layer)
            continue;
        split->of_weight[i] =
            (uint8_t)((n_gpu < n_expert) << SPLIT_HOST | (n_gpu > 0) << SPLIT_GPU);
        if (n_gpu > 0 && n_gpu < n_expert)
            status = keep_some(split, model, weight, gpu);
    }
    mem_free(gpu);
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
        split->of_cache[layer] = choice->cache(choice->user, layer) ? SPLIT_GPU : SPLIT_HOST;
        split->used[SPLIT_GPU] |= split->of_cache[layer] == SPLIT_GPU;
        if (status == HTH_OK && model->hp.n_expert > 0)
            status = place_experts(split, model, layer, choice);
    }
    for (size_t i = 0; choice && choice->streamed && i < model->n_weights; i++) {
        const struct weight *weight = model->weights[i];
        split->streamed[i] = (split->of_weight[i] >> SPLIT_HOST & 1) && !split_is_vector(weight) &&
                             choice->streamed(choice->user, weight);
        split->used[SPLIT_GPU] |= split->streamed[i];
    }
    for (int layer = 0; layer < model->hp.n_layer; layer++)
        split->used[SPLIT_HOST] |= split->of_cache[layer] == SPLIT_HOST;
    for (size_t i = 0; i < model->n_weights; i++)
        for (int d = 0; d < SPLIT_DEVICES; d++)
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
    out->on_host = arena_calloc(&out->arena, n, sizeof(struct weight *));
    out->streamed = arena_calloc(&out->arena, n, sizeof *out->streamed);
    out->stream_from = choice && choice->streamed ? choice->stream_from : 0;
    if (!out->of_weight || !out->of_cache || !out->on_host || !out->streamed)
        return log_fail_memory(model->log, "the places of weights", n);
    return place_all(out, model, choice);
}

void split_free(struct split *split)
{
    arena_free(&split->arena);
    *split = (struct split){0};
}

bool split_is_whole(const struct split *split)
{
    return !split->used[SPLIT_HOST];
}

bool split_on_gpu(const struct split *split, const struct weight *weight, int64_t expert)
{
    const struct weight *rest = split->on_host[weight->index];
    if (rest)
        return rest->experts[expert] == NULL;
    return split_is_vector(weight) || (split->of_weight[weight->index] >> SPLIT_GPU & 1);
}

void split_move_expert(struct split *split, const struct weight *weight, int64_t expert,
                       bool to_gpu)
{
    const void **experts = (const void **)(uintptr_t)split->on_host[weight->index]->experts;
    experts[expert] = to_gpu ? NULL : expert_data(weight, expert);
}

bool split_streams(const struct split *split, const struct weight *weight, int64_t expert)
{
    return split->streamed[weight->index] && !split_on_gpu(split, weight, expert);
}

uint64_t split_host_bytes(const struct split *split, const struct weight *weight)
{
    uint64_t experts = 0;
    if (!(split->of_weight[weight->index] >> SPLIT_HOST & 1))
        return 0;
    for (int64_t e = 0; split->on_host[weight->index] && e < weight->ne[2]; e++)
        experts += !split_on_gpu(split, weight, e);
    return split->on_host[weight->index] ? weight->size_bytes / (uint64_t)weight->ne[2] * experts
                                         : weight->size_bytes;
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

/* Who made a tensor; 0: none of the ops seen so far. */
static uint32_t makers_of(const struct graph *graph, const uint32_t *devices, size_t n,
                          const struct tensor *tensor)
{
    const struct tensor *base = tensor_base(tensor, NULL);
    for (size_t i = n; i-- > 0;)
        for (int k = 0; k < OP_MAX_OUT; k++)
            if (graph->ops[i]->out[k] && tensor_base(graph->ops[i]->out[k], NULL) == base)
                return devices[i];
    return 0;
}

/* Where a matrix is when a graph of this size runs. */
static uint32_t devices_of_weight(const struct split *split, const struct graph *graph,
                                  const struct weight *weight)
{
    bool comes = split->stream_from && graph->n_tokens >= split->stream_from;
    return comes && split->streamed[weight->index] ? 1u << SPLIT_GPU
                                                   : split->of_weight[weight->index];
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

/* Where the first reader of what an op makes has its matrix; 0: it has none, or on both. */
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
    for (int i = 0; i < OP_MAX_IN && !found; i++) {
        uint32_t makers = op->in[i] ? makers_of(graph, devices, index, op->in[i]) : 0;
        found = def->by_expert || partition_is_one(makers) ? makers : 0;
    }
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

enum hth_status split_graph(const struct split *split, struct graph *graph,
                            enum split_device device)
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
        .n_devices = SPLIT_DEVICES, .host = SPLIT_HOST, .devices = devices};
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
