#include "op_memory.h"

#include <stdlib.h>

#include "base/mem.h"

enum { GUARD = 256, ALIGN = 64, POISON = 0xff, EXPERT_GAP = 48 };

static void *must(void *ptr)
{
    assert_non_null(ptr);
    return ptr;
}

static size_t add_buffer(struct op_memory *memory, const struct tensor *tensor, uint64_t size)
{
    assert_true(memory->n_buffers < OP_TEST_TENSORS);
    size_t total = (size_t)align_up(size, ALIGN) + 2 * GUARD, at = memory->n_buffers++;
    struct op_buffer *buffer = &memory->buffers[at];
    struct op_area *area = &memory->areas[at];
    *buffer = (struct op_buffer){.bytes = must(mem_alloc_aligned(total, ALIGN)), .size = total};
    *area = (struct op_area){.tensor = tensor,
                             .expected = must(mem_alloc_aligned(total, ALIGN)),
                             .before = must(mem_alloc(total)),
                             .mask = must(mem_calloc(total, 1))};
    return at;
}

/* The buffer of a tensor's base; made when it is asked for the first time. */
static size_t buffer_of(struct op_memory *memory, const struct tensor *tensor, bool scatter)
{
    const struct tensor *base = tensor_base(tensor, NULL);
    for (size_t i = 0; i < memory->n_buffers; i++)
        if (memory->areas[i].tensor == base)
            return i;
    uint64_t size = dtype_row_bytes(base->dtype, (uint64_t)tensor_elems(base));
    if (scatter && base->kind == TENSOR_WEIGHT && base->ne[2] > 1)
        size = 2 * size + (uint64_t)base->ne[2] * (ALIGN + EXPERT_GAP);
    return add_buffer(memory, base, size);
}

static void make_pages(struct op_test *t, const struct kv_geom *kv)
{
    struct op_memory *memory = t->memory;
    uint64_t v_bytes =
        (uint64_t)kv->n_head_kv * KV_PAGE * dtype_row_bytes(kv->v_type, (uint64_t)kv->v_dim);
    memory->page_bytes = align_up(kv->v_offset + v_bytes, 256) + 256; /* the next layer's */
    memory->n_pages = (size_t)(t->batch.table_stride * t->batch.n_seqs);
    size_t at = add_buffer(memory, NULL, memory->n_pages * memory->page_bytes);
    memory->pages = must(mem_calloc(memory->n_pages, sizeof *memory->pages));
    memory->expected_pages = must(mem_calloc(memory->n_pages, sizeof *memory->expected_pages));
    for (size_t i = 0; i < memory->n_pages; i++) {
        memory->pages[i] = memory->buffers[at].bytes + GUARD + i * memory->page_bytes;
        memory->expected_pages[i] = memory->areas[at].expected + GUARD + i * memory->page_bytes;
    }
}

static struct view view_in(struct op_test *t, const struct tensor *tensor, bool expected)
{
    if (tensor->kind == TENSOR_KV)
        return view_of(tensor, NULL);
    size_t at = buffer_of(t->memory, tensor, t->scatter);
    unsigned char *bytes = expected ? t->memory->areas[at].expected : t->memory->buffers[at].bytes;
    return view_of(tensor, bytes + GUARD);
}

/* Allows the op to write the rows of an output that the batch fills. */
static void allow_rows(struct op_test *t, const struct tensor *tensor)
{
    struct op_memory *memory = t->memory;
    size_t at = buffer_of(memory, tensor, false);
    memory->buffers[at].written = true;
    uint64_t row_bytes = dtype_row_bytes(tensor->dtype, (uint64_t)tensor->ne[0]);
    uint64_t rows = (uint64_t)batch_rows_flat(&t->batch, tensor);
    memset(memory->areas[at].mask + GUARD, 1, (size_t)(rows * row_bytes));
}

static void allow_bytes(struct op_memory *memory, const void *from, uint64_t size)
{
    for (size_t i = 0; i < memory->n_buffers; i++) {
        struct op_buffer *buffer = &memory->buffers[i];
        const unsigned char *begin = from;
        if (begin >= buffer->bytes && begin < buffer->bytes + buffer->size) {
            buffer->written = true;
            memset(memory->areas[i].mask + (begin - buffer->bytes), 1, (size_t)size);
        }
    }
}

static void allow_cache(struct op_test *t, const struct kv_geom *kv)
{
    const struct op_call *call = &t->memory->call;
    for (int i = 0; i < t->batch.n_tokens; i++)
        for (int h = 0; h < kv->n_head_kv; h++) {
            allow_bytes(t->memory, call_k_row(call, kv, t->pos[i], t->seq[i], h),
                        dtype_row_bytes(kv->k_type, (uint64_t)kv->k_dim));
            allow_bytes(t->memory, call_v_row(call, kv, t->pos[i], t->seq[i], h),
                        dtype_row_bytes(kv->v_type, (uint64_t)kv->v_dim));
        }
}

static void make_views(struct op_test *t, const struct op *op)
{
    struct op_memory *memory = t->memory;
    for (int i = 0; i < OP_MAX_IN; i++) {
        if (!op->in[i])
            continue;
        if (op->in[i]->kind == TENSOR_KV)
            make_pages(t, &op->in[i]->kv);
        memory->call.in[i] = memory->expected.in[i] = view_in(t, op->in[i], false);
    }
    for (int i = 0; i < OP_MAX_OUT; i++) {
        if (!op->out[i])
            continue;
        if (op->out[i]->kind == TENSOR_KV)
            make_pages(t, &op->out[i]->kv);
        memory->call.out[i] = view_in(t, op->out[i], false);
        memory->expected.out[i] = view_in(t, op->out[i], true);
        if (op->out[i]->kind != TENSOR_KV)
            allow_rows(t, op->out[i]);
    }
}

void op_memory_create(struct op_test *t, const struct op *op)
{
    struct op_memory *memory = t->memory = must(mem_calloc(1, sizeof *memory));
    memory->call.op = memory->expected.op = op;
    memory->call.batch = memory->expected.batch = &t->batch;
    int64_t longest = 1, experts = 1;
    for (int i = 0; i < OP_MAX_IN; i++) {
        if (!op->in[i])
            continue;
        longest = op->in[i]->ne[0] > longest ? op->in[i]->ne[0] : longest;
        longest = op->in[i]->kv.v_dim > longest ? op->in[i]->kv.v_dim : longest;
        if (op->in[i]->kind == TENSOR_WEIGHT && op->in[i]->ne[2] > experts)
            experts = op->in[i]->ne[2];
    }
    memory->row = must(mem_calloc((size_t)longest, sizeof *memory->row));
    memory->selected = must(mem_calloc((size_t)experts, sizeof *memory->selected));
    memory->experts = must(mem_calloc((size_t)experts * OP_MAX_IN, sizeof *memory->experts));
    make_views(t, op);
    memory->call.kv_pages = memory->pages;
    memory->expected.kv_pages = memory->expected_pages;
    for (int i = 0; i < OP_MAX_OUT; i++)
        if (op->out[i] && op->out[i]->kind == TENSOR_KV)
            allow_cache(t, &op->out[i]->kv);
}

/* --- filling ---------------------------------------------------------------------------------- */

/* Chooses distinct experts for each token and notes which are used at all. */
static void fill_ids(struct op_test *t, const struct tensor *tensor, const struct view *view)
{
    int64_t n_expert = t->memory->call.in[0].ne[2];
    memset(t->memory->selected, 0, (size_t)n_expert * sizeof *t->memory->selected);
    for (int64_t row = 0; row < batch_rows_flat(&t->batch, tensor); row++) {
        int32_t *ids = view_row_flat(view, row);
        for (int64_t u = 0; u < view->ne[0]; u++) {
            bool taken;
            do {
                ids[u] = (int32_t)rng_below(&t->rng, (uint32_t)n_expert);
                taken = false;
                for (int64_t v = 0; v < u; v++)
                    taken |= ids[v] == ids[u];
            } while (taken);
            t->memory->selected[ids[u]] = true;
        }
    }
}

static void weight_row(struct op_test *t, const struct tensor *tensor, void *to)
{
    /* Factors of rotary frequencies are positive. */
    enum op_kind kind = t->memory->call.op->kind;
    bool factors = kind == OP_ROPE || kind == OP_ROPE_KV;
    for (int64_t i = 0; i < tensor->ne[0]; i++)
        t->memory->row[i] = factors ? 1 + 3 * rng_float(&t->rng) : rng_normal(&t->rng) * 0.5f;
    if (t->blocks && dtype_is_block(tensor->dtype))
        t->blocks(&t->rng, tensor, to);
    else
        op_test_encode(t, tensor, t->memory->row, to);
}

/* Encoding takes longer than all kernels: rows repeat, after a prime number of them, so that no two
 * are alike that limits (65535) or powers of two are between. */
static void fill_matrix(struct op_test *t, const struct tensor *tensor, unsigned char *to)
{
    enum { PERIOD = 7919 };
    uint64_t row_bytes = dtype_row_bytes(tensor->dtype, (uint64_t)tensor->ne[0]);
    for (int64_t j = 0; j < tensor->ne[1]; j++, to += row_bytes) {
        if (j < PERIOD)
            weight_row(t, tensor, to);
        else
            memcpy(to, to - PERIOD * row_bytes, row_bytes);
    }
}

/* Experts in random order with gaps of odd sizes; of those that no token uses, half are not here
 * and half are poison. What is elsewhere is so in both matrices of a gated pair. */
static void fill_experts(struct op_test *t, const struct tensor *tensor, struct view *view,
                         int input)
{
    int64_t n_expert = tensor->ne[2];
    void **experts = t->memory->experts + (int64_t)input * n_expert;
    uint64_t size = dtype_row_bytes(tensor->dtype, (uint64_t)(tensor->ne[0] * tensor->ne[1]));
    unsigned char *at = view->data;
    for (int64_t i = 0; i < n_expert; i++)
        experts[i] = NULL;
    for (int64_t left = n_expert; left > 0; left--) {
        int64_t nth = rng_below(&t->rng, (uint32_t)left), e = 0;
        for (;; e++)
            if (!experts[e] && nth-- == 0)
                break;
        experts[e] = at;
        if (t->memory->selected[e])
            fill_matrix(t, tensor, at);
        at += align_up(size, 16) + rng_below(&t->rng, 4) * 16;
    }
    for (int64_t e = 0; e < n_expert; e++)
        if ((!t->memory->selected[e] && rng_below(&t->rng, 2)) || (t->elsewhere && e % 3 == 0))
            experts[e] = NULL;
    view->experts = experts;
}

static void fill_weight(struct op_test *t, const struct tensor *tensor, struct view *view,
                        int input)
{
    const struct op *op = t->memory->call.op;
    bool by_expert = op->in[4] && (op->kind == OP_MATMUL || op->kind == OP_MATMUL_GLU);
    if (op->kind == OP_GET_ROWS) {
        for (int i = 0; i < t->batch.n_tokens; i++) {
            t->ids[i] = (int32_t)rng_below(&t->rng, (uint32_t)tensor->ne[1]);
            weight_row(t, tensor, view_row(view, t->ids[i], 0));
        }
    } else if (by_expert && t->scatter && tensor->ne[2] > 1) {
        fill_experts(t, tensor, view, input);
    } else {
        for (int64_t e = 0; e < tensor->ne[2]; e++)
            if (!by_expert || tensor->ne[2] == 1 || t->memory->selected[e])
                fill_matrix(t, tensor, view_row(view, 0, e));
    }
}

static void fill_activation(struct op_test *t, const struct tensor *tensor, const struct view *view,
                            enum input_kind kind)
{
    float scale = t->scale != 0 ? t->scale : 1;
    for (int64_t row = 0; row < batch_rows_flat(&t->batch, tensor); row++) {
        float *x = view_row_flat(view, row);
        op_test_fill(&t->rng, kind, false, x, tensor->ne[0]);
        if (kind != INPUT_HUGE)
            for (int64_t i = 0; i < tensor->ne[0]; i++)
                x[i] *= scale;
        if (t->change)
            t->change(&t->rng, x, tensor->ne[0]);
    }
}

/* The positions that some token sees; all others stay poison. Blocks are only those that hearth
 * encodes, since no file brings others into a cache. */
static void fill_cache(struct op_test *t, const struct kv_geom *kv, int window,
                       enum input_kind kind)
{
    const struct op_call *call = &t->memory->call;
    bool limited = kv->k_type != &dtype_f32;
    for (int i = 0; i < t->batch.n_tokens; i++) {
        int from = window > 0 && t->pos[i] >= window ? t->pos[i] - window + 1 : 0;
        bool first = i == 0 || t->seq[i] != t->seq[i - 1];
        if (!first) /* seen by the token before, but for its own position */
            from = t->pos[i];
        for (int pos = from; pos <= t->pos[i]; pos++)
            for (int h = 0; h < kv->n_head_kv; h++) {
                op_test_fill(&t->rng, kind, limited, t->memory->row, kv->k_dim);
                kv->k_type->encode(t->memory->row, call_k_row(call, kv, pos, t->seq[i], h),
                                   (size_t)kv->k_dim);
                op_test_fill(&t->rng, kind, limited, t->memory->row, kv->v_dim);
                kv->v_type->encode(t->memory->row, call_v_row(call, kv, pos, t->seq[i], h),
                                   (size_t)kv->v_dim);
            }
    }
}

static void fill_input(struct op_test *t, int i, enum input_kind kind)
{
    struct op_memory *memory = t->memory;
    const struct tensor *tensor = memory->call.op->in[i];
    struct view *view = &memory->call.in[i];
    if (tensor->kind == TENSOR_KV)
        fill_cache(t, &tensor->kv, memory->call.op->p.attention.window, kind);
    else if (tensor->kind == TENSOR_WEIGHT)
        fill_weight(t, tensor, view, i);
    else if (!tensor->dtype->is_integer)
        fill_activation(t, tensor, view, kind);
    memory->expected.in[i] = *view;
}

void op_memory_fill(struct op_test *t, enum input_kind kind)
{
    struct op_memory *memory = t->memory;
    const struct op *op = memory->call.op;
    t->series = (uint64_t)kind * 96; /* small matrices see more of it */
    /* What constant columns are multiplied with may nearly cancel: there blocks are encoded ones.
     */
    t->encoded_only = kind == INPUT_CONSTANT || kind == INPUT_ALTERNATING;
    for (size_t i = 0; i < memory->n_buffers; i++)
        memset(memory->buffers[i].bytes, POISON, memory->buffers[i].size);
    for (int i = 0; i < OP_MAX_IN; i++)
        if (op->in[i] && op->in[i]->dtype->is_integer)
            fill_ids(t, op->in[i], &memory->call.in[i]);
    for (int i = 0; i < OP_MAX_IN; i++)
        if (op->in[i])
            fill_input(t, i, kind);
    for (size_t i = 0; i < memory->n_buffers; i++) {
        memcpy(memory->areas[i].before, memory->buffers[i].bytes, memory->buffers[i].size);
        memcpy(memory->areas[i].expected, memory->buffers[i].bytes, memory->buffers[i].size);
    }
}

void op_memory_free(struct op_test *t)
{
    struct op_memory *memory = t->memory;
    if (!memory)
        return;
    for (size_t i = 0; i < memory->n_buffers; i++) {
        mem_free_aligned(memory->buffers[i].bytes);
        mem_free_aligned(memory->areas[i].expected);
        mem_free(memory->areas[i].before);
        mem_free(memory->areas[i].mask);
    }
    mem_free(memory->pages);
    mem_free(memory->expected_pages);
    mem_free(memory->experts);
    mem_free(memory->selected);
    mem_free(memory->row);
    mem_free(memory);
    t->memory = NULL;
}
