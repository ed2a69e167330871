/*
 * op_def.h — what each family of ops defines: what is allowed, what it means, what it costs.
 *
 * One `const struct op_def op_def_<name> = {` per file of this folder (the build lists them). The
 * reference is the definition: scalar, double accumulation, no threads, no SIMD; every kernel of
 * every device is tested against it. Constants: any thread.
 */
#ifndef OP_OP_DEF_H
#define OP_OP_DEF_H

#include "op/batch.h"
#include "op/op.h"

/* A tensor's bytes at hand. */
struct view {
    const struct dtype *dtype;
    int64_t ne[OP_MAX_DIMS];
    int64_t stride[OP_MAX_DIMS]; /* elements */
    void *data;
    void *const *experts; /* by-expert weights: the bytes of each expert, NULL: not here */
    const void *const *interleaved; /* the same in LAYOUT_CPU, each or all may be NULL */
};

/* An op with its bytes. `n_rows` of tensors bounded by the batch are read from `batch`. */
struct op_call {
    const struct op *op;
    struct view in[OP_MAX_IN], out[OP_MAX_OUT];
    const struct batch *batch;
    void *const *kv_pages; /* host address of each page of the cache */
    const float *cos_sin;  /* of a rope: its table (rope.h), if whoever runs it has one */
};

/* What running an op moves and computes, for a batch of its bucket's size with `kv_len` positions.
 */
struct op_cost {
    uint64_t weight_bytes, kv_bytes, act_bytes;
    uint64_t flops;
};

/* The most that one element of a result may be off, in root mean squares of the whole times the
 * root of the tolerance: twice what right rows reach in op tests of all formats, 2.3 with integers
 * and 3.6 with halves, whose errors have long tails. Where a few numbers are much larger than the
 * others, or a cache is rounded, one element tells nothing. */
enum { OP_WORST = 8 };

struct op_def {
    enum op_kind kind;
    const char *name;

    /* NULL if the op is well-formed, else what is wrong, for a developer or a broken file. */
    const char *(*check)(const struct op *op);

    /* The definition. Errors: HTH_ERROR_MEMORY for scratch. */
    enum hth_status (*reference)(const struct op_call *call);

    struct op_cost (*cost)(const struct op *op, int64_t kv_len);

    /* Largest NMSE a float (fp32) implementation may show against the reference, one with fp16
     * inputs, one with integer activations; 0: bit-exact. */
    double tolerance_f32, tolerance_f16, tolerance_int;

    /* Where it runs in a model on two devices, if it has neither matrix nor cache: where the input
     * is that was made last, unless one of these says otherwise. */
    bool by_expert;   /* its rows are experts': on both devices where those of its input are */
    bool with_reader; /* where its result is read, so that only its input has to go there */
};

/* The definition of a kind; never NULL. */
const struct op_def *op_def_of(enum op_kind kind);

/* Do all weights of the op lie so? True for an op without weights. */
bool op_has_layout(const struct op *op, enum weight_layout layout);

/* Runs the reference of any op; a fused one by running its parts, with scratch for what lies
 * between them. Integer activations are not the reference's concern. */
HTH_MUST_CHECK op_reference(const struct op_call *call);

/* How many rows along the outermost dimension of a tensor are really there in this batch. */
int64_t batch_rows(const struct batch *batch, const struct tensor *tensor);

/* Rows of ne[0] elements really there, over all dimensions: the first so many of the tensor. */
int64_t batch_rows_flat(const struct batch *batch, const struct tensor *tensor);

/* A view of a tensor of the graph over bytes that begin at its base. */
struct view view_of(const struct tensor *tensor, void *base);

/* Address of the row (i1, i2) of a view. */
static inline void *view_row(const struct view *view, int64_t i1, int64_t i2)
{
    int64_t elems = i1 * view->stride[1] + i2 * view->stride[2];
    return (char *)view->data +
           elems / (int64_t)view->dtype->block_elems * (int64_t)view->dtype->block_bytes;
}

/* Address of the i-th row, counted over all dimensions. */
static inline void *view_row_flat(const struct view *view, int64_t i)
{
    return view_row(view, i % view->ne[1], i / view->ne[1]);
}

/* Address of the matrix of an expert; NULL: not here. */
static inline void *view_expert(const struct view *view, int64_t expert)
{
    return view->experts ? view->experts[expert] : view_row(view, 0, expert);
}

/* Where head `head` of position `pos` of a sequence has its key, and its value. */
static inline void *call_k_row(const struct op_call *call, const struct kv_geom *kv, int64_t pos,
                               int seq, int head)
{
    const struct batch *batch = call->batch;
    uint32_t page = batch->page_table[(int64_t)seq * batch->table_stride + pos / KV_PAGE];
    return (char *)call->kv_pages[page] + kv->k_offset +
           (uint64_t)(head * KV_PAGE + pos % KV_PAGE) *
               dtype_row_bytes(kv->k_type, (uint64_t)kv->k_dim);
}

static inline void *call_v_row(const struct op_call *call, const struct kv_geom *kv, int64_t pos,
                               int seq, int head)
{
    const struct batch *batch = call->batch;
    uint32_t page = batch->page_table[(int64_t)seq * batch->table_stride + pos / KV_PAGE];
    return (char *)call->kv_pages[page] + kv->v_offset +
           (uint64_t)(head * KV_PAGE + pos % KV_PAGE) *
               dtype_row_bytes(kv->v_type, (uint64_t)kv->v_dim);
}

#endif
