#include "engine/tune_kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/engine.h"
#include "engine/rows_part.h"
#include "gpu/stopwatch.h"
#include "gpu/tuner.h"

/* The most important first: one token, as many as are computed at once, and few. */
enum { MOST_BUCKETS = 8 };

/* A driver may end the process where it should say that it cannot compile: so often one class may.
 */
enum { MOST_BEGUN = 2 };

/* Ops of one class, the first of which is measured. */
struct job {
    const struct op *op;
    int n_tokens, bucket;
    double cost; /* of all of them: bytes and arithmetic, to begin with what takes longest */
    char class[sizeof((struct table_entry *)0)->class];
};

/* A GPU at work. */
struct work {
    const struct kernels_options *options;
    const struct kernels_reader *reader;
    struct kernels_report *report;
    const struct log *log;
    struct vk *vk;
    struct proof proof;
    struct kernels kernels;
    struct tuner tuner;
    struct graph graphs[MOST_BUCKETS];
    int n_graphs, n_ctx;
    struct job *jobs;
    size_t n_jobs, cap_jobs;
    const struct job *job; /* at hand */
    struct stopwatch watch;
    uint64_t until_ns;
    bool cancelled;
    bool is_unwritable; /* the file: which was said */
    char heard[16];     /* nothing of what a driver says of candidates is of interest */
};

static const struct log silent = {0};

/* --- what the tuner asks for ------------------------------------------------------------------ */

/* However short the time is, something is measured, so that it ends some day. */
static bool stop(void *user)
{
    struct work *w = user;
    w->cancelled |= !w->reader->go_on(w->reader->user);
    return w->cancelled || (w->tuner.n_timed > 0 && os_time_ns() >= w->until_ns);
}

static enum hth_status time_pick(void *user, const struct row_pick *pick, struct tuner_time *out)
{
    struct work *w = user;
    struct stopwatch_time time;
    enum hth_status status = stopwatch_time(&w->watch, pick, &time);
    *out = (struct tuner_time){time.own, time.helpers};
    return status;
}

static void prepare(void *user, const struct row_pick *pick)
{
    struct work *w = user;
    (void)!stopwatch_prepare(&w->watch, pick); /* timing says what is wrong */
}

static enum hth_status check(void *user, const struct row_pick *pick, bool *right)
{
    struct work *w = user;
    struct selftest_result result;
    const struct selftest test = {w->vk, &silent};
    enum hth_status status = selftest_run(&test, w->job->op, pick, w->job->n_tokens, &result);
    *right = status == HTH_OK && result.verdict == SELFTEST_RIGHT;
    return status;
}

/* --- what there is to measure ----------------------------------------------------------------- */

static struct job *find_job(const struct work *w, const char *class)
{
    for (size_t i = 0; i < w->n_jobs; i++)
        if (strcmp(w->jobs[i].class, class) == 0)
            return &w->jobs[i];
    return NULL;
}

static enum hth_status add_op(struct work *w, const struct op *op, int n_tokens, int bucket)
{
    struct job job = {.op = op, .n_tokens = n_tokens, .bucket = bucket};
    int n_seen = w->n_ctx < STOPWATCH_POSITIONS ? w->n_ctx : STOPWATCH_POSITIONS;
    const struct op_cost cost = op_def_of(op->kind)->cost(op, n_seen);
    const double flops_per_byte = 50; /* somewhere between today's devices */
    double worth =
        (double)(cost.weight_bytes + cost.kv_bytes) + (double)cost.flops / flops_per_byte;
    if (!table_class(&w->tuner.env, op, job.class, sizeof job.class))
        return HTH_OK;
    struct job *known = find_job(w, job.class);
    if (known) {
        known->cost += worth;
        return HTH_OK;
    }
    struct job *grown = mem_grow(w->jobs, &w->cap_jobs, w->n_jobs + 1, sizeof *grown);
    if (!grown)
        return log_fail_memory(w->log, "the list of what is measured", sizeof *grown);
    job.cost = worth;
    w->jobs = grown;
    w->jobs[w->n_jobs++] = job;
    return HTH_OK;
}

static int compare_jobs(const void *a, const void *b)
{
    const struct job *x = a, *y = b;
    return x->bucket != y->bucket ? x->bucket - y->bucket
                                  : (x->cost < y->cost) - (x->cost > y->cost);
}

static enum hth_status add_bucket(struct work *w, const struct model *model,
                                  const struct kv_geom *kv, int n_tokens)
{
    int bucket = w->n_graphs;
    struct graph *graph = &w->graphs[w->n_graphs++];
    enum hth_status status = whole_build(model, kv, graph, (struct batch_size){n_tokens, 1, 0});
    if (status == HTH_OK)
        status = compile_fuse(graph, &w->tuner.env);
    for (size_t i = 0; status == HTH_OK && i < graph->n_ops; i++)
        status = add_op(w, graph->ops[i], n_tokens, bucket);
    return status;
}

static enum hth_status list_jobs(struct work *w, const struct model *model)
{
    struct hth_session_options session = w->options->device.session;
    session_fill(&session, &model->hp);
    w->n_ctx = session.n_ctx;
    const int buckets[] = {1, gpu_bucket(session.n_batch), 4, 8, 2, 16, 32};
    struct kv_geom *kv = mem_calloc((size_t)model->hp.n_layer, sizeof *kv);
    if (!kv)
        return log_fail_memory(w->log, "the cache's shape", (size_t)model->hp.n_layer);
    model_kv_geometry(model, session_kv_type(&session), kv);
    enum hth_status status = kv_layout(kv, model->hp.n_layer, w->log) ? HTH_OK : HTH_ERROR_LIMIT;
    for (size_t i = 0; i < ARRAY_LEN(buckets) && status == HTH_OK; i++)
        if (i < 2 || buckets[i] < buckets[1])
            status = add_bucket(w, model, kv, buckets[i]);
    mem_free(kv);
    if (w->n_jobs)
        qsort(w->jobs, w->n_jobs, sizeof *w->jobs, compare_jobs);
    return status;
}

/* --- measuring -------------------------------------------------------------------------------- */

static void tell(const struct work *w, const struct table_entry *entry, int done)
{
    char knobs[160] = "";
    size_t n = 0;
    for (int k = 0; k < entry->n_knobs && n < sizeof knobs; k++)
        n += (size_t)snprintf(knobs + n, sizeof knobs - n, "%s%s=%u", k ? " " : "",
                              entry->knobs[k].name, entry->knobs[k].value);
    const struct kernels_item item = {.device = vk_get_caps(w->vk)->name,
                                      .what = entry->class,
                                      .row = entry->row,
                                      .knobs = knobs,
                                      .gain = entry->row[0] ? entry->gain : 1,
                                      .done = done,
                                      .all = (int)w->n_jobs};
    w->reader->item(w->reader->user, &item);
}

/* Does it say something of the device, and not of one op on it? */
static bool ends_all(enum hth_status status)
{
    return status == HTH_ERROR_MEMORY || status == HTH_ERROR_DEVICE_LOST;
}

/* An op that cannot be timed stays as it is. */
static enum hth_status measure_job(struct work *w, struct table_entry *entry)
{
    struct row_pick pick;
    pick.row = row_select(&w->tuner.env, w->job->op, &pick.choice);
    w->watch = (struct stopwatch){.vk = w->vk, .log = &silent};
    enum hth_status status =
        pick.row ? stopwatch_open(&w->watch, w->job->op, &pick, w->job->n_tokens, w->n_ctx)
                 : HTH_ERROR_UNSUPPORTED;
    if (status == HTH_OK)
        status = tuner_run(&w->tuner, w->job->op, entry);
    else if (!ends_all(status))
        entry->whole = status != HTH_ERROR_LIMIT;
    stopwatch_close(&w->watch);
    return ends_all(status) || status == HTH_ERROR_CANCELLED ? status : HTH_OK;
}

static void hear_once(void *user, enum hth_log_level level, const char *line)
{
    struct work *w = user;
    if (level != HTH_LOG_WARNING || !w->is_unwritable)
        log_line(w->log, level, "%s", line);
    w->is_unwritable |= level == HTH_LOG_WARNING;
}

static enum hth_status store(struct work *w)
{
    const struct log once = {hear_once, w, w->log->max_level};
    return kernels_store(&w->kernels, &once);
}

/* Gives up what the process did not survive, and else keeps, before it is tried, that it is. */
static enum hth_status begin_job(struct work *w, struct table_entry *entry)
{
    if (entry->n_begun < MOST_BEGUN) {
        entry->n_begun++;
        return store(w);
    }
    log_warning(w->log,
                "%s: kernels for %s stay as they are, as hearth was ended %d times while it "
                "measured them",
                vk_get_caps(w->vk)->name, entry->class, MOST_BEGUN);
    table_clear(entry);
    entry->n_begun = 0;
    entry->whole = true;
    return HTH_OK;
}

static enum hth_status say_lost(const struct work *w, const struct job *job)
{
    return log_fail(w->log, HTH_ERROR_DEVICE_LOST,
                    "%s was lost while kernels for %s were measured: they stay as they are; run "
                    "hearth tune again for the others",
                    vk_get_caps(w->vk)->name, job->class);
}

/* Until time is up: HTH_ERROR_CANCELLED then says only that. */
static enum hth_status measure_jobs(struct work *w)
{
    enum hth_status status = HTH_OK;
    for (size_t i = 0; i < w->n_jobs && status == HTH_OK && !stop(w); i++) {
        w->job = &w->jobs[i];
        struct table_entry *entry = table_add(&w->kernels.table, w->job->class);
        if (!entry)
            return log_fail_memory(w->log, "what was measured of kernels", sizeof *entry);
        if (entry->whole)
            continue;
        status = begin_job(w, entry);
        entry = table_find(&w->kernels.table, w->job->class); /* which may have moved */
        if (status || entry->whole)
            continue;
        status = measure_job(w, entry);
        entry->n_begun = 0;
        w->report->n_measured += entry->whole;
        if (entry->whole)
            tell(w, entry, (int)i + 1);
        if (status == HTH_ERROR_DEVICE_LOST)
            status = say_lost(w, w->job);
    }
    return status == HTH_ERROR_CANCELLED ? HTH_OK : status;
}

static int count_left(const struct work *w)
{
    int n = 0;
    for (size_t i = 0; i < w->n_jobs; i++) {
        const struct table_entry *entry = table_find(&w->kernels.table, w->jobs[i].class);
        n += !entry || !entry->whole;
    }
    return n;
}

static void count(const struct work *w)
{
    struct kernels_report *report = w->report;
    report->n_classes += (int)w->n_jobs;
    report->n_left += count_left(w);
    report->n_wrong += w->tuner.n_wrong;
    for (size_t i = 0; i < w->n_jobs; i++) {
        const struct table_entry *entry = table_find(&w->kernels.table, w->jobs[i].class);
        bool faster = entry && entry->row[0];
        report->n_faster += faster;
        if (faster && entry->gain > report->most_gain)
            report->most_gain = entry->gain;
    }
}

static enum hth_status prove(struct work *w, const struct model *model)
{
    w->proof.heard = w->heard;
    w->proof.most_seconds = PROVE_SECONDS;
    if (w->options->device.self_test_s < 0)
        return HTH_OK;
    return prove_model(&w->proof, w->vk, model, &w->options->device.session, w->log);
}

/* --- a device --------------------------------------------------------------------------------- */

static void close_work(struct work *w)
{
    for (int i = 0; i < w->n_graphs; i++)
        graph_free(&w->graphs[i]);
    mem_free(w->jobs);
    kernels_free(&w->kernels);
    proof_free(&w->proof);
    vk_close(w->vk);
}

static enum hth_status tune_device(struct work *w, const struct model *model, int index)
{
    enum hth_status status = device_open_to_time(&w->vk, index, &w->options->device, w->log);
    if (status)
        return status;
    w->tuner = (struct tuner){.env = {.caps = vk_get_caps(w->vk),
                                      .float_only = w->options->device.session.float_only,
                                      .bars = &w->proof.bars,
                                      .n_seqs = 1},
                              .time = time_pick,
                              .check = check,
                              .prepare = prepare,
                              .stop = stop,
                              .user = w};
    status = kernels_load(&w->kernels, vk_get_caps(w->vk), w->log);
    if (status == HTH_OK)
        status = prove(w, model);
    if (status == HTH_OK)
        status = list_jobs(w, model);
    if (status == HTH_OK) {
        w->reader->begin(w->reader->user, vk_get_caps(w->vk)->name, count_left(w), (int)w->n_jobs);
        status = measure_jobs(w);
    }
    enum hth_status stored = w->n_jobs ? store(w) : HTH_OK;
    count(w);
    return status ? status : stored;
}

static enum hth_status tune_devices(const struct kernels_options *options,
                                    const struct kernels_reader *reader,
                                    struct kernels_report *report, const struct model *model,
                                    const struct device_list *list)
{
    const struct log log = {options->device.log, options->device.log_user,
                            options->device.log_level};
    enum hth_status status = HTH_OK;
    uint64_t share_ns = (uint64_t)(options->seconds / list->n * 1e9);
    report->n_gpus = list->n;
    for (int i = 0; i < list->n && status == HTH_OK; i++) {
        struct work *w = mem_calloc(1, sizeof *w);
        if (!w)
            return log_fail_memory(&log, "what is measured", sizeof *w);
        *w = (struct work){.options = options, .reader = reader, .report = report, .log = &log};
        w->until_ns = os_time_ns() + share_ns;
        status = tune_device(w, model, list->index[i]);
        status = status == HTH_OK && w->cancelled ? HTH_ERROR_CANCELLED : status;
        close_work(w);
        mem_free(w);
    }
    return status;
}

/* The model's graphs are all that is wanted: it is opened where nothing is placed or repacked. */
static enum hth_status open_model(struct hth_model **model, const struct kernels_options *options)
{
    struct hth_model_options with = options->device;
    with.device = "cpu";
    with.no_repack = with.untuned = true;
    with.measure = false;
    with.rows = NULL;
    with.vram_bytes = 0;
    return hth_model_open(model, options->model, &with);
}

enum hth_status kernels_tune(const struct kernels_options *options,
                             const struct kernels_reader *reader, struct kernels_report *out)
{
    const struct log log = {options->device.log, options->device.log_user,
                            options->device.log_level};
    struct device_list list;
    struct hth_model *model;
    uint64_t began = os_time_ns();
    *out = (struct kernels_report){.most_gain = 1};
    enum hth_status status = device_choose_now(&list, options->device.device, &log);
    if (status || list.n == 0)
        return status;
    status = open_model(&model, options);
    if (status)
        return status;
    status = tune_devices(options, reader, out, model->model, &list);
    hth_model_close(model);
    out->seconds = (double)(os_time_ns() - began) / 1e9;
    return status;
}
