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
    row_step_fn *step_fn; /* instead of fn */
    void *user;
    struct vk *vk;          /* NULL: the CPU */
    struct kernels kernels; /* as hearth tune found for it, of a model that is named */
    struct seen *seen;
    size_t n_seen, cap_seen;
    bool no_stats; /* the driver gives none */
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

static enum hth_status list_step(struct lister *l, const struct step *step, int fallback)
{
    bool is_new;
    enum hth_status status = remember(l, step->name, step->pipeline, &is_new);
    if (status || !is_new)
        return status;
    status = vk_pipeline_wait(l->vk, step->pipeline);
    struct stats stats = {.lister = l, .executable = -1};
    describe_step(&stats.item, step);
    stats.item.fallback = fallback;
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

static void tell_step(const struct lister *l, const struct model *model, const struct step *step)
{
    int layer = -1;
    if (sscanf(step->label, "blk.%d.", &layer) != 1)
        layer = -1;
    l->step_fn(l->user, &(struct row_step){.arch = model->arch->name,
                                           .label = step->label,
                                           .row = step->name,
                                           .layer = layer,
                                           .moe = model->hp.n_expert > 0,
                                           .barrier = step->access.barrier});
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

static enum hth_status list_steps(struct lister *l, const struct model *model,
                                  const struct graph *graph, const struct compile_options *options)
{
    struct program program;
    enum hth_status status = compile_program(&program, graph, options, &l->log);
    if (status)
        return status;
    for (size_t i = 0; i < program.n_steps; i++) {
        enum hth_status step = HTH_OK;
        if (l->step_fn)
            tell_step(l, model, &program.steps[i]);
        else
            step = list_step(l, &program.steps[i], options->env.passed_over);
        status = status ? status : step;
    }
    program_free(&program);
    return status;
}

/* As many as any op can have after the first. */
static int most_fallbacks(void)
{
    const struct row_family *family;
    int most = 0;
    for (size_t i = 0; row_at(i, &family); i++)
        most = family->n_rows - 1 > most ? family->n_rows - 1 : most;
    return most;
}

static enum hth_status list_placed(struct lister *l, const struct model *model, struct graph *graph,
                                   const struct place *place)
{
    struct compile_options options = {
        .vk = l->vk,
        .env = {.caps = vk_get_caps(l->vk),
                .float_only = l->options->float_only,
                .forced = l->options->device.rows,
                .tuned = &l->kernels.table,
                .n_seqs = 1},
        .place = place,
        .table_stride = 64,
    };
    enum hth_status status = compile_fuse(graph, &options.env);
    int last = l->options->fallbacks ? most_fallbacks() : 0;
    for (int i = 0; i <= last && status == HTH_OK; i++) {
        options.env.passed_over = i;
        status = list_steps(l, model, graph, &options);
    }
    return status;
}

static enum hth_status list_program(void *user, const struct model *model, struct graph *graph)
{
    struct lister *l = user;
    struct place place;
    enum hth_status status = pretend_place(&place, model, &l->log);
    if (status == HTH_OK)
        status = list_placed(l, model, graph, &place);
    arena_free(&place.arena);
    return status;
}

static enum hth_status list_cpu(void *user, const struct model *model, struct graph *graph)
{
    (void)model;
    struct lister *l = user;
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

/* For all buckets, or for one of so many tokens. */
static enum hth_status walk(struct lister *l, const int *n_tokens)
{
    const struct hth_model_options *device = &l->options->device;
    l->log = (struct log){device->log, device->log_user, device->log_level};
    enum hth_status status = device_open(&l->vk, device, l->options->stats, &l->log);
    struct rows_walk walk = {.options = l->options, .log = &l->log, .gpu = l->vk != NULL};
    walk.buckets = n_tokens;
    walk.n_buckets = n_tokens ? 1 : 0;
    walk.one_format = l->step_fn != NULL;
    walk.fn = l->vk ? list_program : list_cpu;
    walk.user = l;
    if (status == HTH_OK && l->step_fn && !l->vk)
        status = log_fail(&l->log, HTH_ERROR_UNSUPPORTED,
                          "dispatches are a GPU's: use --device vulkan:N");
    if (status == HTH_OK && l->vk && l->options->model && !device->untuned)
        status = kernels_load(&l->kernels, vk_get_caps(l->vk), &l->log);
    if (status == HTH_OK)
        status = rows_walk(&walk);
    kernels_free(&l->kernels);
    mem_free(l->seen);
    vk_close(l->vk);
    return status ? status : walk.worst;
}

enum hth_status rows_list(const struct rows_options *options, row_item_fn *fn, void *user)
{
    return walk(&(struct lister){.options = options, .fn = fn, .user = user}, NULL);
}

enum hth_status rows_steps(const struct rows_options *options, int n_tokens, row_step_fn *fn,
                           void *user)
{
    return walk(&(struct lister){.options = options, .step_fn = fn, .user = user}, &n_tokens);
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
    const struct batch_size size = {n_tokens, 1, session->chooses ? session->opt.n_best : 0};
    enum hth_status status = whole_build(session->model->model, session->kv_geom, &graph, size);
    struct gpu_exec *gpu = session->gpu[1].exec;
    if (status == HTH_OK && !gpu)
        status = cpu_fuse(&graph);
    for (size_t i = 0; status == HTH_OK && i < graph.n_ops; i++) {
        const struct op *op = graph.ops[i];
        struct op_cost cost = op_def_of(op->kind)->cost(op, 0);
        out->weight_bytes += cost.weight_bytes;
        out->flops += cost.flops;
        const struct cpu_op *kernel = gpu ? NULL : cpu_op_select(op, NULL);
        if (kernel)
            add_row(out, kernel->name);
    }
    graph_free(&graph);
    if (status || !gpu)
        return status;
    const struct program *program;
    status = gpu_exec_program(gpu, size, &program);
    for (size_t i = 0; status == HTH_OK && i < program->n_steps; i++)
        add_row(out, program->steps[i].name);
    return status;
}
