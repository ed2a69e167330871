#include "engine/split.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "kv/kv.h"
#include "op/partition.h"

/* --- weights ---------------------------------------------------------------------------------- */

/* The layer that a tensor is of, by its name; −1: none. */
static int layer_of(const char *name)
{
    int layer;
    return sscanf(name, "blk.%d.", &layer) == 1 ? layer : -1;
}

bool split_is_vector(const struct weight *weight)
{
    return weight->ne[1] == 1 && weight->ne[2] == 1;
}

static bool is_experts(const struct weight *weight)
{
    return weight->ne[2] > 1 || weight->experts;
}

/* By the numbers of layers: the last ones go to the GPU, the output after all of them, and the
 * table of embeddings, of which a token reads one row, only when nothing else is left out. */
static enum split_device by_layers(const struct model *model, const struct weight *weight,
                                   const struct hth_model_options *options)
{
    int n_layer = model->hp.n_layer, layer = layer_of(weight->name);
    if (options->gpu_layers < 0)
        return SPLIT_HOST;
    if (is_experts(weight) && (options->cpu_moe || layer < options->n_cpu_moe))
        return SPLIT_HOST;
    if (options->gpu_layers == 0 || options->gpu_layers > n_layer)
        return SPLIT_GPU;
    return layer >= n_layer - options->gpu_layers ? SPLIT_GPU : SPLIT_HOST;
}

/* A layer's cache is where its keys are made, or what else its attention has. */
static void place_cache(struct split *split, const struct model *model)
{
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < model->n_weights; i++) {
            const struct weight *weight = model->weights[i];
            int layer = layer_of(weight->name);
            if (layer >= 0 && layer < model->hp.n_layer && !split_is_vector(weight) &&
                strstr(weight->name, pass ? ".attn_k." : ".attn_"))
                split->of_cache[layer] = split->of_weight[i];
        }
}

enum hth_status split_create(struct split *out, const struct model *model,
                             const struct hth_model_options *options, bool gpu)
{
    *out = (struct split){0};
    out->of_weight = mem_calloc(model->n_weights + 1, sizeof *out->of_weight);
    out->of_cache = mem_calloc((size_t)model->hp.n_layer + 1, sizeof *out->of_cache);
    if (!out->of_weight || !out->of_cache)
        return log_fail_memory(model->log, "the places of weights", model->n_weights);
    for (size_t i = 0; i < model->n_weights; i++) {
        const struct weight *weight = model->weights[i];
        int asked = options->place ? options->place(options->place_user, weight->name) : -1;
        enum split_device device = !gpu         ? SPLIT_HOST
                                   : asked >= 0 ? (asked > 0 ? SPLIT_GPU : SPLIT_HOST)
                                                : by_layers(model, weight, options);
        out->of_weight[i] = (uint8_t)device;
        out->used[device] |= !split_is_vector(weight);
    }
    place_cache(out, model);
    return HTH_OK;
}

void split_free(struct split *split)
{
    mem_free(split->of_weight);
    mem_free(split->of_cache);
    *split = (struct split){0};
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

/* Where the op is that made a tensor; −1: none of those seen so far. */
static int maker_of(const struct graph *graph, const int *device_of, size_t n,
                    const struct tensor *tensor)
{
    const struct tensor *base = tensor_base(tensor, NULL);
    for (size_t i = n; i-- > 0;)
        for (int k = 0; k < OP_MAX_OUT; k++)
            if (graph->ops[i]->out[k] && tensor_base(graph->ops[i]->out[k], NULL) == base)
                return device_of[i];
    return -1;
}

/* Where an op's matrix or cache is; −1: it has neither. */
static int device_by_weight(const struct split *split, const struct op *op)
{
    for (int i = 0; i < OP_MAX_IN; i++)
        if (op->in[i] && op->in[i]->kind == TENSOR_WEIGHT && !split_is_vector(op->in[i]->weight))
            return split->of_weight[op->in[i]->weight->index];
    for (int i = 0; i < OP_MAX_IN + OP_MAX_OUT; i++) {
        const struct tensor *tensor = i < OP_MAX_IN ? op->in[i] : op->out[i - OP_MAX_IN];
        if (tensor && tensor->kind == TENSOR_KV)
            return split->of_cache[op->layer];
    }
    return -1;
}

/* Where the first reader of what an op makes has its matrix; −1: it has none. */
static int device_of_reader(const struct split *split, const struct graph *graph, size_t index)
{
    const struct tensor *made = tensor_base(graph->ops[index]->out[0], NULL);
    for (size_t i = index + 1; i < graph->n_ops; i++)
        for (int k = 0; k < OP_MAX_IN; k++)
            if (graph->ops[i]->in[k] && tensor_base(graph->ops[i]->in[k], NULL) == made)
                return device_by_weight(split, graph->ops[i]);
    return -1;
}

/* An op runs where its matrix or cache is. Of the others a norm goes where its result is read, so
 * that only its input has to go there, which the sum behind the block needs anyway; the rest stays
 * where its input is. */
static int device_of_op(const struct split *split, const struct graph *graph, const int *device_of,
                        size_t index)
{
    const struct op *op = graph->ops[index];
    int device = device_by_weight(split, op);
    if (device < 0 && op->kind == OP_RMS_NORM)
        device = device_of_reader(split, graph, index);
    if (device < 0 && op->in[0])
        device = maker_of(graph, device_of, index, op->in[0]);
    return device < 0 ? SPLIT_HOST : device;
}

enum hth_status split_graph(const struct split *split, struct graph *graph,
                            enum split_device device)
{
    const struct log *log = graph->log;
    int *device_of = mem_calloc(graph->n_ops + 1, sizeof *device_of);
    if (!device_of) {
        graph_free(graph);
        return log_fail_memory(log, "the devices of ops", sizeof *device_of);
    }
    for (size_t i = 0; i < graph->n_ops; i++)
        device_of[i] = device_of_op(split, graph, device_of, i);
    struct partition parts;
    struct partition_options options = {
        .n_devices = SPLIT_DEVICES, .host = SPLIT_HOST, .device_of = device_of};
    enum hth_status status = partition_graph(&parts, graph, &options);
    mem_free(device_of);
    if (status)
        return status;
    *graph = parts.graphs[device];
    graph_init(&parts.graphs[device], 0, 0, log);
    partition_free(&parts);
    return HTH_OK;
}
