/*
 * op_def.h — what each family of ops defines: what is allowed, what it means, what it costs.
 *
 * One `const struct op_def op_<name> = {` per file of this folder (the build lists them). The
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
};

/* An op with its bytes. `n_rows` of tensors bounded by the batch are read from `batch`. */
struct op_call {
    const struct op *op;
    struct view in[OP_MAX_IN], out[OP_MAX_OUT];
    const struct batch *batch;
    void *const *kv_pages; /* host address of each page of the cache */
};

/* What running an op moves and computes, for a batch of its bucket's size with `kv_len` positions. */
struct op_cost {
    uint64_t weight_bytes, kv_bytes, act_bytes;
    uint64_t flops;
};

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
};

/* The definition of a kind; never NULL. */
const struct op_def *op_def_of(enum op_kind kind);

/* Runs the reference of any op; a fused one by running its parts, with scratch for what lies
 * between them. Integer activations are not the reference's concern. */
HTH_MUST_CHECK op_reference(const struct op_call *call);

/* How many rows along the outermost dimension of a tensor are really there in this batch. */
int64_t batch_rows(const struct batch *batch, const struct tensor *tensor);

/* A view of a tensor of the graph over bytes that begin at its base. */
struct view view_of(const struct tensor *tensor, void *base);

/* Address of the row (i1, i2) of a view. */
static inline void *view_row(const struct view *view, int64_t i1, int64_t i2)
{
    int64_t elems = i1 * view->stride[1] + i2 * view->stride[2];
    return (char *)view->data +
           elems / (int64_t)view->dtype->block_elems * (int64_t)view->dtype->block_bytes;
}

#endif
