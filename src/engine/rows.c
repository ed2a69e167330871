#include "engine/rows.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "cpu/cpu_op.h"
#include "engine/engine.h"
#include "engine/rows_part.h"

/* --- listing ---------------------------------------------------------------------------------- */

struct seen {
    const char *row;
    const struct vk_pipeline *pipeline; /* NULL: a kernel of the CPU */
};

struct lister {
    const struct rows_options *options;
    struct log log;
    row_item_fn *fn;
    void *user;
    struct vk *vk; /* NULL: the CPU */
    struct seen *seen;
    size_t n_seen, cap_seen;
    bool no_stats;         /* the driver gives none */
    enum hth_status worst; /* the first failure that does not end the listing */
};

/* HTH_OK with *is_new telling; the list is short enough to walk. */
static enum hth_status remember(struct lister *l, const char *row,
                                const struct vk_pipeline *pipeline, bool *is_new)
{
    *is_new = false;
    for (size_t i = 0; i < l->n_seen; i++)
        if (l->seen[i].pipeline == pipeline && strcmp(l->seen[i].row, row) == 0)
            return HTH_OK;
    struct seen *grown = mem_grow(l->seen, &l->cap_seen, l->n_seen + 1, sizeof *grown);
    if (!grown)
        return log_fail_memory(&l->log, "the list of rows", (l->n_seen + 1) * sizeof *grown);
    l->seen = grown;
    grown[l->n_seen++] = (struct seen){row, pipeline};
    *is_new = true;
    return HTH_OK;
}

struct stats {
    struct lister *lister;
    struct row_item item;
    int executable;
};

/* A new executable hands the one before on. */
static void take_stat(void *user, int executable, const char *executable_name,
                      uint32_t subgroup_size, const char *stat, double value)
{
    struct stats *stats = user;
    struct row_item *item = &stats->item;
    if (executable != stats->executable && stats->executable >= 0) {
        stats->lister->fn(stats->lister->user, item);
        item->n_stats = 0;
    }
    stats->executable = executable;
    snprintf(item->executable, sizeof item->executable, "%s", executable_name);
    item->subgroup_size = subgroup_size;
    if (item->n_stats == MAX_ROW_STATS)
        return;
    snprintf(item->stats[item->n_stats].name, sizeof item->stats[0].name, "%s", stat);
    item->stats[item->n_stats++].value = value;
}

_Static_assert((int)MAX_ROW_SPECS >= (int)VK_MAX_SPECS, "what a pipeline is made with fits");

static void describe_step(struct row_item *item, const struct step *step)
{
    const struct shader_blob *blob = step->choice.blob;
    *item = (struct row_item){
        .row = step->name, .blob = blob->name, .subgroup_demanded = step->choice.subgroup_size};
    for (uint32_t i = 0; i < blob->n_specs && i < VK_MAX_SPECS; i++)
        if (strcmp(blob->specs[i].name, "max_chunks") != 0)
            item->specs[item->n_specs++] =
                (struct row_spec){blob->specs[i].name, step->choice.spec[i]};
}

static enum hth_status list_step(struct lister *l, const struct step *step)
{
    bool is_new;
    enum hth_status status = remember(l, step->name, step->pipeline, &is_new);
    if (status || !is_new)
        return status;
    status = vk_pipeline_wait(l->vk, step->pipeline);
    struct stats stats = {.lister = l, .executable = -1};
    describe_step(&stats.item, step);
    if (status == HTH_OK && l->options->stats && !l->no_stats) {
        status = vk_pipeline_stats(l->vk, step->pipeline, take_stat, &stats);
        if (status == HTH_ERROR_UNSUPPORTED) { /* said, once is enough */
            l->no_stats = true;
            status = HTH_OK;
        }
    }
    if (status == HTH_OK)
        l->fn(l->user, &stats.item);
    return status;
}

/* Every weight stands at the beginning of chunk 0: enough to compile for. */
static enum hth_status pretend_place(struct place *place, const struct model *model,
                                     const struct log *log)
{
    *place = (struct place){.n_weights = model->n_weights};
    place->weights = arena_calloc(&place->arena, model->n_weights, sizeof *place->weights);
    for (size_t i = 0; place->weights && i < model->n_weights; i++) {
        const struct weight *weight = model->weights[i];
        struct placed *placed = &place->weights[i];
        placed->weight = weight;
        placed->n_parts = weight->ne[2] > 1 || weight->experts ? (int)weight->ne[2] : 1;
        placed->parts = arena_calloc(&place->arena, (size_t)placed->n_parts, sizeof *placed->parts);
        if (!placed->parts)
            return log_fail_memory(log, "the list of weights", 0);
        for (int p = 0; p < placed->n_parts; p++)
            placed->parts[p].count = weight->ne[1];
    }
    return place->weights ? HTH_OK : log_fail_memory(log, "the list of weights", 0);
}

static enum hth_status list_program(struct lister *l, struct graph *graph,
                                    const struct place *place)
{
    struct row_env env = {.caps = vk_get_caps(l->vk),
                          .float_only = l->options->float_only,
                          .forced = l->options->device.rows,
                          .n_seqs = 1};
    struct program program;
    struct compile_options options = {.vk = l->vk, .env = env, .place = place, .table_stride = 64};
    enum hth_status status = compile_fuse(graph, &env);
    if (status == HTH_OK)
        status = compile_program(&program, graph, &options, &l->log);
    if (status)
        return status;
    for (size_t i = 0; i < program.n_steps; i++) {
        enum hth_status step = list_step(l, &program.steps[i]);
        status = status ? status : step;
    }
    program_free(&program);
    return status;
}

static enum hth_status list_cpu(struct lister *l, struct graph *graph)
{
    enum hth_status fused = cpu_fuse(graph);
    if (fused)
        return fused;
    for (size_t i = 0; i < graph->n_ops; i++) {
        const struct cpu_op *kernel = cpu_op_select(graph->ops[i], NULL);
        if (!kernel)
            continue;
        bool is_new;
        enum hth_status status = remember(l, kernel->name, NULL, &is_new);
        if (status)
            return status;
        struct row_item item = {.row = kernel->name};
        if (is_new)
            l->fn(l->user, &item);
    }
    return HTH_OK;
}

/* Programs of one model for all buckets. Only memory and a lost device end the listing. */
static enum hth_status list_model(struct lister *l, const struct model *model)
{
    static const int buckets[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 32, 512};
    struct place place;
    struct kv_geom *kv = mem_calloc((size_t)model->hp.n_layer, sizeof *kv);
    if (!kv)
        return log_fail_memory(&l->log, "the cache's shape", (size_t)model->hp.n_layer);
    const struct dtype *kv_type = l->options->kv == HTH_KV_F32    ? &dtype_f32
                                  : l->options->kv == HTH_KV_Q8_0 ? &dtype_q8_0
                                                                  : &dtype_f16;
    model_kv_geometry(model, kv_type, kv);
    enum hth_status status = pretend_place(&place, model, &l->log);
    if (status == HTH_OK && kv_layout(kv, model->hp.n_layer, &l->log) == 0)
        status = HTH_ERROR_LIMIT;
    for (size_t i = 0; i < ARRAY_LEN(buckets) && status == HTH_OK; i++) {
        struct graph graph;
        enum hth_status one = model_build(model, &graph, buckets[i], 1, kv);
        if (one == HTH_OK)
            one = l->vk ? list_program(l, &graph, &place) : list_cpu(l, &graph);
        graph_free(&graph);
        if (one == HTH_ERROR_MEMORY || one == HTH_ERROR_DEVICE_LOST)
            status = one;
        else if (one && l->worst == HTH_OK)
            l->worst = one;
        if (one)
            break; /* the other buckets would say the same */
    }
    arena_free(&place.arena);
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

static enum hth_status list_formats(struct lister *l, struct model *model)
{
    bool *is_matrix = mem_calloc(model->n_weights, sizeof *is_matrix);
    if (!is_matrix)
        return log_fail_memory(&l->log, "the list of weights", model->n_weights);
    for (size_t i = 0; i < model->n_weights; i++)
        is_matrix[i] = dtype_is_block(model->weights[i]->dtype);
    enum hth_status status = HTH_OK;
    for (size_t i = 0; dtype_at(i) && status == HTH_OK; i++) {
        const struct dtype *type = dtype_at(i);
        if (type->is_integer || !type->decode || (l->vk && !has_shaders(type)))
            continue;
        set_format(model, is_matrix, type);
        status = list_model(l, model);
    }
    mem_free(is_matrix);
    return status;
}

static enum hth_status list_made(struct lister *l, const struct arch *arch, bool moe, int head_dim,
                                 bool all_formats)
{
    struct strbuf bytes = {0};
    struct gguf *gguf = NULL;
    struct model *model = NULL;
    enum hth_status status = rows_model(&bytes, arch, moe, head_dim, &l->log);
    if (status == HTH_OK)
        status = gguf_open_memory(&gguf, bytes.ptr, bytes.len, arch->name, &l->log);
    if (status == HTH_OK)
        status = model_load(&model, gguf, &l->log);
    if (status == HTH_OK)
        status = all_formats ? list_formats(l, model) : list_model(l, model);
    model_free(model);
    gguf_close(gguf);
    strbuf_free(&bytes);
    return status;
}

/* Formats meet matrices and experts in the first architecture that has them; the others add what
 * is their own. */
static enum hth_status list_all(struct lister *l)
{
    static const int head_dims[] = {64, 128};
    bool formats_done[2] = {false, false};
    for (size_t a = 0; arch_list[a]; a++)
        for (int moe = 0; moe < 2; moe++)
            for (size_t h = 0; h < ARRAY_LEN(head_dims) && rows_arch_has(arch_list[a], moe); h++) {
                enum hth_status status =
                    list_made(l, arch_list[a], moe, head_dims[h], !formats_done[moe]);
                if (status)
                    return status;
                formats_done[moe] = true;
            }
    return HTH_OK;
}

static enum hth_status list_one(struct lister *l)
{
    struct hth_model *model;
    struct hth_model_options options = l->options->device;
    options.device = "cpu"; /* nothing is placed */
    enum hth_status status = hth_model_open(&model, l->options->model, &options);
    if (status == HTH_OK)
        status = list_model(l, model->model);
    hth_model_close(model);
    return status;
}

enum hth_status rows_list(const struct rows_options *options, row_item_fn *fn, void *user)
{
    const struct hth_model_options *device = &options->device;
    struct lister l = {.options = options,
                       .log = {device->log, device->log_user, device->log_level},
                       .fn = fn,
                       .user = user};
    enum hth_status status = device_open(&l.vk, device, options->stats, &l.log);
    if (status == HTH_OK)
        status = options->model ? list_one(&l) : list_all(&l);
    mem_free(l.seen);
    vk_close(l.vk);
    return status ? status : l.worst;
}

/* --- a batch ---------------------------------------------------------------------------------- */

static void add_row(struct step_info *info, const char *name)
{
    for (int i = 0; i < info->n_rows; i++)
        if (strcmp(info->rows[i], name) == 0)
            return;
    if (info->n_rows < MAX_STEP_ROWS)
        info->rows[info->n_rows++] = name;
}

enum hth_status session_step_info(struct hth_session *session, int n_tokens, struct step_info *out)
{
    *out = (struct step_info){0};
    struct graph graph;
    enum hth_status status =
        model_build(session->model->model, &graph, n_tokens, 1, session->kv_geom);
    if (status == HTH_OK && !session->gpu)
        status = cpu_fuse(&graph);
    for (size_t i = 0; status == HTH_OK && i < graph.n_ops; i++) {
        const struct op *op = graph.ops[i];
        out->weight_bytes += op_def_of(op->kind)->cost(op, 0).weight_bytes;
        const struct cpu_op *kernel = session->gpu ? NULL : cpu_op_select(op, NULL);
        if (kernel)
            add_row(out, kernel->name);
    }
    graph_free(&graph);
    if (status || !session->gpu)
        return status;
    const struct program *program;
    status = gpu_exec_program(session->gpu, n_tokens, 1, &program);
    for (size_t i = 0; status == HTH_OK && i < program->n_steps; i++)
        add_row(out, program->steps[i].name);
    return status;
}
