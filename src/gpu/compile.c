#include "gpu/compile.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "common/batch_args.h"
#include "op/fuse.h"

uint32_t compile_ref(const struct compile *c, const struct tensor *tensor)
{
    if (!tensor)
        return REF_NONE;
    int64_t elems = 0;
    const struct tensor *base = tensor_base(tensor, &elems);
    if (base->kind == TENSOR_HOP)
        return vk_ref(c->hops, base->hop_offset);
    uint64_t offset = c->map->offsets[base->id] + (uint64_t)elems * base->dtype->block_bytes;
    return vk_ref(c->activations, offset);
}

struct range compile_range(const struct compile *c, const struct tensor *tensor)
{
    int64_t elems = 0;
    const struct tensor *base = tensor_base(tensor, &elems);
    if (base->kind == TENSOR_KV)
        return (struct range){UINT32_MAX, base->kv.k_offset, (uint64_t)base->kv.v_offset + 1};
    bool hop = base->kind == TENSOR_HOP;
    uint64_t from = hop ? base->hop_offset : c->map->offsets[base->id];
    return (struct range){hop ? c->hops : c->activations, from,
                          from + dtype_row_bytes(base->dtype, (uint64_t)tensor_elems(base))};
}

/* Is it a weight that comes when needed? */
static bool passes(const struct compile *c, const struct tensor *tensor)
{
    return tensor && tensor->kind == TENSOR_WEIGHT && c->ring &&
           c->ring->weights[tensor->weight->index].weight;
}

const struct placed *compile_weight(const struct compile *c, const struct tensor *tensor)
{
    int index = tensor->weight->index;
    return passes(c, tensor) ? &c->ring->weights[index] : &c->place->weights[index];
}

uint32_t compile_vector(const struct compile *c, const struct tensor *tensor)
{
    if (!tensor)
        return REF_NONE;
    if (tensor->kind != TENSOR_WEIGHT)
        return compile_ref(c, tensor);
    const struct placed_part *part = &compile_weight(c, tensor)->parts[0];
    return vk_ref(part->chunk, part->offset);
}

uint32_t compile_batch_ref(const struct compile *c)
{
    return vk_ref(c->batch_chunk, 0);
}

uint32_t compile_rows_field(const struct tensor *tensor)
{
    return tensor->rows == ROWS_OUTPUTS ? BATCH_N_OUTPUTS : BATCH_N_TOKENS;
}

uint32_t compile_bucket(const struct compile *c, const struct tensor *tensor)
{
    return (uint32_t)(tensor->rows == ROWS_OUTPUTS ? c->graph->n_outputs : c->graph->n_tokens);
}

uint32_t compile_stride(const struct tensor *tensor)
{
    return (uint32_t)(tensor->ne[2] > 1 ? tensor->stride[2] : tensor->stride[1]);
}

uint32_t compile_rope(struct compile *c, const struct rope_params *params,
                      const struct tensor *factors, enum hth_status *status)
{
    struct batch_layout *batch = &c->program->batch;
    const float *data = factors ? factors->weight->data : NULL;
    for (int i = 0; i < batch->n_ropes; i++)
        if (batch->ropes[i].factors == data &&
            memcmp(&batch->ropes[i].params, params, sizeof *params) == 0)
            return batch->ropes[i].at;
    if (batch->n_ropes == MAX_ROPE_TABLES) {
        *status = log_fail(c->log, HTH_ERROR_UNSUPPORTED, "%s: more than %d kinds of rope",
                           c->op->label, MAX_ROPE_TABLES);
        return 0;
    }
    struct rope_table *table = &batch->ropes[batch->n_ropes++];
    *table = (struct rope_table){*params, data, batch->n_words};
    batch->n_words += (uint32_t)(params->n_rot * c->graph->n_tokens);
    return table->at;
}

/* A range too many would leave a barrier out: it is counted, and compile_add refuses the step. */
static void add_range(struct range *list, int *n, struct range range)
{
    if (*n < HAZARD_MAX_RANGES)
        list[*n] = range;
    ++*n;
}

void dispatch_reads_range(struct dispatch *d, struct range range)
{
    add_range(d->access.reads, &d->access.n_reads, range);
}

void dispatch_writes_range(struct dispatch *d, struct range range)
{
    add_range(d->access.writes, &d->access.n_writes, range);
}

void dispatch_reads(struct dispatch *d, const struct compile *c, const struct tensor *tensor)
{
    if (tensor && tensor->kind != TENSOR_WEIGHT)
        add_range(d->access.reads, &d->access.n_reads, compile_range(c, tensor));
}

void dispatch_writes(struct dispatch *d, const struct compile *c, const struct tensor *tensor)
{
    if (tensor)
        add_range(d->access.writes, &d->access.n_writes, compile_range(c, tensor));
}

static int hop_number(const struct tensor *tensor)
{
    return tensor->kind == TENSOR_HOP ? tensor->hop : -1;
}

enum hth_status compile_add(struct compile *c, const struct dispatch *d)
{
    if (c->measuring)
        return HTH_OK;
    struct program *program = c->program;
    struct step *grown =
        mem_grow(program->steps, &program->cap_steps, program->n_steps + 1, sizeof *grown);
    if (!grown)
        return log_fail_memory(c->log, "the list of steps", sizeof *grown);
    program->steps = grown;
    struct step *step = &program->steps[program->n_steps];
    *step = (struct step){
        .row = d->name ? NULL : c->row,
        .label = arena_strdup(&program->arena, c->op->label),
        .name = d->name ? d->name : c->row->name,
        .choice = d->choice,
        .args_bytes = d->args_bytes,
        .access = d->access,
        .takes = c->op->kind == OP_COPY ? hop_number(c->op->in[0]) : -1,
        .gives = c->op->kind == OP_COPY ? hop_number(c->op->out[0]) : -1,
    };
    if (!step->label)
        return log_fail_memory(c->log, "the list of steps", strlen(c->op->label));
    memcpy(step->args, d->args, d->args_bytes);
    memcpy(step->groups, d->groups, sizeof step->groups);
    if (d->access.n_reads > HAZARD_MAX_RANGES || d->access.n_writes > HAZARD_MAX_RANGES)
        return log_fail(c->log, HTH_ERROR_UNSUPPORTED, "%s: %s touches more than %d tensors",
                        step->label, step->name, HAZARD_MAX_RANGES);
    const struct vk_caps *caps = vk_get_caps(c->vk);
    for (int i = 0; i < 3; i++)
        if (d->groups[i] == 0 || d->groups[i] > caps->max_groups[i])
            return log_fail(c->log, HTH_ERROR_UNSUPPORTED,
                            "%s: %s needs %u workgroups in dimension %d, this device allows %u",
                            step->label, step->name, d->groups[i], i, caps->max_groups[i]);
    struct vk_pipeline_key key = {.blob = d->choice.blob, .subgroup_size = d->choice.subgroup_size};
    memcpy(key.spec, d->choice.spec, sizeof key.spec);
    enum hth_status status = vk_pipeline_get(c->vk, &key, &step->pipeline);
    program->n_steps += status == HTH_OK;
    return status;
}

const struct shader_blob *compile_helper(struct compile *c, const char *blob,
                                         struct row_choice *choice)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", blob, c->env.addresses ? "_addr" : "");
    const struct shader_blob *found = shader_blob_find(name);
    *choice = (struct row_choice){.blob = found};
    if (!found || !vk_blob_fits(c->env.caps, found)) {
        log_line(c->log, HTH_LOG_ERROR, "%s: this device cannot run the kernel %s", c->op->label,
                 blob);
        return NULL;
    }
    for (uint32_t i = 0; i < found->n_specs && i < VK_MAX_SPECS; i++)
        choice->spec[i] = found->specs[i].value;
    return found;
}

void compile_side(struct compile *c, enum side side, uint64_t size_bytes, uint32_t *place,
                  struct range *range)
{
    uint64_t size = align_up(size_bytes, VK_REF_ALIGN);
    c->side_bytes[side] = size > c->side_bytes[side] ? size : c->side_bytes[side];
    *place = vk_ref(c->activations, c->side_at[side]);
    *range = (struct range){c->activations, c->side_at[side], c->side_at[side] + size};
}

enum { TILE_ROWS = 64, LEAST_TILE_ROWS = 16 };

/* All heads of a group times tokens are a tile's rows: 64 or a little less, of which workgroups
 * have a quarter, half or all. */
uint32_t attention_tile_tokens(const struct op *op, int n_tokens)
{
    uint32_t heads = (uint32_t)(op->p.attention.n_head / op->in[1]->kv.n_head_kv);
    uint32_t quarter = heads >= LEAST_TILE_ROWS ? 1 : LEAST_TILE_ROWS / heads;
    uint32_t tile = quarter * (TILE_ROWS / (quarter * heads));
    return n_tokens <= ROW_FEW_TOKENS || tile == 0 ? 1 : tile;
}

/* Tiles that all of the graph's attention can take; a counter for each workgroup that there can be
 * of them. */
static void lay_out_tiles(struct batch_layout *batch, const struct graph *graph, uint32_t seqs)
{
    uint32_t n_tokens = (uint32_t)graph->n_tokens, heads = 0;
    batch->tile_tokens = graph->n_tokens <= ROW_FEW_TOKENS ? 1 : TILE_ROWS;
    for (size_t i = 0; i < graph->n_ops; i++) {
        const struct op *op = graph->ops[i];
        if (op->kind != OP_ATTENTION)
            continue;
        uint32_t fit = attention_tile_tokens(op, graph->n_tokens);
        uint32_t n_head = (uint32_t)op->p.attention.n_head;
        batch->tile_tokens = fit < batch->tile_tokens ? fit : batch->tile_tokens;
        heads = n_head > heads ? n_head : heads;
    }
    uint32_t tiles = (n_tokens + batch->tile_tokens - 1) / batch->tile_tokens + seqs - 1;
    batch->max_tiles = tiles < n_tokens ? tiles : n_tokens;
    if (n_tokens <= SPLIT_TOKENS)
        batch->n_counters = batch->max_tiles * batch->tile_tokens * heads;
}

static void lay_out_batch(struct compile *c, int table_stride)
{
    struct batch_layout *batch = &c->program->batch;
    uint32_t tokens = (uint32_t)c->graph->n_tokens, outputs = (uint32_t)c->graph->n_outputs;
    uint32_t seqs = (uint32_t)(c->env.n_seqs > 0 ? c->env.n_seqs : 1);
    *batch = (struct batch_layout){0};
    lay_out_tiles(batch, c->graph, seqs);
    batch->table_stride = (uint32_t)table_stride;
    batch->ids = BATCH_HEADER_WORDS;
    batch->pos = batch->ids + tokens;
    batch->seq = batch->pos + tokens;
    batch->outputs = batch->seq + tokens;
    batch->tiles = batch->outputs + outputs;
    batch->pages = batch->tiles + 2 * batch->max_tiles;
    batch->counters = batch->pages + seqs * batch->table_stride;
    batch->n_words = batch->counters + batch->n_counters;
}

static const struct row *choose(const struct compile *c, struct row_choice *choice)
{
    if (!c->pick)
        return row_select(&c->env, c->op, choice);
    *choice = c->pick->choice;
    return c->pick->row;
}

/* Steps from `first` on read a weight that comes when needed, over one that others have read. */
static enum hth_status add_load(struct compile *c, const struct placed *placed, size_t first)
{
    struct program *program = c->program;
    if (c->measuring)
        return HTH_OK;
    struct load *grown =
        mem_grow(program->loads, &program->cap_loads, program->n_loads + 1, sizeof *grown);
    if (!grown)
        return log_fail_memory(c->log, "the list of steps", sizeof *grown);
    program->loads = grown;
    struct load *load = &grown[program->n_loads++];
    *load = (struct load){.placed = placed, .first = first, .end = program->n_steps};
    for (int i = 0; i < placed->n_parts; i++)
        load->bytes += placed->parts[i].size_bytes;
    for (size_t i = program->n_loads - 1; i-- > 0 && load->after == 0;)
        if (place_overlap(grown[i].placed, placed))
            load->after = grown[i].end;
    return load->after <= first ? HTH_OK
                                : log_fail(c->log, HTH_ERROR_LIMIT,
                                           "%s: its weights do not fit side by side into what is "
                                           "there for weights that pass through: use more --vram",
                                           c->op->label);
}

/* Side buffers are as large as their largest user, so the first pass only measures. */
static enum hth_status compile_ops(struct compile *c, bool measuring)
{
    c->measuring = measuring;
    c->quantized = c->halved = c->grouped = NULL;
    for (size_t i = 0; i < c->graph->n_ops; i++) {
        c->op = c->graph->ops[i];
        struct row_choice choice;
        const struct row *row = choose(c, &choice);
        if (!row)
            return log_fail(c->log, HTH_ERROR_UNSUPPORTED,
                            "%s: no kernel for %s%s%s fits this device: use --device cpu",
                            c->op->label, op_def_of(c->op->kind)->name,
                            c->op->in[0] && c->op->in[0]->weight ? " of " : "",
                            c->op->in[0] && c->op->in[0]->weight ? c->op->in[0]->dtype->name : "");
        c->row = row;
        size_t first = c->program->n_steps;
        enum hth_status status = row->emit(c, c->op, &choice);
        if (status)
            return status;
        struct op_cost cost = op_def_of(c->op->kind)->cost(c->op, 0);
        for (size_t s = first; s < c->program->n_steps; s++) {
            struct step *step = &c->program->steps[s];
            if (!step->row)
                continue;
            step->bytes = cost.weight_bytes + cost.act_bytes;
            step->flops = cost.flops;
            break;
        }
        for (int k = 0; k < OP_MAX_IN && status == HTH_OK; k++)
            if (passes(c, c->op->in[k]))
                status = add_load(c, compile_weight(c, c->op->in[k]), first);
        if (status)
            return status;
    }
    return HTH_OK;
}

static enum hth_status solve_hazards(struct compile *c)
{
    struct program *program = c->program;
    struct access **list = arena_calloc(&program->arena, program->n_steps, sizeof(struct access *));
    if (!list)
        return log_fail_memory(c->log, "the list of steps", program->n_steps);
    for (size_t i = 0; i < program->n_steps; i++)
        list[i] = &program->steps[i].access;
    hazard_solve(list, program->n_steps);
    return HTH_OK;
}

static struct compile begin_compile(struct program *out, const struct graph *graph,
                                    const struct memmap *map, const struct compile_options *options,
                                    const struct log *log)
{
    *out = (struct program){0};
    return (struct compile){
        .vk = options->vk,
        .log = log,
        .env = options->env,
        .pick = options->pick,
        .place = options->place,
        .ring = options->ring,
        .graph = graph,
        .map = map,
        .program = out,
        .activations = options->activations,
        .batch_chunk = options->batch_chunk,
        .hops = options->hops,
    };
}

/* The first pass: sizes, and where side buffers begin. */
static enum hth_status measure_ops(struct compile *c, int table_stride)
{
    lay_out_batch(c, table_stride);
    enum hth_status status = compile_ops(c, true);
    uint64_t end = align_up(c->map->size_bytes, VK_REF_ALIGN);
    for (int i = 0; i < SIDE_COUNT; i++) {
        c->side_at[i] = end;
        end += c->side_bytes[i];
    }
    c->program->activation_bytes = end + VK_REF_ALIGN;
    return status;
}

enum hth_status compile_placed(struct program *out, const struct graph *graph,
                               const struct memmap *map, const struct compile_options *options,
                               const struct log *log)
{
    struct compile c = begin_compile(out, graph, map, options, log);
    enum hth_status status = measure_ops(&c, options->table_stride);
    lay_out_batch(&c, options->table_stride);
    if (status == HTH_OK)
        status = compile_ops(&c, false);
    if (status == HTH_OK)
        status = solve_hazards(&c);
    if (status)
        program_free(out);
    return status;
}

static uint64_t hop_bytes(const struct graph *graph)
{
    uint64_t end = 0;
    for (size_t i = 0; i < graph->n_tensors; i++) {
        const struct tensor *hop = graph->tensors[i];
        if (hop->kind != TENSOR_HOP)
            continue;
        uint64_t bytes = dtype_row_bytes(hop->dtype, (uint64_t)tensor_elems(hop));
        end = hop->hop_offset + bytes > end ? hop->hop_offset + bytes : end;
    }
    return align_up(end, VK_REF_ALIGN);
}

static void set_sizes(struct program *out, const struct graph *graph, const struct memmap *map)
{
    const struct tensor *result = graph_result(graph);
    const struct tensor *base = result ? tensor_base(result, NULL) : NULL;
    out->result_place = base ? (uint32_t)map->offsets[base->id] : 0;
    out->result_bytes = base ? (uint64_t)tensor_elems(result) * sizeof(float) : 0;
    out->hop_bytes = hop_bytes(graph);
}

enum hth_status compile_program(struct program *out, const struct graph *graph,
                                const struct compile_options *options, const struct log *log)
{
    struct memmap map;
    *out = (struct program){0};
    enum hth_status status = memmap_create(&map, graph, VK_REF_ALIGN, false, log);
    if (status)
        return status;
    status = compile_placed(out, graph, &map, options, log);
    if (status == HTH_OK) {
        set_sizes(out, graph, &map);
        if (out->activation_bytes > vk_get_caps(options->vk)->max_range_bytes)
            status = log_fail(log, HTH_ERROR_LIMIT,
                              "a batch of %d tokens needs %" PRIu64
                              " MiB of activations, more than this device can bind: use a smaller "
                              "--batch",
                              graph->n_tokens, out->activation_bytes >> 20);
    }
    memmap_free(&map);
    if (status)
        program_free(out);
    return status;
}

enum hth_status compile_measure(struct program *out, const struct graph *graph,
                                const struct compile_options *options, const struct log *log)
{
    struct memmap map;
    *out = (struct program){0};
    enum hth_status status = memmap_create(&map, graph, VK_REF_ALIGN, false, log);
    if (status)
        return status;
    struct compile c = begin_compile(out, graph, &map, options, log);
    status = measure_ops(&c, options->table_stride);
    set_sizes(out, graph, &map);
    memmap_free(&map);
    return status;
}

static bool fused_fits(void *user, const struct op *op)
{
    struct row_choice choice;
    return row_select(user, op, &choice) != NULL;
}

enum hth_status compile_fuse(struct graph *graph, const struct row_env *env)
{
    unsigned flags = env->plain && !env->forced ? 0 : FUSE_ALL;
    return fuse_graph(graph, flags, fused_fits, (void *)(uintptr_t)env);
}

void program_free(struct program *program)
{
    mem_free(program->steps);
    mem_free(program->loads);
    arena_free(&program->arena);
    *program = (struct program){0};
}

void program_print(const struct program *program, struct strbuf *out)
{
    for (size_t i = 0; i < program->n_steps; i++) {
        const struct step *step = &program->steps[i];
        strbuf_printf(out, "%s %-24s %-24s", step->access.barrier ? "|" : " ", step->label,
                      step->name);
        for (uint32_t s = 0; s < step->choice.blob->n_specs; s++)
            if (strcmp(step->choice.blob->specs[s].name, "max_chunks") != 0) /* the device's */
                strbuf_printf(out, " %s=%u", step->choice.blob->specs[s].name,
                              step->choice.spec[s]);
        strbuf_printf(out, " [%u %u %u]\n", step->groups[0], step->groups[1], step->groups[2]);
    }
}
