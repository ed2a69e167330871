#include "gpu/selftest.h"

#include <math.h>

#include "base/mem.h"
#include "base/os.h"
#include "gpu/batch.h"
#include "gpu/selftest_part.h"

/* A case on the device. */
struct check {
    const struct selftest *test;
    const struct row_pick *pick;
    struct selftest_case c;
    struct place place;
    struct program program;
    uint32_t activations, batch, pages, back; /* chunks; 0: not made */
    struct vk_cmd *cmd;
    uint64_t compiling_ns; /* of the host */
};

static enum hth_status place_case(struct check *b)
{
    const struct place_options options = {0};
    return place_weights(&b->place, b->test->vk, (const struct weight *const *)b->c.weights,
                         b->c.n_weights, &options, b->test->log);
}

static enum hth_status compile_case(struct check *b)
{
    const struct compile_options options = {.vk = b->test->vk,
                                            .env = {.caps = vk_get_caps(b->test->vk), .n_seqs = 1},
                                            .pick = b->pick,
                                            .place = &b->place,
                                            .activations = b->activations,
                                            .batch_chunk = b->batch,
                                            .table_stride = b->c.n_pages};
    program_free(&b->program);
    return compile_placed(&b->program, &b->c.graph, &b->c.map, &options, b->test->log);
}

/* Chunks are named in the steps' arguments, so a first compile only learns the sizes. */
static enum hth_status make_chunks(struct check *b)
{
    struct vk *vk = b->test->vk;
    uint64_t pages = (uint64_t)b->c.n_pages * b->c.page_bytes;
    enum hth_status status = compile_case(b);
    if (status == HTH_OK)
        status = vk_chunk_create(vk, b->program.activation_bytes, VK_MEMORY_DEVICE, "self-test",
                                 &b->activations);
    if (status == HTH_OK)
        status = vk_chunk_create(vk, 4ull * b->program.batch.n_words, VK_MEMORY_UPLOAD,
                                 "self-test's batch", &b->batch);
    if (status == HTH_OK && pages)
        status = vk_chunk_create(vk, pages, VK_MEMORY_DEVICE, "self-test's cache", &b->pages);
    if (status == HTH_OK)
        status = vk_chunk_create(vk, b->c.map.size_bytes + pages, VK_MEMORY_READBACK,
                                 "self-test's results", &b->back);
    return status ? status : compile_case(b);
}

static void fill_batch(struct check *b)
{
    uint32_t refs[CASE_MOST_PAGES], n_pages = (uint32_t)b->c.n_pages;
    for (uint32_t i = 0; i < n_pages; i++)
        refs[i] = vk_ref(b->pages, i * b->c.page_bytes);
    batch_fill(&b->program.batch, &b->c.batch, refs, n_pages, vk_chunk_data(b->test->vk, b->batch));
}

/* What steps hand each other is no number before: whoever does not wait for it reads that. */
static enum hth_status poison_sides(struct check *b)
{
    uint64_t at = b->c.map.size_bytes, bytes = b->program.activation_bytes - at;
    if (bytes == 0)
        return HTH_OK;
    void *poison = mem_alloc((size_t)bytes);
    if (!poison)
        return log_fail_memory(b->test->log, "a self-test", bytes);
    memset(poison, 0xff, (size_t)bytes);
    enum hth_status status = vk_upload(b->test->vk, b->activations, at, poison, bytes);
    mem_free(poison);
    return status;
}

/* All that steps may write but the batch's counters, which are as a run leaves them. */
static enum hth_status upload_case(struct check *b)
{
    struct vk *vk = b->test->vk;
    enum hth_status status = vk_upload(vk, b->activations, 0, b->c.given, b->c.map.size_bytes);
    if (status == HTH_OK)
        status = poison_sides(b);
    if (status == HTH_OK && b->pages)
        status = vk_upload(vk, b->pages, 0, b->c.pages, b->c.n_pages * b->c.page_bytes);
    return status ? status : vk_transfer_wait(vk);
}

static enum hth_status record_case(struct check *b)
{
    struct vk *vk = b->test->vk;
    enum hth_status status = vk_cmd_create(vk, 2, &b->cmd);
    for (size_t i = 0; status == HTH_OK && i < b->program.n_steps; i++)
        status = vk_pipeline_wait(vk, b->program.steps[i].pipeline);
    if (status)
        return status;
    vk_cmd_begin(b->cmd);
    vk_cmd_timestamp(b->cmd, 0);
    for (size_t i = 0; i < b->program.n_steps; i++) {
        const struct step *step = &b->program.steps[i];
        if (step->access.barrier)
            vk_cmd_barrier(b->cmd);
        vk_cmd_dispatch(b->cmd, step->pipeline, step->args, step->args_bytes, step->groups);
    }
    vk_cmd_barrier(b->cmd);
    vk_cmd_timestamp(b->cmd, 1);
    vk_cmd_copy(b->cmd, b->activations, 0, b->back, 0, b->c.map.size_bytes);
    if (b->pages)
        vk_cmd_copy(b->cmd, b->pages, 0, b->back, b->c.map.size_bytes,
                    (uint64_t)b->c.n_pages * b->c.page_bytes);
    return vk_cmd_end(b->cmd);
}

static enum hth_status submit_case(struct check *b)
{
    uint64_t ticket;
    enum hth_status status = vk_submit(b->test->vk, b->cmd, &ticket);
    return status ? status : vk_wait(b->test->vk, ticket);
}

/* Twice, as drivers may compile at the first dispatch; what is judged is the second run, which
 * finds nothing that the first made. */
static enum hth_status run_case(struct check *b, struct selftest_result *out)
{
    struct vk *vk = b->test->vk;
    fill_batch(b);
    enum hth_status status = upload_case(b);
    uint64_t began = os_time_ns();
    if (status == HTH_OK)
        status = record_case(b);
    if (status == HTH_OK)
        status = submit_case(b);
    b->compiling_ns = os_time_ns() - began;
    if (status == HTH_OK)
        status = upload_case(b);
    began = os_time_ns();
    if (status == HTH_OK)
        status = submit_case(b);
    if (status)
        return status;
    out->run_ns = vk_cmd_time_ns(vk, b->cmd, 0, 1);
    out->run_ns = out->run_ns ? out->run_ns : os_time_ns() - began;
    const unsigned char *back = vk_chunk_data(vk, b->back);
    size_t bytes = (size_t)b->c.map.size_bytes;
    memcpy(b->c.got, back, bytes);
    memcpy(b->c.got_pages, back + bytes, (size_t)b->c.n_pages * (size_t)b->c.page_bytes);
    selftest_case_judge(&b->c, b->pick->row, out);
    return HTH_OK;
}

static void close_check(struct check *b)
{
    const uint32_t chunks[] = {b->activations, b->batch, b->pages, b->back};
    vk_cmd_destroy(b->test->vk, b->cmd);
    for (size_t i = 0; i < ARRAY_LEN(chunks); i++)
        if (chunks[i])
            vk_chunk_destroy(b->test->vk, chunks[i]);
    program_free(&b->program);
    place_free(&b->place);
    selftest_case_free(&b->c);
}

/* Does a status say something of the row? */
static bool blames_row(enum hth_status status)
{
    return status != HTH_OK && status != HTH_ERROR_MEMORY && status != HTH_ERROR_LIMIT &&
           status != HTH_ERROR_DEVICE_LOST;
}

/* `least`, or one more, which is no multiple of `of`. */
static int64_t beyond(uint32_t of, int64_t least)
{
    return of > 1 && least % of == 0 ? least + 1 : least;
}

struct selftest_size selftest_size_for(const struct row_choice *choice)
{
    uint32_t each = choice_get(choice, "LANE_ROWS", 0) ? choice_get(choice, "GROUP", 1) : 1;
    uint32_t bm = choice_get(choice, "BM", each * choice_get(choice, "ROWS", 1));
    uint32_t bn = choice_get(choice, "BN", 1), splits = choice_get(choice, "SPLITS", 1);
    int64_t rows = (int64_t)bm + 16, tokens = (int64_t)bn + 4;
    return (struct selftest_size){
        .rows = beyond(bm, rows > CASE_ROWS ? rows : CASE_ROWS),
        .tokens = (int)beyond(bn, tokens > CASE_TOKENS ? tokens : CASE_TOKENS),
        .experts = CASE_EXPERTS,
        .pos = CASE_POS + KV_PAGE * (int)(splits < CASE_SPLITS ? splits : CASE_SPLITS)};
}

enum hth_status selftest_run(const struct selftest *test, const struct op *op,
                             const struct row_pick *pick, int n_tokens, struct selftest_result *out)
{
    struct check b = {.test = test, .pick = pick};
    const struct selftest_size size = selftest_size_for(&pick->choice);
    uint64_t began = os_time_ns();
    *out = (struct selftest_result){0};
    enum hth_status status = selftest_case_create(&b.c, op, n_tokens, &size, test->log);
    if (status == HTH_OK)
        status = selftest_case_fill(&b.c, test->log);
    if (status == HTH_OK)
        status = place_case(&b);
    if (status == HTH_OK)
        status = make_chunks(&b);
    if (status == HTH_OK)
        status = run_case(&b, out);
    close_check(&b);
    out->spent_ns = os_time_ns() - began - b.compiling_ns;
    if (!blames_row(status))
        return status;
    out->verdict = SELFTEST_FAILED;
    out->nmse = INFINITY;
    return HTH_OK;
}

/* --- names ------------------------------------------------------------------------------------ */

/* What of an op's parameters decides which way a kernel goes. */
static void name_params(const struct op *op, struct strbuf *out)
{
    switch (op->kind) {
    case OP_ROPE:
    case OP_ROPE_KV:
        strbuf_printf(out, " rope %d of %d", (int)op->p.rope.kind, op->p.rope.n_rot);
        break;
    case OP_ATTENTION:
        strbuf_printf(out, " %d heads%s%s", op->p.attention.n_head,
                      op->p.attention.softcap != 0 ? " softcap" : "",
                      op->p.attention.window > 0 ? " window" : "");
        break;
    case OP_ROUTER:
        strbuf_printf(out, " router %d, %d used%s", (int)op->p.router.kind, op->p.router.n_used,
                      op->p.router.normalize ? ", normalised" : "");
        break;
    case OP_TOP_K: strbuf_printf(out, " best %d", op->p.top_k.k); break;
    case OP_GET_ROWS: strbuf_printf(out, " by %d", (int)op->p.get_rows.index); break;
    case OP_SCALE:
        strbuf_printf(out, "%s", op->p.scale.log_length > 0 ? " by position" : "");
        break;
    default: break;
    }
}

/* Without the number of tokens, but for whether they are few: kernels that depend on more of it are
 * specialised by it. */
static void name_tensor(const struct tensor *tensor, struct strbuf *out)
{
    int batch = tensor->rows == ROWS_FIXED ? -1 : tensor->n_dims - 1;
    strbuf_printf(out, " %s", tensor->dtype->name);
    for (int d = 0; d < OP_MAX_DIMS; d++) {
        bool rows = tensor->kind == TENSOR_WEIGHT && d == 1;
        int64_t n = rows && tensor->ne[d] > CASE_ROWS ? CASE_ROWS : tensor->ne[d];
        if (d != batch && (n > 1 || d == 0))
            strbuf_printf(out, "%s%lld", d ? "x" : ":", (long long)n);
    }
}

void selftest_name(const struct op *op, const struct row_pick *pick, int n_tokens,
                   struct strbuf *out)
{
    const struct shader_blob *blob = pick->choice.blob;
    strbuf_printf(out, "%s %s:", pick->row->name, blob->name);
    for (uint32_t i = 0; i < blob->n_specs && i < VK_MAX_SPECS; i++)
        if (strcmp(blob->specs[i].name, "max_chunks") != 0)
            strbuf_printf(out, " %s=%u", blob->specs[i].name, pick->choice.spec[i]);
    if (pick->choice.subgroup_size)
        strbuf_printf(out, " subgroup=%u", pick->choice.subgroup_size);
    strbuf_printf(out, "; %s, %s tokens:", op_def_of(op->kind)->name,
                  n_tokens > ROW_FEW_TOKENS ? "many" : "few");
    name_params(op, out);
    for (int i = 0; i < OP_MAX_IN; i++)
        if (op->in[i])
            name_tensor(op->in[i], out);
}
