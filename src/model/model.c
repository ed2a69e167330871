#include "model/arch.h"

#include <stdio.h>

#include "base/mem.h"

void model_free(struct model *model)
{
    if (!model)
        return;
    mem_free(model->weights);
    arena_free(&model->arena);
    mem_free(model);
}

uint64_t model_n_params(const struct model *model)
{
    uint64_t n = 0;
    for (size_t i = 0; i < model->n_weights; i++) {
        const int64_t *ne = model->weights[i]->ne;
        n += (uint64_t)(ne[0] * ne[1] * ne[2] * ne[3]);
    }
    return n;
}

uint64_t model_weight_bytes(const struct model *model)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < model->n_weights; i++)
        bytes += model->weights[i]->size_bytes;
    return bytes;
}

void model_kv_geometry(const struct model *model, const struct dtype *type, struct kv_geom *layers)
{
    for (int i = 0; i < model->hp.n_layer; i++)
        layers[i] = (struct kv_geom){
            .n_head_kv = model->hp.n_head_kv,
            .k_dim = model->hp.head_dim_k,
            .v_dim = model->hp.head_dim_v,
            .k_type = type,
            .v_type = type,
        };
}

enum hth_status model_build(const struct model *model, struct graph *graph, int n_tokens,
                            int n_outputs, const struct kv_geom *kv)
{
    graph_init(graph, n_tokens, n_outputs, model->log);
    model->arch->build(model, graph, kv);
    return graph->status;
}

int model_layer_of(const char *tensor)
{
    int layer;
    return sscanf(tensor, "blk.%d.", &layer) == 1 ? layer : -1;
}
