#include "limits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "roof/roof_args.h"

enum {
    RUNS = 5,
    LATENCY_RUNS = 50,
    MOST_DISPATCHES = 4096,
    LANES = 256,     /* of a workgroup of roof_read and roof_math */
    PER_LANE = 32,   /* loads of 16 bytes */
    LANES_ALONE = 8, /* of a workgroup of roof_read_lanes */
    PER_LANE_ALONE = 2048,
    ROUNDS = 512,
    MATRIX_ROUNDS = 256, /* so many are whole in halves, and short enough for a slow device */
    MOST_CHAINS = 16,    /* of roof_math */
    SPECS = 6,
    CHECKED = 8, /* words of results */
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
    uint32_t groups;        /* that fill the device */
    enum hth_status failed; /* the first time that something did */
    uint64_t end_ns;        /* 0: none */
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

/* The best of so many runs of `n`; one more is not counted, as drivers compile at the first. */
static enum hth_status best_of(struct meter *m, const struct work *w, int n, int runs, double *best)
{
    enum hth_status status = record(m, w, n);
    *best = 0;
    for (int run = -1; run < runs && status == HTH_OK; run++) {
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
    enum hth_status status = best_of(m, w, n, 1, &ns);
    while (status == HTH_OK && ns < LONG_ENOUGH_NS && n < MOST_DISPATCHES) {
        n *= ns < LONG_ENOUGH_NS / 8 ? 8 : 2;
        status = best_of(m, w, n, 1, &ns);
    }
    if (status == HTH_OK)
        status = best_of(m, w, n, RUNS, &ns);
    if (status == HTH_OK && ns > 0) {
        out->per_s = work * n / ns * 1e9;
        out->work = work * n;
    }
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
        bool given = specs && blob->specs[i].id < SPECS;
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
static enum hth_status compare(struct meter *m, const char *kernel, double got, double expected,
                               double near)
{
    if (fabs(got - expected) <= near * fabs(expected))
        return HTH_OK;
    return log_fail(m->log, HTH_ERROR_DEVICE,
                    "%s computes %g where it should %g: what it measured is no limit", kernel, got,
                    expected);
}

static double float_of(uint32_t word)
{
    float number;
    memcpy(&number, &word, sizeof number);
    return (double)number;
}

static uint32_t bits_of(float number)
{
    uint32_t word;
    memcpy(&word, &number, sizeof word);
    return word;
}

/* --- memory ----------------------------------------------------------------------------------- */

/* The better of what was measured. */
static void keep_best(struct limit *best, const struct limit *other)
{
    if (other->per_s > best->per_s)
        *best = *other;
}

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

/* How memory is read: by all workgroups together from the beginning to the end, by each a piece of
 * its own, or by each lane. */
enum read_way { READ_TOGETHER, READ_BY_GROUPS, READ_BY_LANES, READ_WAYS };

static struct work reading(enum read_way way, uint32_t chunk, uint64_t bytes)
{
    bool by_lanes = way == READ_BY_LANES;
    struct work work = {.args = {.x = vk_ref(chunk, 0),
                                 .per_lane = by_lanes ? PER_LANE_ALONE : PER_LANE,
                                 .first = LANES * PER_LANE,
                                 .stride = LANES}};
    work.groups = (uint32_t)(bytes / 16 / work.args.per_lane / (by_lanes ? LANES_ALONE : LANES));
    if (way == READ_TOGETHER)
        work.args.first = LANES, work.args.stride = work.groups * LANES;
    return work;
}

static enum hth_status read_chunk(struct meter *m, uint32_t chunk, uint64_t bytes,
                                  enum read_way way, struct limit *best)
{
    uint32_t sums[CHECKED];
    struct limit limit = {0};
    struct work work = reading(way, chunk, bytes);
    const char *name = way == READ_BY_LANES ? "roof_read_lanes" : "roof_read";
    enum hth_status status = get_pipeline(m, name, NULL, 0, &work.pipeline);
    work.args.y = vk_ref(m->results, 0);
    if (status == HTH_OK)
        status = measure(m, &work, (double)bytes, &limit);
    if (status == HTH_OK)
        status = read_results(m, sums, CHECKED);
    for (int i = 0; status == HTH_OK && i < CHECKED; i++)
        status = compare(m, name, sums[i], (double)(bytes / 4 / work.groups), 0);
    if (status == HTH_OK)
        keep_best(best, &limit);
    return status;
}

static enum hth_status measure_read(struct meter *m, enum vk_memory kind, struct limit *out)
{
    uint32_t chunk = 0;
    uint64_t bytes = read_bytes(vk_get_caps(m->vk));
    enum hth_status status = vk_chunk_create(m->vk, bytes, kind, "what is read", &chunk);
    if (status == HTH_OK)
        status = fill(m, chunk, bytes);
    bool any = false; /* one way may fail where another does not */
    enum hth_status failed = HTH_OK;
    for (int way = 0; status == HTH_OK && way < READ_WAYS; way++) {
        enum hth_status one = read_chunk(m, chunk, bytes, (enum read_way)way, out);
        any |= one == HTH_OK;
        failed = one ? one : failed;
    }
    if (chunk)
        vk_chunk_destroy(m->vk, chunk);
    return status == HTH_OK && !any ? failed : status;
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
            *out = (struct limit){.per_s = per_s, .work = (double)COPY_BYTES};
    }
    if (chunk)
        vk_chunk_destroy(m->vk, chunk);
    mem_free(bytes);
    return status;
}

/* --- arithmetic ------------------------------------------------------------------------------- */

struct math {
    const char *blob;
    double per_step, near; /* as each addition rounds */
    uint32_t plus, minus;  /* shares, roof_math.glsl */
};

static struct math math_of(enum limit_math math)
{
    const uint32_t plus = bits_of(1.0F / 16), minus = bits_of(-1.0F / 16);
    const struct math all[] = {
        [MATH_F32] = {"roof_math", 2, 1e-3, plus, minus},
        [MATH_F16] = {"roof_math_f16", 4, 0.05, plus, minus},
        [MATH_DOT] = {"roof_dot", 8, 0, 0x01fe0503, 0x02fd04ff},
    };
    return all[math];
}

/* Where chain i of a lane begins. */
static uint32_t start_of(uint32_t lane, uint32_t i)
{
    return 1 + ((i + lane) & 7);
}

static double float_result(const struct math *math, uint32_t chains, uint32_t lane, double more)
{
    double x[MOST_CHAINS], sum = 0;
    for (uint32_t i = 0; i < chains; i++)
        x[i] = start_of(lane, i) + more;
    for (int k = 0; k < ROUNDS; k++)
        for (uint32_t i = 0; i < chains; i++)
            x[i] += float_of(k % 2 ? math->minus : math->plus) * x[(i + 1) % chains];
    for (uint32_t i = 0; i < chains; i++)
        sum += x[i];
    return sum;
}

static uint32_t dot(uint32_t a, uint32_t b)
{
    int32_t sum = 0;
    for (int i = 0; i < 32; i += 8)
        sum += (int8_t)(a >> i & 0xff) * (int8_t)(b >> i & 0xff);
    return (uint32_t)sum;
}

static uint32_t dot_result(const struct math *math, uint32_t chains, uint32_t lane)
{
    uint32_t x[MOST_CHAINS], sum = 0;
    for (uint32_t i = 0; i < chains; i++)
        x[i] = start_of(lane, i);
    for (int k = 0; k < ROUNDS; k++)
        for (uint32_t i = 0; i < chains; i++)
            x[i] += dot(x[(i + 1) % chains], k % 2 ? math->minus : math->plus);
    for (uint32_t i = 0; i < chains; i++)
        sum += x[i];
    return sum;
}

static enum hth_status check_math(struct meter *m, enum limit_math kind, uint32_t chains)
{
    const struct math math = math_of(kind);
    uint32_t words[CHECKED];
    enum hth_status status = read_results(m, words, CHECKED);
    for (uint32_t lane = 0; lane < CHECKED && status == HTH_OK; lane++) {
        double got = kind == MATH_DOT ? words[lane] : float_of(words[lane]), expected;
        if (kind == MATH_DOT)
            expected = dot_result(&math, chains, lane);
        else
            expected = float_result(&math, chains, lane, 0);
        if (kind == MATH_F16)
            expected += float_result(&math, chains, lane, 0.5);
        status = compare(m, math.blob, got, expected, math.near);
    }
    return status;
}

/* With so many chains in subgroups of so many lanes (0: any). */
static enum hth_status measure_way(struct meter *m, enum limit_math kind, uint32_t chains,
                                   uint32_t lanes, struct limit *best)
{
    const struct math math = math_of(kind);
    const uint32_t specs[SPECS] = {chains};
    struct vk_pipeline *pipeline;
    enum hth_status status = get_pipeline(m, math.blob, specs, lanes, &pipeline);
    if (status)
        return status;
    struct work work = {.pipeline = pipeline,
                        .groups = m->groups,
                        .args = {.y = vk_ref(m->results, 0),
                                 .per_lane = ROUNDS,
                                 .plus = math.plus,
                                 .minus = math.minus}};
    struct limit limit = {.chains = chains, .lanes = lanes};
    status = measure(m, &work, math.per_step * chains * ROUNDS * LANES * m->groups, &limit);
    if (status == HTH_OK)
        status = check_math(m, kind, chains);
    if (status == HTH_OK)
        keep_best(best, &limit);
    return status;
}

/* How many chains hide what an instruction takes and still fit into registers is the device's
 * affair, as is how wide subgroups are best. */
static enum hth_status measure_math(struct meter *m, enum limit_math kind, struct limit *out)
{
    const struct vk_caps *caps = vk_get_caps(m->vk);
    uint32_t least = caps->subgroup_control ? caps->subgroup_min : 0;
    uint32_t most = caps->subgroup_control ? caps->subgroup_max : 0;
    enum hth_status failed = HTH_OK;
    for (uint32_t lanes = least; lanes <= most && !vk_is_lost(m->vk); lanes *= 2) {
        bool fits = !lanes || !caps->max_subgroups || LANES / lanes <= caps->max_subgroups;
        for (uint32_t chains = MOST_CHAINS; fits && chains >= 4; chains /= 2) {
            enum hth_status status = measure_way(m, kind, chains, lanes, out);
            failed = failed ? failed : status;
        }
        if (!lanes)
            break;
    }
    return failed;
}

/* --- cooperative matrices --------------------------------------------------------------------- */

struct matrix_kernel {
    const char *input, *sum, *blob;
    float plus, minus;
    bool is_float;
    double near; /* 0: sums are exact */
};

/* NULL: there is none for the shape. */
static const struct matrix_kernel *matrix_kernel(const struct vk_matrix *shape)
{
    static const struct matrix_kernel kernels[] = {
        {"f16", "f32", "roof_matrix_f16", 1, -15.0F / 16, true, 0},
        {"f16", "f16", "roof_matrix_f16_f16", 1, -15.0F / 16, true, 0.02},
        {"bf16", "f32", "roof_matrix_bf16", 1, -15.0F / 16, true, 0},
        {"s8", "s32", "roof_matrix_s8", 16, -15, false, 0},
        {"u8", "u32", "roof_matrix_u8", 2, 1, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(kernels); i++)
        if (strcmp(shape->a, kernels[i].input) == 0 && strcmp(shape->b, shape->a) == 0 &&
            strcmp(shape->c, kernels[i].sum) == 0 && strcmp(shape->result, shape->c) == 0)
            return &kernels[i];
    return NULL;
}

static uint32_t argument_of(const struct matrix_kernel *kernel, float number)
{
    return kernel->is_float ? bits_of(number) : (uint32_t)(int32_t)number;
}

/* Each element is what its sum began with, the sum's number, and what all rounds came to: one adds,
 * the next takes away, in every second sum the other way round. */
static enum hth_status check_matrix(struct meter *m, const struct matrix_kernel *kernel,
                                    const struct vk_matrix *shape, uint32_t sums)
{
    uint32_t words[2 * CHECKED];
    enum hth_status status = read_results(m, words, 2 * CHECKED);
    double of_two_rounds = shape->k * ((double)kernel->plus + (double)kernel->minus), n = 0;
    double expected = sums * (sums - 1) / 2.0 + sums * of_two_rounds * MATRIX_ROUNDS / 2;
    for (int i = 0; i < CHECKED && status == HTH_OK; i++) {
        double elements = float_of(words[2 * i + 1]);
        n += elements;
        status =
            compare(m, kernel->blob, float_of(words[2 * i]), elements * expected, kernel->near);
    }
    return status ? status : compare(m, "a matrix without elements", n > 0, 1, 0);
}

static enum hth_status measure_sums(struct meter *m, const struct matrix_kernel *kernel,
                                    const struct vk_matrix *shape, uint32_t sums,
                                    struct limit *best)
{
    enum { SUBGROUPS = 4 };
    /* as narrow as the engine's kernels have them (gpu/coop.c) */
    const struct vk_caps *caps = vk_get_caps(m->vk);
    uint32_t demanded = caps->subgroup_control ? caps->subgroup_min : 0;
    uint32_t lanes = demanded ? demanded : caps->subgroup_default;
    const uint32_t specs[SPECS] = {
        SUBGROUPS * lanes, shape->m, shape->n,
        shape->k,          sums,     caps->kind == VK_KIND_SOFTWARE ? 1 : 8};
    struct vk_pipeline *pipeline;
    enum hth_status status = get_pipeline(m, kernel->blob, specs, demanded, &pipeline);
    if (status)
        return status;
    struct roof_args args = {.y = vk_ref(m->results, 0), .per_lane = MATRIX_ROUNDS};
    args.plus = argument_of(kernel, kernel->plus);
    args.minus = argument_of(kernel, kernel->minus);
    for (size_t i = 0; i < ARRAY_LEN(args.ones); i++)
        args.ones[i] = argument_of(kernel, 1);
    struct work work = {.pipeline = pipeline, .groups = m->groups, .args = args};
    struct limit limit = {.chains = sums, .lanes = lanes};
    double flop = 2.0 * shape->m * shape->n * shape->k;
    status = measure(m, &work, flop * sums * SUBGROUPS * MATRIX_ROUNDS * m->groups, &limit);
    if (status == HTH_OK)
        status = check_matrix(m, kernel, shape, sums);
    if (status == HTH_OK)
        keep_best(best, &limit);
    return status;
}

static enum hth_status measure_matrix(struct meter *m, const struct vk_matrix *shape,
                                      struct limit *out)
{
    const struct matrix_kernel *kernel = matrix_kernel(shape);
    if (!kernel || shape->saturates) {
        snprintf(out->why, sizeof out->why,
                 shape->saturates ? "hearth lets no sums saturate"
                                  : "hearth multiplies no such types");
        return HTH_ERROR_UNSUPPORTED;
    }
    enum hth_status failed = HTH_OK;
    for (uint32_t sums = 8; sums >= 2 && !vk_is_lost(m->vk); sums /= 2) {
        enum hth_status status = measure_sums(m, kernel, shape, sums, out);
        failed = failed ? failed : status;
    }
    return failed;
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
    enum hth_status status = best_of(m, work, 1, RUNS, &one);
    if (status == HTH_OK)
        status = best_of(m, work, MANY, RUNS, &many);
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
    if (status == HTH_OK)
        out[LATENCY_BARRIER] = fmax(with_barrier - out[LATENCY_DISPATCH], 0);
    return status ? status : measure_host(m, &work, &out[LATENCY_SUBMIT], &out[LATENCY_WAIT]);
}

/* --- all of it -------------------------------------------------------------------------------- */

/* Says what became of a figure; keeps the first failure. */
static void note(struct meter *m, struct limit *limit, enum hth_status status)
{
    if (status == HTH_OK && !(limit->per_s > 0))
        snprintf(limit->why, sizeof limit->why, "no time passed");
    if (status == HTH_ERROR_UNSUPPORTED && limit->why[0] == '\0')
        snprintf(limit->why, sizeof limit->why,
                 "the device, or the compiler of this build, lacks it");
    if (status == HTH_OK || status == HTH_ERROR_UNSUPPORTED)
        return;
    snprintf(limit->why, sizeof limit->why, "failed: %s%s", hth_status_name(status),
             limit->per_s > 0 ? ", in one of the ways" : "");
    m->failed = m->failed ? m->failed : status;
}

static void measure_memory(struct meter *m, struct limits *out)
{
    static const enum vk_memory kinds[] = {VK_MEMORY_DEVICE, VK_MEMORY_UPLOAD, VK_MEMORY_READBACK};
    for (int i = 0; i < MEMORY_COUNT; i++)
        note(m, &out->read[i], measure_read(m, kinds[i], &out->read[i]));
    struct limit *copy = out->copy;
    note(m, &copy[COPY_TO_DEVICE],
         measure_copy(m, VK_MEMORY_UPLOAD, VK_MEMORY_DEVICE, &copy[COPY_TO_DEVICE]));
    note(m, &copy[COPY_TO_HOST],
         measure_copy(m, VK_MEMORY_DEVICE, VK_MEMORY_READBACK, &copy[COPY_TO_HOST]));
    note(m, &copy[COPY_STAGED], measure_staged(m, &copy[COPY_STAGED]));
}

/* Is there time for another figure? If not, that is said. */
static bool has_time(const struct meter *m, struct limit *limit)
{
    if (!m->end_ns || os_time_ns() < m->end_ns)
        return true;
    snprintf(limit->why, sizeof limit->why, "no time was left");
    return false;
}

enum hth_status limits_measure(struct limits *out, struct vk *vk, double seconds,
                               const struct log *log)
{
    const struct vk_caps *caps = vk_get_caps(vk);
    /* a card is filled by thousands of workgroups, a processor by one for each of its threads */
    uint32_t groups = caps->kind == VK_KIND_SOFTWARE ? 16 : 4096;
    struct meter m = {.vk = vk,
                      .log = log,
                      .groups = groups,
                      .end_ns = seconds > 0 ? os_time_ns() + (uint64_t)(seconds * 1e9) : 0,
                      .result_bytes = (uint64_t)groups * 4 * LANES * sizeof(float)};
    *out = (struct limits){.latency_s = {-1, -1, -1, -1}};
    enum hth_status status = vk_cmd_create(vk, 2, &m.cmd);
    if (status == HTH_OK)
        status = vk_chunk_create(vk, m.result_bytes, VK_MEMORY_DEVICE, "results", &m.results);
    if (status == HTH_OK) {
        measure_memory(&m, out);
        for (int i = 0; i < MATH_COUNT; i++)
            if (has_time(&m, &out->math[i]))
                note(&m, &out->math[i], measure_math(&m, i, &out->math[i]));
        status = measure_latencies(&m, out->latency_s);
        for (uint32_t i = 0; i < caps->n_matrices; i++)
            if (has_time(&m, &out->matrix[i]))
                note(&m, &out->matrix[i], measure_matrix(&m, &caps->matrices[i], &out->matrix[i]));
    }
    vk_cmd_destroy(vk, m.cmd);
    if (m.results)
        vk_chunk_destroy(vk, m.results);
    return m.failed ? m.failed : status;
}
