/* An op of a model cut to a small case: its graph, its inputs, and what should come out. */
#include "gpu/selftest_part.h"

#include <stdio.h>

#include "base/mem.h"
#include "quant/random.h"

/* --- cutting ---------------------------------------------------------------------------------- */

/* Tensors of the model's graph beside those of the case, and rows that become shorter with the
 * matrix that makes them. */
struct cutter {
    struct selftest_case *c;
    const struct log *log;
    int64_t n_expert;
    const struct tensor *from[CASE_MAX_TENSORS], *cut[CASE_MAX_TENSORS];
    struct tensor *to[CASE_MAX_TENSORS];
    int64_t cut_to[CASE_MAX_TENSORS];
    int n, n_cut;
};

static int64_t fewer_rows(const struct cutter *cutter, int64_t rows)
{
    int64_t most = cutter->c->size.rows;
    return rows < most ? rows : most;
}

static void cut_row(struct cutter *cutter, const struct tensor *tensor, int64_t length)
{
    if (!tensor || cutter->n_cut == CASE_MAX_TENSORS)
        return;
    cutter->cut[cutter->n_cut] = tensor;
    cutter->cut_to[cutter->n_cut++] = length;
}

static int64_t row_length(const struct cutter *cutter, const struct tensor *tensor)
{
    for (int i = 0; i < cutter->n_cut; i++)
        if (cutter->cut[i] == tensor)
            return cutter->cut_to[i];
    return tensor->ne[0];
}

/* What a matrix with fewer rows makes is shorter, and so is what is added to it. */
static void cut_product(struct cutter *cutter, const struct op *op)
{
    if (op->kind != OP_MATMUL)
        return;
    int64_t rows = fewer_rows(cutter, op->in[0]->ne[1]);
    cut_row(cutter, op->in[2], rows);
    cut_row(cutter, op->in[3], rows);
    cut_row(cutter, op->out[0], rows);
}

static void cut_products(struct cutter *cutter, const struct op *op)
{
    cut_product(cutter, op);
    for (int p = 0; p < op->n_parts; p++)
        cut_products(cutter, op->parts[p]);
    if (op->kind != OP_MATMUL_GLU && op->kind != OP_MATMUL_SUM)
        return;
    int64_t rows = fewer_rows(cutter, op->in[0]->ne[1]);
    cut_row(cutter, op->out[0], rows);
    if (op->kind == OP_MATMUL_GLU)
        return;
    cut_row(cutter, op->in[3], rows);
    cut_row(cutter, op->parts[1]->out[0], rows);
}

static int64_t experts_of(const struct op *op, int64_t enough)
{
    if (op->kind == OP_NORM_MATMUL)
        return experts_of(op->parts[1], enough);
    bool by_expert =
        op->kind == OP_MATMUL || op->kind == OP_MATMUL_GLU || op->kind == OP_MATMUL_SUM;
    if (!by_expert || !op->in[4])
        return 0;
    int64_t n = op->in[0]->ne[2], used = op->in[4]->ne[0];
    int64_t most = used > enough ? used : enough;
    return n < most ? n : most;
}

static struct tensor *copy_weight(struct cutter *cutter, const struct tensor *tensor)
{
    struct selftest_case *c = cutter->c;
    struct weight *weight = arena_alloc(&c->graph.arena, sizeof *weight);
    if (!weight) {
        graph_fail(&c->graph, HTH_ERROR_MEMORY, "out of memory for a self-test");
        return &c->graph.broken;
    }
    *weight = *tensor->weight;
    bool of_experts = cutter->n_expert > 0 && (weight->ne[2] > 1 || weight->experts);
    bool expert_bias = cutter->n_expert > 0 && !of_experts && weight->ne[1] > 1;
    weight->ne[0] = row_length(cutter, tensor);
    weight->ne[1] = expert_bias ? cutter->n_expert : fewer_rows(cutter, weight->ne[1]);
    weight->ne[2] = of_experts ? cutter->n_expert : weight->ne[2];
    weight->experts = NULL;
    weight->data = NULL;
    weight->size_bytes = dtype_row_bytes(weight->dtype, (uint64_t)weight->ne[0]) *
                         (uint64_t)(weight->ne[1] * weight->ne[2]);
    weight->index = (int)c->n_weights;
    c->weights[c->n_weights++] = weight;
    return graph_weight(&c->graph, weight);
}

/* A cache of this layer alone. */
static struct tensor *copy_cache(struct cutter *cutter, const struct tensor *tensor)
{
    struct kv_geom kv = tensor->kv;
    uint64_t heads = (uint64_t)kv.n_head_kv * KV_PAGE;
    kv.k_offset = 0;
    kv.v_offset =
        (uint32_t)align_up(heads * dtype_row_bytes(kv.k_type, (uint64_t)kv.k_dim), VK_REF_ALIGN);
    cutter->c->page_bytes = align_up(
        kv.v_offset + heads * dtype_row_bytes(kv.v_type, (uint64_t)kv.v_dim), VK_REF_ALIGN);
    return graph_kv(&cutter->c->graph, tensor->name, &kv);
}

static struct tensor *copy_tensor(struct cutter *cutter, const struct tensor *tensor);

static struct tensor *copy_activation(struct cutter *cutter, const struct tensor *tensor)
{
    struct graph *graph = &cutter->c->graph;
    int64_t ne[OP_MAX_DIMS] = {row_length(cutter, tensor), tensor->ne[1], tensor->ne[2],
                               tensor->ne[3]};
    if (tensor->rows != ROWS_FIXED)
        ne[tensor->n_dims - 1] = tensor->rows == ROWS_TOKENS ? graph->n_tokens : graph->n_outputs;
    if (tensor->view_of && ne[0] == tensor->ne[0])
        return graph_reshape(graph, copy_tensor(cutter, tensor->view_of), ne[0], ne[1], ne[2]);
    return graph_activation(graph, tensor->name, tensor->dtype, ne, tensor->rows);
}

/* The case's tensor for one of the model's; NULL for NULL. */
static struct tensor *copy_tensor(struct cutter *cutter, const struct tensor *tensor)
{
    for (int i = 0; i < cutter->n; i++)
        if (cutter->from[i] == tensor)
            return cutter->to[i];
    if (!tensor)
        return NULL;
    if (cutter->n == CASE_MAX_TENSORS) {
        graph_fail(&cutter->c->graph, HTH_ERROR_UNSUPPORTED, "an op of more than %d tensors",
                   CASE_MAX_TENSORS);
        return &cutter->c->graph.broken;
    }
    struct tensor *copy = tensor->kind == TENSOR_WEIGHT ? copy_weight(cutter, tensor)
                          : tensor->kind == TENSOR_KV   ? copy_cache(cutter, tensor)
                                                        : copy_activation(cutter, tensor);
    cutter->from[cutter->n] = tensor;
    cutter->to[cutter->n++] = copy;
    return copy;
}

/* With its parts, and theirs. */
static struct op copy_op(struct cutter *cutter, const struct op *op)
{
    struct op copy = *op;
    struct graph *graph = &cutter->c->graph;
    for (int i = 0; i < OP_MAX_IN; i++)
        copy.in[i] = copy_tensor(cutter, op->in[i]);
    for (int i = 0; i < OP_MAX_OUT; i++)
        copy.out[i] = copy_tensor(cutter, op->out[i]);
    for (int p = 0; p < op->n_parts; p++) {
        copy.parts[p] = arena_alloc(&graph->arena, sizeof *copy.parts[p]);
        if (copy.parts[p])
            *copy.parts[p] = copy_op(cutter, op->parts[p]);
        else
            graph_fail(graph, HTH_ERROR_MEMORY, "out of memory for a self-test");
    }
    return copy;
}

/* As many as the op's tensors have; 1 where it knows of none. */
static int outputs_of(const struct op *op)
{
    int64_t n = 1;
    for (int i = 0; i < OP_MAX_IN + OP_MAX_OUT; i++) {
        const struct tensor *tensor = i < OP_MAX_IN ? op->in[i] : op->out[i - OP_MAX_IN];
        if (tensor && tensor->rows == ROWS_OUTPUTS && tensor->ne[tensor->n_dims - 1] > n)
            n = tensor->ne[tensor->n_dims - 1];
    }
    return (int)n;
}

/* Positions follow each other in one sequence; two rows of a large bucket stay empty. */
static bool make_batch(struct selftest_case *c)
{
    size_t most = (size_t)c->graph.n_tokens;
    c->ids = arena_calloc(&c->graph.arena, 4 * most, sizeof *c->ids);
    if (!c->ids)
        return false;
    c->pos = c->ids + most;
    c->seq = c->pos + most;
    c->outputs = c->seq + most;
    int n = c->graph.n_tokens > 16 ? c->graph.n_tokens - 2 : c->graph.n_tokens;
    for (int i = 0; i < n; i++)
        c->pos[i] = c->size.pos + i;
    for (int i = 0; i < c->n_pages; i++)
        c->page_table[i] = (uint32_t)(c->n_pages - 1 - i);
    c->batch = (struct batch){.n_tokens = n,
                              .ids = c->ids,
                              .pos = c->pos,
                              .seq = c->seq,
                              .n_outputs = c->graph.n_outputs < n ? c->graph.n_outputs : n,
                              .outputs = c->outputs,
                              .page_table = c->page_table,
                              .table_stride = c->n_pages,
                              .n_seqs = 1};
    for (int i = 0; i < c->batch.n_outputs; i++)
        c->outputs[i] = n - c->batch.n_outputs + i;
    return true;
}

static enum hth_status cut_op(struct selftest_case *c, const struct op *op, const struct log *log)
{
    struct cutter cutter = {.c = c, .log = log, .n_expert = experts_of(op, c->size.experts)};
    cut_products(&cutter, op);
    struct op copy = copy_op(&cutter, op);
    if (c->graph.status == HTH_OK)
        c->op = graph_append(&c->graph, &copy);
    return c->graph.status;
}

static size_t all_pages_bytes(const struct selftest_case *c)
{
    return (size_t)c->n_pages * (size_t)c->page_bytes;
}

static enum hth_status count_pages(struct selftest_case *c, const struct log *log)
{
    int n = c->page_bytes ? (c->size.pos + c->graph.n_tokens - 1) / KV_PAGE + 1 : 0;
    if (n > CASE_MOST_PAGES)
        return log_fail(log, HTH_ERROR_UNSUPPORTED, "a self-test of %d pages of a cache", n);
    c->n_pages = n;
    return HTH_OK;
}

enum hth_status selftest_case_create(struct selftest_case *c, const struct op *op, int n_tokens,
                                     const struct selftest_size *size, const struct log *log)
{
    *c = (struct selftest_case){.size = *size};
    int n = n_tokens < size->tokens ? n_tokens : size->tokens, n_outputs = outputs_of(op);
    graph_init(&c->graph, n, n_outputs < n ? n_outputs : n, log);
    enum hth_status status = cut_op(c, op, log);
    if (status == HTH_OK)
        status = count_pages(c, log);
    if (status == HTH_OK)
        status = memmap_create(&c->map, &c->graph, VK_REF_ALIGN, true, log);
    if (status)
        return status;
    size_t bytes = (size_t)c->map.size_bytes, pages = all_pages_bytes(c);
    size_t times = size->given_only ? 1 : 3;
    c->given = mem_alloc(times * (bytes + pages));
    if (!c->given || !make_batch(c))
        return log_fail_memory(log, "a self-test", times * (bytes + pages));
    c->pages = c->given + times * bytes;
    if (size->given_only)
        return HTH_OK;
    c->expected = c->given + bytes;
    c->got = c->expected + bytes;
    c->expected_pages = c->pages + pages;
    c->got_pages = c->expected_pages + pages;
    return HTH_OK;
}

void selftest_case_free(struct selftest_case *c)
{
    for (size_t i = 0; i < c->n_weights; i++)
        mem_free((void *)(uintptr_t)c->weights[i]->data);
    mem_free(c->given);
    memmap_free(&c->map);
    graph_free(&c->graph);
    *c = (struct selftest_case){0};
}

/* --- filling ---------------------------------------------------------------------------------- */

/* Factors of rotary frequencies are positive. */
static bool is_factors(const struct op *op, const struct weight *weight)
{
    int at = op->kind == OP_ROPE ? 1 : op->kind == OP_ROPE_KV ? 3 : -1;
    return at >= 0 && op->in[at] && op->in[at]->weight == weight;
}

static bool fill_weight(const struct selftest_case *c, struct weight *weight, struct rng *rng)
{
    void *data = mem_alloc((size_t)weight->size_bytes);
    uint64_t n = (uint64_t)(weight->ne[0] * weight->ne[1] * weight->ne[2]);
    weight->data = data;
    if (!data || !is_factors(c->op, weight))
        return data && dtype_random(weight->dtype, rng, data, n);
    for (uint64_t i = 0; i < n; i++)
        ((float *)data)[i] = 1 + 3 * rng_float(rng);
    return true;
}

/* Numbers of experts, different ones for each token. */
static void fill_numbers(int32_t *numbers, int64_t n, int64_t below, struct rng *rng)
{
    for (int64_t i = 0; i < n; i++) {
        numbers[i] = (int32_t)rng_below(rng, (uint32_t)below);
        for (int64_t j = 0; j < i; j++)
            if (numbers[j] == numbers[i]) {
                i--;
                break;
            }
    }
}

static struct view view_at(const struct selftest_case *c, const struct tensor *tensor,
                           unsigned char *memory)
{
    const struct tensor *base = tensor_base(tensor, NULL);
    if (base->kind == TENSOR_WEIGHT)
        return view_of(tensor, (void *)(uintptr_t)base->weight->data);
    return base->kind == TENSOR_KV ? view_of(tensor, NULL)
                                   : view_of(tensor, memory + c->map.offsets[base->id]);
}

static void fill_activation(struct selftest_case *c, const struct tensor *tensor, struct rng *rng)
{
    struct view view = view_at(c, tensor, c->given);
    for (int64_t row = 0; row < batch_rows_flat(&c->batch, tensor); row++) {
        void *values = view_row_flat(&view, row);
        if (tensor->dtype->is_integer)
            fill_numbers(values, tensor->ne[0], c->op->in[0]->ne[2], rng);
        for (int64_t i = 0; i < tensor->ne[0] && !tensor->dtype->is_integer; i++)
            ((float *)values)[i] = 2 * rng_float(rng) - 1;
    }
}

static void pages_of(const struct selftest_case *c, unsigned char *memory, void **pages)
{
    for (int i = 0; i < c->n_pages; i++)
        pages[i] = memory + (size_t)i * (size_t)c->page_bytes;
}

/* A head's key or value in bytes of the cache; the rows of a cache are never longer than this. */
enum { MAX_DIM = 1024 };

static void fill_head(const struct dtype *type, int n, void *to, struct rng *rng)
{
    float values[MAX_DIM];
    for (int i = 0; i < n; i++)
        values[i] = 2 * rng_float(rng) - 1;
    type->encode(values, to, (size_t)n);
}

static void fill_cache(struct selftest_case *c, const struct kv_geom *kv, struct rng *rng)
{
    void *pages[CASE_MOST_PAGES];
    const struct op_call call = {.batch = &c->batch, .kv_pages = pages};
    pages_of(c, c->pages, pages);
    for (int pos = 0; pos < c->size.pos + c->batch.n_tokens; pos++)
        for (int h = 0; h < kv->n_head_kv; h++) {
            fill_head(kv->k_type, kv->k_dim, call_k_row(&call, kv, pos, 0, h), rng);
            fill_head(kv->v_type, kv->v_dim, call_v_row(&call, kv, pos, 0, h), rng);
        }
}

static const struct kv_geom *cache_of(const struct op *op)
{
    for (int i = 0; i < OP_MAX_IN; i++)
        if (op->in[i] && op->in[i]->kind == TENSOR_KV)
            return &op->in[i]->kv;
    for (int i = 0; i < OP_MAX_OUT; i++)
        if (op->out[i] && op->out[i]->kind == TENSOR_KV)
            return &op->out[i]->kv;
    return NULL;
}

static enum hth_status run_reference(struct selftest_case *c)
{
    void *pages[CASE_MOST_PAGES];
    struct op_call call = {.op = c->op, .batch = &c->batch, .kv_pages = pages};
    pages_of(c, c->expected_pages, pages);
    for (int i = 0; i < OP_MAX_IN; i++)
        if (c->op->in[i])
            call.in[i] = view_at(c, c->op->in[i], c->given);
    for (int i = 0; i < OP_MAX_OUT; i++)
        if (c->op->out[i])
            call.out[i] = view_at(c, c->op->out[i], c->expected);
    return op_reference(&call);
}

/* What is not given is no number: it may neither be read nor pass for a result. */
enum hth_status selftest_case_fill(struct selftest_case *c, const struct log *log)
{
    struct rng rng = rng_seed(1);
    size_t bytes = (size_t)c->map.size_bytes, pages = all_pages_bytes(c);
    const struct kv_geom *kv = cache_of(c->op);
    if (kv && (kv->k_dim > MAX_DIM || kv->v_dim > MAX_DIM))
        return log_fail(log, HTH_ERROR_UNSUPPORTED, "%s: a head has more than %d numbers",
                        c->op->label, MAX_DIM);
    memset(c->given, 0xff, (c->size.given_only ? 1 : 3) * (bytes + pages));
    for (size_t i = 0; i < c->n_weights; i++)
        if (!fill_weight(c, c->weights[i], &rng))
            return log_fail_memory(log, "a self-test", c->weights[i]->size_bytes);
    for (int i = 0; i < c->batch.n_tokens; i++)
        c->ids[i] = (int32_t)rng_below(&rng, (uint32_t)c->op->in[0]->ne[1]);
    for (int i = 0; i < OP_MAX_IN; i++)
        if (c->op->in[i] && c->op->in[i]->kind == TENSOR_ACTIVATION)
            fill_activation(c, c->op->in[i], &rng);
    if (kv)
        fill_cache(c, kv, &rng);
    if (c->size.given_only)
        return HTH_OK;
    memcpy(c->expected, c->given, bytes);
    memcpy(c->expected_pages, c->pages, pages);
    enum hth_status status = run_reference(c);
    return status ? log_fail_memory(log, "a self-test", bytes) : HTH_OK;
}

/* --- judging ---------------------------------------------------------------------------------- */

struct sums {
    double error, power; /* squared */
    double worst;        /* error of one element; 0 where a single one tells nothing */
    int64_t n;
};

static void add_row(struct sums *sums, const float *expected, const float *got, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        double difference = (double)got[i] - (double)expected[i];
        double error = isfinite(difference) ? difference * difference : (double)INFINITY;
        sums->error += error;
        sums->worst = error > sums->worst ? error : sums->worst;
        sums->power += (double)expected[i] * (double)expected[i];
    }
    sums->n += n;
}

static void add_numbers(struct sums *sums, const int32_t *expected, const int32_t *got, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        sums->error += got[i] == expected[i] ? 0 : (double)INFINITY;
    sums->n += n;
}

static void add_cache(const struct selftest_case *c, const struct kv_geom *kv, struct sums *sums)
{
    float a[MAX_DIM], b[MAX_DIM];
    void *pages[CASE_MOST_PAGES], *got_pages[CASE_MOST_PAGES];
    const struct op_call call = {.batch = &c->batch, .kv_pages = pages};
    const struct op_call got = {.batch = &c->batch, .kv_pages = got_pages};
    size_t k_dim = (size_t)kv->k_dim, v_dim = (size_t)kv->v_dim;
    pages_of(c, c->expected_pages, pages);
    pages_of(c, c->got_pages, got_pages);
    for (int pos = 0; pos < c->size.pos + c->batch.n_tokens; pos++)
        for (int h = 0; h < kv->n_head_kv; h++) {
            kv->k_type->decode(call_k_row(&call, kv, pos, 0, h), a, k_dim);
            kv->k_type->decode(call_k_row(&got, kv, pos, 0, h), b, k_dim);
            add_row(sums, a, b, kv->k_dim);
            kv->v_type->decode(call_v_row(&call, kv, pos, 0, h), a, v_dim);
            kv->v_type->decode(call_v_row(&got, kv, pos, 0, h), b, v_dim);
            add_row(sums, a, b, kv->v_dim);
        }
}

static struct sums sum_output(const struct selftest_case *c, const struct tensor *out)
{
    struct sums sums = {0};
    if (out->kind == TENSOR_KV) {
        add_cache(c, &out->kv, &sums);
        sums.worst = 0; /* what is rounded the other way is off by much */
        return sums;
    }
    struct view expected = view_at(c, out, c->expected), got = view_at(c, out, c->got);
    for (int64_t row = 0; row < batch_rows_flat(&c->batch, out); row++) {
        const void *a = view_row_flat(&expected, row), *b = view_row_flat(&got, row);
        if (out->dtype->is_integer)
            add_numbers(&sums, a, b, out->ne[0]);
        else
            add_row(&sums, a, b, out->ne[0]);
    }
    return sums;
}

/* Few outputs may all be small by chance, where sums cancel, and their error is not. */
static double tolerance_for(double limit, const struct sums *sums)
{
    return limit * (1 + 64.0 / (double)(sums->n + 1));
}

void selftest_case_judge(const struct selftest_case *c, const struct row *row,
                         struct selftest_result *out)
{
    const struct op_def *def = op_def_of(c->op->kind);
    double limit = row->integer ? def->tolerance_int
                   : row->half  ? def->tolerance_f16
                                : def->tolerance_f32;
    out->verdict = SELFTEST_RIGHT;
    for (int i = 0; i < OP_MAX_OUT; i++) {
        if (!c->op->out[i])
            continue;
        struct sums sums = sum_output(c, c->op->out[i]);
        double nmse = sums.error == 0 ? 0 : sums.error / sums.power;
        double tolerance = tolerance_for(limit, &sums);
        double worst = sums.worst == 0 ? 0 : sqrt(sums.worst / sums.power * (double)sums.n);
        bool stands_out = nmse <= tolerance && worst > OP_WORST * sqrt(tolerance);
        bool wrong = !(nmse <= tolerance) || stands_out;
        if (i == 0 || wrong || nmse > out->nmse) {
            out->nmse = nmse;
            out->tolerance = tolerance;
        }
        out->worst = stands_out ? worst : 0;
        if (wrong) {
            out->verdict = SELFTEST_WRONG;
            return;
        }
    }
}

void selftest_explain(const struct selftest_result *result, char *out, size_t size)
{
    if (result->worst > 0)
        snprintf(out, size,
                 "an element is off by %.3g of the root mean square, allowed %.3g; NMSE %.3g",
                 result->worst, OP_WORST * sqrt(result->tolerance), result->nmse);
    else
        snprintf(out, size, "NMSE %.3g, allowed %.3g", result->nmse, result->tolerance);
}
