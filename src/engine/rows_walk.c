#include "base/mem.h"
#include "engine/engine.h"
#include "engine/rows_part.h"

/* Graphs of one model for all buckets, with this cache. */
static enum hth_status walk_model(struct rows_walk *w, const struct model *model,
                                  enum hth_kv_type kv_type)
{
    enum { LARGEST = 512, MOST = 32 };
    int all[MOST];
    const int *buckets = w->buckets ? w->buckets : all;
    size_t n_buckets = w->n_buckets;
    for (int n = 1; !w->buckets && n <= LARGEST; n = gpu_bucket(n + 1))
        all[n_buckets++] = n;
    struct hth_session_options session = {.kv = kv_type};
    struct kv_geom *kv = mem_calloc((size_t)model->hp.n_layer, sizeof *kv);
    if (!kv)
        return log_fail_memory(w->log, "the cache's shape", (size_t)model->hp.n_layer);
    model_kv_geometry(model, session_kv_type(&session), kv);
    enum hth_status status = HTH_OK;
    if (kv_layout(kv, model->hp.n_layer, w->log) == 0)
        status = HTH_ERROR_LIMIT;
    for (size_t i = 0; i < n_buckets && status == HTH_OK; i++) {
        struct graph graph;
        const struct batch_size size = {buckets[i], 1, 8}; /* best: with their logits, too */
        enum hth_status one = whole_build(model, kv, &graph, size);
        if (one == HTH_OK)
            one = w->fn(w->user, model, &graph);
        graph_free(&graph);
        if (one == HTH_ERROR_MEMORY || one == HTH_ERROR_DEVICE_LOST || one == HTH_ERROR_CANCELLED)
            status = one;
        else if (one && w->worst == HTH_OK)
            w->worst = one;
        if (one)
            break; /* the other buckets would say the same */
    }
    mem_free(kv);
    return status;
}

/* --- made models ------------------------------------------------------------------------------ */

/* Gives the matrices that are marked another type. Nobody reads their bytes. */
static void set_format(struct model *model, const bool *is_matrix, const struct dtype *type)
{
    for (size_t i = 0; i < model->n_weights; i++) {
        struct weight *weight = model->weights[i];
        if (!is_matrix[i] || weight->ne[0] % type->block_elems)
            continue;
        weight->dtype = type;
        weight->size_bytes = dtype_row_bytes(type, (uint64_t)weight->ne[0]) *
                             (uint64_t)(weight->ne[1] * weight->ne[2]);
    }
}

/* Formats that the shaders do not know run on the CPU. */
static bool has_shaders(const struct dtype *type)
{
    for (uint32_t i = 0; type->shader && i < n_shader_blobs; i++)
        if (shader_blobs[i].format && strcmp(shader_blobs[i].format, type->shader) == 0)
            return true;
    return false;
}

static enum hth_status walk_formats(struct rows_walk *w, struct model *model)
{
    bool *is_matrix = mem_calloc(model->n_weights, sizeof *is_matrix);
    if (!is_matrix)
        return log_fail_memory(w->log, "the list of weights", model->n_weights);
    for (size_t i = 0; i < model->n_weights; i++)
        is_matrix[i] = dtype_is_block(model->weights[i]->dtype);
    enum hth_status status = HTH_OK;
    for (size_t i = 0; dtype_at(i) && status == HTH_OK; i++) {
        const struct dtype *type = dtype_at(i);
        if (type->is_integer || !type->decode || (w->gpu && !has_shaders(type)))
            continue;
        set_format(model, is_matrix, type);
        status = walk_model(w, model, w->options->kv);
    }
    mem_free(is_matrix);
    return status;
}

/* Formats of matrices meet one cache, and those of caches one format. */
enum made { MADE_ONE, MADE_FORMATS, MADE_CACHES };

static enum hth_status walk_caches(struct rows_walk *w, const struct model *model)
{
    static const enum hth_kv_type types[] = {HTH_KV_F16, HTH_KV_Q8_0, HTH_KV_Q4_0, HTH_KV_F32};
    enum hth_status status = HTH_OK;
    for (size_t i = 0; i < ARRAY_LEN(types) && status == HTH_OK; i++)
        if (types[i] != w->options->kv)
            status = walk_model(w, model, types[i]);
    return status;
}

static enum hth_status walk_made(struct rows_walk *w, const struct arch *arch, bool moe,
                                 int head_dim, enum made made)
{
    struct strbuf bytes = {0};
    struct gguf *gguf = NULL;
    struct model *model = NULL;
    enum hth_status status = rows_model(&bytes, arch, moe, head_dim, w->log);
    if (status == HTH_OK)
        status = gguf_open_memory(&gguf, bytes.ptr, bytes.len, arch->name, w->log);
    if (status == HTH_OK)
        status = model_load(&model, gguf, w->log);
    if (status == HTH_OK)
        status = made == MADE_FORMATS  ? walk_formats(w, model)
                 : made == MADE_CACHES ? walk_caches(w, model)
                                       : walk_model(w, model, w->options->kv);
    model_free(model);
    gguf_close(gguf);
    strbuf_free(&bytes);
    return status;
}

/* Formats meet matrices and experts in the first architecture that has them, and caches its heads;
 * the others add what is their own. */
static enum hth_status walk_all(struct rows_walk *w)
{
    static const int head_dims[] = {64, 128};
    bool formats_done[2] = {false, false};
    const struct arch *dense = NULL; /* the first one that can do without experts */
    for (size_t a = 0; arch_list[a]; a++)
        for (int moe = 0; moe < 2; moe++)
            for (size_t h = 0; h < ARRAY_LEN(head_dims) && rows_arch_has(arch_list[a], moe); h++) {
                bool formats = !formats_done[moe] && !w->one_format;
                dense = dense || moe ? dense : arch_list[a];
                bool caches = arch_list[a] == dense && !moe && !w->one_format;
                enum hth_status status = walk_made(w, arch_list[a], moe, head_dims[h],
                                                   formats ? MADE_FORMATS : MADE_ONE);
                if (status == HTH_OK && caches)
                    status = walk_made(w, arch_list[a], moe, head_dims[h], MADE_CACHES);
                if (status)
                    return status;
                formats_done[moe] = true;
            }
    return HTH_OK;
}

static enum hth_status walk_one(struct rows_walk *w)
{
    struct hth_model *model;
    struct hth_model_options options = w->options->device;
    options.device = "cpu"; /* nothing is placed */
    enum hth_status status = hth_model_open(&model, w->options->model, &options);
    if (status == HTH_OK)
        status = walk_model(w, model->model, w->options->kv);
    hth_model_close(model);
    return status;
}

enum hth_status rows_walk(struct rows_walk *w)
{
    return w->options->model ? walk_one(w) : walk_all(w);
}
