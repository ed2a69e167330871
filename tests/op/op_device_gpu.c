/* Rows of the GPU, in both forms of reaching memory. All buffers of a case, guards included, lie in
 * one chunk; experts and pages are found through tables, as in the engine. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "gpu/batch.h"
#include "harness/test.h"
#include "op_gpu.h"
#include "op_ran.h"

enum { CHUNK_BYTES = 64 << 20, SIDE_BYTES = 8 << 20, GUARD = 256, MAX_EXPERTS = 1024 };
#define NO_CHUNK 0xfeu /* every place with it, offsets added, is in none */

static struct vk *vk;
static uint32_t chunk, other_chunk, batch_chunk, upload_chunk;
static const struct table *tuned_by; /* NULL: rows are forced */

/* Records a copy whose two ranges overlap, and never submits it: the layer must have a message. */
static void violate(struct vk *device)
{
    struct vk_cmd *cmd = NULL;
    uint32_t memory;
    bool made = vk_chunk_create(device, 4096, VK_MEMORY_DEVICE, "violated", &memory) == HTH_OK &&
                vk_cmd_create(device, 1, &cmd) == HTH_OK;
    assert_true(made);
    vk_cmd_begin(cmd);
    vk_cmd_copy(cmd, memory, 0, memory, 1024, 2048);
    if (vk_cmd_end(cmd) != HTH_OK)
        fail_msg("%s", test_log_text());
    vk_cmd_destroy(device, cmd);
}

/* A layer that is not really there has no messages either: it must first notice a violation. */
static void prove_validation(const struct vk_options *options)
{
    struct vk *device = NULL;
    if (vk_open(&device, options, test_log()) != HTH_OK)
        fail_msg("validation was asked for: %s", test_log_text());
    violate(device);
    if (vk_validation_messages(device) == 0)
        fail_msg("the validation layer has no message about a copy onto itself");
    vk_close(device);
    test_log_clear();
}

static bool open_gpu(void)
{
    if (vk)
        return true;
    const char *number = getenv("HEARTH_TEST_DEVICE"), *software = getenv("HEARTH_TEST_SOFTWARE");
    if (getenv("HEARTH_TEST_NOTHING_RUNS") || (!number && !software)) {
        const char *require = getenv("HEARTH_REQUIRE_DEVICE");
        if (require && strcmp(require, "1") == 0)
            fail_msg("a device is required, and there is none");
        puts("no GPU rows: set HEARTH_TEST_DEVICE to a device's number, or HEARTH_TEST_SOFTWARE=1");
        return false;
    }
    struct vk_options options = {.index = number ? atoi(number) : 0,
                                 .validation = getenv("HEARTH_TEST_VALIDATE") != NULL,
                                 .discrete = getenv("HEARTH_TEST_DISCRETE") != NULL,
                                 .no_disk_cache = true}; /* each test's folder starts empty */
    if (options.validation)
        prove_validation(&options);
    bool opened = vk_open(&vk, &options, test_log()) == HTH_OK &&
                  vk_chunk_create(vk, CHUNK_BYTES, VK_MEMORY_DEVICE, "tensors", &chunk) == HTH_OK &&
                  vk_chunk_create(vk, CHUNK_BYTES, VK_MEMORY_DEVICE, "more tensors",
                                  &other_chunk) == HTH_OK &&
                  vk_chunk_create(vk, 1 << 20, VK_MEMORY_DEVICE, "batch", &batch_chunk) == HTH_OK &&
                  vk_chunk_create(vk, 1 << 20, VK_MEMORY_UPLOAD, "batch", &upload_chunk) == HTH_OK;
    if (!opened) /* a device was asked for: without it these tests would say nothing of the GPU */
        fail_msg("the device asked for cannot be used: %s", test_log_text());
    if (getenv("HEARTH_TEST_VIOLATE"))
        violate(vk);
    return opened;
}

/* Messages that are new, with their kernel: the log is emptied for each test. */
static void print_messages(const char *row)
{
    static unsigned printed;
    unsigned messages = vk_validation_messages(vk);
    if (messages > printed)
        fprintf(stderr, "%s: %s\n", row, test_log_text());
    printed = messages;
}

/* At exit, where a status can no longer be returned. */
static void close_gpu(void)
{
    unsigned messages = vk ? vk_validation_messages(vk) : 0;
    if (messages)
        fprintf(stderr, "the validation layer had %u messages\n", messages);
    vk_close(vk);
    vk = NULL;
    fflush(NULL);
    if (messages)
        _Exit(1);
}

const struct vk_caps *op_gpu_caps(void)
{
    op_device_at(0); /* opens what is there */
    return vk ? vk_get_caps(vk) : NULL;
}

const char *op_gpu_name(void)
{
    static char name[600];
    const struct vk_caps *caps = op_gpu_caps();
    snprintf(name, sizeof name, "%s, %s", caps ? caps->name : "none", caps ? caps->driver : "");
    return caps ? name : "none";
}

static size_t n_rows(void)
{
    size_t n = 0;
    while (row_at(n, NULL))
        n++;
    return n;
}

static const char *row_name(size_t row)
{
    return row_at(row, NULL)->name;
}

static struct row_env env_of(bool addresses)
{
    return (struct row_env){.caps = vk_get_caps(vk), .n_seqs = 4, .addresses = addresses};
}

static bool fits(size_t index, const struct op *op, bool addresses)
{
    const struct row_family *family;
    const struct row *row = row_at(index, &family);
    struct row_env env = env_of(addresses);
    struct row_choice choice;
    for (int k = 0; k < family->n_kinds; k++)
        if (family->kinds[k] == op->kind)
            return row_fits(&env, row, op, &choice);
    return false;
}

static enum op_precision precision(size_t row, const struct op *op)
{
    (void)op;
    const struct row *r = row_at(row, NULL);
    return r->integer ? OP_PRECISION_INT : r->half ? OP_PRECISION_F16 : OP_PRECISION_F32;
}

/* --- one case --------------------------------------------------------------------------------- */

struct layout {
    struct gpu_case c;
    uint64_t at[64]; /* of each buffer in the chunk */
    uint64_t end, other_end;
    uint64_t *offsets; /* by tensor id */
    struct placed *placed;
    struct arena arena;
};

static void add_region(struct layout *l, struct gpu_region region)
{
    assert_true(l->c.n_regions < GPU_CASE_REGIONS);
    l->c.regions[l->c.n_regions++] = region;
}

/* The buffer that a host address lies in; its region has the same number. */
static size_t buffer_at(const struct layout *l, const void *address)
{
    for (size_t i = 0; i < l->c.run->n_buffers; i++) {
        const struct op_buffer *buffer = &l->c.run->buffers[i];
        const unsigned char *byte = address;
        if (byte >= buffer->bytes && byte < buffer->bytes + buffer->size)
            return i;
    }
    fail_msg("an address outside of all buffers");
    return 0;
}

/* Where a host address lies in the chunk. */
static uint64_t device_offset(const struct layout *l, const void *address)
{
    size_t i = buffer_at(l, address);
    return l->at[i] + (uint64_t)((const unsigned char *)address - l->c.run->buffers[i].bytes);
}

static uint64_t take(struct layout *l, uint64_t size)
{
    uint64_t at = l->end;
    l->end = align_up(at + size + GUARD, VK_REF_ALIGN);
    assert_true(l->end <= CHUNK_BYTES - SIDE_BYTES);
    return at;
}

/* Experts are copied to places of their own, which are aligned; the table names them. */
static enum hth_status place_experts(struct layout *l, struct placed *placed,
                                     const struct weight *weight, const struct view *view)
{
    int n = (int)weight->ne[2];
    uint64_t size = weight->size_bytes / (uint64_t)n;
    uint32_t *table = arena_calloc(&l->arena, (size_t)n, sizeof *table);
    uint64_t from = l->end;
    placed->parts = arena_calloc(&l->arena, (size_t)n, sizeof *placed->parts);
    placed->n_parts = n;
    placed->table_chunk = chunk;
    placed->table_offset = take(l, 4 * (uint64_t)n);
    enum hth_status status = HTH_OK;
    for (int e = 0; e < n && status == HTH_OK; e++) {
        const char *bytes =
            view->experts ? view->experts[e] : (const char *)view->data + (uint64_t)e * size;
        table[e] = 0xffffffffu;
        if (!bytes)
            continue;
        uint64_t at = take(l, size + (e % 3) * 512);
        table[e] = vk_ref(chunk, at);
        placed->parts[e] = (struct placed_part){chunk, at, size, 0, weight->ne[1]};
        status = vk_upload(vk, chunk, at, bytes, size);
    }
    add_region(l, (struct gpu_region){.from = from, .to = l->end, .name = weight->name});
    return status ? status : vk_upload(vk, chunk, placed->table_offset, table, 4 * (uint64_t)n);
}

/* Rows in two pieces, as where a weight is larger than a chunk: the later ones in another chunk. */
static enum hth_status place_pieces(struct layout *l, struct placed *placed,
                                    const struct weight *weight, const struct view *view)
{
    int64_t n = weight->ne[1], first = 1 + n / 3;
    uint64_t row = weight->size_bytes / (uint64_t)n, size = row * (uint64_t)first;
    uint64_t at = take(l, size), other_at = l->other_end, rest = weight->size_bytes - size;
    l->other_end = align_up(other_at + rest + GUARD, VK_REF_ALIGN);
    assert_true(l->other_end <= CHUNK_BYTES);
    placed->parts = arena_calloc(&l->arena, 2, sizeof *placed->parts);
    placed->n_parts = 2;
    placed->parts[0] = (struct placed_part){chunk, at, size, 0, first};
    placed->parts[1] = (struct placed_part){other_chunk, other_at, rest, first, n - first};
    add_region(l, (struct gpu_region){.from = at, .to = l->end, .name = weight->name});
    enum hth_status status = vk_upload(vk, chunk, at, view->data, size);
    return status ? status
                  : vk_upload(vk, other_chunk, other_at, (const char *)view->data + size, rest);
}

/* Is it one of the op's matrices, which may be larger than a chunk? Biases of experts are not. */
static bool is_matrix(const struct op *op, const struct weight *weight)
{
    static const int qkv[] = {1, 3, 5}, glu[] = {0, 5}, one[] = {0};
    op = op->kind == OP_NORM_MATMUL ? op->parts[1] : op;
    const int *at = op->kind == OP_MATMUL_QKV ? qkv : op->kind == OP_MATMUL_GLU ? glu : one;
    size_t n = at == qkv ? ARRAY_LEN(qkv) : at == glu ? ARRAY_LEN(glu) : 1;
    for (size_t i = 0; i < n; i++)
        if (op->in[at[i]] && op->in[at[i]]->weight == weight)
            return weight->ne[1] > 1 && weight->ne[2] <= 1;
    return false;
}

static enum hth_status place_weight(struct layout *l, struct weight *weight,
                                    const struct view *view)
{
    weight->data = view->data; /* rope factors are read on the host */
    struct placed *placed = &l->placed[weight->index];
    placed->weight = weight;
    if (weight->ne[2] > 1)
        return place_experts(l, placed, weight, view);
    if (is_matrix(l->c.run->call->op, weight) && !l->c.run->check_declared)
        return place_pieces(l, placed, weight, view);
    placed->parts = arena_calloc(&l->arena, 1, sizeof *placed->parts);
    placed->n_parts = 1;
    placed->parts[0] = (struct placed_part){chunk, device_offset(l, view->data), weight->size_bytes,
                                            0, weight->ne[1]};
    return HTH_OK;
}

static enum hth_status place_tensor(struct layout *l, const struct tensor *tensor,
                                    const struct view *view)
{
    int64_t skip;
    const struct tensor *base = tensor_base(tensor, &skip);
    const void *address = base->kind == TENSOR_KV ? l->c.run->call->kv_pages[0] : view->data;
    struct gpu_region *region = &l->c.regions[buffer_at(l, address)];
    region->name = base->name;
    region->changes = base->kind != TENSOR_WEIGHT;
    if (base->kind == TENSOR_WEIGHT)
        return place_weight(l, (struct weight *)(uintptr_t)tensor->weight, view);
    if (base->kind == TENSOR_ACTIVATION)
        l->offsets[base->id] =
            device_offset(l, view->data) - (uint64_t)skip * base->dtype->block_bytes;
    return HTH_OK;
}

static enum hth_status lay_out(struct layout *l)
{
    const struct op_run *run = l->c.run;
    const struct op_call *call = run->call;
    enum hth_status status = HTH_OK;
    for (size_t i = 0; i < run->n_buffers && status == HTH_OK; i++) {
        const struct op_buffer *buffer = &run->buffers[i];
        l->at[i] = take(l, buffer->size);
        add_region(l, (struct gpu_region){
                          .from = l->at[i], .to = l->at[i] + buffer->size, .name = "a buffer"});
        status = vk_upload(vk, chunk, l->at[i], buffer->bytes, buffer->size);
    }
    for (int i = 0; i < OP_MAX_IN && status == HTH_OK; i++)
        if (call->op->in[i])
            status = place_tensor(l, call->op->in[i], &call->in[i]);
    for (int i = 0; i < OP_MAX_OUT && status == HTH_OK; i++)
        if (call->op->out[i])
            status = place_tensor(l, call->op->out[i], &call->out[i]);
    assert_true(run->n_pages <= GPU_CASE_PAGES);
    for (size_t i = 0; i < run->n_pages; i++)
        l->c.page_refs[i] = vk_ref(chunk, device_offset(l, call->kv_pages[i]));
    return status;
}

/* Entries of the table of pages that no page stands for name a chunk beyond all descriptors, as
 * what lies behind the table may: nothing comes of them, though lavapipe reads one (run_row). */
static void spoil_table(const struct batch_layout *layout, const struct batch *batch,
                        uint32_t *words)
{
    for (int i = 0; i < batch->n_seqs * batch->table_stride; i++)
        if (batch->page_table[i] == UINT32_MAX)
            words[layout->pages + (uint32_t)i] = NO_CHUNK << 24;
}

enum hth_status gpu_case_run(const struct gpu_case *c, const struct program *program, size_t first,
                             size_t count)
{
    struct vk_cmd *cmd = NULL;
    enum hth_status status = vk_cmd_create(c->vk, 2, &cmd);
    for (size_t i = first; i < first + count && status == HTH_OK; i++)
        status = vk_pipeline_wait(c->vk, program->steps[i].pipeline);
    if (status == HTH_OK) {
        uint32_t *words = vk_chunk_data(c->vk, c->batch_upload);
        memset(words, c->stale, 4ull * program->batch.n_words);
        batch_fill(&program->batch, c->run->call->batch, c->page_refs, (uint32_t)c->run->n_pages,
                   words);
        if (c->stale)
            spoil_table(&program->batch, c->run->call->batch, words);
        vk_cmd_begin(cmd);
        vk_cmd_copy(cmd, c->batch_upload, 0, c->batch_chunk, 0, 4ull * program->batch.n_words);
        vk_cmd_barrier(cmd);
        for (size_t i = first; i < first + count; i++) {
            const struct step *step = &program->steps[i];
            if (step->access.barrier)
                vk_cmd_barrier(cmd);
            vk_cmd_dispatch(cmd, step->pipeline, step->args, step->args_bytes, step->groups);
        }
        status = vk_cmd_end(cmd);
    }
    uint64_t ticket;
    if (status == HTH_OK)
        status = vk_submit(c->vk, cmd, &ticket);
    if (status == HTH_OK)
        status = vk_wait(c->vk, ticket);
    vk_cmd_destroy(c->vk, cmd);
    return status;
}

static void note(const struct op *op, size_t row, const struct program *program, bool addresses)
{
    for (size_t i = 0; i < program->n_steps; i++)
        op_ran_note("blob %s %s", program->steps[i].name, program->steps[i].choice.blob->name);
    op_ran_note("kind %s %s vulkan%s", op_def_of(op->kind)->name, row_at(row, NULL)->name,
                addresses ? "-address" : "");
}

/* What compiling finds where the tensors lie, with the row forced. */
static enum hth_status compile_case(struct layout *l, size_t row, bool addresses,
                                    struct program *program)
{
    const struct op_run *run = l->c.run;
    struct op *ops[] = {(struct op *)(uintptr_t)run->call->op};
    struct graph graph = {.ops = ops,
                          .n_ops = 1,
                          .n_tokens = run->graph->n_tokens,
                          .n_outputs = run->graph->n_outputs};
    struct memmap map = {
        .offsets = l->offsets, .n_tensors = run->graph->n_tensors, .size_bytes = l->end};
    struct place place = {.vk = vk, .weights = l->placed};
    struct compile_options options = {.vk = vk,
                                      .env = env_of(addresses),
                                      .place = &place,
                                      .activations = chunk,
                                      .batch_chunk = batch_chunk,
                                      .table_stride = run->call->batch->table_stride};
    options.env.forced = tuned_by ? NULL : row_at(row, NULL)->name;
    options.env.tuned = tuned_by;
    enum hth_status status = compile_placed(program, &graph, &map, &options, test_log());
    if (status)
        return status;
    for (size_t i = 0; i < program->n_steps; i++)
        assert_true(!program->steps[i].row || program->steps[i].row == row_at(row, NULL));
    assert_true(program->activation_bytes <= CHUNK_BYTES && program->batch.n_words * 4 <= 1 << 20);
    add_region(l, (struct gpu_region){.from = align_up(l->end, VK_REF_ALIGN),
                                      .to = program->activation_bytes,
                                      .name = "the side buffers",
                                      .changes = true,
                                      .empty = true});
    uint64_t size = program->activation_bytes - align_up(l->end, VK_REF_ALIGN);
    void *stale = arena_alloc(&l->arena, size);
    memset(stale, l->c.stale, size);
    return vk_upload(vk, chunk, align_up(l->end, VK_REF_ALIGN), stale, size);
}

/* Stale memory is poison; but lavapipe (Mesa 26.1.6) loads through addresses for workgroups that
 * have returned, too (a load that is the same in all lanes ignores that none is active), and an
 * index read from poison would be a wild address there. In the array form its loads are bounded,
 * and so is the chunk's number that picks the descriptor (prelude.glsl); what is not ends at a
 * fence (op_fence_posix.c). */
static enum hth_status run_row(size_t row, const struct op_run *run, bool addresses)
{
    struct layout l = {.c = {.vk = vk,
                             .chunk = chunk,
                             .chunk_bytes = CHUNK_BYTES,
                             .batch_chunk = batch_chunk,
                             .batch_upload = upload_chunk,
                             .stale = addresses ? 0 : 0xff,
                             .run = run}};
    l.offsets = arena_calloc(&l.arena, run->graph->n_tensors, sizeof *l.offsets);
    l.placed = arena_calloc(&l.arena, run->graph->n_tensors + 1, sizeof *l.placed);
    struct program program = {0};
    enum hth_status status = lay_out(&l);
    if (status == HTH_OK)
        status = compile_case(&l, row, addresses, &program);
    if (status == HTH_OK && run->check_declared) {
        if (op_declared_tamper)
            op_declared_tamper(&program);
        status = op_declared_check(&l.c, &program);
    }
    if (status == HTH_OK)
        status = gpu_case_run(&l.c, &program, 0, program.n_steps);
    print_messages(row_at(row, NULL)->name);
    for (size_t i = 0; i < run->n_buffers && status == HTH_OK; i++)
        status = vk_download(vk, chunk, l.at[i], run->buffers[i].bytes, run->buffers[i].size);
    if (status == HTH_OK)
        note(run->call->op, row, &program, addresses);
    program_free(&program);
    arena_free(&l.arena);
    return status;
}

static bool fits_array(size_t row, const struct op *op)
{
    return fits(row, op, false);
}

static bool fits_address(size_t row, const struct op *op)
{
    return fits(row, op, true);
}

static enum hth_status run_array(size_t row, const struct op_run *run)
{
    return run_row(row, run, false);
}

static enum hth_status run_address(size_t row, const struct op_run *run)
{
    return run_row(row, run, true);
}

bool op_gpu_open(void)
{
    return open_gpu();
}

struct row_env op_gpu_env(void)
{
    return env_of(false);
}

enum op_precision op_gpu_precision(size_t row)
{
    return precision(row, NULL);
}

enum hth_status op_gpu_run_tuned(size_t row, const struct table *tuned, const struct op_run *run)
{
    tuned_by = tuned;
    enum hth_status status = run_row(row, run, false);
    tuned_by = NULL;
    return status;
}

#define FORM(form_name, form_fits, form_run, second)                                               \
    {                                                                                              \
        .name = form_name, .open = open_gpu, .close = close_gpu, .n_rows = n_rows,                 \
        .row_name = row_name, .fits = form_fits, .precision = precision, .run = form_run,          \
        .fuses = true, .one_kind = (second)                                                        \
    }
static const struct op_device array_form = FORM("vulkan", fits_array, run_array, false);
static const struct op_device address_form =
    FORM("vulkan-address", fits_address, run_address, true);

OP_DEVICE(array_form)
__attribute__((constructor)) static void register_address_form(void)
{
    op_device_register(&address_form);
}
