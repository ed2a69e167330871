#include "op_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "op_gpu.h"
#include "op_memory.h"
#include "op_ran.h"

static const char *const kind_names[INPUT_KINDS] = {
    "uniform", "tiny", "huge", "denormal", "constant", "alternating", "spiky", "zero",
};

/* Of the test at hand. */
static struct {
    bool under_way;
    int n_ran, n_left_out;
    char first_left_out[1024];
} cases;

/* --- devices ---------------------------------------------------------------------------------- */

enum { MAX_DEVICES = 8 };

static const struct op_device *registered[MAX_DEVICES], *opened[MAX_DEVICES + 1];
static size_t n_registered, n_opened;
static bool devices_are_open;

void op_device_register(const struct op_device *device)
{
    if (n_registered == MAX_DEVICES)
        abort();
    size_t at = n_registered++;
    for (; at > 0 && strcmp(registered[at - 1]->name, device->name) > 0; at--)
        registered[at] = registered[at - 1];
    registered[at] = device;
}

/* A test that crashed (cmocka exits from its signal handler) or failed may have left a device at
 * work: closing it could wait for ever. */
static void close_devices(void)
{
    for (size_t i = 0; i < n_opened && !cases.under_way; i++)
        if (opened[i]->close)
            opened[i]->close();
}

static bool wanted(const char *variable, const char *name)
{
    const char *only = getenv(variable);
    return !only || !*only || strcmp(only, name) == 0;
}

const struct op_device *op_device_at(size_t index)
{
    if (!devices_are_open) {
        devices_are_open = true;
        for (size_t i = 0; i < n_registered; i++)
            if (wanted("HEARTH_OP_DEVICE", registered[i]->name) &&
                (!registered[i]->open || registered[i]->open()))
                opened[n_opened++] = registered[i];
        atexit(close_devices);
    }
    return index < n_opened ? opened[index] : NULL;
}

/* --- building a case -------------------------------------------------------------------------- */

static void *must(void *ptr)
{
    assert_non_null(ptr);
    return ptr;
}

static void make_tokens(struct op_test *t, const struct op_batch *batch)
{
    int n_tokens = 0, most_pages = 1;
    for (int s = 0; s < batch->n_seqs; s++) {
        n_tokens += batch->seqs[s].n;
        int pages = (batch->seqs[s].first + batch->seqs[s].n + KV_PAGE - 1) / KV_PAGE;
        most_pages = pages > most_pages ? pages : most_pages;
    }
    t->ids = must(mem_calloc((size_t)n_tokens, sizeof *t->ids));
    t->pos = must(mem_calloc((size_t)n_tokens, sizeof *t->pos));
    t->seq = must(mem_calloc((size_t)n_tokens, sizeof *t->seq));
    int at = 0;
    for (int s = 0; s < batch->n_seqs; s++)
        for (int i = 0; i < batch->seqs[s].n; i++, at++) {
            t->pos[at] = batch->seqs[s].first + i;
            t->seq[at] = s;
        }
    t->batch = (struct batch){.n_tokens = n_tokens,
                              .ids = t->ids,
                              .pos = t->pos,
                              .seq = t->seq,
                              .n_outputs = batch->n_outputs,
                              .table_stride = most_pages + 1,
                              .n_seqs = batch->n_seqs};
}

/* Rows in ascending order; the first and the last are in where there is room. */
static void make_outputs(struct op_test *t)
{
    int n = t->batch.n_outputs, left = n;
    t->outputs = must(mem_calloc((size_t)n + 1, sizeof *t->outputs));
    for (int i = 0, at = 0; i < t->batch.n_tokens && left > 0; i++) {
        int rest = t->batch.n_tokens - i;
        if (i == 0 || (int)rng_below(&t->rng, (uint32_t)rest) < left) {
            t->outputs[at++] = i;
            left--;
        }
    }
    t->batch.outputs = t->outputs;
}

/* Pages in no order; those that nothing is on have wild numbers. */
static void make_page_table(struct op_test *t, const struct op_batch *batch)
{
    uint32_t n = (uint32_t)(t->batch.table_stride * batch->n_seqs);
    t->page_table = must(mem_calloc(n, sizeof *t->page_table));
    for (uint32_t i = 0; i < n; i++) {
        uint32_t other = rng_below(&t->rng, i + 1);
        t->page_table[i] = t->page_table[other];
        t->page_table[other] = i;
    }
    for (int s = 0; s < batch->n_seqs; s++)
        for (int p = 0; p < t->batch.table_stride; p++)
            if (p * KV_PAGE >= batch->seqs[s].first + batch->seqs[s].n)
                t->page_table[s * t->batch.table_stride + p] = UINT32_MAX;
    t->batch.page_table = t->page_table;
}

void op_test_begin(struct op_test *t, const struct op_batch *batch)
{
    const char *seed = getenv("HEARTH_SEED");
    *t = (struct op_test){.seed = seed && *seed ? strtoull(seed, NULL, 0) : 1};
    t->rng = rng_seed(t->seed);
    make_tokens(t, batch);
    make_outputs(t);
    make_page_table(t, batch);
    int bucket = batch->bucket ? batch->bucket : t->batch.n_tokens;
    assert_true(bucket >= t->batch.n_tokens);
    test_log_clear();
    graph_init(&t->graph, bucket, batch->n_outputs ? batch->n_outputs : 1, test_log());
}

struct tensor *op_test_weight(struct op_test *t, const char *name, const struct dtype *type,
                              int64_t ne0, int64_t ne1, int64_t ne2)
{
    struct weight *weight = must(arena_alloc(&t->graph.arena, sizeof *weight));
    *weight = (struct weight){
        .name = name, .dtype = type, .ne = {ne0, ne1, ne2, 1}, .index = (int)t->graph.n_tensors};
    weight->size_bytes = dtype_row_bytes(type, (uint64_t)(ne0 * ne1 * ne2));
    return graph_weight(&t->graph, weight);
}

struct tensor *op_test_input(struct op_test *t, const char *name, int64_t ne0, int64_t ne1,
                             int64_t ne2, enum row_count rows)
{
    const int64_t ne[OP_MAX_DIMS] = {ne0, ne1, ne2, 1};
    return graph_activation(&t->graph, name, &dtype_f32, ne, rows);
}

struct tensor *op_test_expert_ids(struct op_test *t, int64_t n_used)
{
    const int64_t ne[OP_MAX_DIMS] = {n_used, t->graph.n_tokens, 1, 1};
    return graph_activation(&t->graph, "ids", &dtype_i32, ne, ROWS_TOKENS);
}

struct tensor *op_test_kv(struct op_test *t, int n_head_kv, int k_dim, int v_dim,
                          const struct dtype *type)
{
    struct kv_geom kv = {n_head_kv, k_dim, v_dim, type, type, .k_offset = 512};
    uint64_t k_bytes = (uint64_t)n_head_kv * KV_PAGE * dtype_row_bytes(type, (uint64_t)k_dim);
    kv.v_offset = kv.k_offset + (uint32_t)align_up(k_bytes, 256);
    return graph_kv(&t->graph, "kv", &kv);
}

/* --- comparing -------------------------------------------------------------------------------- */

/* Where and how a row went wrong; `text` is empty if it did not. */
struct verdict {
    char text[512];
};

static double tolerance_of(const struct op *op, enum op_precision precision)
{
    const struct op_def *def = op_def_of(op->kind);
    switch (precision) {
    case OP_PRECISION_F16: return def->tolerance_f16;
    case OP_PRECISION_INT: return def->tolerance_int;
    default: return def->tolerance_f32;
    }
}

/* A difference per element that counts for nothing: what is below is denormal on the way. */
static const double floor_of_all = 1e-30;

struct sums {
    double error, power, limit, floor;
    double worst;
    int64_t n, worst_at, first_bad;
    float expected, got, first_expected, first_got;
};

static void compare_row(struct sums *sums, const float *expected, const float *got, int64_t n)
{
    for (int64_t i = 0; i < n; i++, sums->n++) {
        double difference = fabs((double)got[i] - expected[i]);
        if (isnan(difference))
            difference = INFINITY;
        sums->error += difference * difference;
        sums->power += (double)expected[i] * expected[i];
        if (difference > sums->worst) {
            sums->worst = difference;
            sums->worst_at = sums->n;
            sums->expected = expected[i];
            sums->got = got[i];
        }
        if (sums->first_bad < 0 && difference > sums->floor &&
            difference > 8 * sqrt(sums->limit) * fabs(expected[i])) {
            sums->first_bad = sums->n;
            sums->first_expected = expected[i];
            sums->first_got = got[i];
        }
    }
}

static void judge(struct verdict *verdict, const struct sums *sums, bool by_element)
{
    /* Few outputs may all be small by chance, where sums cancel, and their error is not. */
    double few = 1 + 64.0 / (double)(sums->n + 1);
    double allowed = sums->limit * few * sums->power + (double)sums->n * sums->floor * sums->floor;
    double of_one = by_element ? OP_WORST * sqrt(allowed / (double)sums->n) : INFINITY;
    if (sums->error <= allowed && !(sums->worst > of_one))
        return;
    snprintf(verdict->text, sizeof verdict->text,
             "NMSE %.3g, allowed %.3g; first bad element %lld: %.9g instead of %.9g; worst "
             "element %lld: %.9g instead of %.9g, allowed a difference of %.3g",
             sums->error / sums->power, sums->limit * few, (long long)sums->first_bad,
             (double)sums->first_got, (double)sums->first_expected, (long long)sums->worst_at,
             (double)sums->got, (double)sums->expected, of_one);
}

static void compare_cache(struct op_test *t, const struct kv_geom *kv, struct sums *sums)
{
    struct op_memory *memory = t->memory;
    int widest = kv->k_dim > kv->v_dim ? kv->k_dim : kv->v_dim;
    float *a = must(mem_calloc((size_t)widest * 2, sizeof *a)), *b = a + widest;
    for (int i = 0; i < t->batch.n_tokens; i++)
        for (int h = 0; h < kv->n_head_kv; h++) {
            kv->k_type->decode(call_k_row(&memory->expected, kv, t->pos[i], t->seq[i], h), a,
                               (size_t)kv->k_dim);
            kv->k_type->decode(call_k_row(&memory->call, kv, t->pos[i], t->seq[i], h), b,
                               (size_t)kv->k_dim);
            compare_row(sums, a, b, kv->k_dim);
            kv->v_type->decode(call_v_row(&memory->expected, kv, t->pos[i], t->seq[i], h), a,
                               (size_t)kv->v_dim);
            kv->v_type->decode(call_v_row(&memory->call, kv, t->pos[i], t->seq[i], h), b,
                               (size_t)kv->v_dim);
            compare_row(sums, a, b, kv->v_dim);
        }
    mem_free(a);
}

static void compare_output(struct op_test *t, int i, enum op_precision precision,
                           struct verdict *verdict)
{
    struct op_memory *memory = t->memory;
    const struct tensor *out = memory->call.op->out[i];
    if (t->exact)
        precision = OP_PRECISION_F32;
    struct sums sums = {
        .limit = tolerance_of(memory->call.op, precision), .floor = floor_of_all, .first_bad = -1};
    if (out->kind == TENSOR_KV) {
        compare_cache(t, &out->kv, &sums);
        judge(verdict, &sums, false); /* what is rounded the other way is off by a step */
        return;
    }
    for (int64_t row = 0; row < batch_rows_flat(&t->batch, out); row++) {
        const void *expected = view_row_flat(&memory->expected.out[i], row);
        const void *got = view_row_flat(&memory->call.out[i], row);
        if (!out->dtype->is_integer) {
            compare_row(&sums, expected, got, out->ne[0]);
            continue;
        }
        for (int64_t k = 0; k < out->ne[0] && !verdict->text[0]; k++)
            if (((const int32_t *)expected)[k] != ((const int32_t *)got)[k])
                snprintf(verdict->text, sizeof verdict->text,
                         "first bad element %lld of %s: %d instead of %d",
                         (long long)(row * out->ne[0] + k), out->name, ((const int32_t *)got)[k],
                         ((const int32_t *)expected)[k]);
    }
    judge(verdict, &sums, t->kind != INPUT_SPIKY); /* where a few elements have all errors */
}

/* Bytes that may not change are those outside the masks. */
static void compare_rest(const struct op_memory *memory, struct verdict *verdict)
{
    for (size_t b = 0; b < memory->n_buffers; b++) {
        const struct op_buffer *buffer = &memory->buffers[b];
        const struct op_area *area = &memory->areas[b];
        for (size_t i = 0; i < buffer->size; i++) {
            if (area->mask[i] || buffer->bytes[i] == area->before[i])
                continue;
            snprintf(verdict->text, sizeof verdict->text,
                     "it wrote at byte %zu of the %zu of %s, which it may not (%02x was %02x)", i,
                     buffer->size, area->tensor ? area->tensor->name : "the cache",
                     buffer->bytes[i], area->before[i]);
            return;
        }
    }
}

/* The first kind of input that a case runs with. */
static enum input_kind first_kind(const struct op_test *t)
{
    int kind = 0;
    while (kind < INPUT_KINDS - 1 && t->skip_kinds & 1u << kind)
        kind++;
    return (enum input_kind)kind;
}

static void run_row(struct op_test *t, const struct op_device *device, size_t row, bool first,
                    struct verdict *verdict)
{
    struct op_memory *memory = t->memory;
    for (size_t i = 0; i < memory->n_buffers; i++)
        memcpy(memory->buffers[i].bytes, memory->areas[i].before, memory->buffers[i].size);
    struct op_run run = {.call = &memory->call,
                         .buffers = memory->buffers,
                         .n_buffers = memory->n_buffers,
                         .n_pages = memory->n_pages,
                         .page_bytes = memory->page_bytes,
                         .graph = &t->graph,
                         .check_declared = first};
    enum hth_status status = device->run(row, &run);
    if (status != HTH_OK) {
        snprintf(verdict->text, sizeof verdict->text, "%s: %.400s", hth_status_name(status),
                 test_log_text());
        return;
    }
    enum op_precision precision = device->precision(row, memory->call.op);
    for (int i = 0; i < OP_MAX_OUT && !verdict->text[0]; i++)
        if (memory->call.op->out[i])
            compare_output(t, i, precision, verdict);
    if (!verdict->text[0])
        compare_rest(memory, verdict);
}

/* The reference must be finite, or a comparison with it says nothing. */
static bool reference_is_finite(const struct op_test *t)
{
    const struct op_memory *memory = t->memory;
    for (int i = 0; i < OP_MAX_OUT; i++) {
        const struct tensor *out = memory->call.op->out[i];
        if (!out || out->dtype != &dtype_f32 || out->kind == TENSOR_KV)
            continue;
        for (int64_t row = 0; row < batch_rows_flat(&t->batch, out); row++) {
            const float *y = view_row_flat(&memory->expected.out[i], row);
            for (int64_t k = 0; k < out->ne[0]; k++)
                if (!isfinite(y[k]))
                    return false;
        }
    }
    return true;
}

static void describe(struct op_test *t, char *text, size_t size)
{
    struct strbuf graph = {0};
    graph_print(&t->graph, &graph);
    snprintf(text, size,
             "%.600s  batch: %d tokens of %d, first at position %d, %d outputs; seed %llu",
             graph.ptr ? graph.ptr : "", t->batch.n_tokens, t->graph.n_tokens, t->pos[0],
             t->batch.n_outputs, (unsigned long long)t->seed);
    strbuf_free(&graph);
}

static void finish(struct op_test *t)
{
    op_memory_free(t);
    graph_free(&t->graph);
    mem_free(t->ids);
    mem_free(t->pos);
    mem_free(t->seq);
    mem_free(t->outputs);
    mem_free(t->page_table);
}

bool op_test_whole(void)
{
    return getenv("HEARTH_TEST_WHOLE") != NULL;
}

static struct {
    const char *rows, *format; /* NULL: none */
} left_out;

void op_test_leave_out(const char *rows, const char *format)
{
    left_out.rows = op_test_whole() ? NULL : rows;
    left_out.format = format;
}

static bool is_left_out(const char *row)
{
    if (!left_out.rows || strncmp(row, left_out.rows, strlen(left_out.rows)) != 0)
        return false;
    if (left_out.format)
        op_ran_note("left out %s %s", row, left_out.format);
    return true;
}

/* Runs the rows of one device on one kind of input; false at the first fault, described in `text`.
 */
static bool run_device(struct op_test *t, const struct op_device *device, enum input_kind kind,
                       char *text, size_t size)
{
    const struct op *op = t->memory->call.op;
    for (int precision = 0; precision < OP_PRECISION_COUNT; precision++) {
        bool filled = false;
        if (precision == OP_PRECISION_F16 && t->no_halves)
            continue;
        for (size_t row = 0; row < device->n_rows(); row++) {
            if (!wanted("HEARTH_OP_ROW", device->row_name(row)) || !device->fits(row, op) ||
                (int)device->precision(row, op) != precision || is_left_out(device->row_name(row)))
                continue;
            if (!filled) {
                op_memory_fill(t, kind);
                t->kind = kind;
                if (op_reference(&t->memory->expected) != HTH_OK || !reference_is_finite(t)) {
                    snprintf(text, size, "the reference fails or is not finite");
                    return false;
                }
                filled = true;
            }
            struct verdict verdict = {{0}};
            run_row(t, device, row, kind == first_kind(t), &verdict);
            t->n_ran++;
            if (verdict.text[0]) {
                snprintf(text, size, "%s, row %s: %s", device->name, device->row_name(row),
                         verdict.text);
                return false;
            }
        }
    }
    return true;
}

static const struct op *op_under_test(struct op_test *t)
{
    if (t->graph.status != HTH_OK)
        fail_msg("the case cannot be built: %s", test_log_text());
    const struct op *op = t->graph.ops[t->graph.n_ops - 1];
    op_memory_create(t, op);
    return op;
}

/* --- cases of a test -------------------------------------------------------------------------- */

static bool is_narrowed(void)
{
    return getenv("HEARTH_OP_ROW") || getenv("HEARTH_OP_DEVICE");
}

static void leave_out(const char *what)
{
    if (cases.n_left_out++ == 0)
        snprintf(cases.first_left_out, sizeof cases.first_left_out, "%s", what);
}

static void begin_cases(void)
{
    cases.under_way = true;
    cases.n_ran = cases.n_left_out = 0;
    op_test_leave_out(NULL, NULL);
    op_ran_begin(op_gpu_name(), is_narrowed());
}

static void judge_cases(void)
{
    cases.under_way = false;
    if (cases.n_left_out == 0)
        return;
    bool must_run = false;
    for (size_t d = 0; op_device_at(d); d++)
        must_run |= op_device_at(d)->fuses && !is_narrowed();
    if (cases.n_ran == 0 && must_run)
        fail_msg("none of %d cases ran; the first that no row of any device fits:\n%s",
                 cases.n_left_out, cases.first_left_out);
    if (cases.n_ran == 0)
        test_skip("no device here has a row for this: %s", cases.first_left_out);
    printf("%d of %d cases ran; the first that no row of any device fits: %s\n", cases.n_ran,
           cases.n_ran + cases.n_left_out, cases.first_left_out);
}

__attribute__((constructor)) static void watch_cases(void)
{
    test_around_each(begin_cases, judge_cases);
}

void op_test_run(struct op_test *t)
{
    const struct op *op = op_under_test(t);
    char what[1024], wrong[700];
    describe(t, what, sizeof what);
    for (size_t d = 0; op_device_at(d); d++)
        for (int kind = 0; kind < INPUT_KINDS; kind++)
            if (!(t->skip_kinds & 1u << kind) &&
                (kind == (int)first_kind(t) || !op_device_at(d)->one_kind) &&
                !run_device(t, op_device_at(d), (enum input_kind)kind, wrong, sizeof wrong)) {
                finish(t);
                fail_msg("%s; inputs: %s\n%s", wrong, kind_names[kind], what);
            }
    bool fused = op->n_parts > 0, ran = t->n_ran > 0;
    finish(t);
    if (ran)
        cases.n_ran++;
    else if (fused || is_narrowed())
        leave_out(what);
    else
        fail_msg("no row of any device fits:\n%s", what);
}

bool op_test_finds_fault(struct op_test *t, const struct op_device *device)
{
    op_under_test(t);
    bool found = false;
    char wrong[700];
    for (int kind = 0; kind < INPUT_KINDS && !found; kind++)
        if (!(t->skip_kinds & 1u << kind))
            found = !run_device(t, device, (enum input_kind)kind, wrong, sizeof wrong);
    finish(t);
    return found;
}
