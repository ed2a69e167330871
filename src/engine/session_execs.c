#include "engine/session_part.h"

#include "base/mem.h"

/* --- opening ---------------------------------------------------------------------------------- */

static enum hth_status build_part(const struct hth_session *session, int device,
                                  struct graph *graph, struct batch_size size)
{
    const struct hth_model *model = session->model;
    const struct model_part part = {model->model, &model->placing.split, session->kv_geom, device};
    return part_build(&part, graph, size);
}

static enum hth_status build_gpu(void *user, struct graph *graph, struct batch_size size)
{
    const struct session_gpu *gpu = user;
    return build_part(gpu->session, gpu->device, graph, size);
}

bool session_has_gpu(const struct hth_session *session)
{
    bool has = false;
    for (int d = 1; d < SPLIT_DEVICES; d++)
        has |= session->gpu[d].exec != NULL;
    return has;
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
    if (session_has_gpu(session)) {
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

static struct gpu_exec_options gpu_options(struct hth_session *session, int d)
{
    int stride;
    kv_table(session->kv, &stride);
    const struct model_device *device = &session->model->devices[d];
    return (struct gpu_exec_options){
        .vk = device->vk,
        .place = &device->place,
        .build = build_gpu,
        .user = &session->gpu[d],
        .float_only = session->opt.float_only,
        .forced_rows = session->model->rows,
        .bars = &device->proof.bars,
        .tuned = &device->kernels.table,
        .plain = session->plain,
        .n_seqs = session->opt.n_seqs,
        .table_stride = stride,
        .max_tokens = session->opt.n_batch,
        .max_outputs = session->opt.n_outputs,
        .n_best = session->chooses ? session->opt.n_best : 0,
        .kv_page_bytes = session->kv_page_bytes[d],
        .n_kv_pages = kv_n_pages(session->kv),
        .stream = placing_stream(&session->model->placing, d),
        .profile = session->opt.profile,
    };
}

static enum hth_status open_gpu(struct hth_session *session, int d)
{
    struct session_gpu *gpu = &session->gpu[d];
    const struct gpu_exec_options options = gpu_options(session, d);
    *gpu = (struct session_gpu){.session = session, .device = d};
    return gpu_exec_create(&gpu->exec, &options, &session->model->keeping.log);
}

/* Where one of the GPUs cannot, the host chooses: who makes the logits need not be asked. Of
 * kernels that nothing usable came of not even the one that chooses is believed. */
static bool all_choose(struct hth_session *session)
{
    const struct split *split = &session->model->placing.split;
    bool all = !session->plain;
    for (int d = 1; d < split->n_devices; d++) {
        const struct gpu_exec_options options = gpu_options(session, d);
        all &= !split->used[d] || best_of_gpu(session->model->model, &options, 1) > 0;
    }
    return all;
}

static void count_pipelines(struct hth_session *session)
{
    const struct hth_model *model = session->model;
    uint32_t all = 0, from_cache = 0, created, cached;
    for (int d = 1; d < model->n_devices; d++) {
        vk_pipeline_counts(model->devices[d].vk, &created, &cached);
        all += created;
        from_cache += cached;
    }
    atomic_store(&session->pipelines, (int)all);
    atomic_store(&session->pipelines_compiled, (int)(all - from_cache));
}

void session_count(struct hth_session *session)
{
    uint64_t bytes = 0;
    count_pipelines(session);
    for (int d = 1; d < SPLIT_DEVICES; d++)
        if (session->gpu[d].exec)
            bytes += gpu_exec_bytes(session->gpu[d].exec);
    if (session->cpu_kv)
        bytes += (uint64_t)kv_n_pages(session->kv) * session->kv_page_bytes[SPLIT_HOST];
    for (int i = 0; i < MAX_CPU_BUCKETS; i++)
        if (session->cpu[i].exec)
            bytes += cpu_exec_bytes(session->cpu[i].exec);
    atomic_store(&session->bytes, bytes);
}

void session_close_execs(struct hth_session *session)
{
    for (int d = 1; d < SPLIT_DEVICES; d++) {
        gpu_exec_destroy(session->gpu[d].exec);
        session->gpu[d].exec = NULL;
    }
    for (int i = 0; i < MAX_CPU_BUCKETS; i++)
        close_cpu_bucket(&session->cpu[i]);
    mem_free_aligned(session->cpu_kv);
    session->cpu_kv = NULL;
    mem_free(session->cpu_pages);
    session->cpu_pages = NULL;
    session->last.n_tokens = 0;
    session->entered = false;
}

enum hth_status session_open_execs(struct hth_session *session)
{
    const struct hth_model *model = session->model;
    const struct split *split = &model->placing.split;
    model_kv_geometry(model->model, session_kv_type(&session->opt), session->kv_geom);
    enum hth_status status = split_cache(split, session->kv_geom, model->model->hp.n_layer,
                                         session->kv_page_bytes, &model->keeping.log);
    session->chooses = status == HTH_OK && all_choose(session);
    for (int d = 1; d < split->n_devices && status == HTH_OK; d++)
        if (split->used[d])
            status = open_gpu(session, d);
    if (status == HTH_OK && split_needs_host(split))
        status = open_cpu(session);
    return status;
}

/* --- running a batch -------------------------------------------------------------------------- */

static enum hth_status wait_for_gpu(void *user, int device, int hop)
{
    const struct hth_session *session = user;
    enum hth_status status = experts_send(session->model->experts);
    return status ? status : gpu_exec_wait_hop(session->gpu[device].exec, hop);
}

static enum hth_status tell_gpu(void *user, int device, int hop)
{
    const struct hth_session *session = user;
    return gpu_exec_advance(session->gpu[device].exec, hop);
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

/* Starts the GPUs' parts, those that were started to be finished by end_gpus; each gets what it can
 * do without others. */
static enum hth_status start_gpus(struct hth_session *session, const struct batch *batch,
                                  int *n_started, struct cpu_hops *hops)
{
    enum hth_status status = HTH_OK;
    for (*n_started = 1; *n_started < SPLIT_DEVICES && status == HTH_OK; ++*n_started)
        if (session->gpu[*n_started].exec)
            status = gpu_exec_start(session->gpu[*n_started].exec, batch);
    *n_started -= status != HTH_OK;
    for (int d = 1; d < *n_started && status == HTH_OK; d++)
        if (session->gpu[d].exec) {
            hops->memory[d] = gpu_exec_hops(session->gpu[d].exec);
            status = gpu_exec_advance(session->gpu[d].exec, -1);
        }
    return status;
}

/* *result is set if a GPU has made it. */
static enum hth_status end_gpus(struct hth_session *session, const struct batch *batch,
                                int n_started, const void **result)
{
    enum hth_status status = HTH_OK;
    for (int d = 1; d < n_started; d++) {
        const void *own = NULL;
        if (!session->gpu[d].exec)
            continue;
        enum hth_status end = gpu_exec_finish(session->gpu[d].exec, batch, &own);
        status = status ? status : end;
        *result = own ? own : *result;
    }
    return status;
}

/* All devices at once: GPUs get what they can do as soon as they can, this thread does the CPU's
 * part, hands on what goes from one GPU to another, and waits only for what that reads. */
static enum hth_status run_split(struct hth_session *session, const struct batch *batch,
                                 const void **result)
{
    struct cpu_bucket *bucket;
    struct experts *experts = session->model->experts;
    struct slots_count before = experts_count(experts);
    struct cpu_hops hops = {.before_read = wait_for_gpu,
                            .after_write = tell_gpu,
                            .routed = tell_experts,
                            .user = session};
    int n_started = 0;
    *result = NULL;
    enum hth_status status = cpu_bucket(session, batch_size(batch), &bucket);
    if (status == HTH_OK)
        status = experts_begin(experts, streams(session, batch));
    if (status == HTH_OK)
        status = start_gpus(session, batch, &n_started, &hops);
    if (status == HTH_OK)
        status = cpu_exec_run(bucket->exec, batch, session->cpu_pages, &hops);
    status = experts_end(experts, batch->n_tokens, status);
    count_experts(session, &before);
    enum hth_status end = end_gpus(session, batch, n_started, result);
    if (!*result && status == HTH_OK)
        *result = cpu_exec_result(bucket->exec);
    return status ? status : end;
}

/* The GPU that has all of it; NULL: there is none. */
static struct gpu_exec *only_gpu(const struct hth_session *session)
{
    for (int d = 1; d < SPLIT_DEVICES; d++)
        if (session->gpu[d].exec)
            return session->gpu[d].exec;
    return NULL;
}

enum hth_status session_run(struct hth_session *session, const struct batch *batch,
                            const void **result)
{
    if (!session_has_gpu(session)) {
        struct cpu_bucket *bucket;
        enum hth_status status = cpu_bucket(session, batch_size(batch), &bucket);
        if (status == HTH_OK)
            status = cpu_exec_run(bucket->exec, batch, session->cpu_pages, NULL);
        *result = status == HTH_OK ? cpu_exec_result(bucket->exec) : NULL;
        return status;
    }
    return split_needs_host(&session->model->placing.split)
               ? run_split(session, batch, result)
               : gpu_exec_run(only_gpu(session), batch, result);
}

uint64_t session_read_bytes(const struct hth_session *session)
{
    uint64_t bytes = 0;
    for (int d = 1; d < SPLIT_DEVICES; d++)
        if (session->gpu[d].exec)
            bytes += gpu_exec_read_bytes(session->gpu[d].exec);
    return bytes;
}
