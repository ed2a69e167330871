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

/* --- opening ---------------------------------------------------------------------------------- */

void session_fill(struct hth_session_options *opt, const struct hparams *hp)
{
    if (opt->n_ctx <= 0)
        opt->n_ctx = hp->n_ctx_train > 0 && hp->n_ctx_train < 4096 ? hp->n_ctx_train : 4096;
    if (opt->n_seqs <= 0)
        opt->n_seqs = 1;
    if (opt->n_ctx > INT32_MAX / opt->n_seqs) /* positions of all sequences are numbered */
        opt->n_ctx = INT32_MAX / opt->n_seqs;
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
    switch (opt->kv) {
    case HTH_KV_F32: return &dtype_f32;
    case HTH_KV_Q8_0: return &dtype_q8_0;
    case HTH_KV_Q4_0: return &dtype_q4_0;
    case HTH_KV_F16: break;
    }
    return &dtype_f16;
}

static int64_t pages_of(const struct hth_session_options *opt)
{
    return (int64_t)div_up((uint64_t)opt->n_ctx, KV_PAGE) * opt->n_seqs;
}

static bool is_planned_for(const struct hth_session *session)
{
    const struct hth_session_options *opt = &session->opt;
    const struct hth_session_options *planned = &session->model->placing.session;
    return pages_of(opt) <= pages_of(planned) && opt->n_batch <= planned->n_batch &&
           opt->n_outputs <= planned->n_outputs && opt->n_best <= planned->n_best &&
           opt->kv == planned->kv && opt->float_only == planned->float_only;
}

static enum hth_status check_room_on(const struct hth_session *session, int d)
{
    const struct hth_model *model = session->model;
    const struct hth_session_options *opt = &session->opt, *planned = &model->placing.session;
    struct vk *vk = model->devices[d].vk;
    struct device_need need;
    enum hth_status status =
        placing_measure_session(&model->placing, vk, d, opt, &need, &model->log);
    uint64_t taken = vk_allocated_bytes(vk, VK_MEMORY_DEVICE), budget = model->placing.budget[d];
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

/* The model was placed for another session. Does this one find room beside it? */
static enum hth_status check_room(const struct hth_session *session)
{
    const struct hth_model *model = session->model;
    enum hth_status status = HTH_OK;
    for (int d = 1; d < model->n_devices && status == HTH_OK; d++)
        if (model->placing.split.used[d] && !is_planned_for(session))
            status = check_room_on(session, d);
    return status;
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

enum hth_status session_enter(struct hth_session *session)
{
    enum hth_status status = session_open_execs(session);
    if (status == HTH_OK)
        status = session_bring_back(session);
    if (status) {
        session_close_execs(session);
        return status;
    }
    session->entered = true;
    session_count(session);
    return HTH_OK;
}

void session_leave(struct hth_session *session, bool lost)
{
    if (!session->entered)
        return;
    session_save(session, lost);
    session_close_execs(session);
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
    if (status == HTH_OK)
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
        session->opt.n_batch =
            model->opt.session.n_batch ? model->opt.session.n_batch : model->placing.batch;
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
    session_close_execs(session);
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

/* Fills a batch from (*feed, *at) on and computes it. On failure, and where it is to be tried
 * again, both and the cache are as they were. */
static enum hth_status feed_batch(struct hth_session *session, const struct hth_feed *feeds,
                                  int n_feeds, int *feed, int *at)
{
    struct batch batch;
    int next_feed = *feed, next_at = *at;
    bool again = false;
    enum hth_status status = be_ready(session);
    if (status)
        return status;
    status = fill_batch(session, feeds, n_feeds, &next_feed, &next_at, &batch);
    if (status == HTH_OK && batch.n_tokens)
        status = session_compute(session, &batch, &again);
    if (status || again) {
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
    session_count(session);
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
                                     .expert_uploads = atomic_load(&session->expert_uploads),
                                     .pipelines = atomic_load(&session->pipelines),
                                     .pipelines_compiled =
                                         atomic_load(&session->pipelines_compiled)};
}

static enum hth_status read_profile_of(const struct hth_session *session, struct gpu_exec *gpu,
                                       hth_profile_fn *fn, void *user)
{
    const struct program *program;
    const struct batch_size size = batch_size(&session->last);
    enum hth_status status = gpu_exec_program(gpu, size, &program);
    if (status)
        return status;
    uint64_t *times = mem_calloc(program->n_steps + 1, sizeof *times);
    if (!times)
        return log_fail_memory(&session->model->log, "times", program->n_steps * sizeof *times);
    status = gpu_exec_times(gpu, size, times);
    for (size_t i = 0; status == HTH_OK && i < program->n_steps; i++)
        fn(user, program->steps[i].label, program->steps[i].name, times[i], program->steps[i].bytes,
           program->steps[i].flops);
    mem_free(times);
    return status;
}

/* With the devices held: one GPU after the other. */
static enum hth_status read_profile(struct hth_session *session, hth_profile_fn *fn, void *user)
{
    if (!session_has_gpu(session) || !session->opt.profile || session->last.n_tokens == 0)
        return log_fail(&session->model->log, HTH_ERROR_ARGUMENT,
                        "only a GPU session opened for profiling has times of its steps");
    enum hth_status status = HTH_OK;
    for (int d = 1; d < SPLIT_DEVICES && status == HTH_OK; d++)
        if (session->gpu[d].exec)
            status = read_profile_of(session, session->gpu[d].exec, fn, user);
    return status;
}

enum hth_status hth_session_profile(struct hth_session *session, hth_profile_fn *fn, void *user)
{
    os_mutex_lock(&session->model->device);
    enum hth_status status = read_profile(session, fn, user);
    os_mutex_unlock(&session->model->device);
    return status;
}
