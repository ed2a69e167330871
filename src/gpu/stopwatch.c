#include "gpu/stopwatch.h"

#include "base/mem.h"
#include "base/os.h"
#include "gpu/batch.h"

static const double RUN_NS = 2e6;                  /* that a run is to take */
static const double LONG_NS = 20e6;                /* after which one run is enough */
static const uint64_t COPY_BYTES = 32ull << 20;    /* of weights, at most */
static const uint64_t SPREAD_BYTES = 128ull << 20; /* more than caches hold */

enum {
    FIRST_LENGTH = 256, /* rows or positions that are timed to know how many to take */
    EXPERTS = 128,
    LEAST_RUNS = 3,
    MOST_RUNS = 12,
};

/* --- laps ------------------------------------------------------------------------------------- */

static void free_lap(struct stopwatch *watch, struct stopwatch_lap *lap)
{
    vk_cmd_destroy(watch->vk, lap->cmd);
    for (int i = 0; i < STOPWATCH_COPIES; i++)
        program_free(&lap->programs[i]);
    *lap = (struct stopwatch_lap){0};
}

static void free_laps(struct stopwatch *watch)
{
    for (int i = 0; watch->laps && i < STOPWATCH_LAPS; i++)
        free_lap(watch, &watch->laps[i]);
}

/* Pages are named in a batch. */
static int n_batches(const struct stopwatch *watch)
{
    return watch->c.n_pages ? watch->n_copies : 1;
}

static enum hth_status compile_copy(const struct stopwatch *watch, const struct row_pick *pick,
                                    int copy, struct program *out)
{
    struct place place = watch->place;
    place.weights += (size_t)copy * watch->c.n_weights;
    const struct compile_options options = {.vk = watch->vk,
                                            .env = {.caps = vk_get_caps(watch->vk), .n_seqs = 1},
                                            .pick = pick,
                                            .place = &place,
                                            .activations = watch->activations,
                                            .batch_chunk =
                                                watch->batches[copy < n_batches(watch) ? copy : 0],
                                            .table_stride = watch->c.n_pages};
    return compile_placed(out, &watch->c.graph, &watch->c.map, &options, watch->log);
}

static enum hth_status upload_batch(struct stopwatch *watch, const struct batch_layout *layout,
                                    int copy, uint32_t *words)
{
    uint32_t refs[CASE_MOST_PAGES], n_pages = (uint32_t)watch->c.n_pages;
    for (uint32_t i = 0; i < n_pages; i++)
        refs[i] = vk_ref(watch->caches[copy], i * watch->c.page_bytes);
    batch_fill(layout, &watch->c.batch, refs, n_pages, words);
    return vk_upload(watch->vk, watch->batches[copy], 0, words, 4ull * layout->n_words);
}

static enum hth_status upload_inputs(struct stopwatch *watch, const struct batch_layout *layout)
{
    uint32_t *words = mem_calloc(layout->n_words, sizeof *words);
    if (!words)
        return log_fail_memory(watch->log, "a batch", 4ull * layout->n_words);
    enum hth_status status =
        vk_upload(watch->vk, watch->activations, 0, watch->c.given, watch->c.map.size_bytes);
    for (int i = 0; i < n_batches(watch) && status == HTH_OK; i++)
        status = upload_batch(watch, layout, i, words);
    mem_free(words);
    return status ? status : vk_transfer_wait(watch->vk);
}

static bool has_room(const struct stopwatch *watch, uint32_t chunk, uint64_t bytes)
{
    return chunk && vk_chunk_bytes(watch->vk, chunk) >= bytes;
}

static void destroy_chunk(struct stopwatch *watch, uint32_t *chunk)
{
    if (*chunk)
        vk_chunk_destroy(watch->vk, *chunk);
    *chunk = 0;
}

static enum hth_status grow(struct stopwatch *watch, uint32_t *chunk, uint64_t bytes)
{
    destroy_chunk(watch, chunk);
    return vk_chunk_create(watch->vk, bytes, VK_MEMORY_DEVICE, "what is timed", chunk);
}

/* Rows differ in what they want beside the activations, and steps name chunks: a larger one ends
 * all laps. */
static enum hth_status make_room(struct stopwatch *watch, const struct program *program)
{
    uint64_t activations = program->activation_bytes, batch = 4ull * program->batch.n_words;
    if (has_room(watch, watch->activations, activations) &&
        has_room(watch, watch->batches[0], batch))
        return HTH_OK;
    free_laps(watch);
    enum hth_status status = grow(watch, &watch->activations, activations);
    for (int i = 0; i < n_batches(watch) && status == HTH_OK; i++)
        status = grow(watch, &watch->batches[i], batch);
    return status ? status : upload_inputs(watch, &program->batch);
}

/* The one that is there, or else a place for it: the one that was not used for longest. */
static struct stopwatch_lap *find_lap(struct stopwatch *watch, const struct row_pick *pick)
{
    struct stopwatch_lap *oldest = &watch->laps[0];
    for (int i = 0; i < STOPWATCH_LAPS; i++) {
        struct stopwatch_lap *lap = &watch->laps[i];
        if (lap->pick.row == pick->row && row_choice_equal(&lap->pick.choice, &pick->choice))
            return lap;
        oldest = lap->used < oldest->used ? lap : oldest;
    }
    return oldest;
}

static enum hth_status get_lap(struct stopwatch *watch, const struct row_pick *pick,
                               struct stopwatch_lap **out)
{
    struct stopwatch_lap *lap = find_lap(watch, pick);
    struct program sizes;
    *out = lap;
    lap->used = ++watch->clock;
    if (lap->pick.row == pick->row && row_choice_equal(&lap->pick.choice, &pick->choice))
        return HTH_OK;
    free_lap(watch, lap);
    enum hth_status status = compile_copy(watch, pick, 0, &sizes);
    if (status == HTH_OK) {
        status = make_room(watch, &sizes);
        program_free(&sizes);
    }
    for (int i = 0; i < watch->n_copies && status == HTH_OK; i++)
        status = compile_copy(watch, pick, i, &lap->programs[i]);
    if (status == HTH_OK)
        status = vk_cmd_create(watch->vk, 3, &lap->cmd);
    if (status) {
        free_lap(watch, lap);
        return status;
    }
    lap->pick = *pick;
    lap->used = watch->clock;
    return HTH_OK;
}

enum hth_status stopwatch_prepare(struct stopwatch *watch, const struct row_pick *pick)
{
    struct stopwatch_lap *lap;
    return get_lap(watch, pick, &lap);
}

/* --- timing ----------------------------------------------------------------------------------- */

/* A program's own steps, or its helpers'. */
static void record_steps(struct vk_cmd *cmd, const struct program *program, bool own)
{
    for (size_t i = 0; i < program->n_steps; i++) {
        const struct step *step = &program->steps[i];
        if ((step->row != NULL) != own)
            continue;
        if (step->access.barrier)
            vk_cmd_barrier(cmd);
        vk_cmd_dispatch(cmd, step->pipeline, step->args, step->args_bytes, step->groups);
    }
}

/* Helpers once; then the copies, each after the one before, as ops of a model follow each other. */
static enum hth_status record(struct stopwatch *watch, struct stopwatch_lap *lap)
{
    uint64_t generation = vk_generation(watch->vk);
    if (lap->generation == generation)
        return HTH_OK;
    for (size_t i = 0; i < lap->programs[0].n_steps; i++) {
        enum hth_status status = vk_pipeline_wait(watch->vk, lap->programs[0].steps[i].pipeline);
        if (status)
            return status;
    }
    vk_cmd_begin(lap->cmd);
    vk_cmd_barrier(lap->cmd);
    vk_cmd_timestamp(lap->cmd, 0);
    record_steps(lap->cmd, &lap->programs[0], false);
    vk_cmd_barrier(lap->cmd);
    vk_cmd_timestamp(lap->cmd, 1);
    for (int i = 0; i < watch->n_copies; i++) {
        record_steps(lap->cmd, &lap->programs[i], true);
        vk_cmd_barrier(lap->cmd);
    }
    vk_cmd_timestamp(lap->cmd, 2);
    enum hth_status status = vk_cmd_end(lap->cmd);
    lap->generation = status ? 0 : generation;
    return status;
}

static enum hth_status run_once(struct stopwatch *watch, struct stopwatch_lap *lap,
                                struct stopwatch_time *out)
{
    uint64_t ticket, began = os_time_ns();
    enum hth_status status = vk_submit(watch->vk, lap->cmd, &ticket);
    if (status == HTH_OK)
        status = vk_wait(watch->vk, ticket);
    if (status)
        return status;
    double host = (double)(os_time_ns() - began);
    double own = (double)vk_cmd_time_ns(watch->vk, lap->cmd, 1, 2);
    out->helpers = own > 0 ? (double)vk_cmd_time_ns(watch->vk, lap->cmd, 0, 1) : 0;
    out->own = (own > 0 ? own : host) / watch->n_copies;
    return HTH_OK;
}

/* The first run of a recording is not counted: drivers may compile at the first dispatch. */
static enum hth_status time_lap(struct stopwatch *watch, struct stopwatch_lap *lap,
                                struct stopwatch_time *out)
{
    struct stopwatch_time one;
    bool is_new = lap->generation != vk_generation(watch->vk);
    enum hth_status status = record(watch, lap);
    if (status == HTH_OK && is_new)
        status = run_once(watch, lap, &one);
    uint64_t began = os_time_ns();
    for (int i = 0; status == HTH_OK && i < MOST_RUNS; i++) {
        double spent = (double)(os_time_ns() - began);
        if ((i >= LEAST_RUNS && spent > RUN_NS) || (i > 0 && spent > LONG_NS))
            break;
        status = run_once(watch, lap, &one);
        if (i == 0 || one.own < out->own)
            out->own = one.own;
        if (i == 0 || one.helpers < out->helpers)
            out->helpers = one.helpers;
    }
    return status;
}

enum hth_status stopwatch_time(struct stopwatch *watch, const struct row_pick *pick,
                               struct stopwatch_time *out)
{
    struct stopwatch_lap *lap;
    *out = (struct stopwatch_time){0};
    enum hth_status status = get_lap(watch, pick, &lap);
    return status ? status : time_lap(watch, lap, out);
}

/* --- opening ---------------------------------------------------------------------------------- */

static void close_case(struct stopwatch *watch)
{
    free_laps(watch);
    destroy_chunk(watch, &watch->activations);
    for (int i = 0; i < STOPWATCH_COPIES; i++) {
        destroy_chunk(watch, &watch->batches[i]);
        destroy_chunk(watch, &watch->caches[i]);
    }
    place_free(&watch->place);
    selftest_case_free(&watch->c);
}

void stopwatch_close(struct stopwatch *watch)
{
    if (!watch->vk)
        return;
    close_case(watch);
    mem_free(watch->laps);
    *watch = (struct stopwatch){0};
}

static enum hth_status place_copies(struct stopwatch *watch)
{
    size_t n = watch->c.n_weights, n_all = n * (size_t)watch->n_copies;
    const struct place_options options = {0};
    struct arena arena = {0};
    struct weight *weights = arena_calloc(&arena, n_all, sizeof *weights);
    const struct weight **list = arena_calloc(&arena, n_all, sizeof *list);
    enum hth_status status = HTH_OK;
    if (!weights || !list)
        status = log_fail_memory(watch->log, "the list of weights", n_all * sizeof *weights);
    for (size_t i = 0; status == HTH_OK && i < n_all; i++) {
        weights[i] = *watch->c.weights[i % n];
        weights[i].index = (int)i;
        list[i] = &weights[i];
    }
    if (status == HTH_OK)
        status = place_weights(&watch->place, watch->vk, list, n_all, &options, watch->log);
    for (size_t i = 0; status == HTH_OK && i < n_all; i++)
        watch->place.weights[i].weight = watch->c.weights[i % n];
    arena_free(&arena);
    return status;
}

static bool has_cache(const struct op *op)
{
    for (int i = 0; i < OP_MAX_IN; i++)
        if (op->in[i] && op->in[i]->kind == TENSOR_KV)
            return true;
    return false;
}

/* Of experts there are fewer than a model may have: so that each gets as many tokens as it would,
 * there are fewer of them, too, but not so few that other rows would take them. */
static int tokens_of(const struct op *op, int n_tokens)
{
    int64_t experts = 1;
    if (has_cache(op) && n_tokens > STOPWATCH_POSITIONS)
        return STOPWATCH_POSITIONS;
    for (int i = 0; i < OP_MAX_IN; i++)
        if (op->in[i] && op->in[i]->kind == TENSOR_WEIGHT && op->in[i]->ne[2] > experts)
            experts = op->in[i]->ne[2];
    if (experts <= EXPERTS || n_tokens <= ROW_FEW_TOKENS)
        return n_tokens;
    int fewer = (int)(n_tokens * (int64_t)EXPERTS / experts);
    return fewer > ROW_FEW_TOKENS ? fewer : ROW_FEW_TOKENS + 1;
}

static uint64_t pages_bytes(const struct selftest_case *c)
{
    return (uint64_t)c->n_pages * c->page_bytes;
}

/* What a copy has of its own. */
static uint64_t case_bytes(const struct selftest_case *c)
{
    uint64_t bytes = pages_bytes(c);
    for (size_t i = 0; i < c->n_weights; i++)
        bytes += c->weights[i]->size_bytes;
    return bytes;
}

static enum hth_status place_caches(struct stopwatch *watch)
{
    uint64_t bytes = pages_bytes(&watch->c);
    enum hth_status status = HTH_OK;
    for (int i = 0; i < watch->n_copies && bytes && status == HTH_OK; i++) {
        status = grow(watch, &watch->caches[i], bytes);
        if (status == HTH_OK)
            status = vk_upload(watch->vk, watch->caches[i], 0, watch->c.pages, bytes);
    }
    return status;
}

/* The op with so many rows, or positions, as often as it takes to spread so many bytes. */
static enum hth_status open_case(struct stopwatch *watch, const struct op *op, int n_tokens,
                                 int64_t length, uint64_t spread_bytes)
{
    const struct selftest_size size = {.rows = length,
                                       .tokens = tokens_of(op, n_tokens),
                                       .experts = EXPERTS,
                                       .pos = length > n_tokens ? (int)length - n_tokens : 0,
                                       .given_only = true};
    close_case(watch);
    enum hth_status status = selftest_case_create(&watch->c, op, n_tokens, &size, watch->log);
    if (status == HTH_OK)
        status = selftest_case_fill(&watch->c, watch->log);
    if (status)
        return status;
    uint64_t copies = div_up(spread_bytes, case_bytes(&watch->c) + 1);
    watch->n_copies = copies < 1 ? 1 : copies > STOPWATCH_COPIES ? STOPWATCH_COPIES : (int)copies;
    status = place_copies(watch);
    return status ? status : place_caches(watch);
}

/* Positions, or rows of the longest matrix. */
static int64_t length_of(const struct selftest_case *c)
{
    if (c->n_pages)
        return c->size.pos + c->batch.n_tokens;
    int64_t rows = 1;
    for (size_t i = 0; i < c->n_weights; i++)
        rows = c->weights[i]->ne[1] > rows ? c->weights[i]->ne[1] : rows;
    return rows;
}

static int64_t most_length_of(const struct op *op, int n_ctx)
{
    int64_t length = 1;
    if (has_cache(op))
        return n_ctx < STOPWATCH_POSITIONS ? n_ctx : STOPWATCH_POSITIONS;
    for (int i = 0; i < OP_MAX_IN; i++)
        if (op->in[i] && op->in[i]->kind == TENSOR_WEIGHT && op->in[i]->ne[1] > length)
            length = op->in[i]->ne[1];
    return length;
}

/* Of what a part takes follows how much a run has time for, and how often. */
static enum hth_status open_sized(struct stopwatch *watch, const struct op *op,
                                  const struct row_pick *by_default, int n_tokens, int n_ctx)
{
    struct stopwatch_time first;
    int64_t most = most_length_of(op, n_ctx), least = most < FIRST_LENGTH ? most : FIRST_LENGTH;
    enum hth_status status = open_case(watch, op, n_tokens, least, 0);
    if (status == HTH_OK)
        status = stopwatch_time(watch, by_default, &first);
    if (status)
        return status;
    double each = first.own / (double)length_of(&watch->c);
    double bytes = (double)case_bytes(&watch->c) / (double)length_of(&watch->c);
    double by_time = RUN_NS / (each + 1e-3), by_bytes = (double)COPY_BYTES / (bytes + 1);
    double length = by_time < by_bytes ? by_time : by_bytes;
    length = length < (double)most ? length : (double)most;
    length = length < (double)least ? (double)least : length;
    double spread = bytes * RUN_NS / (each + 1e-3);
    spread = spread < (double)SPREAD_BYTES ? spread : (double)SPREAD_BYTES;
    return open_case(watch, op, n_tokens, (int64_t)length, (uint64_t)spread);
}

enum hth_status stopwatch_open(struct stopwatch *watch, const struct op *op,
                               const struct row_pick *by_default, int n_tokens, int n_ctx)
{
    watch->laps = mem_calloc(STOPWATCH_LAPS, sizeof *watch->laps);
    if (!watch->laps)
        return log_fail_memory(watch->log, "what is timed", STOPWATCH_LAPS * sizeof *watch->laps);
    return open_sized(watch, op, by_default, n_tokens, n_ctx);
}
