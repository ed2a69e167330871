#include "limits.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "roof/roof_args.h"

enum {
    RUNS = 5,
    LATENCY_RUNS = 50,
    MOST_DISPATCHES = 4096,
    LANES = 256,   /* of a workgroup of roof_read and roof_math */
    PER_LANE = 32, /* loads of 16 bytes */
    ROUNDS = 1024,
    CHAINS = 16, /* of roof_math */
    SUMS = 4,    /* of roof_matrix */
    SEED = 3,
};

static const double LONG_ENOUGH_NS = 20e6;
static const uint64_t READ_BYTES = 256 << 20, COPY_BYTES = 64 << 20;

const char *limit_memory_name(enum limit_memory memory)
{
    static const char *const names[] = {"device memory", "host memory, for uploads",
                                        "host memory, for results"};
    return names[memory];
}

const char *limit_copy_name(enum limit_copy copy)
{
    static const char *const names[] = {"to the device", "to the host", "staged, to the device"};
    return names[copy];
}

const char *limit_math_name(enum limit_math math)
{
    static const char *const names[] = {"fp32", "fp16", "int8 dot product"};
    return names[math];
}

const char *limit_latency_name(enum limit_latency latency)
{
    static const char *const names[] = {"dispatch", "barrier", "submit", "wait"};
    return names[latency];
}

/* --- running ---------------------------------------------------------------------------------- */

struct meter {
    struct vk *vk;
    const struct log *log;
    struct vk_cmd *cmd;
    uint32_t results; /* chunk that kernels write to, and its copy for the host */
    uint64_t result_bytes;
    uint32_t groups; /* that fill the device */
};

/* A dispatch, again and again. */
struct work {
    struct vk_pipeline *pipeline; /* NULL: a copy */
    struct roof_args args;
    uint32_t groups;
    uint32_t from, to;
    uint64_t copy_bytes;
    bool barriers; /* between dispatches */
};

static enum hth_status submit(struct meter *m, double *ns)
{
    uint64_t ticket, began = os_time_ns();
    enum hth_status status = vk_submit(m->vk, m->cmd, &ticket);
    if (status == HTH_OK)
        status = vk_wait(m->vk, ticket);
    uint64_t host = os_time_ns() - began, device = vk_cmd_time_ns(m->vk, m->cmd, 0, 1);
    *ns = (double)(device ? device : host);
    return status;
}

static enum hth_status record(struct meter *m, const struct work *w, int n)
{
    const uint32_t groups[3] = {w->groups, 1, 1};
    vk_cmd_begin(m->cmd);
    vk_cmd_timestamp(m->cmd, 0);
    for (int i = 0; i < n; i++) {
        if (w->pipeline)
            vk_cmd_dispatch(m->cmd, w->pipeline, &w->args, sizeof w->args, groups);
        else
            vk_cmd_copy(m->cmd, w->from, 0, w->to, 0, w->copy_bytes);
        if (w->barriers)
            vk_cmd_barrier(m->cmd);
    }
    vk_cmd_barrier(m->cmd);
    vk_cmd_timestamp(m->cmd, 1);
    return vk_cmd_end(m->cmd);
}

/* The best of several runs of `n`; one more is not counted, as drivers compile at the first. */
static enum hth_status best_of(struct meter *m, const struct work *w, int n, double *best)
{
    enum hth_status status = record(m, w, n);
    *best = 0;
    for (int run = -1; run < RUNS && status == HTH_OK; run++) {
        double ns;
        status = submit(m, &ns);
        if (run == 0 || (run > 0 && ns < *best))
            *best = ns;
    }
    return status;
}

/* As often as makes a run long enough; `work` of one. */
static enum hth_status measure(struct meter *m, const struct work *w, double work,
                               struct limit *out)
{
    double ns;
    int n = 1;
    enum hth_status status = best_of(m, w, n, &ns);
    while (status == HTH_OK && ns < LONG_ENOUGH_NS && n < MOST_DISPATCHES) {
        n *= ns < LONG_ENOUGH_NS / 8 ? 8 : 2;
        status = best_of(m, w, n, &ns);
    }
    if (status == HTH_OK && ns > 0)
        *out = (struct limit){work * n / ns * 1e9, work * n};
    return status;
}

/* Errors: HTH_ERROR_UNSUPPORTED, nothing said, where the build or the device lacks it. */
static enum hth_status get_pipeline(struct meter *m, const char *name, const uint32_t *specs,
                                    uint32_t subgroup, struct vk_pipeline **out)
{
    const struct shader_blob *blob = shader_blob_find(name);
    if (!blob || !vk_blob_fits(vk_get_caps(m->vk), blob))
        return HTH_ERROR_UNSUPPORTED;
    struct vk_pipeline_key key = {.blob = blob, .subgroup_size = subgroup};
    for (uint32_t i = 0; i < blob->n_specs; i++) {
        bool given = specs && blob->specs[i].id < 4;
        key.spec[i] = given ? specs[blob->specs[i].id] : blob->specs[i].value;
    }
    enum hth_status status = vk_pipeline_get(m->vk, &key, out);
    return status ? status : vk_pipeline_wait(m->vk, *out);
}

/* --- what came out ---------------------------------------------------------------------------- */

static enum hth_status read_results(struct meter *m, uint32_t *words, size_t n)
{
    return vk_download(m->vk, m->results, 0, words, n * sizeof *words);
}

/* A limit that was reached by doing something else is none. */
static enum hth_status check(struct meter *m, const char *kernel, double expected, double near,
                             bool is_float)
{
    uint32_t words[8];
    enum hth_status status = read_results(m, words, ARRAY_LEN(words));
    for (size_t i = 0; i < ARRAY_LEN(words) && status == HTH_OK; i++) {
        float number;
        memcpy(&number, &words[i], sizeof number);
        double got = is_float ? (double)number : (double)words[i];
        if (!(fabs(got - expected) <= near * fabs(expected)))
            status = log_fail(m->log, HTH_ERROR_DEVICE,
                              "%s computes %g where it should %g: what it measured is no limit",
                              kernel, got, expected);
    }
    return status;
}

/* --- memory ----------------------------------------------------------------------------------- */

/* Words of 1 everywhere, so that a kernel's sum says how many it read. */
static enum hth_status fill(struct meter *m, uint32_t chunk, uint64_t bytes)
{
    enum { PIECE = 1 << 20 };
    uint32_t *ones = mem_alloc(PIECE);
    uint32_t *mapped = vk_chunk_data(m->vk, chunk);
    enum hth_status status = ones ? HTH_OK : log_fail_memory(m->log, "a piece of memory", PIECE);
    for (size_t i = 0; status == HTH_OK && i < PIECE / sizeof *ones; i++)
        ones[i] = 1;
    for (uint64_t at = 0; at < bytes && status == HTH_OK; at += PIECE) {
        if (mapped)
            memcpy((char *)mapped + at, ones, PIECE);
        else
            status = vk_upload(m->vk, chunk, at, ones, PIECE);
    }
    mem_free(ones);
    return status ? status : vk_transfer_wait(m->vk);
}

/* A piece of the device's memory that no cache holds, in whole MiB. */
static uint64_t read_bytes(const struct vk_caps *caps)
{
    uint64_t bytes = caps->device_bytes / 8 < READ_BYTES ? caps->device_bytes / 8 : READ_BYTES;
    bytes = bytes < caps->max_range_bytes ? bytes : caps->max_range_bytes;
    return bytes >> 20 << 20;
}

static enum hth_status measure_read(struct meter *m, enum vk_memory kind, struct limit *out)
{
    const uint64_t per_group = (uint64_t)LANES * PER_LANE * 16;
    uint32_t chunk = 0, groups = (uint32_t)(read_bytes(vk_get_caps(m->vk)) / per_group);
    struct vk_pipeline *pipeline;
    enum hth_status status = get_pipeline(m, "roof_read", NULL, 0, &pipeline);
    if (status == HTH_OK)
        status = vk_chunk_create(m->vk, groups * per_group, kind, "what is read", &chunk);
    if (status == HTH_OK)
        status = fill(m, chunk, groups * per_group);
    struct work work = {.pipeline = pipeline,
                        .groups = groups,
                        .args = {.x = vk_ref(chunk, 0),
                                 .y = vk_ref(m->results, 0),
                                 .per_lane = PER_LANE,
                                 .stride = groups * LANES}};
    if (status == HTH_OK)
        status = measure(m, &work, (double)groups * (double)per_group, out);
    if (status == HTH_OK)
        status = check(m, "roof_read", (double)(per_group / 4), 0, false);
    if (chunk)
        vk_chunk_destroy(m->vk, chunk);
    return status;
}

static enum hth_status measure_copy(struct meter *m, enum vk_memory from, enum vk_memory to,
                                    struct limit *out)
{
    struct work work = {.copy_bytes = COPY_BYTES};
    enum hth_status status = vk_chunk_create(m->vk, COPY_BYTES, from, "copied", &work.from);
    if (status == HTH_OK)
        status = vk_chunk_create(m->vk, COPY_BYTES, to, "copy", &work.to);
    if (status == HTH_OK)
        status = measure(m, &work, (double)COPY_BYTES, out);
    if (work.from)
        vk_chunk_destroy(m->vk, work.from);
    if (work.to)
        vk_chunk_destroy(m->vk, work.to);
    return status;
}

/* As weights are loaded: the host's copy into staging memory, and the device's out of it. */
static enum hth_status measure_staged(struct meter *m, struct limit *out)
{
    uint32_t chunk = 0;
    unsigned char *bytes = mem_alloc(COPY_BYTES);
    enum hth_status status =
        bytes ? vk_chunk_create(m->vk, COPY_BYTES, VK_MEMORY_DEVICE, "copy", &chunk)
              : log_fail_memory(m->log, "what is copied", COPY_BYTES);
    if (bytes) /* else all of them may be one page of zeros */
        memset(bytes, 1, COPY_BYTES);
    for (int run = -1; run < RUNS && status == HTH_OK; run++) {
        uint64_t began = os_time_ns();
        status = vk_upload(m->vk, chunk, 0, bytes, COPY_BYTES);
        if (status == HTH_OK)
            status = vk_transfer_wait(m->vk);
        double per_s = (double)COPY_BYTES / (double)(os_time_ns() - began) * 1e9;
        if (run >= 0 && per_s > out->per_s)
            *out = (struct limit){per_s, (double)COPY_BYTES};
    }
    if (chunk)
        vk_chunk_destroy(m->vk, chunk);
    mem_free(bytes);
    return status;
}

static enum hth_status measure_memory(struct meter *m, struct limits *out)
{
    static const enum vk_memory kinds[] = {VK_MEMORY_DEVICE, VK_MEMORY_UPLOAD, VK_MEMORY_READBACK};
    enum hth_status status = HTH_OK;
    for (int i = 0; i < MEMORY_COUNT && status == HTH_OK; i++)
        status = measure_read(m, kinds[i], &out->read[i]);
    if (status == HTH_OK)
        status = measure_copy(m, VK_MEMORY_UPLOAD, VK_MEMORY_DEVICE, &out->copy[COPY_TO_DEVICE]);
    if (status == HTH_OK)
        status = measure_copy(m, VK_MEMORY_DEVICE, VK_MEMORY_READBACK, &out->copy[COPY_TO_HOST]);
    return status ? status : measure_staged(m, &out->copy[COPY_STAGED]);
}

/* --- arithmetic ------------------------------------------------------------------------------- */

/* What chains of dot products with SEED add up to, in 32 bits. */
static uint32_t dot_result(void)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < CHAINS; i++) {
        uint32_t x = i;
        for (int k = 0; k < ROUNDS; k++)
            x += (uint32_t)((int32_t)(int8_t)(x & 0xff) * SEED); /* SEED's other bytes are 0 */
        sum += x;
    }
    return sum;
}

static enum hth_status measure_math(struct meter *m, enum limit_math math, struct limit *out)
{
    static const char *const blobs[] = {"roof_math", "roof_math_f16", "roof_dot"};
    static const double per_step[] = {2, 4, 8};
    struct vk_pipeline *pipeline;
    enum hth_status status = get_pipeline(m, blobs[math], NULL, 0, &pipeline);
    if (status)
        return status == HTH_ERROR_UNSUPPORTED ? HTH_OK : status;
    struct work work = {
        .pipeline = pipeline,
        .groups = m->groups,
        .args = {.y = vk_ref(m->results, 0), .per_lane = ROUNDS, .stride = 2, .seed = SEED}};
    status = measure(m, &work, per_step[math] * CHAINS * ROUNDS * LANES * m->groups, out);
    if (status)
        return status;
    return math == MATH_DOT ? check(m, blobs[math], dot_result(), 0, false)
                            : check(m, blobs[math], 2.0 * SEED * CHAINS, 1e-2, true);
}

/* The kernel for a shape; NULL: there is none. */
static const char *matrix_blob(const struct vk_matrix *shape)
{
    bool same = strcmp(shape->a, shape->b) == 0 && strcmp(shape->c, shape->result) == 0;
    if (same && strcmp(shape->a, "f16") == 0 && strcmp(shape->c, "f32") == 0)
        return "roof_matrix";
    if (same && strcmp(shape->a, "s8") == 0 && strcmp(shape->c, "s32") == 0 && !shape->saturates)
        return "roof_matrix_s8";
    return NULL;
}

static enum hth_status measure_matrix(struct meter *m, const struct vk_matrix *shape,
                                      struct limit *out)
{
    const struct vk_caps *caps = vk_get_caps(m->vk);
    enum { SUBGROUPS = 4 };
    uint32_t lanes = caps->subgroup_default;
    const uint32_t specs[4] = {SUBGROUPS * lanes, shape->m, shape->n, shape->k};
    const char *blob = matrix_blob(shape);
    struct vk_pipeline *pipeline;
    enum hth_status status =
        blob ? get_pipeline(m, blob, specs, caps->subgroup_control ? lanes : 0, &pipeline)
             : HTH_ERROR_UNSUPPORTED;
    if (status)
        return status == HTH_ERROR_UNSUPPORTED ? HTH_OK : status;
    double flops = 2.0 * shape->m * shape->n * shape->k * SUMS * SUBGROUPS * ROUNDS * m->groups;
    struct work work = {.pipeline = pipeline,
                        .groups = m->groups,
                        .args = {.y = vk_ref(m->results, 0), .per_lane = ROUNDS, .seed = 1}};
    status = measure(m, &work, flops, out);
    /* each sum began with its number */
    double expected = SUMS * (double)shape->k * ROUNDS + SUMS * (SUMS - 1) / 2;
    return status ? status : check(m, blob, expected, 0, false);
}

/* --- latency ---------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* What one more dispatch in a list takes. */
static enum hth_status measure_dispatch(struct meter *m, struct work *work, bool barriers,
                                        double *out_s)
{
    enum { MANY = 512 };
    double one, many;
    work->barriers = barriers;
    enum hth_status status = best_of(m, work, 1, &one);
    if (status == HTH_OK)
        status = best_of(m, work, MANY, &many);
    if (status == HTH_OK)
        *out_s = many > one ? (many - one) / (MANY - 1) / 1e9 : 0;
    return status;
}

/* Medians: a host's best moment says little of the next. */
static enum hth_status measure_host(struct meter *m, const struct work *work, double *submit_s,
                                    double *wait_s)
{
    double submits[LATENCY_RUNS], waits[LATENCY_RUNS];
    enum hth_status status = record(m, work, 1);
    for (int run = 0; run < LATENCY_RUNS && status == HTH_OK; run++) {
        uint64_t ticket, began = os_time_ns(), between;
        status = vk_submit(m->vk, m->cmd, &ticket);
        between = os_time_ns();
        if (status == HTH_OK)
            status = vk_wait(m->vk, ticket);
        submits[run] = (double)(between - began) / 1e9;
        waits[run] = (double)(os_time_ns() - between) / 1e9;
    }
    if (status)
        return status;
    qsort(submits, LATENCY_RUNS, sizeof *submits, compare_doubles);
    qsort(waits, LATENCY_RUNS, sizeof *waits, compare_doubles);
    *submit_s = submits[LATENCY_RUNS / 2];
    *wait_s = waits[LATENCY_RUNS / 2];
    return HTH_OK;
}

static enum hth_status measure_latencies(struct meter *m, double *out)
{
    struct work work = {.groups = 1, .args = {.y = vk_ref(m->results, 0)}};
    double with_barrier = 0;
    enum hth_status status = get_pipeline(m, "roof_empty", NULL, 0, &work.pipeline);
    if (status == HTH_OK)
        status = measure_dispatch(m, &work, false, &out[LATENCY_DISPATCH]);
    if (status == HTH_OK)
        status = measure_dispatch(m, &work, true, &with_barrier);
    out[LATENCY_BARRIER] =
        with_barrier > out[LATENCY_DISPATCH] ? with_barrier - out[LATENCY_DISPATCH] : 0;
    return status ? status : measure_host(m, &work, &out[LATENCY_SUBMIT], &out[LATENCY_WAIT]);
}

/* --- all of it -------------------------------------------------------------------------------- */

enum hth_status limits_measure(struct limits *out, struct vk *vk, const struct log *log)
{
    const struct vk_caps *caps = vk_get_caps(vk);
    /* a card is filled by thousands of workgroups, a processor by one for each of its threads */
    uint32_t groups = caps->kind == VK_KIND_SOFTWARE ? 16 : 4096;
    struct meter m = {.vk = vk,
                      .log = log,
                      .groups = groups,
                      .result_bytes = (uint64_t)groups * 4 * LANES * sizeof(float)};
    *out = (struct limits){0};
    enum hth_status status = vk_cmd_create(vk, 2, &m.cmd);
    if (status == HTH_OK)
        status = vk_chunk_create(vk, m.result_bytes, VK_MEMORY_DEVICE, "results", &m.results);
    if (status == HTH_OK)
        status = measure_memory(&m, out);
    for (int i = 0; i < MATH_COUNT && status == HTH_OK; i++)
        status = measure_math(&m, i, &out->math[i]);
    for (uint32_t i = 0; i < caps->n_matrices && status == HTH_OK; i++)
        status = measure_matrix(&m, &caps->matrices[i], &out->matrix[i]);
    if (status == HTH_OK)
        status = measure_latencies(&m, out->latency_s);
    vk_cmd_destroy(vk, m.cmd);
    if (m.results)
        vk_chunk_destroy(vk, m.results);
    return status;
}
