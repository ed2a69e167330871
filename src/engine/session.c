#include "engine/session_part.h"

#include <string.h>

#include "base/mem.h"

enum hth_status whole_build(const struct model *model, const struct kv_geom *kv,
                            struct graph *graph, struct batch_size size)
{
    enum hth_status status = model_build(model, graph, size.n_tokens, size.n_outputs, kv);
    int n_best = size.n_best < model->hp.n_vocab ? size.n_best : model->hp.n_vocab;
    if (status || !n_best)
        return status;
    graph->best = op_top_k(graph, "best", graph->logits, n_best);
    return graph->status;
}

enum hth_status part_build(const struct model_part *part, struct graph *graph,
                           struct batch_size size)
{
    enum hth_status status = whole_build(part->model, part->kv, graph, size);
    return status ? status : split_graph(part->split, graph, part->device);
}

int best_of_gpu(const struct model *model, const struct gpu_exec_options *options, int n_best)
{
    struct graph graph;
    struct row_choice choice;
    const struct row_env env = gpu_exec_env(options);
    const int64_t ne[OP_MAX_DIMS] = {model->hp.n_vocab, 1, 1, 1};
    graph_init(&graph, 1, 1, NULL); /* without memory for asking the host can do it, too */
    op_top_k(&graph, "best", graph_activation(&graph, "logits", &dtype_f32, ne, ROWS_OUTPUTS), 1);
    bool can = graph.status == HTH_OK && row_select(&env, graph.ops[0], &choice);
    graph_free(&graph);
    return can ? n_best : 0;
}

static enum hth_status build_part(const struct hth_session *session, enum split_device device,
                                  struct graph *graph, struct batch_size size)
{
    const struct hth_model *model = session->model;
    const struct model_part part = {model->model, &model->placing.split, session->kv_geom, device};
    return part_build(&part, graph, size);
}

static enum hth_status build_gpu(void *user, struct graph *graph, struct batch_size size)
{
    return build_part(user, SPLIT_GPU, graph, size);
}

/* --- opening ---------------------------------------------------------------------------------- */

void session_fill(struct hth_session_options *opt, const struct hparams *hp)
{
    if (opt->n_ctx <= 0)
        opt->n_ctx = hp->n_ctx_train > 0 && hp->n_ctx_train < 4096 ? hp->n_ctx_train : 4096;
    if (opt->n_seqs <= 0)
        opt->n_seqs = 1;
    if (opt->n_batch <= 0)
        opt->n_batch = 512;
    if (opt->n_batch > opt->n_ctx * opt->n_seqs)
        opt->n_batch = opt->n_ctx * opt->n_seqs;
    opt->n_outputs = opt->n_outputs < 1              ? 1
                     : opt->n_outputs > opt->n_batch ? opt->n_batch
                                                     : opt->n_outputs;
    if (opt->n_best < 1 || opt->n_best > HTH_BEST_MOST || opt->n_best >= hp->n_vocab)
        opt->n_best = 0;
}

const struct dtype *session_kv_type(const struct hth_session_options *opt)
{
    return opt->kv == HTH_KV_F32 ? &dtype_f32 : opt->kv == HTH_KV_Q8_0 ? &dtype_q8_0 : &dtype_f16;
}

static void close_cpu_bucket(struct cpu_bucket *bucket)
{
    cpu_exec_destroy(bucket->exec);
    graph_free(&bucket->graph);
    *bucket = (struct cpu_bucket){0};
}

/* The bucket of this size, an empty one, or the one that was not used for longest. */
static struct cpu_bucket *take_cpu_bucket(struct hth_session *session, struct batch_size size)
{
    struct cpu_bucket *oldest = &session->cpu[0];
    for (int i = 0; i < MAX_CPU_BUCKETS; i++) {
        struct cpu_bucket *bucket = &session->cpu[i];
        if (bucket->exec && bucket->size.n_tokens == size.n_tokens &&
            bucket->size.n_outputs == size.n_outputs && bucket->size.n_best == size.n_best)
            return bucket;
        if (!bucket->exec || (oldest->exec && bucket->used < oldest->used))
            oldest = bucket->exec || oldest->exec ? bucket : oldest;
    }
    if (oldest->exec)
        close_cpu_bucket(oldest);
    return oldest;
}

/* CPU kernels look at the rows that are there, so few sizes do where the CPU is alone: one token, a
 * few, a whole batch; with one output or many. Beside a GPU they are the GPU's sizes, as what they
 * hand each other is laid out by them. */
static enum hth_status cpu_bucket(struct hth_session *session, struct batch_size size,
                                  struct cpu_bucket **out)
{
    int n = size.n_tokens, n_batch = session->opt.n_batch;
    if (session->gpu) {
        size.n_tokens = gpu_bucket(n);
        size.n_outputs = gpu_output_bucket(size.n_outputs, size.n_tokens);
    } else {
        size.n_tokens = n <= 1 ? 1 : n <= 16 && n_batch >= 16 ? 16 : n_batch;
        size.n_outputs = size.n_outputs <= 1 ? 1 : size.n_tokens;
    }
    struct cpu_bucket *bucket = *out = take_cpu_bucket(session, size);
    bucket->used = ++session->clock;
    if (bucket->exec)
        return HTH_OK;
    enum hth_status status = build_part(session, SPLIT_HOST, &bucket->graph, size);
    if (status == HTH_OK)
        status = cpu_fuse(&bucket->graph);
    struct cpu_exec_options options = {.pool = session->model->pool,
                                       .interleaved = session->model->interleaved,
                                       .float_only = session->opt.float_only};
    if (status == HTH_OK)
        status =
            cpu_exec_create(&bucket->exec, &bucket->graph, &options, &session->model->keeping.log);
    bucket->size = size;
    if (status)
        close_cpu_bucket(bucket);
    return status;
}

static enum hth_status open_cpu(struct hth_session *session)
{
    uint64_t n_pages = (uint64_t)kv_n_pages(session->kv), bytes;
    if (!mul_u64(n_pages, session->kv_page_bytes[SPLIT_HOST], &bytes) || bytes > SIZE_MAX / 2)
        bytes = SIZE_MAX / 2;
    session->cpu_kv = mem_alloc_aligned((size_t)bytes + 64, 64); /* no layer may be here */
    session->cpu_pages = mem_calloc((size_t)n_pages, sizeof *session->cpu_pages);
    if (!session->cpu_kv || !session->cpu_pages)
        return log_fail(
            &session->model->log, HTH_ERROR_MEMORY,
            "a cache for %d tokens needs %llu MiB of memory, and there is no room: use a "
            "smaller --ctx or --kv q8_0",
            session->opt.n_ctx * session->opt.n_seqs, (unsigned long long)(bytes >> 20));
    for (uint64_t i = 0; i < n_pages; i++)
        session->cpu_pages[i] = session->cpu_kv + i * session->kv_page_bytes[SPLIT_HOST];
    struct cpu_bucket *bucket;
    struct batch_size size = {session->opt.n_batch, 1, session->opt.n_best};
    enum hth_status status = cpu_bucket(session, size, &bucket);
    size.n_tokens = 1;
    return status ? status : cpu_bucket(session, size, &bucket);
}

static enum hth_status open_gpu(struct hth_session *session)
{
    int stride;
    kv_table(session->kv, &stride);
    struct gpu_exec_options options = {
        .vk = session->model->vk,
        .place = &session->model->place,
        .build = build_gpu,
        .user = session,
        .float_only = session->opt.float_only,
        .forced_rows = session->model->rows,
        .bars = &session->model->proof.bars,
        .n_seqs = session->opt.n_seqs,
        .table_stride = stride,
        .max_tokens = session->opt.n_batch,
        .max_outputs = session->opt.n_outputs,
        .kv_page_bytes = session->kv_page_bytes[SPLIT_GPU],
        .n_kv_pages = kv_n_pages(session->kv),
        .stream = placing_stream(&session->model->placing),
        .profile = session->opt.profile,
    };
    session->chooses = best_of_gpu(session->model->model, &options, 1) > 0;
    options.n_best = session->chooses ? session->opt.n_best : 0;
    enum hth_status status = gpu_exec_create(&session->gpu, &options, &session->model->keeping.log);
    if (status == HTH_OK && session->plain)
        gpu_exec_set_plain(session->gpu);
    return status;
}

static int64_t pages_of(const struct hth_session_options *opt)
{
    return (int64_t)div_up((uint64_t)opt->n_ctx, KV_PAGE) * opt->n_seqs;
}

/* The model was placed for another session. Does this one find room beside it? */
static enum hth_status check_room(const struct hth_session *session)
{
    const struct hth_model *model = session->model;
    const struct hth_session_options *opt = &session->opt, *planned = &model->placing.session;
    if (!model->vk || (pages_of(opt) <= pages_of(planned) && opt->n_batch <= planned->n_batch &&
                       opt->n_outputs <= planned->n_outputs && opt->n_best <= planned->n_best &&
                       opt->kv == planned->kv && opt->float_only == planned->float_only))
        return HTH_OK;
    struct device_need need;
    enum hth_status status =
        placing_measure_session(&model->placing, model->vk, opt, &need, &model->log);
    uint64_t taken = vk_allocated_bytes(model->vk, VK_MEMORY_DEVICE),
             budget = model->placing.budget;
    uint64_t room = budget > taken ? budget - taken : 0;
    if (status || need.cache + need.work + need.ring <= room)
        return status;
    return log_fail(
        &model->log, HTH_ERROR_LIMIT,
        "a context of %d tokens in batches of %d takes %.1f MiB of the GPU's memory, and "
        "of its %.1f MiB %.1f are left: the model was placed for %d tokens in batches of "
        "%d; open it for more (--ctx, --batch), or ask for less",
        opt->n_ctx * opt->n_seqs, opt->n_batch,
        (double)(need.cache + need.work + need.ring) / (1 << 20), (double)budget / (1 << 20),
        (double)room / (1 << 20), planned->n_ctx * planned->n_seqs, planned->n_batch);
}

/* What a session has wherever the model is. */
static enum hth_status open_lists(struct hth_session *session)
{
    const struct hth_model *model = session->model;
    const struct log *log = &model->keeping.log;
    int n_layer = model->model->hp.n_layer;
    size_t n_batch = (size_t)session->opt.n_batch;
    session->kv_geom = mem_calloc((size_t)n_layer, sizeof *session->kv_geom);
    int32_t *lists = mem_calloc(4 * n_batch, sizeof *lists);
    session->ids = lists;
    session->before = mem_calloc((size_t)session->opt.n_seqs, sizeof *session->before);
    if (!session->kv_geom || !lists || !session->before)
        return log_fail_memory(log, "the session", 4 * n_batch * sizeof *lists);
    session->pos = lists + n_batch;
    session->seq = lists + 2 * n_batch;
    session->outputs = lists + 3 * n_batch;
    /* A token for each sequence allocates nothing later. */
    session->results.n_best = session->opt.n_best;
    enum hth_status status = session_results_reserve(session, (size_t)session->opt.n_seqs);
    if (status == HTH_OK)
        status = kv_create(&session->kv, session->opt.n_seqs, session->opt.n_ctx, 0, log);
    if (status)
        return status;
    size_t n_positions = (size_t)kv_n_pages(session->kv) * KV_PAGE;
    session->page_ids = mem_calloc(n_positions, sizeof *session->page_ids);
    return session->page_ids
               ? HTH_OK
               : log_fail_memory(log, "the session", n_positions * sizeof *session->page_ids);
}

static void count_bytes(struct hth_session *session)
{
    uint64_t bytes = 0;
    if (session->gpu)
        bytes += gpu_exec_bytes(session->gpu);
    if (session->cpu_kv)
        bytes += (uint64_t)kv_n_pages(session->kv) * session->kv_page_bytes[SPLIT_HOST];
    for (int i = 0; i < MAX_CPU_BUCKETS; i++)
        if (session->cpu[i].exec)
            bytes += cpu_exec_bytes(session->cpu[i].exec);
    atomic_store(&session->bytes, bytes);
}

static void close_execs(struct hth_session *session)
{
    gpu_exec_destroy(session->gpu);
    session->gpu = NULL;
    for (int i = 0; i < MAX_CPU_BUCKETS; i++)
        close_cpu_bucket(&session->cpu[i]);
    mem_free_aligned(session->cpu_kv);
    session->cpu_kv = NULL;
    mem_free(session->cpu_pages);
    session->cpu_pages = NULL;
    session->last.n_tokens = 0;
    session->entered = false;
}

static enum hth_status open_execs(struct hth_session *session)
{
    const struct hth_model *model = session->model;
    const struct split *split = &model->placing.split;
    model_kv_geometry(model->model, session_kv_type(&session->opt), session->kv_geom);
    enum hth_status status = split_cache(split, session->kv_geom, model->model->hp.n_layer,
                                         session->kv_page_bytes, &model->keeping.log);
    session->chooses = true;
    if (status == HTH_OK && split->used[SPLIT_GPU])
        status = open_gpu(session);
    if (status == HTH_OK && split->used[SPLIT_HOST])
        status = open_cpu(session);
    return status;
}

enum hth_status session_enter(struct hth_session *session)
{
    enum hth_status status = open_execs(session);
    if (status == HTH_OK)
        status = session_bring_back(session);
    if (status) {
        close_execs(session);
        return status;
    }
    session->entered = true;
    count_bytes(session);
    return HTH_OK;
}

void session_leave(struct hth_session *session, bool lost)
{
    if (!session->entered)
        return;
    session_save(session, lost);
    close_execs(session);
}

/* Sees that what comes next can run: the model is where it should be, and the session too. */
static enum hth_status be_ready(struct hth_session *session)
{
    enum hth_status status = keeping_poll(session->model);
    if (status == HTH_OK && !session->entered)
        status = session_enter(session);
    return status;
}

/* The same for a session that is being opened. */
static enum hth_status enter_first(struct hth_session *session)
{
    struct hth_model *model = session->model;
    enum hth_status status = open_lists(session);
    if (status == HTH_OK && model->placing.split.used[SPLIT_GPU])
        status = check_room(session);
    if (status)
        return status;
    session->next = model->sessions;
    model->sessions = session;
    do
        status = be_ready(session);
    while (status && (status = keeping_recover(model, status)) == HTH_OK);
    return status;
}

enum hth_status hth_session_open(struct hth_session **out, struct hth_model *model,
                                 const struct hth_session_options *options)
{
    *out = NULL;
    if (!model->model)
        return log_fail(&model->log, HTH_ERROR_ARGUMENT,
                        "the model was opened for its vocabulary only");
    struct hth_session *session = mem_calloc(1, sizeof *session);
    if (!session)
        return log_fail_memory(&model->log, "the session", sizeof *session);
    session->model = model;
    if (options)
        session->opt = *options;
    if (!session->opt.n_batch)
        session->opt.n_batch = model->opt.session.n_batch;
    session_fill(&session->opt, &model->model->hp);
    os_mutex_init(&session->pages);
    os_mutex_lock(&model->device);
    keeping_begin(model);
    enum hth_status status = keeping_end(model, enter_first(session));
    os_mutex_unlock(&model->device);
    if (status) {
        hth_session_close(session);
        return status;
    }
    *out = session;
    return HTH_OK;
}

void hth_session_close(struct hth_session *session)
{
    if (!session)
        return;
    struct hth_model *model = session->model;
    os_mutex_lock(&model->device);
    struct hth_session **link = &model->sessions;
    while (*link && *link != session)
        link = &(*link)->next;
    if (*link)
        *link = session->next;
    close_execs(session);
    os_mutex_unlock(&model->device);
    session_saved_free(session);
    kv_destroy(session->kv);
    mem_free(session->kv_geom);
    mem_free(session->page_ids);
    mem_free(session->ids);
    mem_free(session->before);
    mem_free(session->results.rows);
    os_mutex_destroy(&session->pages);
    mem_free(session);
}

/* --- running a batch -------------------------------------------------------------------------- */

static enum hth_status wait_for_gpu(void *user, int hop)
{
    const struct hth_session *session = user;
    enum hth_status status = experts_send(session->model->experts);
    return status ? status : gpu_exec_wait_hop(session->gpu, hop);
}

static enum hth_status tell_gpu(void *user, int hop)
{
    const struct hth_session *session = user;
    return gpu_exec_advance(session->gpu, hop);
}

static void tell_experts(void *user, int layer, const int32_t *ids, int n_tokens)
{
    const struct hth_session *session = user;
    experts_routed(session->model->experts, layer, ids, n_tokens);
}

static void count_experts(struct hth_session *session, const struct slots_count *before)
{
    struct slots_count now = experts_count(session->model->experts);
    atomic_fetch_add(&session->expert_uses, now.uses - before->uses);
    atomic_fetch_add(&session->expert_hits, now.hits - before->hits);
    atomic_fetch_add(&session->expert_uploads, now.uploads - before->uploads);
}

/* Are there weights that pass through the device for this batch? */
static bool streams(const struct hth_session *session, const struct batch *batch)
{
    int from = session->model->placing.split.stream_from;
    return from > 0 && gpu_bucket(batch->n_tokens) >= from;
}

/* Both devices at once: the GPU gets what it can do as soon as it can, this thread does the CPU's
 * part and waits only for what that reads. */
static enum hth_status run_split(struct hth_session *session, const struct batch *batch,
                                 const void **result)
{
    struct cpu_bucket *bucket;
    struct experts *experts = session->model->experts;
    struct slots_count before = experts_count(experts);
    enum hth_status status = cpu_bucket(session, batch_size(batch), &bucket);
    if (status == HTH_OK)
        status = experts_begin(experts, streams(session, batch));
    if (status == HTH_OK)
        status = gpu_exec_start(session->gpu, batch);
    if (status)
        return experts_end(experts, batch->n_tokens, status);
    const struct cpu_hops hops = {.memory = gpu_exec_hops(session->gpu),
                                  .before_read = wait_for_gpu,
                                  .after_write = tell_gpu,
                                  .routed = tell_experts,
                                  .user = session};
    status = gpu_exec_advance(session->gpu, -1);
    if (status == HTH_OK)
        status = cpu_exec_run(bucket->exec, batch, session->cpu_pages, &hops);
    status = experts_end(experts, batch->n_tokens, status);
    count_experts(session, &before);
    enum hth_status end = gpu_exec_finish(session->gpu, batch, result);
    if (!*result)
        *result = cpu_exec_result(bucket->exec);
    return status ? status : end;
}

enum hth_status session_run(struct hth_session *session, const struct batch *batch,
                            const void **result)
{
    if (session->gpu && session->model->placing.split.used[SPLIT_HOST])
        return run_split(session, batch, result);
    if (session->gpu)
        return gpu_exec_run(session->gpu, batch, result);
    struct cpu_bucket *bucket;
    enum hth_status status = cpu_bucket(session, batch_size(batch), &bucket);
    if (status == HTH_OK)
        status = cpu_exec_run(bucket->exec, batch, session->cpu_pages, NULL);
    *result = status == HTH_OK ? cpu_exec_result(bucket->exec) : NULL;
    return status;
}

/* --- feeding ---------------------------------------------------------------------------------- */

static enum hth_status check_feeds(const struct hth_session *session, const struct hth_feed *feeds,
                                   int n_feeds)
{
    const struct log *log = &session->model->log;
    for (int f = 0; f < n_feeds; f++) {
        const struct hth_feed *feed = &feeds[f];
        if (feed->seq < 0 || feed->seq >= session->opt.n_seqs)
            return log_fail(log, HTH_ERROR_ARGUMENT, "no sequence %d: the session has %d",
                            feed->seq, session->opt.n_seqs);
        for (int g = 0; g < f; g++)
            if (feeds[g].seq == feed->seq)
                return log_fail(log, HTH_ERROR_ARGUMENT, "sequence %d is fed twice at once",
                                feed->seq);
        for (int i = 0; i < feed->count; i++)
            if (feed->ids[i] < 0 || feed->ids[i] >= session->model->model->hp.n_vocab)
                return log_fail(log, HTH_ERROR_ARGUMENT,
                                "token id %d is outside of the vocabulary (0 to %d)", feed->ids[i],
                                session->model->model->hp.n_vocab - 1);
        if (feed->count > session->opt.n_ctx - kv_length(session->kv, feed->seq))
            return log_fail(
                log, HTH_ERROR_LIMIT,
                "%d tokens and %d more do not fit into a context of %d: use a larger --ctx",
                kv_length(session->kv, feed->seq), feed->count, session->opt.n_ctx);
    }
    return HTH_OK;
}

static bool is_output(const struct hth_feed *feed, int i)
{
    int n_last = feed->n_last > 0 ? feed->n_last : 1;
    return feed->outputs == HTH_OUTPUT_ALL ||
           (feed->outputs == HTH_OUTPUT_LAST && i >= feed->count - n_last);
}

/* Takes tokens into the session's batch, from (*feed, *at) on, until it is full. */
static enum hth_status fill_batch(struct hth_session *session, const struct hth_feed *feeds,
                                  int n_feeds, int *feed, int *at, struct batch *batch)
{
    *batch = (struct batch){.ids = session->ids,
                            .pos = session->pos,
                            .seq = session->seq,
                            .outputs = session->outputs,
                            .n_seqs = session->opt.n_seqs};
    while (*feed < n_feeds && batch->n_tokens < session->opt.n_batch) {
        const struct hth_feed *f = &feeds[*feed];
        int n = f->count - *at, room = session->opt.n_batch - batch->n_tokens;
        n = n < room ? n : room;
        int pos = kv_length(session->kv, f->seq);
        if (n > 0) {
            enum hth_status status =
                kv_extend(session->kv, f->seq, n, &session->model->keeping.log);
            if (status)
                return status;
        }
        for (int i = 0; i < n; i++) {
            int row = batch->n_tokens++;
            session->ids[row] = f->ids[*at + i];
            session->pos[row] = pos + i;
            session->seq[row] = f->seq;
            session_note_id(session, f->seq, pos + i, f->ids[*at + i]);
            if (is_output(f, *at + i))
                session->outputs[batch->n_outputs++] = row;
        }
        *at += n;
        if (*at == f->count) {
            ++*feed;
            *at = 0;
        }
    }
    batch->page_table = kv_table(session->kv, &batch->table_stride);
    return HTH_OK;
}

/* As if the batch had never been filled. */
static void empty_batch(struct hth_session *session, const struct batch *batch)
{
    for (int row = batch->n_tokens; row-- > 0;)
        kv_truncate(session->kv, batch->seq[row], batch->pos[row]);
}

/* Fills a batch from (*feed, *at) on and computes it. On failure the cache is as it was. */
static enum hth_status feed_batch(struct hth_session *session, const struct hth_feed *feeds,
                                  int n_feeds, int *feed, int *at)
{
    struct batch batch;
    int next_feed = *feed, next_at = *at;
    enum hth_status status = be_ready(session);
    if (status)
        return status;
    status = fill_batch(session, feeds, n_feeds, &next_feed, &next_at, &batch);
    if (status == HTH_OK && batch.n_tokens)
        status = session_compute(session, &batch);
    if (status) {
        empty_batch(session, &batch);
        return status;
    }
    if (batch.n_tokens)
        session->last = batch;
    keeping_well(session->model);
    *feed = next_feed;
    *at = next_at;
    return HTH_OK;
}

/* What a device fails at is tried again as long as it can be placed otherwise. */
static enum hth_status feed_all(struct hth_session *session, const struct hth_feed *feeds,
                                int n_feeds)
{
    int feed = 0, at = 0;
    while (feed < n_feeds) {
        if (atomic_exchange(&session->cancel, false))
            return HTH_ERROR_CANCELLED;
        enum hth_status status = feed_batch(session, feeds, n_feeds, &feed, &at);
        if (status)
            status = keeping_recover(session->model, status);
        if (status)
            return status;
    }
    return HTH_OK;
}

enum hth_status hth_session_feed(struct hth_session *session, const struct hth_feed *feeds,
                                 int n_feeds)
{
    struct hth_model *model = session->model;
    enum hth_status status = check_feeds(session, feeds, n_feeds);
    if (status)
        return status;
    for (int f = 0; f < n_feeds; f++)
        session->before[f] = kv_length(session->kv, feeds[f].seq);
    session_results_begin(session, feeds, n_feeds);
    os_mutex_lock(&model->device);
    keeping_begin(model);
    status = keeping_end(model, feed_all(session, feeds, n_feeds));
    for (int f = 0; f < n_feeds && status && status != HTH_ERROR_CANCELLED; f++)
        kv_truncate(session->kv, feeds[f].seq, session->before[f]);
    count_bytes(session);
    os_mutex_unlock(&model->device);
    return status;
}

int hth_session_length(const struct hth_session *session, int seq)
{
    return seq >= 0 && seq < session->opt.n_seqs ? kv_length(session->kv, seq) : 0;
}

int hth_session_truncate(struct hth_session *session, int seq, int length)
{
    if (seq < 0 || seq >= session->opt.n_seqs)
        return 0;
    os_mutex_lock(&session->pages);
    int now = kv_truncate(session->kv, seq, length > 0 ? length : 0);
    os_mutex_unlock(&session->pages);
    return now;
}

int hth_session_share(struct hth_session *session, int to, int from, int length)
{
    bool valid = to >= 0 && to < session->opt.n_seqs && from >= 0 && from < session->opt.n_seqs;
    if (!valid || to == from)
        return 0;
    os_mutex_lock(&session->pages);
    int shared = kv_share(session->kv, to, from, length > 0 ? length : 0);
    os_mutex_unlock(&session->pages);
    return shared;
}

void hth_session_cancel(struct hth_session *session)
{
    atomic_store(&session->cancel, true);
}

struct hth_session_info hth_session_get_info(const struct hth_session *session)
{
    return (struct hth_session_info){.n_ctx = session->opt.n_ctx,
                                     .n_seqs = session->opt.n_seqs,
                                     .n_batch = session->opt.n_batch,
                                     .bytes = atomic_load(&session->bytes),
                                     .read_bytes = atomic_load(&session->read_bytes),
                                     .expert_uses = atomic_load(&session->expert_uses),
                                     .expert_hits = atomic_load(&session->expert_hits),
                                     .expert_uploads = atomic_load(&session->expert_uploads)};
}

/* With the device held. */
static enum hth_status read_profile(struct hth_session *session, hth_profile_fn *fn, void *user)
{
    if (!session->gpu || !session->opt.profile || session->last.n_tokens == 0)
        return log_fail(&session->model->log, HTH_ERROR_ARGUMENT,
                        "only a GPU session opened for profiling has times of its steps");
    const struct program *program;
    const struct batch_size size = batch_size(&session->last);
    enum hth_status status = gpu_exec_program(session->gpu, size, &program);
    if (status)
        return status;
    uint64_t *times = mem_calloc(program->n_steps, sizeof *times);
    if (!times)
        return log_fail_memory(&session->model->log, "times", program->n_steps * sizeof *times);
    status = gpu_exec_times(session->gpu, size, times);
    for (size_t i = 0; status == HTH_OK && i < program->n_steps; i++)
        fn(user, program->steps[i].label, program->steps[i].name, times[i], program->steps[i].bytes,
           program->steps[i].flops);
    mem_free(times);
    return status;
}

enum hth_status hth_session_profile(struct hth_session *session, hth_profile_fn *fn, void *user)
{
    os_mutex_lock(&session->model->device);
    enum hth_status status = read_profile(session, fn, user);
    os_mutex_unlock(&session->model->device);
    return status;
}
